/** The trial: the control, and each fix with every seed's way, its effect and its interval; the recommended one is marked. */

import { element } from "./dom.js";
import { Axis, controlPicture, effectPicture, effectText, seedPicture } from "./fix_pictures.js";
import { fixed, listed, number } from "./numbers.js";
import { panel } from "./panel.js";
import { isProved } from "./view_document.js";

const GLYPHS = { works: "\u2714", "no effect": "\u25cb", harms: "\u2716", inconclusive: "?" };
const NARROW = 480; // CSS pixels of the panel, below which the pictures stand under each other
const CLEAR = 44; // CSS pixels of an axis' ends that hold their numbers
const NAMES = 150; // CSS pixels of the column with the names
const BESIDE = 36; // and of the gaps around the pictures

/** Return the panel; null where nothing was tried. */
export function fixesPanel(view) {
  const { fixes, control, report } = view.document;
  if (!fixes.length) return null;
  const rows = element("div", { class: "fixes" });
  const confidence = fixes.find((fix) => fix.interval)?.confidence;
  const sure = confidence ? `, with the ${Number((100 * confidence).toPrecision(4))} % interval of the effect` : "";
  const chance = control?.chance ? " The dotted line is chance." : "";
  const hint = `Each line is a seed, from \u25cb the control to \u25cf the fix${sure}.${chance}`;
  const made = panel("fixes", `Fixes, by ${control?.metric ?? "metric"} on the test samples`, null, element("p", { class: "hint" }, hint), rows);
  const draw = () => rows.isConnected && rows.replaceChildren(...drawn(view.document, rows.getBoundingClientRect().width || 560)); // else replaced
  view.selection.on(["size"], draw);
  queueMicrotask(draw); // once it is in the page and has a width
  if (report?.placebo) made.append(element("p", { class: "hint" }, `Placebo, a change that changes nothing: ${effectText(report.placebo)}.`));
  return made;
}

function drawn({ fixes, control, recommended, report }, width) {
  const narrow = width < NARROW;
  const free = narrow ? width : width - NAMES - BESIDE;
  const digits = decimals(fixes);
  const metric = new Axis([...metricEnds(control), ...fixes.flatMap((fix) => [...fix.values, fix.mean])], Math.floor(free * (narrow ? 1 : 0.56)));
  const effect = new Axis([0, ...fixes.flatMap((fix) => [fix.effect, ...(fix.interval ?? [])])], Math.floor(free * (narrow ? 1 : 0.44)));
  return [
    heads(control, metric, effect, digits),
    control ? controlRow(control, metric, digits, report?.setting?.seeds) : null,
    ...fixes.map((fix) => row(fix, control, metric, effect, digits, fix.fix === recommended)),
  ].filter(Boolean);
}

/** Return the ends that the metric's axis always has: an accuracy is between 0 and 1. */
function metricEnds(control) {
  if (!control) return [0, 1];
  return [...(control.metric === "accuracy" ? [0, 1] : [0]), control.chance, ...control.values];
}

function decimals(fixes) {
  const ends = fixes.flatMap((fix) => [fix.effect, ...(fix.interval ?? [])]).filter((end) => end !== null);
  const most = Math.max(...ends.map(Math.abs), 0);
  return most >= 0.1 || !most ? 2 : most < 0.01 ? 4 : 3;
}

function heads(control, metric, effect, digits) {
  const ends = (axis, sign) => {
    const texts = [fixed(axis.low, digits, sign), fixed(axis.high, digits, sign)].map((text) => element("span", {}, text));
    const clear = sign && axis.x(0) > CLEAR && axis.x(0) < axis.width - CLEAR;
    return element("div", { class: "ends-of-axis" }, texts, clear ? element("span", { class: "zero", style: `left: ${axis.x(0)}px` }, "0") : null);
  };
  return element("div", { class: "fix heads" }, element("div", { class: "fix-name" }), picture(metric, control?.metric ?? "metric", ends(metric, false)), picture(effect, "effect", ends(effect, true)));
}

function picture(axis, ...content) {
  return element("div", { class: "fix-picture", style: `width: ${axis.width}px` }, content);
}

function controlRow(control, metric, digits, seeds) {
  const name = element("div", { class: "fix-name" }, element("b", {}, "control"), element("div", { class: "mean" }, `mean ${fixed(control.mean, digits)}`));
  return element("div", { class: "fix control" }, name, picture(metric, controlPicture(control, metric, seeds)));
}

function row(fix, control, metric, effect, digits, recommended) {
  const name = element(
    "div",
    { class: "fix-name" },
    element("b", {}, recommended ? "\u2605 " : "", fix.fix),
    recommended ? element("div", { class: "recommended" }, isProved(fix) ? "recommended" : "to try") : null,
    element("div", { class: `fix-verdict ${fix.verdict.replace(" ", "-")}` }, `${GLYPHS[fix.verdict]} ${fix.word ?? fix.verdict}`),
    element("div", { class: "mean" }, [`mean ${fixed(fix.mean, digits)}`, fix.cost ? `cost ${fix.cost.toFixed(2)}\u00d7` : ""].filter(Boolean).join(", ")),
  );
  const numbers = [effectText(fix, digits), fix.p !== null && fix.p !== undefined ? `p ${number(fix.p)}` : ""];
  return element(
    "div",
    { class: `fix ${recommended ? "is-recommended" : ""}`, title: notes(fix), dataset: { fix: fix.fix } },
    name,
    picture(metric, seedPicture(fix, control, metric)),
    picture(effect, effectPicture(fix, effect), element("div", { class: "numbers" }, numbers.filter(Boolean).join(", "))),
  );
}

function notes(fix) {
  const cleared = fix.cleared?.length ? `cleared ${listed(fix.cleared)}` : "";
  const remaining = fix.remaining?.length ? `${listed(fix.remaining)} remains` : "";
  return [fix.summary, cleared, remaining].filter(Boolean).join("; ");
}
