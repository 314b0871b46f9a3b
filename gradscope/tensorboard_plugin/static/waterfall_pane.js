/** One member's waterfall at one step: a bar for each gate and each stretch of weights, from the loss down to the input. */

import { element } from "./dom.js";
import { number, whole } from "./numbers.js";
import { caption, lostAt } from "./stages.js";

const KINDS = { gate: "gate", weight: "weights" };

/**
 * Return the pane's node.
 *
 * `stages` as of `stagesAt`, `shown` the places of those to draw, `scale` the log scale of all bars; `choose(site)` is called with a
 * stage's site, `chosen` is the site under the cursor.
 */
export function waterfallPane({ title, step, stages, shown, scale, chosen, choose }) {
  const lost = lostAt(stages);
  const rows = [lossRow(scale)];
  let before = -1;
  for (const i of shown) {
    if (i > before + 1) rows.push(foldedRow(stages, before + 1, i));
    rows.push(stageRow(stages, i, { scale, lost: i === lost, chosen: stages[i].kind === "gate" && stages[i].site === chosen, choose }));
    before = i;
  }
  return element(
    "div",
    { class: "pane" },
    element("h3", {}, title, element("span", { class: "says" }, Number.isFinite(step) ? `step ${whole(step)}` : "")),
    element("p", { class: "caption" }, stages.length ? caption(stages).replaceAll(" -> ", " \u2192 ") : "No record in these steps."),
    element("div", { class: "waterfall", role: "table", "aria-label": `gradient waterfall of ${title} at step ${step}` }, heads(scale), rows),
    element("div", { class: "floor", "aria-hidden": "true" }, "\u25bc input"),
  );
}

function heads(scale) {
  const ticks = scale.ticks(4).map(({ place, text }) => element("span", { style: `left: ${100 * place}%` }, text));
  return line("heads", "", element("span", {}, "lets through"), element("div", { class: "bar-ticks" }, ticks), "left");
}

function lossRow(scale) {
  return line("loss", element("span", {}, "loss"), "", bar(1, null, scale, "loss"), "1");
}

function stageRow(stages, i, { scale, lost, chosen, choose }) {
  const { name, short, kind, passes, left, site } = stages[i];
  const before = i ? stages[i - 1].left : 1;
  const label = element(
    "button",
    { type: "button", class: "stage-name", title: `${KINDS[kind]} ${name}: show the site`, onclick: () => choose(site) },
    element("span", { class: `kind ${kind}` }, KINDS[kind]),
    element("span", { class: "name" }, short),
  );
  const state = [kind, lost ? "lost" : "", chosen ? "chosen" : ""].filter(Boolean).join(" ");
  const drawn = element("div", { class: "bar-cell" }, bar(left, before, scale, kind), lost ? element("span", { class: "lost-here" }, "\u25c4 lost here") : null);
  return line(state, label, passes === null ? "\u2013" : number(passes), drawn, leftText(left, before));
}

function leftText(left, before) {
  if (left !== null) return number(left);
  return before === 0 ? "0" : "no value";
}

/** Return a stretch of stages that is not drawn, with what it lets through as a whole. */
function foldedRow(stages, first, after) {
  const [before, behind] = [first ? stages[first - 1].left : 1, stages[after - 1].left];
  const passes = before && behind !== null ? number(behind / before) : "\u2013";
  return line("folded", element("span", {}, `\u22ee ${after - first} stages not shown`), passes, "", "");
}

/** Return the bar of what is left, with what was there before it and is gone beside it. */
function bar(left, before, scale, kind) {
  const place = (value) => (value ? 100 * scale.place(value) : 0);
  const [here, there] = [place(left), place(before)];
  const gone = there > here ? element("span", { class: "gone", style: `left: ${here}%; width: ${there - here}%` }) : null;
  const stays = left ? element("span", { class: `stays ${kind}`, style: `width: ${Math.max(0.6, here)}%` }) : null;
  return element("div", { class: "bar" }, gone, stays);
}

function line(state, ...cells) {
  return element("div", { class: `stage ${state}`, role: "row" }, cells.map((cell) => element("div", { role: "cell" }, cell)));
}
