/** One member's map: its sites from the loss down to the input, by steps, under its loss and metric. */

import { columnAt } from "./binning.js";
import { curves, seriesText } from "./curves.js";
import { element, svg } from "./dom.js";
import { HeatFrame } from "./heat_frame.js";
import { number, whole } from "./numbers.js";
import { findingsIn, markOf, memberTitle, sitesOf, statisticOf } from "./view_document.js";

const HIGHEST_ROW = 30; // CSS pixels
const LOWEST_ROW = 3;
const ROW_FOR_VICTIMS = 10; // CSS pixels; in lower rows the marks of victims would hide what is under them
const HEIGHT = 420; // of the whole map, where rows can be lower

/** The pane of one member. `view` has the document and the selection; `member` is the member's name. */
export class MapPane {
  constructor(view, member) {
    this.view = view;
    this.member = member;
    this.sites = sitesOf(view.document, member);
    this.says = element("span", { class: "says" });
    this.frame = new HeatFrame({
      cell: (row, step) => view.selection.set({ site: this.sites[row].name, step }),
      range: (from, to) => view.selection.set({ range: { from, to } }),
      describe: (row, column) => this.#describe(row, column),
    });
    const title = element("h3", {}, memberTitle(view.document, member), this.says);
    this.frame.corners[0].append("loss \u25b2");
    this.frame.corners[1].append("input \u25bc");
    this.readout = element("p", { class: "readout", "aria-live": "polite" });
    this.node = element("div", { class: "pane", dataset: { member } }, title, this.frame.node, this.readout);
  }

  /** Draw what was loaded: the statistic's matrix, and the series or null. */
  draw({ matrix, series }, scale) {
    this.series = series;
    this.matrix = matrix;
    const statistic = statisticOf(this.view.document, matrix.statistic);
    const order = this.sites.map((_, i) => this.sites.length - 1 - i);
    const rowHeight = Math.max(LOWEST_ROW, Math.min(HIGHEST_ROW, HEIGHT / order.length));
    const label = `${statistic?.title ?? matrix.statistic} of ${memberTitle(this.view.document, this.member)}, sites by steps`;
    this.frame.draw(matrix, { names: this.sites, order, scale, rowHeight, label });
    this.frame.above.replaceChildren(series?.loss.length || series?.metric.length ? curves(series, this.frame.shown.steps, this.frame.width) : "");
    this.#mark();
    this.point();
  }

  /** Follow the cursor. */
  point() {
    const { selection } = this.view;
    const row = this.sites.findIndex((site) => site.name === selection.get("site"));
    this.frame.point({ step: selection.get("step"), row });
    this.readout.textContent = row < 0 || !this.matrix?.columns ? "" : this.#read(row, columnAt(this.frame.shown.steps, selection.get("step")));
    this.says.replaceChildren(...(this.series ? seriesText(this.series, selection.get("step")) : []));
  }

  #mark() {
    const groups = new Map();
    const room = this.frame.height >= ROW_FOR_VICTIMS * this.sites.length;
    const { from, to } = this.view.selection.get("range") ?? { from: -Infinity, to: Infinity };
    const within = ({ first_step: step }) => step >= from && step <= to;
    for (const finding of findingsIn(this.view.document, this.member).filter((one) => within(one) && (room || one.role === "origin"))) {
      const row = this.sites.findIndex((site) => site.name === finding.site);
      const middle = row < 0 || !this.matrix.columns ? null : this.frame.middle(row, finding.first_step);
      if (middle) groups.set(middle.join(), { middle, findings: [...(groups.get(middle.join())?.findings ?? []), finding] });
    }
    this.frame.marks.replaceChildren(...[...groups.values()].map(({ middle, findings }) => this.#markAt(middle, findings)));
  }

  #markAt([x, y], findings) {
    const titles = findings.map((finding) => `${finding.title}, ${finding.role}, from step ${whole(finding.first_step)}`).join("; ");
    const first = findings.find((finding) => finding.role === "origin") ?? findings[0];
    return element("span", { class: `mark ${first.role}`, style: `left: ${x}px; top: ${y}px`, title: titles }, diamond());
  }

  #read(row, column) {
    const [site, step, value] = this.#describe(row, column);
    return `${site}, ${step}, ${value}`;
  }

  #describe(row, column) {
    const { steps, values, columns, statistic } = this.frame.shown;
    const site = this.sites[row];
    const title = statisticOf(this.view.document, statistic)?.title ?? statistic;
    const found = findingsIn(this.view.document, this.member).filter((finding) => finding.site === site.name);
    return [
      site.name,
      `step ${whole(steps[column])}`,
      `${title}: ${number(values[row * columns + column])}`,
      ...found.map((finding) => `${markOf(finding)} ${finding.rule} (${finding.role}) from step ${whole(finding.first_step)}`),
    ];
  }
}

/** Return the mark of a finding; filled or hollow by the style of its role. */
function diamond() {
  return svg("svg", { width: 16, height: 16, viewBox: "0 0 16 16", "aria-hidden": "true" }, svg("path", { class: "halo", d: "M8 1 15 8 8 15 1 8Z" }), svg("path", { class: "shape", d: "M8 2.5 13.5 8 8 13.5 2.5 8Z" }));
}
