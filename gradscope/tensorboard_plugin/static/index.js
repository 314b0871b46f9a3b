/** The tab: TensorBoard imports this module into the tab's page and calls `render`. */

import { element } from "./dom.js";
import { Page } from "./page.js";
import { routeSource } from "./route_source.js";
import { addressed, isSelected, onReload, onShown } from "./tensorboard_host.js";
import { followReader, followTensorBoard } from "./theme.js";

/** Draw the tab, and keep it up to date. */
export async function render() {
  const sheet = element("link", { rel: "stylesheet", href: "./static/style.css" });
  const styled = new Promise((resolve) => ["load", "error"].forEach((event) => sheet.addEventListener(event, resolve)));
  const root = element("main", { id: "gradscope" });
  document.documentElement.lang = "en";
  document.head.append(sheet);
  document.body.append(root);
  await styled; // widths are measured
  const page = new Page(root, routeSource(), { selected: isSelected, wanted: addressed() });
  onReload(() => page.reload());
  const changed = (theme) => page.themed(theme);
  try {
    followTensorBoard(changed);
  } catch {
    followReader(changed); // a page around that may not be looked into
  }
  await page.load();
  onShown(() => page.load()); // the selection may have changed in another tab
}
