/** A map with its axes, a cursor over it, and the pointer and the keys that move the cursor. Panels say what it holds. */

import { rowLabels, stepLabels } from "./axes.js";
import { binned, columnAt } from "./binning.js";
import { element } from "./dom.js";
import { drawHeat } from "./heat.js";
import { hideTooltip, showTooltip } from "./tooltip.js";

const CHARACTER = 7.4; // CSS pixels of a row's name, at most on average
const LEAST_LABEL = 10; // characters
const DRAGGED = 8; // CSS pixels of the pointer's way that make a drag

/**
 * The frame. Its owner calls `draw`, then `point` at each move of the cursor.
 *
 * `on` has the functions `cell(row, step)` (chosen by a click or a key), `describe(row, column)` (lines of the tooltip) and,
 * where steps can be chosen, `range(from, to)` (by a drag, or from or up to the cursor by a key).
 */
export class HeatFrame {
  constructor(on) {
    this.on = on;
    this.canvas = element("canvas", { "aria-hidden": "true" });
    this.cursor = element("div", { class: "cursor", hidden: true });
    this.line = element("div", { class: "cursor-line", hidden: true });
    this.brush = element("div", { class: "brush", hidden: true });
    this.marks = element("div", { class: "marks" });
    this.labels = element("div", { class: "row-labels" });
    this.axis = element("div", { class: "step-labels" });
    this.above = element("div", { class: "above" });
    this.nothing = element("p", { class: "nothing", hidden: true }, "No record in these steps.");
    this.field = element("div", { class: "field", tabindex: 0, role: "application" }, this.nothing, this.canvas, this.line, this.cursor, this.brush, this.marks);
    this.corners = [element("div", { class: "corner upper" }), element("div", { class: "corner" })];
    this.node = element("div", { class: "heat" }, this.corners[0], this.above, this.labels, this.field, this.corners[1], this.axis);
    this.#listen();
  }

  /** Return how many CSS pixels wide the field is. */
  get width() {
    return Math.max(1, Math.floor(this.field.parentElement ? this.above.getBoundingClientRect().width : 0));
  }

  /**
   * Draw an answer of the source: `names` are the rows' { name, short } in the answer's order, `order` the rows from top to
   * bottom, `rowHeight` in CSS pixels, `label` what it is, for those who do not see it.
   */
  draw(answer, { names, order, scale, rowHeight, label }) {
    this.labels.style.width = `${Math.max(...names.map(({ short }) => short.length), LEAST_LABEL) * CHARACTER}px`;
    const width = this.width;
    this.drawn = width; // measured once: each measuring has the browser lay out the page
    this.shown = binned(answer, width);
    this.order = order;
    this.names = names;
    this.height = Math.round(rowHeight * order.length);
    this.field.style.height = `${this.height}px`;
    this.labels.style.height = `${this.height}px`;
    this.field.setAttribute("aria-label", `${label}; arrow keys move the cursor, [ and ] set where the shown steps begin and end`);
    this.nothing.hidden = this.shown.columns > 0;
    drawHeat(this.canvas, { ...this.shown, order, scale, width, height: this.height });
    this.axis.replaceChildren(...stepLabels(this.shown.steps, width));
    this.point({});
  }

  /** Put the cursor at a step and, where it is known, a row of the answer. */
  point({ step = this.step, row = this.row }) {
    [this.step, this.row] = [step, row];
    if (!this.shown?.columns || step === undefined) return;
    const [wide, high] = this.#cell();
    const place = this.order.indexOf(row);
    const left = columnAt(this.shown.steps, step) * wide;
    Object.assign(this.line.style, { left: `${left}px`, width: `${Math.max(1, wide)}px` });
    Object.assign(this.cursor.style, { left: `${left}px`, width: `${Math.max(3, wide)}px`, top: `${place * high}px`, height: `${Math.max(3, high)}px` });
    this.line.hidden = false;
    this.cursor.hidden = place < 0;
    this.labels.replaceChildren(...rowLabels(this.order.map((i) => this.names[i]), this.height, place).filter(Boolean));
  }

  /** Return the middle of a cell in CSS pixels, null for a row that is not drawn. */
  middle(row, step) {
    const place = this.order.indexOf(row);
    const [wide, high] = this.#cell();
    return place < 0 ? null : [(columnAt(this.shown.steps, step) + 0.5) * wide, (place + 0.5) * high];
  }

  #cell() {
    return [this.drawn / this.shown.columns, this.height / this.order.length];
  }

  #under(event) {
    const box = this.field.getBoundingClientRect();
    const [wide, high] = this.#cell();
    const column = Math.min(this.shown.columns - 1, Math.max(0, Math.floor((event.clientX - box.left) / wide)));
    const place = Math.min(this.order.length - 1, Math.max(0, Math.floor((event.clientY - box.top) / high)));
    return { column, row: this.order[place] };
  }

  #listen() {
    let start = null;
    const dragged = (event) => start && this.on.range && Math.abs(event.clientX - start.x) > DRAGGED;
    this.field.addEventListener("pointerdown", (event) => {
      if (!this.shown?.columns || event.button) return;
      start = { x: event.clientX, column: this.#under(event).column };
      this.field.setPointerCapture(event.pointerId);
    });
    this.field.addEventListener("pointermove", (event) => {
      if (!this.shown?.columns) return;
      const { column, row } = this.#under(event);
      showTooltip(event, this.on.describe(row, column));
      this.#brush(dragged(event) ? [start.column, column] : null);
    });
    this.field.addEventListener("pointerup", (event) => {
      if (!start || !this.shown?.columns) return;
      const { column, row } = this.#under(event);
      const ends = dragged(event) ? [start.column, column].sort((a, b) => a - b) : null;
      start = null;
      this.#brush(null);
      if (ends) this.on.range(...ends.map((end) => this.shown.steps[end]));
      else this.on.cell(row, this.shown.steps[column]);
    });
    this.field.addEventListener("pointerleave", hideTooltip);
    this.field.addEventListener("keydown", (event) => this.#key(event));
  }

  #brush(columns) {
    this.brush.hidden = !columns;
    if (!columns) return;
    const [wide] = this.#cell();
    const [first, last] = [Math.min(...columns), Math.max(...columns)];
    Object.assign(this.brush.style, { left: `${first * wide}px`, width: `${(last - first + 1) * wide}px` });
  }

  #key(event) {
    if (!this.shown?.columns || event.ctrlKey || event.metaKey || event.altKey) return;
    const column = columnAt(this.shown.steps, this.step ?? 0);
    const place = Math.max(0, this.order.indexOf(this.row));
    const far = event.shiftKey ? 10 : 1;
    if ("[]".includes(event.key) && this.on.range) {
      const { steps } = this.shown;
      this.on.range(...(event.key === "[" ? [steps[column], steps.at(-1)] : [steps[0], steps[column]]));
      return;
    }
    const to = {
      ArrowLeft: [column - far, place],
      ArrowRight: [column + far, place],
      ArrowUp: [column, place - far],
      ArrowDown: [column, place + far],
      Home: [0, place],
      End: [this.shown.columns - 1, place],
    }[event.key];
    if (!to) return;
    event.preventDefault();
    const within = (value, count) => Math.min(count - 1, Math.max(0, value));
    this.on.cell(this.order[within(to[1], this.order.length)], this.shown.steps[within(to[0], this.shown.columns)]);
  }
}
