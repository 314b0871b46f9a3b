/** The network in one line, from the input to the loss, with the places where a failure starts and where it follows. */

import { element } from "./dom.js";
import { counted } from "./numbers.js";
import { markOf } from "./view_document.js";

const MOST_SITES = 12; // in one line; of more, all but the ends and the origins are folded
const MOST_ORIGINS = 6;
const ENDS = 1; // sites kept at both ends

/** Return the strip of a layout's sites with the findings on them; null for a network in which no site was seen. */
export function networkStrip(layout, findings) {
  const sites = layout?.sites ?? [];
  if (!sites.length) return null;
  const marks = new Map(sites.map(({ name }) => [name, markAt(name, findings)]));
  const origins = sites.filter(({ name }) => marks.get(name)?.role === "origin").slice(0, MOST_ORIGINS);
  const shown = sites.filter((site, i) => sites.length <= MOST_SITES || i < ENDS || i >= sites.length - ENDS || origins.includes(site));
  const items = [element("li", { class: "end" }, "input")];
  let before = -1;
  for (const site of shown) {
    const place = sites.indexOf(site);
    if (place > before + 1) items.push(folded(sites.slice(before + 1, place), marks));
    items.push(chip(site, marks.get(site.name)));
    before = place;
  }
  return element("ol", { class: "strip", "aria-label": "the network from the input to the loss" }, items, element("li", { class: "end" }, "loss"));
}

/** Return the worst finding at a site: an origin before a victim. */
function markAt(name, findings) {
  const here = findings.filter(({ site }) => site === name);
  return here.find(({ role }) => role === "origin") ?? here[0];
}

function chip({ short, name }, finding) {
  const words = finding ? `${finding.role === "origin" ? "starts here" : "follows"}: ${finding.rule}` : null;
  const mark = finding ? element("span", { class: "glyph", "aria-hidden": "true" }, markOf(finding)) : null;
  return element("li", { class: finding ? `site ${finding.role}` : "site", title: name }, mark, short, words ? element("small", {}, words) : null);
}

function folded(sites, marks) {
  const follow = sites.filter(({ name }) => marks.get(name)).length;
  const words = follow ? `${markOf({ role: "victim" })} it shows in ${follow === sites.length ? "all of them" : follow}` : null;
  return element("li", { class: "folded" }, `\u2026 ${counted(sites.length, "site")} \u2026`, words ? element("small", {}, words) : null);
}
