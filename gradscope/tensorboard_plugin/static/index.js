/** The tab: TensorBoard imports this module into the tab's page and calls `render`. */

import { element } from "./dom.js";
import { Page } from "./page.js";
import { routeSource } from "./route_source.js";
import { TensorBoardHost } from "./tensorboard_host.js";
import { followReader, followTensorBoard } from "./theme.js";

/** Draw the tab, and keep it up to date. */
export async function render() {
  const sheet = element("link", { rel: "stylesheet", href: "./static/style.css" });
  const styled = new Promise((resolve) => ["load", "error"].forEach((event) => sheet.addEventListener(event, resolve)));
  const root = element("main", { id: "gradscope" });
  document.documentElement.lang = "en";
  document.head.append(sheet);
  document.body.append(root);
  let page = null;
  const host = new TensorBoardHost(() => page?.reload());
  const [wanted] = await Promise.all([host.addressed(), styled]); // widths are measured
  page = new Page(root, routeSource(), { selected: (run) => host.selected()(run), wanted });
  const changed = (theme) => page.themed(theme);
  try {
    followTensorBoard(changed);
  } catch {
    followReader(changed); // a page around that may not be looked into
  }
  await page.load();
}
