// @ts-check
/**
 * `<session-inspector>`: the tabs beside a session's story, and the card of whatever is selected.
 *
 * Every tab is a link that works by itself; htmx loads it in place. This listens to `daybreak:select` and loads the
 * card of that event, keeps the open tab in the address, and turns links to events into selections.
 */
import { announce } from "./announce.js";

const WAIT_MS = 80; // a selection that moves on at once asks for nothing
const FOLLOWS = ["why", "context"]; // tabs that show what is selected
const DEFAULT = "summary"; // open until something is selected, or again when asked for

class SessionInspector extends HTMLElement {
  connectedCallback() {
    this.nav = /** @type {HTMLElement | null} */ (this.querySelector(".inspector-tabs"));
    this.pane = this.querySelector("#inspector-body");
    this.failed = /** @type {HTMLElement | null} */ (this.querySelector(".inspector-failed"));
    this.stale = /** @type {HTMLElement | null} */ (this.querySelector(".inspector-stale"));
    this.isAlone = this.hasAttribute("data-alone");
    this.isChosen = new URLSearchParams(location.search).has("tab") && this.dataset.tab !== DEFAULT;
    /** @type {{id: string, seq: number}} */
    this.selected = { id: this.dataset.event ?? "", seq: 0 };
    this.announces = false;
    this.onSelect = (/** @type {Event} */ event) => this.select(/** @type {CustomEvent} */ (event).detail);
    this.onNews = (/** @type {Event} */ event) => this.age(/** @type {CustomEvent} */ (event).detail);
    if (!this.isAlone) document.addEventListener("daybreak:select", this.onSelect);
    if (!this.isAlone) document.addEventListener("htmx:sseMessage", this.onNews);
    this.addEventListener("click", (event) => this.onClick(event));
    this.nav?.addEventListener("keydown", (event) => this.onKey(event));
    this.addEventListener("htmx:configRequest", (event) => this.name(/** @type {CustomEvent} */ (event).detail));
    this.addEventListener("htmx:beforeRequest", (event) => this.begin(/** @type {CustomEvent} */ (event).detail));
    this.addEventListener("htmx:afterSwap", (event) => this.swapped(/** @type {CustomEvent} */ (event).detail));
    for (const problem of ["htmx:responseError", "htmx:sendError", "htmx:timeout"]) {
      this.addEventListener(problem, (event) => this.fail(/** @type {CustomEvent} */ (event).detail));
    }
    this.rove();
  }

  disconnectedCallback() {
    document.removeEventListener("daybreak:select", this.onSelect ?? (() => {}));
    document.removeEventListener("htmx:sseMessage", this.onNews ?? (() => {}));
    clearTimeout(this.timer);
  }

  get tab() {
    return this.dataset.tab ?? DEFAULT;
  }

  links() {
    return /** @type {HTMLAnchorElement[]} */ ([...(this.nav?.querySelectorAll("a[data-tab]") ?? [])]);
  }

