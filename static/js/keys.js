// @ts-check
/** Keyboard: g + letter goes somewhere, j and k step through rows, "/" searches, Esc goes up, "?" lists the keys. */
import { open } from "./dialogs.js";

const PLACES = { h: "/", s: "/sessions", a: "/agents", e: "/environments", k: "/keys" };
const CHORD_MS = 1200;
let goingUntil = 0;

document.addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) return submit(event);
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
  if (isTyping(event.target)) {
    if (event.key === "Escape") /** @type {HTMLElement} */ (event.target).blur();
    return;
  }
  if (document.querySelector("dialog[open]")) return;
  if (act(event.key)) event.preventDefault();
});

/** @param {string} key @returns {boolean} whether the key meant something */
function act(key) {
  if (performance.now() < goingUntil) {
    goingUntil = 0;
    const place = PLACES[/** @type {keyof typeof PLACES} */ (key)];
    if (place) location.assign(place);
    return Boolean(place);
  }
  switch (key) {
    case "g": goingUntil = performance.now() + CHORD_MS; return true;
    case "j": return step(1);
    case "k": return step(-1);
    case "/": return focus("main [data-search]") || focus("[data-search]");
    case "m": return focus("#message-form textarea");
    case "w": return focus("[data-question]");
    case "i": return focus("#inspector-body");
    case "x": return mark();
    case "n": return click("[data-new]");
    case "f": return click("[data-follow]");
    case "?": open("keys-help"); return true;
    case "Escape": return leave();
    default: return false;
  }
}

/** @param {EventTarget | null} target */
function isTyping(target) {
  const element = /** @type {HTMLElement} */ (target);
  return Boolean(element?.closest?.("input, textarea, select, [contenteditable]"));
}

/** Focus the next or previous row's own link or summary. @param {number} by */
function step(by) {
  const rows = [...document.querySelectorAll("[data-row]:not([hidden])")];
  if (!rows.length) return false;
  const now = rows.findIndex((row) => row.contains(document.activeElement));
  const marked = now < 0 ? rows.findIndex((row) => row.matches(":target, [data-focused]")) : now;
  const next = rows[marked < 0 ? (by > 0 ? 0 : rows.length - 1) : Math.min(Math.max(marked + by, 0), rows.length - 1)];
  const handle = /** @type {HTMLElement | null} */ (
    next.querySelector(".row-link") ?? next.querySelector("summary") ?? next.querySelector("a, button")
  );
  handle?.focus();
  next.scrollIntoView({ block: "nearest" });
  return true;
}

/** Open the form with which people mark the step that the inspector shows. */
function mark() {
  const form = /** @type {HTMLDetailsElement | null} */ (document.querySelector("#inspector-body [data-mark-new]"));
  if (!form) return false;
  form.open = true;
  /** @type {HTMLElement | null} */ (form.querySelector("select, input:not([type=hidden]), textarea"))?.focus();
  return true;
}

/** Close the row one is in, else go up to what this page belongs to. */
function leave() {
  const row = document.activeElement?.closest("details.event-open[open]");
  if (row instanceof HTMLDetailsElement) {
    row.open = false;
    row.querySelector("summary")?.focus();
    return true;
  }
  return click(".crumbs a:last-of-type");
}

/** Ctrl and Enter in a text send its form. @param {KeyboardEvent} event */
function submit(event) {
  const field = /** @type {HTMLElement} */ (event.target);
  if (field instanceof HTMLTextAreaElement) field.form?.requestSubmit();
}

/** @param {string} selector */
function focus(selector) {
  const field = /** @type {HTMLInputElement | null} */ (document.querySelector(selector));
  field?.focus();
  field?.scrollIntoView({ block: "nearest" });
  field?.select?.();
  return Boolean(field);
}

/** @param {string} selector */
function click(selector) {
  const element = /** @type {HTMLElement | null} */ (document.querySelector(selector));
  element?.click();
  return Boolean(element);
}
