/** A sweep's heat maps: a cell for each network, its mean written in it; a corner marks collapsed seeds, a cross diverged ones. */

import { css, textOn, viridis } from "./colors.js";
import { element } from "./dom.js";
import { fixed } from "./numbers.js";

/** Return the grid of one panel; `choose(cell)` is called with a cell's place in the document's list. */
export function sweepGrid(document, panel, scale, choose) {
  const { heat, cells } = document;
  const at = new Map(panel.cells.map(({ row, column, cell }) => [`${row},${column}`, cell]));
  const head = element("tr", {}, element("th", { class: "row-title" }, heat.row_title), heat.columns.map((name) => element("th", { scope: "col" }, name)));
  const rows = heat.rows.map((name, row) => {
    const shown = heat.columns.map((_, column) => element("td", {}, cellButton(cells, at.get(`${row},${column}`), scale, choose)));
    return element("tr", {}, element("th", { scope: "row" }, name), shown);
  });
  const table = element("table", { class: "grid", onkeydown: move }, element("caption", {}, heat.column_title), element("thead", {}, head), element("tbody", {}, rows));
  table.querySelector("button")?.setAttribute("tabindex", "0");
  return element("div", { class: "grid-panel" }, panel.title ? element("h3", {}, panel.title) : null, element("div", { class: "scrolls" }, table));
}

function cellButton(cells, place, scale, choose) {
  if (place === undefined) return null;
  const cell = cells[place];
  const known = cell.seeds.length > 0 && cell.mean !== null;
  const color = known ? viridis(scale.place(cell.mean)) : null;
  const style = color ? `background: ${css(color)}; color: ${textOn(color)}` : null;
  const share = cell.collapsed.length / Math.max(1, cell.seeds.length);
  return element(
    "button",
    { type: "button", class: known ? "cell" : "cell none", style, title: told(cell), tabindex: -1, dataset: { cell: place }, onclick: () => choose(place) },
    known ? (100 * cell.mean).toFixed(1) : "\u2013",
    share ? element("span", { class: share < 1 ? "collapsed some" : "collapsed", "aria-hidden": "true" }) : null,
    cell.diverged.length ? element("span", { class: "diverged", "aria-hidden": "true" }, "\u00d7") : null,
  );
}

function told(cell) {
  if (!cell.seeds.length) return `${cell.title}: not trained yet`;
  const parts = [`mean ${fixed(cell.mean, 3)} of ${cell.seeds.length} seeds`];
  if (cell.collapsed.length) parts.push(`${cell.collapsed.length} collapsed`);
  if (cell.diverged.length) parts.push(`${cell.diverged.length} diverged`);
  return `${cell.title}: ${parts.join(", ")}`;
}

/** Move the focus from cell to cell with the arrow keys. */
function move(event) {
  const ways = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };
  const way = ways[event.key];
  const from = event.target.closest("td");
  if (!way || !from) return;
  event.preventDefault();
  const row = from.parentElement;
  const rows = [...row.parentElement.children];
  const next = rows[rows.indexOf(row) + way[0]]?.children[from.cellIndex + way[1]]?.querySelector("button");
  if (!next) return;
  event.target.setAttribute("tabindex", "-1");
  next.setAttribute("tabindex", "0");
  next.focus();
}
