/** The map: one statistic of every site by steps, of one member or of two side by side on one scale. */

import { element, options, refill } from "./dom.js";
import { legend } from "./legend.js";
import { MapPane } from "./map_pane.js";
import { whole } from "./numbers.js";
import { panel } from "./panel.js";
import { Scale } from "./scale.js";
import { latest } from "./selection.js";
import { memberOf, statisticOf } from "./view_document.js";

const MOST_COLUMNS = 1200;
const SCALES = [
  ["auto", "usual colours"],
  ["linear", "linear colours"],
  ["log", "log colours"],
];

/** Return the panel; it draws anew whenever its members, the statistic, the range, the colours or the data change. */
export function mapPanel(view) {
  const { selection } = view;
  const statistic = element("select", { id: "statistic", onchange: () => selection.set({ statistic: statistic.value }) });
  const scale = element("select", { id: "scale", onchange: () => selection.set({ scale: scale.value }) });
  const key = element("div", { class: "key" });
  const text = element("p", { class: "hint" });
  const panes = element("div", { class: "panes" });
  const tools = element("div", { class: "tools" }, element("label", {}, "Statistic ", statistic), element("label", {}, "Colours ", scale), key);
  const made = panel("map", "The map: every site, step by step", tools, text, panes);
  let shown = [];

  const load = () => {
    const members = [selection.get("member"), selection.get("beside")].filter(Boolean);
    offer(view, statistic, scale);
    const asked = { width: MOST_COLUMNS, ...selection.get("range") };
    return Promise.all(
      members.map(async (member) => {
        const asking = [view.source.matrix(member, selection.get("statistic"), asked), view.source.series(member, asked).catch(() => null)];
        const [matrix, series] = await Promise.all(asking);
        return { member, matrix, series };
      }),
    );
  };

  const draw = (loaded) => {
    const entry = statisticOf(view.document, selection.get("statistic"));
    const arrays = loaded.map(({ matrix }) => matrix.values);
    const kind = selection.get("scale") === "auto" ? (entry?.scale ?? "linear") : selection.get("scale");
    const colors = Scale.of(arrays, kind, kind === "linear" ? entry?.domain : null);
    shown = loaded.map(({ member }) => new MapPane(view, member));
    refill(panes, shown.map((pane) => pane.node));
    panes.classList.toggle("two", shown.length > 1);
    shown.forEach((pane, i) => pane.draw(loaded[i], colors));
    key.replaceChildren(legend(colors, entry?.worse, arrays));
    text.textContent = [entry?.text, drawnText(loaded, view.source.zooms)].filter(Boolean).join(" ");
    follow(selection, [...(loaded[0]?.matrix.steps ?? [])]);
  };

  const fail = (error) => panes.replaceChildren(element("p", { class: "problem", role: "alert" }, error.message));
  const refresh = latest(made, load, draw, fail);
  selection.on(["member", "beside", "statistic", "scale", "range", "data", "size", "theme"], refresh);
  selection.on(["step", "site"], () => shown.forEach((pane) => pane.point()));
  refresh();
  return made;
}

/** Offer the statistics that the shown members have, those of the gradient's flow apart from those of units. */
function offer({ document, selection }, statistic, scale) {
  const has = new Set(memberOf(document, selection.get("member"))?.statistics);
  const known = document.statistics.filter(({ name }) => has.has(name));
  const group = (label, per) => {
    const pairs = known.filter((entry) => entry.per === per).map(({ name, title }) => [name, title]);
    return pairs.length ? element("optgroup", { label }, options(pairs, selection.get("statistic"))) : null;
  };
  statistic.replaceChildren(...[group("of the site", "site"), group("mean over its units", "unit")].filter(Boolean));
  scale.replaceChildren(...options(SCALES, selection.get("scale")));
}

/** Take over the steps that are shown; a cursor at the last step stays at the last, and none is beyond it. */
export function follow(selection, steps) {
  const [step, last] = [selection.get("step"), selection.get("steps").at(-1)];
  const newest = steps.at(-1);
  const following = newest !== undefined && (step > newest || (step === last && !selection.get("range")));
  selection.set(following ? { steps, step: newest } : { steps });
}

function drawnText(loaded, zooms) {
  const [{ matrix } = {}] = loaded;
  if (!matrix || matrix.records <= matrix.steps.length) return "";
  const drawn = `${whole(matrix.steps.length)} of ${whole(matrix.records)} recorded steps are drawn`;
  return zooms ? `${drawn}; drag over a part of the map to see more of them.` : `${drawn}.`;
}
