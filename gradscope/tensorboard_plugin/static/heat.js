/** A matrix as coloured cells on a canvas. What is not finite has a colour and a sign of its own. */

import { INFINITE, ZERO, css, viridis } from "./colors.js";

const GAP_FROM = 6; // pixels of a cell's side; smaller cells touch, and are painted as an image
const SIGN_FROM = 9; // pixels of a cell's side that hold a sign
const SHADES = 256;
const [AT_ZERO, AT_INFINITE, NOTHING] = [SHADES, SHADES + 1, SHADES + 2]; // places after the shades
const COLORS = [...Array.from({ length: SHADES }, (_, i) => viridis(i / (SHADES - 1))), ZERO, INFINITE];

/**
 * Draw `values[row * columns + column]` into `canvas`, `width` by `height` CSS pixels.
 *
 * `order` are the rows from top to bottom. NaN is hatched, infinities and, on a log scale, zeros have their own colours and signs.
 */
export function drawHeat(canvas, { values, columns, order, scale, width, height }) {
  const ratio = window.devicePixelRatio || 1;
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
  canvas.style.width = `${width}px`;
  canvas.style.height = `${height}px`;
  if (!columns || !order.length) return;
  const context = canvas.getContext("2d");
  const paint = { values, columns, order, shade: shading(scale), hatch: hatching(context) };
  const side = Math.min(width / columns, height / order.length);
  if (side < GAP_FROM) drawImage(context, canvas, paint);
  else drawCells(context, canvas, paint, ratio, side >= SIGN_FROM);
}

/** Return the function from a value to the place of its colour, `NOTHING` for NaN. */
function shading(scale) {
  return (value) => {
    if (Number.isNaN(value)) return NOTHING;
    if (!Number.isFinite(value)) return AT_INFINITE;
    if (scale.kind === "log" && value <= 0) return AT_ZERO;
    return Math.round(scale.place(value) * (SHADES - 1));
  };
}

function drawCells(context, canvas, { values, columns, order, shade, hatch }, ratio, signed) {
  const [wide, high] = [canvas.width / columns, canvas.height / order.length];
  const gap = Math.max(1, Math.round(ratio));
  order.forEach((row, i) => {
    const [top, bottom] = [Math.round(i * high), Math.round((i + 1) * high)];
    for (let column = 0; column < columns; column++) {
      const [left, right] = [Math.round(column * wide), Math.round((column + 1) * wide)];
      const place = shade(values[row * columns + column]);
      context.fillStyle = place === NOTHING ? hatch : css(COLORS[place]);
      context.fillRect(left, top, right - left - gap, bottom - top - gap);
      if (signed) drawSign(context, place, (left + right - gap) / 2, (top + bottom - gap) / 2, ratio);
    }
  });
}

/** Draw a cross for what is not finite, a ring for zero on a log scale. */
function drawSign(context, place, x, y, ratio) {
  if (place !== AT_INFINITE && place !== AT_ZERO) return;
  const size = 2.5 * ratio;
  context.strokeStyle = "#fff";
  context.lineWidth = 1.2 * ratio;
  context.beginPath();
  if (place === AT_ZERO) context.arc(x, y, size, 0, 2 * Math.PI);
  else for (const side of [-1, 1]) context.moveTo(x - size, y - side * size), context.lineTo(x + size, y + side * size);
  context.stroke();
}

/** Paint one pixel for each cell and stretch the picture: a matrix of 200 rows by 1200 columns in one go. */
function drawImage(context, canvas, { values, columns, order, shade, hatch }) {
  const image = new ImageData(columns, order.length);
  const pixels = new DataView(image.data.buffer);
  const packed = COLORS.map(([red, green, blue]) => ((red << 24) | (green << 16) | (blue << 8) | 255) >>> 0);
  order.forEach((row, i) => {
    for (let column = 0; column < columns; column++) {
      const place = shade(values[row * columns + column]);
      if (place !== NOTHING) pixels.setUint32(4 * (i * columns + column), packed[place]);
    }
  });
  const small = document.createElement("canvas");
  [small.width, small.height] = [columns, order.length];
  small.getContext("2d").putImageData(image, 0, 0);
  context.fillStyle = hatch;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.imageSmoothingEnabled = false;
  context.drawImage(small, 0, 0, canvas.width, canvas.height);
}

function hatching(context) {
  const tile = document.createElement("canvas");
  [tile.width, tile.height] = [6, 6];
  const pen = tile.getContext("2d");
  const colors = getComputedStyle(document.documentElement);
  pen.fillStyle = colors.getPropertyValue("--hatch-ground") || "#eee";
  pen.fillRect(0, 0, 6, 6);
  pen.strokeStyle = colors.getPropertyValue("--hatch-line") || "#999";
  pen.beginPath();
  for (const shift of [-6, 0, 6]) pen.moveTo(shift, 6), pen.lineTo(shift + 6, 0);
  pen.stroke();
  return context.createPattern(tile, "repeat");
}
