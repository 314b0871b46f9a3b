/** The page around a run or a sweep: which one is shown, and what happens when there is new data. */

import { element, options } from "./dom.js";
import { runPage } from "./run_page.js";
import { sweepPage } from "./sweep_page.js";

const VERDICTS = { sick: "\u2716 sick", healthy: "\u2714 healthy", undecided: "? undecided" };

const NOTHING = "No run of gradscope was found here. `gradscope diagnose RECIPE` writes one into runs/, `gradscope.watch(..., log_dir=...)` into its folder.";

/** The page. `selected` tells of a run's name whether it is to be offered; `wanted` is what to show first. */
export class Page {
  #newest = 0;

  constructor(root, source, { selected = () => true, wanted = {}, tools = [] } = {}) {
    Object.assign(this, { root, source, selected, wanted, run: wanted.run, shown: null });
    this.choice = element("select", { id: "run", onchange: () => this.#choose(this.choice.value) });
    this.chooser = element("label", { class: "run-choice" }, "Run ", this.choice);
    this.title = element("h1", {}, "gradscope");
    this.problem = element("p", { class: "problem", role: "alert" });
    this.content = element("div", { class: "content" });
    root.replaceChildren(element("header", {}, this.title, this.chooser, tools), this.content);
    new ResizeObserver(() => this.#resized()).observe(this.content);
  }

  /** Load and show; what the reader has chosen stays. Of two calls the later one counts, whichever is answered first. */
  async load() {
    const own = ++this.#newest;
    try {
      const known = await this.source.runs();
      if (own !== this.#newest) return;
      const entries = known.filter(({ members }) => !members.length || members.some(this.selected));
      this.#offer(entries);
      if (!entries.length) return this.#tellNone(known.length);
      const document = await this.source.document(this.run);
      if (own !== this.#newest) return;
      this.#show(document.kind === "sweep" ? document : only(document, this.selected));
      this.problem.remove();
    } catch (error) {
      if (own === this.#newest) this.#tell(error.message);
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
    this.#clear();
    this.wanted = {};
    return this.load();
  }

  #show(document) {
    const key = JSON.stringify(document);
    if (this.shown?.key === key) return;
    this.title.textContent = document.title;
    window.document.title = `${document.title} - gradscope`;
    if (this.shown?.update?.(document)) {
      this.shown.key = key;
      return;
    }
    const made = document.kind === "sweep" ? sweepPage(document) : runPage(this.source, document, { ...this.wanted, ...chosen(this.shown), size: this.#width() });
    const top = window.scrollY;
    this.content.replaceChildren(made.node);
    if (this.shown) window.scrollTo({ top });
    this.shown = { ...made, key };
  }

  /** Say what is wrong; what is shown stays: it may be right again soon. */
  #tell(text) {
    this.problem.textContent = text;
    this.content.before(this.problem);
  }

  #tellNone(known) {
    const are = known === 1 ? "1 run is" : `${known} runs are`;
    this.#clear();
    this.#tell(known ? `${are} here, and none of them is selected in TensorBoard: its filter of runs leaves them out.` : NOTHING);
  }

  #clear() {
    this.wanted = { ...this.wanted, ...chosen(this.shown) };
    this.shown = null;
    this.content.replaceChildren();
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

/** Return what the reader has chosen so far, for a page that is made anew. */
function chosen(shown) {
  if (!shown?.selection) return {};
  const names = ["member", "beside", "statistic", "unit_statistic", "unit", "scale", "range", "step", "site", "unfolded"];
  return Object.fromEntries(names.map((name) => [name, shown.selection.get(name)]));
}
