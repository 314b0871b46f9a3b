/** The waterfall at the cursor's step: where, between the loss and the input, the gradient is lost. */

import { columnAt } from "./binning.js";
import { element, refill } from "./dom.js";
import { cut } from "./numbers.js";
import { panel } from "./panel.js";
import { Scale } from "./scale.js";
import { latest } from "./selection.js";
import { stagesAt, telling } from "./stages.js";
import { memberTitle, sitesOf } from "./view_document.js";
import { waterfallPane } from "./waterfall_pane.js";

const LONGEST_NAME = 25; // characters
const HINT =
  "Each bar is what is left of the gradient of the loss behind a gate (a non-linearity) or a stretch of weights; the hatched end is what it took. Log scale.";

/** Return the panel; it follows the cursor. */
export function waterfallPanel(view) {
  const { selection } = view;
  const panes = element("div", { class: "panes" });
  const unfold = element("button", { type: "button", hidden: true, onclick: () => selection.set({ unfolded: !selection.get("unfolded") }) });
  const made = panel("waterfall", "The waterfall: from the loss down to the input", element("div", { class: "tools" }, unfold), element("p", { class: "hint" }, HINT), panes);
  let loaded = [];

  const load = () => {
    const members = [selection.get("member"), selection.get("beside")].filter(Boolean);
    return Promise.all(members.map(async (member) => ({ member, waterfall: await view.source.waterfall(member, selection.get("range") ?? {}) })));
  };

  const draw = () => {
    if (!loaded.length) return;
    const step = selection.get("step");
    const found = loaded.map(({ member, waterfall }) => {
      const column = columnAt(waterfall.steps, step);
      return { member, step: waterfall.steps[column] ?? step, stages: waterfall.columns ? stagesAt(waterfall, column) : [] };
    });
    const scale = Scale.of([[1], ...found.map(({ stages }) => stages.map(({ left }) => left))], "log");
    refill(panes, found.map((one) => pane(view, one, scale, shownOf(one.stages, selection))));
    panes.classList.toggle("two", found.length > 1);
    unfold.hidden = !found.some(({ stages }) => telling([stages]).length < stages.length);
    unfold.textContent = selection.get("unfolded") ? "Show the telling stages" : "Show every stage";
  };

  const fail = (error) => panes.replaceChildren(element("p", { class: "problem", role: "alert" }, error.message));
  const refresh = latest(made, load, (answer) => ((loaded = answer), draw()), fail);
  selection.on(["member", "beside", "range", "data"], refresh);
  selection.on(["step", "site", "unfolded"], draw);
  refresh();
  return made;
}

function shownOf(stages, selection) {
  return selection.get("unfolded") ? stages.map((_, i) => i) : telling([stages]);
}

/** Return a stage's name that fits: a stretch of weights is named by both of its ends, or by the site that it leads into. */
function shortStage(name, sites) {
  const ends = name.split(" -> ").map((end) => sites.find((site) => site.name === end)?.short ?? end);
  const whole = ends.join(" \u2192 ");
  return cut(ends.length > 1 && whole.length > LONGEST_NAME ? `into ${ends.at(-1)}` : whole, LONGEST_NAME);
}

function pane(view, { member, step, stages }, scale, shown) {
  const sites = sitesOf(view.document, member);
  return waterfallPane({
    title: memberTitle(view.document, member),
    step,
    stages: stages.map((stage) => ({ ...stage, short: shortStage(stage.name, sites) })),
    shown,
    scale,
    chosen: sites.findIndex(({ name }) => name === view.selection.get("site")),
    choose: (site) => view.selection.set({ site: sites[site]?.name ?? view.selection.get("site") }),
  });
}
