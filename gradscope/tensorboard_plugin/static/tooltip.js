/** The note beside the pointer. One for the page; it never leaves the window. */

import { element } from "./dom.js";

const AWAY = 14; // CSS pixels between the pointer and the note

/** Show `lines` at a pointer's event; the first is the title. */
export function showTooltip(event, lines) {
  const note = the();
  note.replaceChildren(...lines.filter(Boolean).map((line, i) => element("div", { class: i ? "" : "title" }, line)));
  note.hidden = false;
  const { width, height } = note.getBoundingClientRect();
  const right = event.clientX + AWAY + width < document.documentElement.clientWidth;
  const below = event.clientY + AWAY + height < document.documentElement.clientHeight;
  note.style.left = `${Math.max(0, right ? event.clientX + AWAY : event.clientX - AWAY - width)}px`;
  note.style.top = `${Math.max(0, below ? event.clientY + AWAY : event.clientY - AWAY - height)}px`;
}

/** Hide the note. */
export function hideTooltip() {
  the().hidden = true;
}

function the() {
  const found = document.getElementById("tooltip");
  if (found) return found;
  const made = element("div", { id: "tooltip", role: "presentation", hidden: true });
  document.body.append(made);
  return made;
}
