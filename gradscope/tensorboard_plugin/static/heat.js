/** A matrix as coloured cells on a canvas. What is not finite has a colour and a sign of its own. */

import { INFINITE, ZERO, css, viridis } from "./colors.js";

const GAP_FROM = 6; // pixels of a cell's side; smaller cells touch
const SIGN_FROM = 9; // pixels of a cell's side that hold a sign
const MOST_RECTANGLES = 30000; // more cells than that are painted as an image
const SHADES = 256;

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
  const context = canvas.getContext("2d");
  const paint = { values, columns, order, colors: palette(scale), hatch: hatching(context) };
  if (order.length * columns > MOST_RECTANGLES) drawImage(context, canvas, paint);
  else drawCells(context, canvas, paint, ratio);
}

/** Return the function from a value to its colour; null for NaN, which is hatched. */
function palette(scale) {
  const shades = Array.from({ length: SHADES }, (_, i) => viridis(i / (SHADES - 1)));
  return (value) => {
    if (Number.isNaN(value)) return null;
    if (!Number.isFinite(value)) return INFINITE;
    if (scale.kind === "log" && value <= 0) return ZERO;
    return shades[Math.round(scale.place(value) * (SHADES - 1))];
  };
}

function drawCells(context, canvas, { values, columns, order, colors, hatch }, ratio) {
  const [wide, high] = [canvas.width / columns, canvas.height / order.length];
  const gap = Math.min(wide, high) >= GAP_FROM * ratio ? Math.max(1, Math.round(ratio)) : 0;
  order.forEach((row, i) => {
    const [top, bottom] = [Math.round(i * high), Math.round((i + 1) * high)];
    for (let column = 0; column < columns; column++) {
      const [left, right] = [Math.round(column * wide), Math.round((column + 1) * wide)];
      const color = colors(values[row * columns + column]);
      context.fillStyle = color ? css(color) : hatch;
      context.fillRect(left, top, right - left - gap, bottom - top - gap);
      if (gap && Math.min(wide, high) >= SIGN_FROM * ratio) drawSign(context, color, (left + right - gap) / 2, (top + bottom - gap) / 2, ratio);
    }
  });
}

/** Draw a cross for what is not finite, a ring for zero on a log scale. */
function drawSign(context, color, x, y, ratio) {
  if (color !== INFINITE && color !== ZERO) return;
  const size = 2.5 * ratio;
  context.strokeStyle = "#fff";
  context.lineWidth = 1.2 * ratio;
  context.beginPath();
  if (color === ZERO) context.arc(x, y, size, 0, 2 * Math.PI);
  else for (const side of [-1, 1]) context.moveTo(x - size, y - side * size), context.lineTo(x + size, y + side * size);
  context.stroke();
}

function drawImage(context, canvas, { values, columns, order, colors, hatch }) {
  const image = new ImageData(columns, order.length);
  order.forEach((row, i) => {
    for (let column = 0; column < columns; column++) {
      const color = colors(values[row * columns + column]);
      if (color) image.data.set([...color, 255], 4 * (i * columns + column));
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
