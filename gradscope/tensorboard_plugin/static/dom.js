/** Elements made in one call, so that a panel reads like what it shows. */

const SVG = "http://www.w3.org/2000/svg";

/**
 * Return a new element with `attributes` and `children`.
 *
 * An attribute that is a function is a listener (`onclick`), `dataset` an object of data attributes; null and false leave an
 * attribute out. Children are nodes or texts; null leaves one out. Text is never read as HTML.
 */
export function element(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

/** Return a new element of an SVG picture, made as by `element`. */
export function svg(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") node.addEventListener(name.slice(2), value);
    else if (name === "dataset") Object.assign(node.dataset, value);
    else if (value !== null && value !== undefined && value !== false) node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

/** Replace the children of `container`; the focus stays at the same place among what can have it. */
export function refill(container, ...children) {
  const all = () => [...container.querySelectorAll("button, select, [tabindex='0']")];
  const place = all().indexOf(document.activeElement);
  container.replaceChildren(...children.flat(Infinity).filter(Boolean));
  if (place >= 0) all()[place]?.focus({ preventScroll: true });
}

/** Replace the children of `container` by what was made anew: the focus and what was unfolded stay where they were. */
export function swap(container, ...children) {
  const unfolded = [...container.querySelectorAll("details")].map(({ open }) => open);
  refill(container, ...children);
  container.querySelectorAll("details").forEach((one, i) => (one.open = unfolded[i] ?? one.open));
}

/** Return the children of a choice: one option for each of `[value, text]`. */
export function options(pairs, chosen) {
  return pairs.map(([value, text]) => element("option", { value, selected: value === chosen }, text));
}
