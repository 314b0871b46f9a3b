/** What was tried to find a cause: each change beside one that changes nothing, and whether gradient and loss came back. */

import { element } from "./dom.js";
import { counted, listed, number } from "./numbers.js";

/** Return what interventions showed of a cause; a paragraph with the reason where none was made. */
export function causeTable(tested) {
  if (!tested.interventions?.length) return tested.reason ? element("p", { class: "cause" }, tested.reason) : null;
  const seeds = tested.seeds?.length ? `, ${counted(tested.seeds.length, "seed")}` : "";
  const title = `Tried at ${tested.site} for ${counted(tested.steps, "step")} from step ${tested.begin}${seeds}`;
  const heads = ["", "gradient to", "loss", "lower in", "what came back"];
  return element(
    "details",
    { class: "tested" },
    element("summary", {}, title),
    element(
      "table",
      {},
      element("thead", {}, element("tr", {}, heads.map((text) => element("th", { scope: "col" }, text)))),
      element("tbody", {}, tested.interventions.map((one, i) => row(one, i))),
    ),
    tested.suspected && tested.cause ? element("p", { class: "hint" }, `Read from the records: ${tested.suspected}`) : null,
  );
}

function row(one, i) {
  const where = one.sites?.length ? ` at ${listed(one.sites, 3)}` : "";
  const cells = [share(one.reached), one.loss?.length ? number(mean(one.loss)) : "", i && one.loss?.length ? `${one.lower_in} of ${one.loss.length}` : "", back(one)];
  return element("tr", { class: one.works ? "works" : null }, element("th", { scope: "row" }, `${one.kind}${where}`), cells.map((cell) => element("td", {}, cell)));
}

function back({ works, brings_gradient: gradient, brings_loss: loss }) {
  if (works) return gradient ? "\u2714 both" : "\u2714 loss";
  if (gradient) return "gradient only";
  return loss ? "loss only" : "nothing";
}

function share(values) {
  if (!values?.length) return "";
  const reached = mean(values);
  return reached === null ? number(reached) : `${Math.round(100 * reached)} %`;
}

/** Return the mean of what is known, null where nothing is. */
function mean(values) {
  const known = values.filter((value) => value !== null);
  return known.length ? known.reduce((sum, value) => sum + value, 0) / known.length : null;
}
