/** The frame of a panel: a section with its heading, its tools and its content. */

import { element } from "./dom.js";

/** Return a section named `id` with a heading; `tools` stand beside the heading and may be null. */
export function panel(id, heading, tools, ...content) {
  const head = element("div", { class: "panel-head" }, element("h2", { id: `${id}-heading` }, heading), tools);
  return element("section", { id, class: "panel", "aria-labelledby": `${id}-heading` }, head, ...content);
}