  /** @param {{seq?: number, id?: string}} detail */
  select({ seq = 0, id = "" }) {
    this.selected = { seq, id };
    for (const link of this.links()) this.point(link);
    if (!FOLLOWS.includes(this.tab)) {
      if (this.isChosen) return; // somebody reads another tab: it stays
      this.open("why");
    }
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.load(), WAIT_MS);
  }

  /** Without scripts of htmx, or in a new window, a tab is still about what is selected. @param {HTMLAnchorElement} link */
  point(link) {
    const url = new URL(link.href);
    url.searchParams.delete("event");
    url.searchParams.delete("seq");
    if (this.selected.id) url.searchParams.set("event", this.selected.id);
    else if (this.selected.seq) url.searchParams.set("seq", String(this.selected.seq));
    link.href = url.href;
  }

  load() {
    const link = this.links().find((one) => one.dataset.tab === this.tab);
    const address = link?.getAttribute("hx-get");
    this.announces = true;
    // @ts-ignore htmx is a classic script
    if (address) window.htmx.ajax("GET", address, { source: this.nav, target: this.pane, swap: "innerHTML" });
  }

  /** Mark a tab as the open one. @param {string} tab */
  open(tab) {
    this.dataset.tab = tab;
    for (const link of this.links()) {
      if (link.dataset.tab === tab) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    this.rove();
    if (this.isAlone) return;
    const url = new URL(location.href);
    url.searchParams.set("tab", tab);
    history.replaceState(history.state, "", url);
  }

  /** One tab stop for all tabs: arrows move between them. @param {HTMLElement} [at] */
  rove(at) {
    const links = this.links();
    const current = at ?? links.find((link) => link.hasAttribute("aria-current")) ?? links[0];
    for (const link of links) link.tabIndex = link === current ? 0 : -1;
  }

  /** @param {KeyboardEvent} event */
  onKey(event) {
    const links = this.links();
    const now = links.indexOf(/** @type {HTMLAnchorElement} */ (document.activeElement));
    const places = { ArrowRight: now + 1, ArrowLeft: now - 1, Home: 0, End: links.length - 1 };
    const place = places[/** @type {keyof typeof places} */ (event.key)];
    if (now < 0 || place === undefined || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    event.stopPropagation();
    const next = links[(place + links.length) % links.length];
    this.rove(next);
    next.focus();
  }

  /** @param {MouseEvent} event */
  onClick(event) {
    if (event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey) return;
    const target = /** @type {Element} */ (event.target);
    if (target.closest("[data-again]")) {
      event.preventDefault();
      this.load();
      return;
    }
    if (target.closest("[data-writes]")) {
      this.write(event);
      return;
    }
    const link = /** @type {HTMLElement | null} */ (target.closest("a[data-seq]"));
    if (!link || this.isAlone) return;
    event.preventDefault();
    const detail = { seq: Number(link.dataset.seq), id: link.dataset.event ?? "", from: "inspector" };
    document.dispatchEvent(new CustomEvent("daybreak:select", { detail }));
  }

  /** Go to where a message is written, when that is on this page. @param {Event} event */
  write(event) {
    const field = /** @type {HTMLTextAreaElement | null} */ (document.querySelector("#message-form textarea"));
    if (!field) return;
    event.preventDefault();
    field.focus();
    field.scrollIntoView({ block: "nearest" });
  }

  /** A tab is asked for with what is selected, unless its address says something else. @param {any} detail */
  name(detail) {
    const own = detail.elt.closest("[data-keeps-own]") || /[?&](event|seq)=/.test(detail.path);
    if (detail.verb !== "get" || own) return;
    if (this.selected.id) detail.parameters.event = this.selected.id;
    else if (this.selected.seq) detail.parameters.seq = String(this.selected.seq);
  }

  /** @param {any} detail */
  begin(detail) {
    const tab = detail.elt.dataset?.tab;
    if (tab && detail.elt.matches("a")) {
      this.isChosen = tab !== DEFAULT;
      this.open(tab);
    }
    if (this.failed) this.failed.hidden = true;
    if (detail.target === this.pane) this.pane?.setAttribute("aria-busy", "true");
  }

  /** @param {any} detail */
  swapped(detail) {
    if (detail.target !== this.pane || !this.pane) return;
    this.pane.removeAttribute("aria-busy");
    if (this.stale) this.stale.hidden = true;
    if (!detail.elt.matches?.(".why")) this.pane.scrollTop = 0; // else the same card, a moment later
    if (this.announces) announce(this.pane.querySelector("h2")?.textContent?.trim().replace(/\s+/g, " ") ?? "");
    this.announces = false;
  }

  /** What is shown does not move under its reader: it says that there is more. @param {any} detail */
  age(detail) {
    if (detail?.type === "header" && this.stale && this.pane?.querySelector("h2")) this.stale.hidden = false;
  }

  /** @param {any} detail */
  fail(detail) {
    if (detail.target !== this.pane) return;
    this.pane?.removeAttribute("aria-busy");
    if (this.failed) this.failed.hidden = false;
  }
}

customElements.define("session-inspector", SessionInspector);
