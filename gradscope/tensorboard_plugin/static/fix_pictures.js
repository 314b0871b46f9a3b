/** The two pictures of a fix: each seed's way from the control to the fix, and the effect with its interval. */

import { svg } from "./dom.js";
import { fixed } from "./numbers.js";

const SIDE = 8; // CSS pixels left free at both sides, for points at the ends
const PAIR = 9; // CSS pixels from one seed to the next
const MOST_HEIGHT = 90;

/** A range of values on `width` CSS pixels. */
export class Axis {
  constructor(values, width) {
    const finite = values.filter((value) => value !== null && Number.isFinite(value));
    this.low = Math.min(...finite);
    this.high = Math.max(...finite);
    if (!(this.high > this.low)) [this.low, this.high] = [this.low - 1 || -1, this.high + 1 || 1];
    this.width = width;
  }

  /** Return the x of a value. */
  x(value) {
    return SIDE + ((value - this.low) / (this.high - this.low)) * (this.width - 2 * SIDE);
  }
}

/** Return a fix's seeds on the metric's axis: a ring for the control, a dot for the fix, a line from one to the other. */
export function seedPicture(fix, control, axis) {
  const rows = fix.pairs ?? fix.values.map((value) => ({ control: null, value }));
  const each = Math.min(PAIR, MOST_HEIGHT / Math.max(1, rows.length));
  const height = Math.max(20, each * rows.length + 6);
  const chance = control?.chance;
  const text = fix.pairs
    ? fix.pairs.map(pairText).join("; ")
    : `values ${fix.values.map((value) => fixed(value)).join(", ")}`;
  return svg(
    "svg",
    { class: "seeds", width: axis.width, height, role: "img", "aria-label": text },
    svg("title", {}, text),
    chance === null || chance === undefined ? null : svg("line", { class: "chance", x1: axis.x(chance), x2: axis.x(chance), y1: 0, y2: height }),
    rows.map((row, i) => seed(row, axis, 3 + (i + 0.5) * ((height - 6) / rows.length))),
  );
}

function pairText({ seed: name, control, value }) {
  const way = value === null ? fixed(control) : `${fixed(control)} to ${fixed(value)}`;
  return name === null ? way : `seed ${name}: ${way}`;
}

function seed({ control, value }, axis, y) {
  const known = (number) => number !== null && number !== undefined && Number.isFinite(number);
  const way = known(control) && known(value) ? svg("line", { class: "way", x1: axis.x(control), x2: axis.x(value), y1: y, y2: y }) : null;
  const ring = known(control) ? svg("circle", { class: "control", cx: axis.x(control), cy: y, r: 3 }) : null;
  return [way, ring, known(value) ? svg("circle", { class: "value", cx: axis.x(value), cy: y, r: 3 }) : null];
}

/** Return the control's own seeds as rings on the metric's axis; `seeds` are their numbers, where they are known. */
export function controlPicture(control, axis, seeds = []) {
  const known = seeds.length === control.values.length;
  return seedPicture({ pairs: control.values.map((value, i) => ({ seed: known ? seeds[i] : null, control: value, value: null })), values: [] }, control, axis);
}

/** Return the effect as a point on its interval, beside the line of no effect. */
export function effectPicture(fix, axis) {
  const height = 24;
  const middle = height / 2;
  const ends = fix.interval?.every((end) => end !== null) ? fix.interval.map((end) => axis.x(end)) : null;
  const cap = (x) => svg("line", { class: "interval", x1: x, x2: x, y1: middle - 5, y2: middle + 5 });
  return svg(
    "svg",
    { class: `effect ${fix.verdict.replace(" ", "-")}`, width: axis.width, height, role: "img", "aria-label": effectText(fix) },
    svg("title", {}, effectText(fix)),
    svg("line", { class: "zero", x1: axis.x(0), x2: axis.x(0), y1: 0, y2: height }),
    ends ? [svg("line", { class: "interval", x1: ends[0], x2: ends[1], y1: middle, y2: middle }), ...ends.map(cap)] : null,
    fix.effect === null ? null : svg("circle", { class: "point", cx: axis.x(fix.effect), cy: middle, r: 4.5 }),
  );
}

/** Return the effect with its interval in words. */
export function effectText(fix, digits = 2) {
  const ends = fix.interval ? ` [${fix.interval.map((end) => fixed(end, digits)).join(", ")}]` : ", no interval";
  return `${fixed(fix.effect, digits, true)}${ends}`;
}
