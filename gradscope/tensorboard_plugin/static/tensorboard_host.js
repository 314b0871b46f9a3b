/** What TensorBoard around the tab tells: reloads, the address, and which runs are selected. No package is published for it. */

const OURS = "p.gradscope.";

/** Call `reloaded` whenever TensorBoard has read its runs anew. */
export function onReload(reloaded) {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = ({ data }) => {
    const { type, id, isReply } = JSON.parse(data);
    if (isReply) return;
    if (type === "experimental.DataReloaded") reloaded();
    port1.postMessage(JSON.stringify({ type, id, payload: null, error: null, isReply: true }));
  };
  window.parent.postMessage("experimental.bootstrap", "*", [port2]);
}

/** Call `shown` whenever the tab comes back into sight; TensorBoard hides its frame by a style. */
export function onShown(shown) {
  const frame = pageAround()?.document && window.frameElement;
  if (!frame) return;
  const look = () => getComputedStyle(frame).visibility !== "hidden" && shown();
  new MutationObserver(look).observe(frame, { attributes: true, attributeFilter: ["style", "class"] });
}

/** Return what the address says for this tab: `#gradscope&p.gradscope.site=2.relu` is { site: "2.relu" }. */
export function addressed() {
  const around = pageAround();
  const given = new URLSearchParams(around?.location.hash.slice(1) ?? "");
  return Object.fromEntries([...given].filter(([name]) => name.startsWith(OURS)).map(([name, value]) => [name.slice(OURS.length), value]));
}

/** Tell whether a run is in TensorBoard's own selection: its box is not unticked, and the filter of names lets it through. */
export function isSelected(run) {
  const around = pageAround();
  const storage = around?.tensorboard?.tf_storage;
  const boxes = storage?.getObject?.("runSelectionState", { defaultValue: {} }) ?? {};
  const filter = new URLSearchParams(around?.location.search ?? "").get("runFilter") ?? storage?.getString?.("regexInput", { defaultValue: "" });
  return boxes[run] !== false && (!filter || matches(filter, run));
}

function matches(filter, run) {
  try {
    return new RegExp(filter, "i").test(run);
  } catch {
    return false; // half a regular expression, while it is being typed: TensorBoard shows no run either
  }
}

/** Return the window around the tab, null where it may not be looked into. */
function pageAround() {
  try {
    return window.parent.location.href ? window.parent : null;
  } catch {
    return null;
  }
}
