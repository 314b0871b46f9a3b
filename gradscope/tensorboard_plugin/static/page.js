/** The page around a run or a sweep: which one is shown, and what happens when there is new data. */

import { element, options } from "./dom.js";
import { runPage } from "./run_page.js";
import { sweepPage } from "./sweep_page.js";

const VERDICTS = { sick: "\u2716 sick", healthy: "\u2714 healthy", undecided: "? undecided" };

/** The page. `selected` tells of a run's name whether it is to be offered; `wanted` is what to show first. */
export class Page {
  constructor(root, source, { selected = () => true, wanted = {}, tools = [] } = {}) {
    Object.assign(this, { root, source, selected, wanted, run: wanted.run, shown: null });
    this.choice = element("select", { id: "run", onchange: () => this.#choose(this.choice.value) });
    this.chooser = element("label", { class: "run-choice" }, "Run ", this.choice);
    this.title = element("h1", {}, "gradscope");
    this.content = element("div", { class: "content" });
    root.replaceChildren(element("header", {}, this.title, this.chooser, tools), this.content);
    new ResizeObserver(() => this.#resized()).observe(this.content);
  }

  /** Load and show; what the reader has chosen stays. */
  async load() {
    try {
      const entries = (await this.source.runs()).filter(({ members }) => !members.length || members.some(this.selected));
      this.#offer(entries);
      if (!entries.length) return this.#tell("No run of gradscope was found here. `gradscope diagnose RECIPE` writes one into runs/, `gradscope.watch(..., log_dir=...)` into its folder.");
      const document = await this.source.document(this.run);
      this.#show(document.kind === "sweep" ? document : only(document, this.selected));
    } catch (error) {
      this.#tell(error.message);
    }
  }

  /** Tell all panels that the theme has changed. */
  themed(theme) {
    this.shown?.selection?.set({ theme });
  }

  /** Ask for everything anew. */
  async reload() {
    this.source.forget();
    await this.load();
  }

  #offer(entries) {
    if (!entries.some(({ run }) => run === this.run)) this.run = entries[0]?.run;
    this.choice.replaceChildren(...options(entries.map((entry) => [entry.run, entryText(entry, entries)]), this.run));
    this.chooser.hidden = entries.length < 2;
  }

  #choose(run) {
    this.run = run;
    this.wanted = {};
    this.shown = null;
    return this.load();
  }

  #show(document) {
    const key = JSON.stringify(document);
    if (this.shown?.key === key) return;
    this.title.textContent = document.title;
    window.document.title = `${document.title} - gradscope`;
    if (this.shown?.view && sameShape(this.shown.view.document, document)) {
      const { view, selection } = this.shown;
      view.document = document;
      this.shown.key = key;
      selection.set({ data: selection.get("data") + 1 });
      return;
    }
    const made = document.kind === "sweep" ? sweepPage(document) : runPage(this.source, document, { ...this.wanted, ...chosen(this.shown), size: this.#width() });
    const top = window.scrollY;
    this.content.replaceChildren(made.node);
    if (this.shown) window.scrollTo({ top });
    this.shown = { ...made, key };
  }

  #tell(text) {
    this.shown = null;
    this.content.replaceChildren(element("p", { class: "problem", role: "alert" }, text));
  }

  #resized() {
    if (this.#width()) this.shown?.selection?.set({ size: this.#width() });
  }

  #width() {
    return this.content.getBoundingClientRect().width;
  }
}

function entryText({ run, title, kind, verdict, last_step: last }, entries) {
  const state = kind === "sweep" ? "sweep" : (VERDICTS[verdict] ?? `not judged yet, step ${last}`);
  const isOnly = entries.filter((entry) => entry.title === title).length === 1;
  return isOnly ? `${title} (${state})` : `${title} (${state}) in ${run}`;
}

/** Return the document with the selected members only; with all where none is selected. */
function only(document, selected) {
  const members = document.members.filter(({ member }) => selected(member));
  return members.length ? { ...document, members } : document;
}

/** Tell whether only numbers and steps differ, so that the panels can stay. */
function sameShape(one, other) {
  const shape = ({ run, verdict, headline, findings, fixes, members, layouts }) => [run, verdict, headline, findings, fixes, layouts, members.map(({ member, statistics }) => [member, statistics])];
  return JSON.stringify(shape(one)) === JSON.stringify(shape(other));
}

/** Return what the reader has chosen so far, for a page that is made anew. */
function chosen(shown) {
  if (!shown?.selection) return {};
  const names = ["member", "beside", "statistic", "unit_statistic", "scale", "range", "step", "site", "unfolded"];
  return Object.fromEntries(names.map((name) => [name, shown.selection.get(name)]));
}
