/** Colours of a sweep's metric by the logarithm of what is missing to 1: 90 % and 99 % are as far apart as chance and 90 %. */

const LEAST_ERROR = 1e-3; // 1 - metric; better is not told apart
const NARROWEST = 1.05; // ratio of errors that the whole scale spans at least, so that noise is not painted in all colours
const ROUND = [0.1, 0.2, 0.5, 0.8, 0.9, 0.95, 0.98, 0.99, 0.995, 0.999];
const APART = 0.2; // of the legend's width: so far are ticks from each other and from the ends

/** The scale that holds all values that are finite. */
export class ErrorScale {
  constructor(values) {
    const finite = values.filter((value) => value !== null && Number.isFinite(value));
    this.kind = "linear"; // to the legend: it has no sign for zero
    this.low = finite.length ? Math.min(...finite) : 0;
    this.high = finite.length ? Math.max(...finite) : 1;
    [this.worst, this.best] = [missing(this.low), missing(this.high)];
    if (this.worst < NARROWEST * this.best) {
      const middle = Math.sqrt(this.worst * this.best);
      [this.worst, this.best] = [middle * Math.sqrt(NARROWEST), middle / Math.sqrt(NARROWEST)];
    }
  }

  /** Return where on the scale a value is, from 0 (worst) to 1 (best). */
  place(value) {
    return Math.min(1, Math.max(0, Math.log(this.worst / missing(value)) / Math.log(this.worst / this.best)));
  }

  /** Return round values within the scale and its ends, in per cent. */
  ticks() {
    const inner = ROUND.filter((value) => value > this.low && value < this.high && this.place(value) > APART && this.place(value) < 1 - APART);
    const kept = inner.filter((value, i) => i === 0 || this.place(value) - this.place(inner[i - 1]) >= APART);
    const values = this.high > this.low ? [this.low, ...kept, this.high] : [this.low];
    return values.map((value) => ({ value, place: this.place(value), text: (100 * value).toFixed(1) }));
  }
}

function missing(value) {
  return Math.max(1 - value, LEAST_ERROR);
}
