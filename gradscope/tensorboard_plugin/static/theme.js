/** Light or dark: as TensorBoard around the tab, as the reader's system for the file, or as the reader says. */

import { element } from "./dom.js";

const KEY = "gradscope-theme";

/** Follow TensorBoard's own theme; `changed` is called after each change. */
export function followTensorBoard(changed) {
  const { body } = window.parent.document;
  const follow = () => apply(body.classList.contains("dark-mode") ? "dark" : "light", changed);
  new MutationObserver(follow).observe(body, { attributes: true, attributeFilter: ["class"] });
  follow();
}

/** Follow the reader's system, and return the button with which the reader chooses the other theme; `changed` as above. */
export function followReader(changed) {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const current = () => kept() ?? (system.matches ? "dark" : "light");
  const button = element("button", { type: "button", class: "theme", onclick: () => (keep(current() === "dark" ? "light" : "dark"), follow()) });
  const follow = () => {
    apply(current(), changed);
    button.textContent = current() === "dark" ? "Light" : "Dark";
    button.title = `Show the page in ${current() === "dark" ? "light" : "dark"} colours`;
  };
  system.addEventListener("change", follow);
  follow();
  return button;
}

function apply(theme, changed) {
  if (document.documentElement.dataset.theme === theme) return;
  document.documentElement.dataset.theme = theme;
  changed(theme);
}

function kept() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return document.documentElement.dataset.wanted ?? null; // a page of a file may be allowed no storage
  }
}

function keep(theme) {
  try {
    localStorage.setItem(KEY, theme);
  } catch {
    document.documentElement.dataset.wanted = theme;
  }
}
