/** The two axes of a map: names of rows at its left, steps below it, as few as fit. */

import { element } from "./dom.js";
import { whole } from "./numbers.js";

const LABEL_HEIGHT = 14; // CSS pixels from one name to the next
const CHARACTER = 6.5; // CSS pixels of a digit
const BETWEEN = 14; // CSS pixels left free between two numbers

/** Return the labels of the rows, each at its row's middle; `chosen` is the place from the top that is always labelled. */
export function rowLabels(names, height, chosen = -1) {
  const each = height / names.length;
  const every = Math.max(1, Math.ceil(LABEL_HEIGHT / each));
  const fits = (i) => i % every === 0 && (chosen < 0 || Math.abs(i - chosen) >= every);
  return names.map(({ short, name }, i) =>
    i === chosen || fits(i)
      ? element("span", { class: i === chosen ? "row-label chosen" : "row-label", style: `top: ${(i + 0.5) * each}px`, title: name }, short)
      : null,
  );
}

/** Return the steps below the columns, first and last always, those between as far as they fit. */
export function stepLabels(steps, width) {
  const count = steps.length;
  if (!count) return [];
  const each = width / count;
  const size = (i) => whole(steps[i]).length * CHARACTER;
  const centre = (i) => Math.min(Math.max((i + 0.5) * each, size(i) / 2), width - size(i) / 2);
  const shown = [0];
  const last = count - 1;
  const apart = (i, j) => centre(j) - centre(i) >= (size(i) + size(j)) / 2 + BETWEEN;
  for (let i = 1; i < last; i++) if (apart(shown.at(-1), i) && apart(i, last)) shown.push(i);
  if (last > 0) shown.push(last);
  return shown.map((i) => element("span", { class: "step-label", style: `left: ${centre(i)}px` }, whole(steps[i])));
}
