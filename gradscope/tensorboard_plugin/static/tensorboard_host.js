/** What TensorBoard tells its tabs: reloads, the address, and which runs are selected. No package is published for it. */

/** The connection to the page around the tab. */
export class TensorBoardHost {
  #port;
  #waiting = new Map();
  #asked = 0;

  /** `reloaded` is called whenever TensorBoard has read its runs anew. */
  constructor(reloaded) {
    const channel = new MessageChannel();
    this.#port = channel.port1;
    this.#port.onmessage = ({ data }) => this.#take(data, reloaded);
    window.parent.postMessage("experimental.bootstrap", "*", [channel.port2]);
  }

  /** Return what the address says for this tab: `p.gradscope.site=2.relu` is { site: "2.relu" }. Empty where nobody answers. */
  async addressed() {
    const answer = this.#ask("experimental.GetURLPluginData");
    const silence = new Promise((resolve) => setTimeout(() => resolve(null), 500));
    return (await Promise.race([answer, silence])) ?? {};
  }

  /** Return the function that tells of a run's name whether TensorBoard's own selection has it; all, where nothing was selected. */
  selected() {
    const { states, filter } = selectionAround();
    return (run) => states[run] !== false && (!filter || filter.test(run));
  }

  #ask(type) {
    const id = this.#asked++;
    this.#port.postMessage(JSON.stringify({ type, id, payload: null, error: null, isReply: false }));
    return new Promise((resolve) => this.#waiting.set(id, resolve));
  }

  #take(data, reloaded) {
    let message;
    try {
      message = JSON.parse(data);
    } catch {
      return;
    }
    if (message.isReply) {
      this.#waiting.get(message.id)?.(message.payload);
      this.#waiting.delete(message.id);
      return;
    }
    if (message.type === "experimental.DataReloaded") reloaded();
    this.#port.postMessage(JSON.stringify({ type: message.type, id: message.id, payload: null, error: null, isReply: true }));
  }
}

/** Read the selection from the page around the tab, which keeps it in its address: boxes by run, and a filter of names. */
function selectionAround() {
  try {
    const around = window.parent;
    const states = around.tensorboard?.tf_storage?.getObject?.("runSelectionState", { defaultValue: {} }) ?? {};
    const text = new URLSearchParams(around.location.search).get("runFilter") ?? around.tensorboard?.tf_storage?.getString?.("regexInput", { defaultValue: "" });
    return { states, filter: text ? new RegExp(text) : null };
  } catch {
    return { states: {}, filter: null }; // another TensorBoard, or half a regular expression
  }
}
