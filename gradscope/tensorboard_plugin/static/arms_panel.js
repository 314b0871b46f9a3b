/** All arms and seeds at a glance: the map's statistic of each member, small, on one scale. A click sets one beside another. */

import { element, refill } from "./dom.js";
import { drawHeat } from "./heat.js";
import { panel } from "./panel.js";
import { Scale } from "./scale.js";
import { latest } from "./selection.js";
import { drawable, sitesOf, statisticOf } from "./view_document.js";

const WIDTH = 104; // CSS pixels of a small map
const LOWEST = 34;
const HIGHEST = 72;
const ROW = 9; // CSS pixels of a site's row, where that fits

/** Return the panel; null where there is one member only. It draws once it comes into sight. */
export function armsPanel(view) {
  const { selection } = view;
  if (drawable(view.document).length < 2) return null;
  const rows = element("div", { class: "arms" });
  const hint = "Every arm and seed, by the map's statistic, on one scale. A click shows one in the panels above, a click with Shift sets it beside.";
  const made = panel("arms", "Arms and seeds side by side", null, element("p", { class: "hint" }, hint), rows);
  let seen = false;

  const load = () => {
    if (!seen) return null;
    const statistic = selection.get("statistic");
    const asked = { width: WIDTH, ...selection.get("range") };
    const members = drawable(view.document).filter(({ statistics }) => statistics.includes(statistic));
    return Promise.all(members.map(async (entry) => ({ entry, matrix: await view.source.matrix(entry.member, statistic, asked).catch(() => null) })));
  };

  const draw = (loaded) => {
    const entry = statisticOf(view.document, selection.get("statistic"));
    const kind = selection.get("scale") === "auto" ? (entry?.scale ?? "linear") : selection.get("scale");
    const scale = Scale.of(loaded.map(({ matrix }) => matrix?.values ?? []), kind, kind === "linear" ? entry?.domain : null);
    const arms = [...new Set(loaded.map((one) => one.entry.arm))];
    refill(rows, arms.map((arm) => armRow(view, arm, loaded.filter((one) => one.entry.arm === arm), scale)));
    mark();
  };

  const mark = () => {
    for (const button of rows.querySelectorAll("button")) {
      const { member } = button.dataset;
      button.classList.toggle("shown", member === selection.get("member"));
      button.classList.toggle("beside", member === selection.get("beside"));
      button.setAttribute("aria-pressed", String(member === selection.get("member")));
    }
  };

  const fail = (error) => rows.replaceChildren(element("p", { class: "problem", role: "alert" }, error.message));
  const refresh = latest(made, load, draw, fail);
  new IntersectionObserver((entries, observer) => {
    if (!entries.some(({ isIntersecting }) => isIntersecting)) return;
    observer.disconnect();
    seen = true;
    refresh();
  }, { rootMargin: "200px" }).observe(made);
  selection.on(["statistic", "scale", "range", "data", "theme"], refresh);
  selection.on(["member", "beside"], mark);
  return made;
}

function armRow(view, arm, known, scale) {
  const star = arm === view.document.recommended ? "\u2605 " : "";
  return element("div", { class: "arm" }, element("div", { class: "arm-name" }, star, arm), element("div", { class: "thumbs" }, known.map((one) => thumb(view, one, scale))));
}

function thumb(view, { entry, matrix }, scale) {
  const sites = sitesOf(view.document, entry.member);
  const height = Math.min(HIGHEST, Math.max(LOWEST, ROW * sites.length));
  const canvas = element("canvas", { "aria-hidden": "true" });
  const choose = ({ shiftKey }) => view.selection.set(shiftKey ? { beside: entry.member } : { member: entry.member });
  const button = element("button", { type: "button", class: "thumb", title: `${entry.arm}, seed ${entry.seed}`, dataset: { member: entry.member }, onclick: choose }, canvas, element("span", {}, `seed ${entry.seed}`));
  const order = sites.map((_, i) => sites.length - 1 - i);
  if (matrix) drawHeat(canvas, { ...matrix, order, scale, width: WIDTH, height });
  else canvas.replaceWith(element("span", { class: "hint", style: `display: block; width: ${WIDTH}px` }, "could not be read"));
  return button;
}
