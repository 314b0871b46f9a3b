/** Numbers and counts for reading, worded as on the console. */

/** Return a number with two digits that tell; exact zeros and integers as such; what is not finite by its name. */
export function number(value) {
  if (value === null || value === undefined) return "n/a";
  if (Number.isNaN(value)) return "no value";
  if (!Number.isFinite(value)) return value > 0 ? "infinite" : "minus infinite";
  if (value === 0 || (Number.isInteger(value) && Math.abs(value) < 1e4)) return String(value);
  const size = Math.abs(value);
  if (size >= 1e-3 && size < 1e4) return value.toFixed(Math.max(0, 1 - Math.floor(Math.log10(size))));
  return value.toExponential(1).replace(/e([+-])(\d)$/, "e$10$2");
}

/** Return a metric with `digits` decimals, without a minus before zero; `sign` puts a plus before a gain. */
export function fixed(value, digits = 2, sign = false) {
  if (value === null || value === undefined || !Number.isFinite(value)) return number(value);
  if (Math.abs(value) >= 1e4) return value.toExponential(1);
  const text = value.toFixed(digits).replace(/^-(0(\.0*)?)$/, "$1");
  return sign && !text.startsWith("-") ? `+${text}` : text.replace("-", "\u2212");
}

/** Return a step or another count with its thousands apart. */
export function whole(value) {
  return String(Math.round(value)).replace(/\B(?=(\d{3})+$)/g, "\u202f"); // toLocaleString takes a thousand times as long
}

/** Return the count with its noun in the right number. */
export function counted(count, noun) {
  return `${whole(count)} ${noun}${count === 1 ? "" : "s"}`;
}

/** Join items with commas, counting those beyond `most`. */
export function listed(items, most = 8) {
  const shown = items.slice(0, most).join(", ");
  return items.length > most ? `${shown} and ${items.length - most} more` : shown;
}

/** Return the name with its middle left out where it is longer than `most` characters: both ends tell sites apart. */
export function cut(name, most) {
  if (name.length <= most) return name;
  const head = Math.floor((most - 1) / 2);
  return `${name.slice(0, head)}\u2026${name.slice(name.length - (most - 1 - head))}`;
}
