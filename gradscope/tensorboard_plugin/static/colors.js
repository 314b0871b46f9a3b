/** The colours of a map: readable in grey, to the colour-blind, and on light and dark pages. */

/** Nine colours from dark to light, evenly apart to the eye (viridis; S. van der Walt and N. Smith, matplotlib, CC0). */
export const VIRIDIS = [
  [68, 1, 84],
  [71, 44, 122],
  [59, 81, 139],
  [44, 113, 142],
  [33, 144, 141],
  [39, 173, 129],
  [92, 200, 99],
  [170, 220, 50],
  [253, 231, 37],
];
/** Of a value that is not finite: on no place of the scale, to no kind of eye. */
export const INFINITE = [214, 0, 110];
/** Of a zero on a log scale, which has no place for it: nothing like the smallest value, not in cells too small for a sign either. */
export const ZERO = [213, 94, 0];

/** Return red, green and blue of a place from 0 to 1 on the scale. */
export function viridis(place) {
  const position = Math.min(1, Math.max(0, place)) * (VIRIDIS.length - 1);
  const i = Math.min(VIRIDIS.length - 2, Math.floor(position));
  return VIRIDIS[i].map((channel, k) => Math.round(channel + (position - i) * (VIRIDIS[i + 1][k] - channel)));
}

/** Return the colour as CSS. */
export function css([red, green, blue]) {
  return `rgb(${red}, ${green}, ${blue})`;
}

/** Return white or black, whichever stands out more on a colour (luminance as in WCAG 2). */
export function textOn(color) {
  const [red, green, blue] = color.map((c) => (c <= 10 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
  const luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
  return (luminance + 0.05) / 0.05 > 1.05 / (luminance + 0.05) ? "#000" : "#fff";
}
