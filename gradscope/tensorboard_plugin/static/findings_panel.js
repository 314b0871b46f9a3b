/** The findings: origins first, then what follows from them; a click shows the place in the map. */

import { causeTable } from "./cause_table.js";
import { element } from "./dom.js";
import { counted, whole } from "./numbers.js";
import { panel } from "./panel.js";
import { markOf, memberOf, sitesOf } from "./view_document.js";

const FOLDED_FROM = 6; // victims beyond that are behind a button

/** Return the panel. */
export function findingsPanel(view) {
  const { findings } = view.document;
  const seeds = seedsOf(view.document);
  const cards = findings.map((finding, i) => card(view, finding, seeds, findings[i - 1]));
  const list = element("ul", { class: "cards" }, cards.map((node) => element("li", {}, node)));
  const hidden = [...list.children].slice(FOLDED_FROM);
  const content = findings.length ? list : element("p", { class: "hint" }, "No rule found a failure.");
  const note = element("p", { class: "hint" }, element("span", { class: "mark-word origin" }, "\u25c6 origin"), " where a failure starts; ", element("span", { class: "mark-word victim" }, "\u25c7 victim"), " what follows from it. A click shows the place in the map.");
  return panel("findings", "Findings", null, findings.length ? note : null, content, hidden.length ? unfolding(hidden) : null);
}

function unfolding(hidden) {
  hidden.forEach((node) => (node.hidden = true));
  const show = (event) => {
    hidden.forEach((node) => (node.hidden = false));
    hidden[0].querySelector("button")?.focus();
    event.target.remove();
  };
  return element("button", { type: "button", onclick: show }, `Show ${hidden.length} more`);
}

function card(view, finding, seeds, above) {
  const sameCause = above && above.cause === finding.cause;
  const head = element(
    "button",
    { type: "button", class: "jump", onclick: () => jump(view, finding), disabled: !finding.place },
    element("span", { class: `glyph ${finding.role}`, "aria-hidden": "true" }, markOf(finding)),
    element("span", { class: "title" }, finding.title),
    element("span", { class: "code" }, finding.code),
    element("span", { class: `role ${finding.role}` }, finding.role),
    element("span", { class: `severity ${finding.severity}` }, finding.severity),
    element("span", { class: "since" }, standing(finding, seeds)),
  );
  const text = element("p", {}, finding.text);
  const evidence = finding.evidence_text ? element("p", { class: "evidence" }, element("b", {}, "Evidence "), finding.evidence_text) : null;
  const cause = finding.cause ? element("p", { class: "cause" }, element("b", {}, "Cause "), sameCause ? "as above" : finding.cause) : null;
  const tested = finding.tested && !sameCause ? causeTable(finding.tested) : null;
  const details = finding.role === "origin" ? [text, evidence, cause, tested] : [evidence, element("details", {}, element("summary", {}, "more"), text, cause, tested)];
  return element("article", { class: `card ${finding.role}` }, head, details);
}

function standing(finding, seeds) {
  const since = `from step ${whole(finding.first_step)}`;
  return seeds > 1 ? `in ${finding.seeds.length} of ${counted(seeds, "seed")}, ${since}` : since;
}

function seedsOf(document) {
  return document.report?.setting?.seeds?.length || document.members.filter(({ role }) => role === "control").length;
}

/** Show the finding's place: its member, the statistic that tells it, its site and its first step. */
function jump({ document, selection }, { place }) {
  const site = place.site === null ? null : sitesOf(document, place.member)[place.site];
  const shown = memberOf(document, place.member);
  const changes = { member: shown ? place.member : selection.get("member"), step: place.step, range: null };
  if (site) changes.site = site.name;
  if (place.statistic && shown?.statistics.includes(place.statistic)) changes.statistic = place.statistic;
  if (place.statistic && shown?.unit_statistics.includes(place.statistic)) changes.unit_statistic = place.statistic;
  selection.set(changes);
  const map = window.document.getElementById("map");
  map.scrollIntoView({ behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth", block: "start" });
  map.querySelector("h2").setAttribute("tabindex", "-1");
  map.querySelector("h2").focus({ preventScroll: true });
}
