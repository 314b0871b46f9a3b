/** What the verdict rests on: the run's setting, what was not seen or not judged, and published explanations put to the test. */

import { element } from "./dom.js";
import { panel } from "./panel.js";

const HOLDS = new Map([
  [true, "\u2714 holds"],
  [false, "\u2716 does not hold"],
  [null, "? cannot be told"],
]);

/** Return the panel; null where there is nothing to tell. */
export function aboutPanel({ document }) {
  const hypotheses = document.report?.hypotheses ?? [];
  if (!document.notes.length && !hypotheses.length) return null;
  const notes = document.notes.flatMap(([label, text]) => [element("dt", {}, label), element("dd", {}, text)]);
  return panel("about", "What this rests on", null, element("dl", { class: "notes" }, notes, hypotheses.flatMap(told)), element("p", { class: "hint" }, `gradscope ${document.gradscope}`));
}

function told({ name, holds, text }) {
  return [element("dt", {}, HOLDS.get(holds)), element("dd", {}, element("b", {}, name), text ? `: ${text}` : "")];
}
