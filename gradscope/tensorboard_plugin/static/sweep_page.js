/** The page of a sweep: its grid as heat maps; a cell opens what its seeds came to. */

import { element } from "./dom.js";
import { ErrorScale } from "./error_scale.js";
import { legend } from "./legend.js";
import { counted, fixed, listed, number } from "./numbers.js";
import { panel } from "./panel.js";
import { sweepCell } from "./sweep_cell.js";
import { sweepGrid } from "./sweep_grid.js";

/** Return the page's { node }. */
export function sweepPage(document) {
  const scale = new ErrorScale(document.cells.map(({ mean }) => mean));
  const details = element("div", { id: "cell", "aria-live": "polite" }, element("p", { class: "hint" }, "Choose a cell to see its seeds."));
  const choose = (place) => {
    for (const button of node.querySelectorAll(".cell")) button.setAttribute("aria-pressed", String(Number(button.dataset.cell) === place));
    details.replaceChildren(sweepCell(document, document.cells[place]));
  };
  const grids = document.heat.panels.map((one) => sweepGrid(document, one, scale, choose));
  const key = element("div", { class: "key" }, legend(scale, "low", []));
  const map = panel("sweep", heading(document), element("div", { class: "tools" }, signs(document), key), element("p", { class: "hint" }, note(document)), element("div", { class: "grids" }, grids));
  const node = element("div", { class: "sweep" }, map, panel("cell-panel", "One cell", null, details), factorPanel(document));
  return { node };
}

function heading({ cells, metric }) {
  const seeds = Math.max(0, ...cells.map((cell) => cell.seeds.length));
  return `${seeds > 1 ? `mean ${metric} of ${seeds} seeds` : metric}, in per cent, ${counted(cells.length, "cell")}`;
}

function note({ unfinished, interval_method: method }) {
  const missing = unfinished ? `${counted(unfinished, "network")} not trained yet. ` : "";
  return `${missing}A click, or Enter, on a cell shows its seeds, findings and curves below; arrow keys go from cell to cell. Intervals: ${method}.`;
}

function signs({ cells }) {
  const has = (name) => cells.some((cell) => cell[name].length);
  const sign = (mark, text) => element("span", { class: "sign" }, mark, text);
  return element(
    "div",
    { class: "legend" },
    has("collapsed") ? sign(element("span", { class: "swatch corner-sample" }, element("span", { class: "collapsed" })), "seeds collapsed (full size: all)") : null,
    has("diverged") ? sign(element("span", { class: "swatch diverged-sample" }, "\u00d7"), "seeds diverged") : null,
    cells.some((cell) => !cell.seeds.length) ? sign(element("span", { class: "swatch none-sample" }), "not trained yet") : null,
  );
}

/** Return how much of the differences each factor explains; null where that was not computed. */
function factorPanel({ result }) {
  const effects = result?.factors?.effects ?? [];
  const answer = result?.mixing?.answer;
  if (!effects.length && !answer) return null;
  const heads = ["factor", "share of the variance explained", "p (corrected)", "best and worst value"].map((text) => element("th", { scope: "col" }, text));
  const rows = effects.map((effect) => element("tr", {}, element("th", { scope: "row" }, effect.name), element("td", {}, share(effect.eta_squared)), element("td", {}, effect.p_holm === null ? "\u2013" : number(effect.p_holm)), element("td", {}, ends(effect.levels))));
  const table = effects.length ? element("div", { class: "scrolls" }, element("table", { class: "plain" }, element("thead", {}, element("tr", {}, heads)), element("tbody", {}, rows))) : null;
  const assumptions = result?.factors?.assumptions?.length ? element("p", { class: "hint" }, listed(result.factors.assumptions, 20)) : null;
  return panel("factors", "What makes the difference", null, answer ? element("p", {}, answer) : null, table, assumptions);
}

function share(value) {
  if (value === null) return "\u2013";
  return element("div", { class: "share" }, element("span", { class: "share-bar", style: `width: ${Math.max(0, 100 * value)}px` }), `${(100 * value).toFixed(1)} %`);
}

function ends(levels) {
  const [best, worst] = [levels[0], levels.at(-1)];
  return levels.length > 1 ? `${best.value} (${fixed(best.mean)}), ${worst.value} (${fixed(worst.mean)})` : "";
}
