/** The page of one run: the verdict, what was found and what cures it, then the panels that share a cursor. */

import { aboutPanel } from "./about_panel.js";
import { armsPanel } from "./arms_panel.js";
import { element, swap } from "./dom.js";
import { findingsPanel } from "./findings_panel.js";
import { fixesPanel } from "./fixes_panel.js";
import { mapPanel } from "./map_panel.js";
import { Selection } from "./selection.js";
import { toolbar } from "./toolbar.js";
import { unitPanel } from "./unit_panel.js";
import { verdictPanel } from "./verdict_panel.js";
import { firstBeside, firstMember, memberOf, sitesOf } from "./view_document.js";
import { waterfallPanel } from "./waterfall_panel.js";

const FIRST_STATISTICS = ["remaining", "gate_transmission"]; // what tells most at first sight, where it was recorded

/**
 * Return the page's { node, selection, update }; `wanted` are values that the selection starts with, where they fit the run.
 *
 * `update(document)` shows a later document of the run in place, and returns whether it could: panels that it leaves as they are stay.
 */
export function runPage(source, document, wanted = {}) {
  const selection = new Selection(starting(document, wanted));
  const view = { source, document, selection };
  const drawn = selection.get("member") !== null;
  const panels = drawn ? [toolbar(view), mapPanel(view), waterfallPanel(view), unitPanel(view)] : [nothing(document)];
  const told = element("div", { class: "told-by-report" }, toldPanels(view));
  const arms = element("div", {}, drawn ? armsPanel(view) : null);
  const about = element("div", {}, aboutPanel(view));
  const node = element("div", { class: "run" }, told, panels, arms, about);

  const update = (later) => {
    const shown = [selection.get("member"), selection.get("beside")].filter(Boolean);
    if (!shown.length || !shown.every((member) => continues(view.document, later, member))) return false;
    const isToldAnew = reported(view.document) !== reported(later);
    view.document = later;
    if (isToldAnew) {
      swap(told, ...toldPanels(view));
      swap(about, aboutPanel(view));
    }
    if (!arms.hasChildNodes()) swap(arms, armsPanel(view));
    selection.set({ data: selection.get("data") + 1 });
    return true;
  };
  return { node, selection, update };
}

/** Return what the report says: the verdict, what was found, what cures it. */
function toldPanels(view) {
  return [verdictPanel(view), element("div", { class: "told" }, findingsPanel(view), fixesPanel(view))];
}

/** Tell whether a later document is of the same run, in which a member that is shown is as it was. */
function continues(one, later, name) {
  const shown = (document) => {
    const { statistics, unit_statistics: ofUnits } = memberOf(document, name) ?? {};
    return JSON.stringify([document.run, sitesOf(document, name), statistics, ofUnits]);
  };
  return Boolean(memberOf(later, name)) && shown(one) === shown(later);
}

/** Return, to be compared, what a report changes; of the sites those that the verdict draws. */
function reported({ verdict, headline, remedy, notes, findings, fixes, control, recommended, layouts }) {
  return JSON.stringify([verdict, headline, remedy, notes, findings, fixes, control, recommended, layouts[0]]);
}

function nothing({ verdict }) {
  const text = verdict ? "There is no record of this run, and so no map." : "Nothing was recorded yet; the map is drawn as soon as there is a record.";
  return element("p", { class: "panel hint" }, text);
}

/** Return what tells most about the units of a site: whether they shut, or saturate, as far as they can. */
function telling(site) {
  if (site?.shuts_frac > 0) return "closed_frac";
  return site?.saturates_frac > 0 ? "saturated_frac" : "common_mode";
}

/** Return the step that is wanted; beyond all of them, so that it becomes the last, where none or no number is. */
function stepOf(wanted) {
  const step = Number(wanted ?? Infinity);
  return Number.isNaN(step) ? Infinity : step;
}

function starting(document, wanted) {
  const known = (name) => (name && memberOf(document, name)?.statistics.length ? name : null);
  const member = known(wanted.member) ?? firstMember(document);
  const beside = wanted.beside === undefined ? firstBeside(document, member) : known(wanted.beside);
  const has = memberOf(document, member)?.statistics ?? [];
  const first = document.findings.find(({ place }) => place?.member === member && place.site !== null)?.place;
  const sites = sitesOf(document, member);
  const units = memberOf(document, member)?.unit_statistics ?? [];
  return {
    member,
    beside,
    statistic: [wanted.statistic, first?.statistic, ...FIRST_STATISTICS, ...has].find((name) => has.includes(name)) ?? null,
    unit_statistic: [wanted.unit_statistic, first?.statistic, telling(sites[first?.site] ?? sites.at(-1))].find((name) => units.includes(name)) ?? units[0] ?? null,
    scale: wanted.scale ?? "auto",
    range: wanted.range ?? null,
    step: stepOf(wanted.step),
    site: [wanted.site, sites[first?.site]?.name, sites.at(-1)?.name].find((name) => sites.some((site) => site.name === name)) ?? null,
    unit: wanted.unit ?? null,
    steps: [],
    unfolded: wanted.unfolded ?? false,
    data: 0,
    size: wanted.size ?? 0,
    theme: "",
  };
}
