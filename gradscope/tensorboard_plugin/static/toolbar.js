/** What all panels show: which member, which one beside it, which steps, and the cursor's step. It stays in sight. */

import { columnAt } from "./binning.js";
import { element, options } from "./dom.js";
import { whole } from "./numbers.js";
import { drawable, memberOf } from "./view_document.js";

/** Return the bar. */
export function toolbar(view) {
  const { selection } = view;
  const member = element("select", { id: "member", onchange: () => selection.set({ member: member.value }) });
  const beside = element("select", { id: "beside", onchange: () => selection.set({ beside: beside.value || null }) });
  const besides = element("label", {}, "beside ", beside);
  const slider = element("input", { id: "step", type: "range", min: 0, step: 1, oninput: () => selection.set({ step: steps()[Number(slider.value)] }) });
  const said = element("output", { id: "step-text", for: "step" });
  const steps = () => selection.get("steps") ?? [];
  const reset = element("button", { type: "button", onclick: () => selection.set({ range: null }) }, "All steps");
  const zoom = element("span", { class: "zoom" }, reset);

  const offer = () => {
    const groups = grouped(view.document);
    member.replaceChildren(...groups(selection.get("member")));
    besides.hidden = drawable(view.document).length < 2;
    beside.replaceChildren(element("option", { value: "", selected: !selection.get("beside") }, "nothing"), ...groups(selection.get("beside")));
  };
  const point = () => {
    slider.max = Math.max(0, steps().length - 1);
    slider.value = steps().length ? columnAt(steps(), selection.get("step")) : 0;
    const step = selection.get("step");
    const last = whole(memberOf(view.document, selection.get("member"))?.last_step ?? 0);
    said.textContent = Number.isFinite(step) ? `step ${whole(step)} of ${last}` : `${last} steps`;
    slider.setAttribute("aria-valuetext", said.textContent);
    zoom.hidden = !selection.get("range");
  };
  selection.on(["member", "beside", "data"], offer);
  selection.on(["step", "steps", "range", "member"], point);
  offer();
  point();
  return element("div", { class: "toolbar", role: "toolbar", "aria-label": "what the panels show" }, element("label", {}, "Show ", member), besides, element("label", { class: "stepper" }, "Step ", slider, said), zoom);
}

/** Return the function from the chosen member to the options, the seeds of each arm together. */
function grouped(document) {
  const known = drawable(document);
  const arms = [...new Set(known.map(({ arm }) => arm))];
  return (chosen) =>
    arms.map((arm) => {
      const marked = arm === document.recommended ? `${arm} \u2605 recommended` : arm;
      const pairs = known.filter((one) => one.arm === arm).map(({ member, seed, role }) => [member, role === "run" ? arm : `${arm}, seed ${seed}`]);
      return element("optgroup", { label: marked }, options(pairs, chosen));
    });
}
