/** The verdict in three lines: how it stands, where the gradient dies, what cures it. */

import { element } from "./dom.js";
import { networkStrip } from "./network_strip.js";
import { isProved } from "./view_document.js";

const WORDS = {
  sick: ["\u2716", "sick"],
  healthy: ["\u2714", "healthy"],
  undecided: ["?", "undecided"],
  training: ["\u2026", "not judged yet"],
};
const WHERE = { sick: "Where the gradient dies", healthy: "What was found", undecided: "What was found", training: "What is known" };

/** Return the panel. */
export function verdictPanel(view) {
  const { document } = view;
  const state = document.verdict ?? "training";
  const [glyph, word] = WORDS[state];
  const first = document.findings.find((finding) => finding.role === "origin") ?? document.findings[0];
  const found = document.headline ?? "No report yet: the run is still training, or it was ended before it could be judged.";
  return element(
    "section",
    { id: "verdict", class: `panel ${state}`, "aria-label": "verdict" },
    element("div", { class: `badge ${state}` }, element("span", { "aria-hidden": "true" }, glyph), word),
    networkStrip(document.layouts[0], document.findings),
    element(
      "dl",
      {},
      statement(WHERE[state], found, state === "sick" ? first?.text : null),
      document.remedy ? statement(remedyLabel(document), document.remedy, adviceOf(document)) : null,
    ),
  );
}

function remedyLabel({ recommended, fixes }) {
  if (recommended) return isProved(fixes.find((one) => one.fix === recommended)) ? "What cures it" : "What to try";
  return fixes.length ? "What was tried" : "What to do";
}

function statement(label, text, more) {
  return [element("dt", {}, label), element("dd", {}, sentence(text), more ? element("div", { class: "more" }, sentence(more)) : null)];
}

/** Return what the recommended fix changes, and what a model of the reader's own needs. */
function adviceOf({ fixes, recommended, report }) {
  const fix = fixes.find((one) => one.fix === recommended);
  return [fix?.summary, report?.hint].filter(Boolean).join("; ");
}

function sentence(text) {
  return (text.charAt(0).toUpperCase() + text.slice(1)).replaceAll(" -> ", " \u2192 ");
}
