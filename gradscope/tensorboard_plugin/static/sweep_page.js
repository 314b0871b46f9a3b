/** The page of a sweep: its grid as heat maps; a cell opens what its seeds came to. */

import { element } from "./dom.js";

/** Return the page's { node }. */
export function sweepPage(document) {
  return { node: element("p", {}, document.title) };
}
