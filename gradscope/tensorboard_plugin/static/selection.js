/** What the reader has chosen, shared by all panels: a change in one shows in the others. */

/**
 * Values by name, with listeners.
 *
 * member, beside (null: one alone), statistic, scale ("auto", "linear", "log"), range (null: all steps, else {from, to}), step
 * (always within the range), site (its name), unit_statistic, unit (its number, null: none), steps (those that the map shows), data
 * (counts reloads).
 */
export class Selection {
  #values;
  #listeners = [];

  constructor(values) {
    this.#values = { ...values };
  }

  /** Return the value of a name. */
  get(name) {
    return this.#values[name];
  }

  /** Take over what differs, and tell those who listen to any of it; each is told once. */
  set(changes) {
    const wanted = { ...changes, ...clamped({ ...this.#values, ...changes }) };
    const changed = Object.keys(wanted).filter((name) => !same(wanted[name], this.#values[name]));
    if (!changed.length) return;
    Object.assign(this.#values, wanted);
    for (const { names, listener } of this.#listeners) if (names.some((name) => changed.includes(name))) listener();
  }

  /** Call `listener` at each change of any of the names. */
  on(names, listener) {
    this.#listeners.push({ names, listener });
  }
}

/** Return the step where the range leaves it out: the nearest in it. */
function clamped({ range, step }) {
  return range && step !== undefined ? { step: Math.min(range.to, Math.max(range.from, step)) } : {};
}

function same(one, other) {
  return one === other || (Boolean(one) && Boolean(other) && JSON.stringify(one) === JSON.stringify(other));
}

/**
 * Return a function that loads and then draws; where it is called again before the answer is there, the older answer is dropped.
 *
 * `load` returns a promise, or null for nothing to load; `draw` takes what it holds, `fail` an Error. In between, `panel` is busy.
 */
export function latest(panel, load, draw, fail) {
  let newest = 0;
  return async () => {
    const own = ++newest;
    panel.setAttribute("aria-busy", "true");
    try {
      const answer = await load();
      if (own === newest && answer !== null) draw(answer);
    } catch (error) {
      if (own === newest) fail(error);
    }
    if (own === newest) panel.removeAttribute("aria-busy");
  };
}
