/** Loss and metric as two lines above a map, on the map's own columns. */

import { columnAt } from "./binning.js";
import { svg } from "./dom.js";
import { fixed, number, whole } from "./numbers.js";

export const HEIGHT = 54; // CSS pixels
const MARGIN = 4; // above and below the lines

/** Return the picture of a member's series over the map's `steps`, `width` CSS pixels wide. */
export function curves(series, steps, width) {
  const at = placing(steps, width);
  const loss = points(series.loss_steps, series.loss, at, steps);
  const metric = points(series.metric_steps, series.metric, at, steps);
  return svg(
    "svg",
    { class: "curves", width, height: HEIGHT, viewBox: `0 0 ${width} ${HEIGHT}`, role: "img", "aria-label": described(series) },
    line(loss, "loss", [0, highest(loss)]),
    line(metric, "metric", [Math.min(0, ...metric.map(([, value]) => value)), Math.max(1, highest(metric))]),
  );
}

/** Return what the series hold at a step, each with a sample of its line. */
export function seriesText(series, step) {
  const loss = series.loss.length ? [sample("loss"), ` loss ${lossText(series, step)} `] : [];
  const at = columnAt(series.metric_steps, step);
  const known = series.metric.length && series.metric_steps[at] <= step;
  const test = known && Number.isFinite(series.test_loss[at]) ? `, test loss ${number(series.test_loss[at])}` : "";
  const metric = series.metric.length ? [sample("metric"), ` ${series.metric_name} ${known ? fixed(series.metric[at]) : "not measured yet"}${test}`] : [];
  return [...loss, ...metric];
}

/** Return the loss at a step; where it was last told at an earlier one, with that step: it may have changed since. */
function lossText({ loss, loss_steps: steps }, step) {
  const at = columnAt(steps, step);
  if (steps[at] > step) return "not told yet";
  const value = Number.isNaN(loss[at]) ? "not a number" : number(loss[at]);
  return steps[at] === step || !Number.isFinite(step) ? value : `${value} (step ${whole(steps[at])})`;
}

function sample(name) {
  return svg("svg", { class: "curves sample", width: 22, height: 8, "aria-hidden": "true" }, svg("line", { class: `line ${name}`, x1: 0, x2: 22, y1: 4, y2: 4 }));
}

function described(series) {
  const [first, last] = [series.loss[0], series.loss.at(-1)];
  const metric = series.metric.length ? `; ${series.metric_name} ends at ${fixed(series.metric.at(-1))}` : "";
  return series.loss.length ? `training loss from ${number(first)} to ${number(last)}${metric}` : "no loss was reported";
}

/** Return the function from a step to its x: columns are records, not steps, so between two it goes in proportion. */
function placing(steps, width) {
  const each = width / Math.max(1, steps.length);
  return (step) => {
    const column = columnAt(steps, step);
    const next = steps[column + 1];
    const share = next === undefined ? 0 : Math.min(1, Math.max(0, (step - steps[column]) / (next - steps[column])));
    return (column + 0.5 + share) * each;
  };
}

function points(at, values, place, steps) {
  const [first, last] = [steps[0], steps[steps.length - 1]];
  const found = [];
  at.forEach((step, i) => {
    if (Number.isFinite(values[i]) && step >= first && step <= last) found.push([place(step), values[i]]);
  });
  return found;
}

function highest(found) {
  return found.reduce((most, [, value]) => Math.max(most, value), 0);
}

function line(found, name, [low, high]) {
  if (!found.length) return null;
  const y = (value) => HEIGHT - MARGIN - ((value - low) / (high - low || 1)) * (HEIGHT - 2 * MARGIN);
  const path = found.map(([x, value], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y(value).toFixed(1)}`).join("");
  return svg("path", { class: `line ${name}`, d: path });
}
