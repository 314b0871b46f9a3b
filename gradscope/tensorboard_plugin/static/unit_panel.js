/** The units of one site by steps, sorted by what they came to: which of them are shut, saturated, or the same for every sample. */

import { columnAt } from "./binning.js";
import { element, options, refill } from "./dom.js";
import { HeatFrame } from "./heat_frame.js";
import { legend } from "./legend.js";
import { counted, number, whole } from "./numbers.js";
import { panel } from "./panel.js";
import { Scale } from "./scale.js";
import { latest } from "./selection.js";
import { memberOf, memberTitle, sitesOf, statisticOf } from "./view_document.js";

const HEIGHT = 260; // CSS pixels
const HIGHEST_ROW = 20;
const MOST_COLUMNS = 1200;

/** Return the panel; it shows the site under the cursor. */
export function unitPanel(view) {
  const { selection } = view;
  const site = element("select", { id: "site", onchange: () => selection.set({ site: site.value }) });
  const statistic = element("select", { id: "unit-statistic", onchange: () => selection.set({ unit_statistic: statistic.value }) });
  const key = element("div", { class: "key" });
  const panes = element("div", { class: "panes" });
  const tools = element("div", { class: "tools" }, element("label", {}, "Site ", site), element("label", {}, "Statistic ", statistic), key);
  const text = element("p", { class: "hint" });
  const made = panel("units", "The units of one site, sorted by how they end", tools, text, panes);
  let shown = [];

  const load = () => {
    offer(view, site, statistic);
    const members = [selection.get("member"), selection.get("beside")].filter(Boolean);
    const asked = { width: MOST_COLUMNS, ...selection.get("range") };
    return Promise.all(members.map((member) => unitsOf(view, member, asked)));
  };

  const draw = (loaded) => {
    const entry = statisticOf(view.document, selection.get("unit_statistic"));
    const arrays = loaded.filter(({ units }) => units).map(({ units }) => units.values);
    const scale = Scale.of(arrays, entry?.scale ?? "linear", entry?.scale === "log" ? null : entry?.domain);
    shown = loaded.map((one) => unitPane(view, one));
    refill(panes, shown.map((pane) => pane.node));
    panes.classList.toggle("two", shown.length > 1);
    shown.forEach((pane) => pane.draw(scale));
    key.replaceChildren(...(arrays.length ? [legend(scale, entry?.worse, arrays)] : []));
    text.textContent = entry?.text ?? "";
  };

  const fail = (error) => panes.replaceChildren(element("p", { class: "problem", role: "alert" }, error.message));
  const refresh = latest(made, load, draw, fail);
  selection.on(["member", "beside", "site", "unit_statistic", "range", "data", "size", "theme"], refresh);
  selection.on(["step", "unit"], () => shown.forEach((pane) => pane.point()));
  refresh();
  return made;
}

function offer({ document, selection }, site, statistic) {
  const member = memberOf(document, selection.get("member"));
  const sites = sitesOf(document, selection.get("member"));
  site.replaceChildren(...options(sites.map(({ name, short, units }) => [name, `${short} (${counted(units, "unit")})`]), selection.get("site")));
  const known = document.statistics.filter(({ name }) => member?.unit_statistics.includes(name));
  if (known.length && !known.some(({ name }) => name === selection.get("unit_statistic"))) selection.set({ unit_statistic: known[0].name });
  statistic.replaceChildren(...options(known.map(({ name, title }) => [name, title]), selection.get("unit_statistic")));
}

/** Return { member, units } or { member, problem }: one of two members may lack the site or the statistic. */
async function unitsOf({ document, source, selection }, member, asked) {
  const place = sitesOf(document, member).findIndex(({ name }) => name === selection.get("site"));
  if (place < 0) return { member, problem: `it has no site ${selection.get("site")}` };
  try {
    return { member, units: await source.units(member, place, selection.get("unit_statistic"), asked) };
  } catch (error) {
    return { member, problem: error.message };
  }
}

function unitPane(view, { member, units, problem }) {
  const { selection } = view;
  const says = element("span", { class: "says" });
  const title = element("h3", {}, memberTitle(view.document, member), says);
  if (!units) {
    return { node: element("div", { class: "pane" }, title, element("p", { class: "absent" }, problem)), draw: () => {}, point: () => {} };
  }
  const order = sorted(units);
  const name = statisticOf(view.document, units.statistic)?.title ?? units.statistic;
  const frame = new HeatFrame({
    cell: (row, step) => selection.set({ unit: units.units[row], step }),
    range: (from, to) => selection.set({ range: { from, to } }),
    describe: (row, column) => {
      const { steps, values, columns } = frame.shown;
      return [`${selection.get("site")}, unit ${units.units[row]}`, `step ${whole(steps[column])}`, `${name}: ${number(values[row * columns + column])}`];
    },
  });
  frame.corners[0].append("unit");
  const readout = element("p", { class: "readout", "aria-live": "polite" });
  const point = () => {
    const [step, row] = [selection.get("step"), units.units.indexOf(selection.get("unit"))];
    frame.point({ step, row });
    says.textContent = tally(units, step);
    readout.textContent = row < 0 || !frame.shown?.columns ? "" : frame.on.describe(row, columnAt(frame.shown.steps, step)).join(", ");
  };
  const names = [...units.units].map((unit) => ({ short: String(unit), name: `unit ${unit}` }));
  const rowHeight = Math.min(HIGHEST_ROW, HEIGHT / Math.max(1, order.length));
  const draw = (scale) => {
    frame.draw(units, { names, order, scale, rowHeight, label: `${name} of ${order.length} units at ${selection.get("site")} by steps` });
    point();
  };
  return { node: element("div", { class: "pane", dataset: { member } }, title, frame.node, readout), draw, point };
}

/** Return the rows from the largest last value to the smallest; those that end alike by what they were on average. */
function sorted({ rows, columns, values }) {
  const last = (row) => values[row * columns + columns - 1];
  const mean = (row) => values.subarray(row * columns, (row + 1) * columns).reduce((sum, value) => sum + (value || 0), 0);
  const of = (value) => (Number.isNaN(value) ? -Infinity : value);
  const keys = Array.from({ length: rows }, (_, row) => [of(last(row)), of(mean(row)), row]);
  keys.sort((a, b) => (b[0] > a[0] ? 1 : b[0] < a[0] ? -1 : b[1] - a[1] || a[2] - b[2]));
  return keys.map(([, , row]) => row);
}

/** Return how many units have a share of exactly 1 at the step, or at the last one before it that has units; of others than shares, nothing. */
export function tally(units, step) {
  const words = { closed_frac: "closed for every sample", saturated_frac: "saturated for every sample" }[units.statistic];
  if (!words || !units.columns) return "";
  const column = columnAt(units.steps, step);
  let count = 0;
  for (let row = 0; row < units.rows; row++) count += units.values[row * units.columns + column] >= 1;
  const sample = units.rows < units.of ? ` looked at, of ${whole(units.of)}` : "";
  const other = units.steps[column] === step || !Number.isFinite(step) ? "" : ` at step ${whole(units.steps[column])}`;
  return `${whole(count)} of ${whole(units.rows)}${sample} ${words}${other}`;
}
