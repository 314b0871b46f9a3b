/** The report's file: the same page over what is embedded in it. */

import { embeddedSource } from "./embedded_source.js";
import { Page } from "./page.js";
import { followReader } from "./theme.js";

/** Show `payload`, the page's embedded data, in place of what stands in the page for readers without scripts. */
export function show(payload) {
  let page = null;
  const theme = followReader((name) => page?.themed(name));
  page = new Page(document.getElementById("gradscope"), embeddedSource(payload), { tools: [theme] });
  return page.load();
}
