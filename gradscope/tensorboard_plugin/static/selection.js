/** What the reader has chosen, shared by all panels: a change in one shows in the others. */

/**
 * Values by name, with listeners.
 *
 * member, beside (null: one alone), statistic, scale ("auto", "linear", "log"), range (null: all steps, else {from, to}), step,
 * site (its name), unit_statistic, steps (those that the map shows), data (counts reloads).
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
    const changed = Object.keys(changes).filter((name) => !same(changes[name], this.#values[name]));
    if (!changed.length) return;
    Object.assign(this.#values, changes);
    for (const { names, listener } of this.#listeners) if (names.some((name) => changed.includes(name))) listener();
  }

  /** Call `listener` at each change of any of the names. */
  on(names, listener) {
    this.#listeners.push({ names, listener });
  }
}

function same(one, other) {
  return one === other || (Boolean(one) && Boolean(other) && JSON.stringify(one) === JSON.stringify(other));
}

/**
 * Return a function that loads and then draws; where it is called again before the answer is there, the older answer is dropped.
 *
 * `load` returns a promise, or null for nothing to load; `draw` takes what it holds, `fail` an Error.
 */
export function latest(load, draw, fail) {
  let newest = 0;
  return async () => {
    const own = ++newest;
    try {
      const answer = await load();
      if (own === newest && answer !== null) draw(answer);
    } catch (error) {
      if (own === newest) fail(error);
    }
  };
}
