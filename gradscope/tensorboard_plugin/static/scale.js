/** From a value to its place between 0 and 1, and back to a few round values for the legend. */

import { number } from "./numbers.js";

const FEWEST_DECADES = 1; // so that noise is not painted in all colours
const MOST_DECADES = 12; // of gradients: what is smaller shows as the smallest

/** A linear or logarithmic range. */
export class Scale {
  constructor(kind, low, high) {
    this.kind = kind;
    this.low = low;
    this.high = high;
  }

  /**
   * Return the scale that holds all finite values of the arrays.
   *
   * `kind` is "linear" or "log"; `range` is [low, high] where the statistic has natural ends (a share: 0 and 1), null ends are
   * taken from the values. A log scale holds the values above zero.
   */
  static of(arrays, kind, range = [null, null]) {
    let low = Infinity;
    let high = -Infinity;
    for (const values of arrays) {
      for (const value of values) {
        if (!Number.isFinite(value) || (kind === "log" && value <= 0)) continue;
        if (value < low) low = value;
        if (value > high) high = value;
      }
    }
    if (low > high) [low, high] = kind === "log" ? [0.1, 1] : [0, 1];
    return kind === "log" ? Scale.#decades(low, high) : Scale.#linear(low, high, range);
  }

  static #linear(low, high, range) {
    const ends = [range?.[0] ?? Math.min(0, low), range?.[1] ?? high];
    return new Scale("linear", ends[0], ends[1] > ends[0] ? ends[1] : ends[0] + 1);
  }

  static #decades(low, high) {
    const top = Math.ceil(Math.log10(high) - 1e-6);
    const bottom = Math.max(Math.floor(Math.log10(low) + 1e-6), top - MOST_DECADES);
    return new Scale("log", 10 ** Math.min(bottom, top - FEWEST_DECADES), 10 ** top);
  }

  /** Return where on the scale a value is, from 0 to 1; NaN for what has no place: not finite, or no more than 0 on a log scale. */
  place(value) {
    if (!Number.isFinite(value) || (this.kind === "log" && value <= 0)) return NaN;
    const place =
      this.kind === "log"
        ? Math.log(value / this.low) / Math.log(this.high / this.low)
        : (value - this.low) / (this.high - this.low);
    return Math.min(1, Math.max(0, place));
  }

  /** Return about `most` round values on the scale with their texts, ends included. */
  ticks(most = 5) {
    const values = this.kind === "log" ? this.#powers(most) : this.#steps(most);
    return values.map((value) => ({ value, place: this.place(value), text: this.kind === "log" ? power(value) : number(value) }));
  }

  #powers(most) {
    const [low, high] = [Math.round(Math.log10(this.low)), Math.round(Math.log10(this.high))];
    const stride = Math.max(1, Math.ceil((high - low) / (most - 1)));
    const found = [];
    for (let exponent = high; exponent >= low; exponent -= stride) found.unshift(10 ** exponent);
    return found;
  }

  #steps(most) {
    const raw = (this.high - this.low) / (most - 1);
    const size = 10 ** Math.floor(Math.log10(raw));
    const step = [1, 2, 2.5, 5, 10].map((factor) => factor * size).find((candidate) => candidate >= raw * 0.999);
    const found = [];
    for (let i = Math.ceil(this.low / step - 1e-9); i * step <= this.high * (1 + 1e-9); i++) found.push(Number((i * step).toPrecision(6)));
    return found;
  }
}

/** Return a power of ten: plain where it is short, else with a raised exponent. */
function power(value) {
  const exponent = Math.round(Math.log10(value));
  if (exponent >= -2 && exponent <= 3) return String(Number(value.toPrecision(3)));
  const raised = [...String(exponent)].map((digit) => (digit === "-" ? "\u207b" : "\u2070\u00b9\u00b2\u00b3\u2074\u2075\u2076\u2077\u2078\u2079"[digit])).join("");
  return `10${raised}`;
}
