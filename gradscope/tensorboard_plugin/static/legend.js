/** What the colours of a map mean: the scale with its values, and the signs for what is not on it. */

import { INFINITE, VIRIDIS, ZERO, css } from "./colors.js";
import { element } from "./dom.js";

const MOST_TICKS = 4;

/** Return the legend of `scale`; `worse` is the sick end ("high", "low" or null), `arrays` what is drawn by it. */
export function legend(scale, worse, arrays) {
  const colors = `linear-gradient(to right, ${VIRIDIS.map(css).join(", ")})`;
  const ticks = scale.ticks(MOST_TICKS).map(({ place, text }) => {
    const shift = place < 0.04 ? "0" : place > 0.96 ? "-100%" : "-50%";
    return element("span", { style: `left: ${100 * place}%; transform: translateX(${shift})` }, text);
  });
  const end = (side) => (worse === side ? element("span", { class: "worse" }, "worse") : null);
  return element(
    "div",
    { class: "legend" },
    end("low"),
    element("div", { class: "ramp" }, element("div", { class: "colors", style: `background: ${colors}` }), element("div", { class: "ticks" }, ticks)),
    end("high"),
    signs(scale, arrays),
  );
}

function signs(scale, arrays) {
  const has = (test) => arrays.some((values) => values.some(test));
  return [
    scale.kind === "log" && has((value) => value <= 0 && Number.isFinite(value)) ? sign(css(ZERO), "\u25cb", "0") : null,
    has((value) => value === Infinity || value === -Infinity) ? sign(css(INFINITE), "\u00d7", "infinite") : null,
    has(Number.isNaN) ? sign(null, "", "no value") : null,
  ];
}

function sign(color, glyph, text) {
  const swatch = element("span", { class: color ? "swatch" : "swatch hatched", style: color ? `background: ${color}` : null }, glyph);
  return element("span", { class: "sign" }, swatch, text);
}
