/** What one cell of a sweep came to: its seeds, its findings, how it learnt, and how it stood before the first step. */

import { element, svg } from "./dom.js";
import { fixed, listed, number, whole } from "./numbers.js";

const WIDTH = 320; // CSS pixels of the curves
const HEIGHT = 110;
const LEFT = 30; // for the numbers at the axis
const BELOW = 16;

/** Return the cell's section. */
export function sweepCell(document, cell) {
  const factors = Object.entries(cell.factors).map(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]);
  return element(
    "div",
    { class: "cell-details" },
    element("div", {}, element("h3", {}, cell.title), element("dl", { class: "notes" }, factors, summary(document, cell)), findings(cell)),
    element("div", {}, seeds(cell), curvesOf(cell), start(cell)),
  );
}

function summary({ confidence }, cell) {
  if (!cell.seeds.length) return [element("dt", {}, "state"), element("dd", {}, "not trained yet")];
  const spread = cell.interval ? `${number(100 * confidence)} % interval [${cell.interval.map((end) => fixed(end, 3)).join(", ")}]` : "";
  const mean = [`${fixed(cell.mean, 3)}`, cell.std === null ? "" : `standard deviation ${fixed(cell.std, 3)}`, spread].filter(Boolean).join(", ");
  const chance = cell.chance === null ? [] : [element("dt", {}, "chance"), element("dd", {}, number(cell.chance))];
  const missing = cell.missing.length ? [element("dt", {}, "missing"), element("dd", {}, `seeds ${listed(cell.missing)}`)] : [];
  return [element("dt", {}, `mean ${cell.metric}`), element("dd", {}, mean), chance, missing];
}

function findings(cell) {
  if (!cell.findings.length) return cell.seeds.length ? element("p", { class: "hint" }, "No rule found a failure.") : null;
  const items = cell.findings.map((finding) =>
    element("li", {}, element("b", {}, finding.rule), ` ${finding.site ? `at ${finding.site}` : "of the whole network"}, ${finding.severity}, in ${finding.seeds.length} of ${cell.seeds.length} seeds, from step ${whole(finding.first_step)}`),
  );
  return element("ul", { class: "plain" }, items);
}

function seeds(cell) {
  if (!cell.seeds.length) return null;
  const state = (seed) => [cell.collapsed.includes(seed) ? "collapsed" : "", cell.diverged.includes(seed) ? "diverged" : ""].filter(Boolean).join(", ");
  const rows = cell.seeds.map((seed, i) => element("tr", {}, element("th", { scope: "row" }, `seed ${seed}`), element("td", {}, fixed(cell.values[i], 3)), element("td", {}, state(seed))));
  return element("table", { class: "plain seeds" }, element("tbody", {}, rows));
}

/** Return each seed's metric over the epochs. */
function curvesOf({ epochs, seeds: of, metric, collapsed }) {
  if (!epochs?.step.length) return null;
  const values = epochs.metric.flat().filter((value) => value !== null);
  const [low, high] = [Math.min(0, ...values), Math.max(1, ...values)];
  const last = epochs.step.at(-1) || 1;
  const x = (step) => LEFT + (step / last) * (WIDTH - LEFT - 6);
  const y = (value) => 6 + (1 - (value - low) / (high - low)) * (HEIGHT - BELOW - 8);
  const lines = of.map((seed, i) => {
    const known = epochs.step.map((step, epoch) => [step, epochs.metric[epoch][i]]).filter(([, value]) => value !== null);
    const path = known.map(([step, value], k) => `${k ? "L" : "M"}${x(step).toFixed(1)} ${y(value).toFixed(1)}`).join("");
    return svg("path", { class: collapsed.includes(seed) ? "line collapsed" : "line", d: path }, svg("title", {}, `seed ${seed}`));
  });
  const text = (value, at, anchor) => svg("text", { x: at[0], y: at[1], "text-anchor": anchor }, value);
  return svg(
    "svg",
    { class: "epochs", width: WIDTH, height: HEIGHT, role: "img", "aria-label": `${metric} of each seed over the epochs` },
    svg("title", {}, `${metric} of each seed over the epochs; dashed where it collapsed`),
    [low, high].map((value) => [svg("line", { class: "axis", x1: LEFT, x2: WIDTH - 6, y1: y(value), y2: y(value) }), text(number(value), [LEFT - 5, y(value) + 4], "end")]),
    lines,
    text(`${metric} by step`, [LEFT, HEIGHT - 3], "start"),
    text(whole(last), [WIDTH - 6, HEIGHT - 3], "end"),
  );
}

/** Return the statistics before the first step, by site. */
function start(cell) {
  const sites = Object.entries(cell.start);
  if (!sites.length) return null;
  const names = [...new Set(sites.flatMap(([, values]) => Object.keys(values)))];
  const head = element("tr", {}, element("th", {}, "before the first step"), sites.map(([site]) => element("th", { scope: "col" }, site)));
  const rows = names.map((name) => element("tr", {}, element("th", { scope: "row" }, name.replaceAll("_", " ")), sites.map(([, values]) => element("td", {}, name in values ? number(values[name]) : ""))));
  return element("div", { class: "scrolls" }, element("table", { class: "plain" }, element("thead", {}, head), element("tbody", {}, rows)));
}
