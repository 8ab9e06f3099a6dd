// @ts-check
/**
 * `<live-session>`: what arrives for a watched session, without moving what is being read.
 *
 * htmx's SSE extension does the connecting and swapping. This decides what the reader sees of it: new rows wait under a
 * bar until asked for, unless following; a row that is already there is not shown twice; a hidden tab disconnects.
 */
import { announce } from "./announce.js";
import { MOST_ROWS, rowsOf, seqOf, trim } from "./rows.js";

const QUIET_MS = 4000; // between two announcements

/** Whether a message renews something that this page does not show just now. @param {MessageEvent} message */
function isForElsewhere(message) {
  if (message?.type !== "patch") return false;
  const id = /^[^<]*(?:<!--.*?-->\s*)*<[\w-]+[^>]*?\bid="([^"]+)"/s.exec(message.data)?.[1];
  return Boolean(id) && !document.getElementById(id ?? "");
}

class LiveSession extends HTMLElement {
  connectedCallback() {
    this.list = document.getElementById("events");
    this.following = false;
    this.newest = Math.max(0, ...(this.list ? rowsOf(this.list) : []).map(seqOf));
    this.missed = 0; // rows that came while more waited than a page holds
    this.unannounced = 0;
    /** @type {EventSource | null} */
    this.source = null;
    if (!this.list) return;
    this.bar = this.makeBar();
    /** @type {Set<Element>} */
    this.known = new Set();
    this.addEventListener("htmx:sseOpen", (event) => { this.source = /** @type {CustomEvent} */ (event).detail.source; });
    this.atEnd = false;
    /** @type {Map<string, number>} */
    this.scrolled = new Map();
    this.addEventListener("htmx:sseBeforeMessage", (event) => this.beforeMessage(/** @type {CustomEvent} */ (event)));
    this.addEventListener("htmx:sseMessage", (event) => this.afterMessage(/** @type {CustomEvent} */ (event).detail));
    document.addEventListener("visibilitychange", () => this.onVisibility());
    document.querySelector("[data-follow]")?.addEventListener("click", () => this.follow(!this.following));
    window.addEventListener("wheel", (event) => { if (event.deltaY < 0) this.follow(false); }, { passive: true });
    window.addEventListener("touchmove", () => this.follow(false), { passive: true });
    window.addEventListener("keydown", (event) => {
      if (["PageUp", "ArrowUp", "Home"].includes(event.key)) this.follow(false);
    });
    if (location.hash === "#end") this.follow(true);
  }

  disconnectedCallback() {
    clearTimeout(this.quiet);
    this.source?.close();
  }

  /** @param {CustomEvent} event */
  beforeMessage(event) {
    if (isForElsewhere(event.detail)) event.preventDefault();
    this.atEnd = this.endIsVisible();
    this.known = new Set(this.list ? rowsOf(this.list) : []);
    for (const box of document.querySelectorAll("[data-keeps-scroll]")) this.scrolled?.set(box.id, box.scrollTop);
  }

  /** @param {MessageEvent} message */
  afterMessage(message) {
    for (const box of document.querySelectorAll("[data-keeps-scroll]")) {
      const place = this.scrolled?.get(box.id);
      if (place && box.scrollTop !== place) box.scrollTop = place;
    }
    if (message.type === "row" && this.list) this.onRows(rowsOf(this.list).filter((row) => !this.known?.has(row)));
    this.remember(message);
  }

  makeBar() {
    const bar = document.createElement("div");
    bar.className = "new-events";
    bar.hidden = true;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "button button-primary";
    button.addEventListener("click", () => this.reveal(true));
    bar.append(button);
    (document.getElementById("story") ?? this.list)?.after(bar);
    return bar;
  }

  /** Rows that have just come over the stream, at the end of the list. @param {HTMLElement[]} added */
  onRows(added) {
    const gap = this.list?.querySelector(':scope > [data-edge="later"]'); // the end of the log is not on the page
    let fresh = 0;
    for (const row of added) {
      if (this.list?.querySelectorAll(`#${CSS.escape(row.id)}`).length !== 1) {
        row.remove();
      } else if (seqOf(row) > (this.newest ?? 0)) {
        this.newest = seqOf(row);
        fresh += 1;
        row.hidden = !(this.following || this.atEnd) || Boolean(gap);
        if (row.hidden && (gap || this.missed || this.hiddenRows().length > MOST_ROWS)) {
          this.missed = (this.missed ?? 0) + 1;
          row.remove();
        }
      }
    }
    if (fresh) this.afterRows(fresh);
  }

  /** @param {number} fresh */
  afterRows(fresh) {
    document.querySelector("[data-empty-story]")?.remove();
    this.unannounced += fresh;
    if (!this.quiet) this.announceNews();
    if (this.following) this.reveal(true);
    else this.showCount();
  }

  /** Say how many are new: at once, then only every few seconds. */
  announceNews() {
    if (this.unannounced) announce(this.unannounced === 1 ? "1 new event" : `${this.unannounced} new events`);
    this.quiet = this.unannounced ? setTimeout(() => { this.quiet = 0; this.announceNews(); }, QUIET_MS) : 0;
    this.unannounced = 0;
  }

  hiddenRows() {
    return [...(this.list?.querySelectorAll(".event[hidden]") ?? [])];
  }

  showCount() {
    const count = this.hiddenRows().length + (this.missed ?? 0);
    if (!this.bar) return;
    this.bar.hidden = count === 0;
    const button = this.bar.querySelector("button");
    if (button) button.textContent = count === 1 ? "1 new event" : `${count} new events`;
  }

  /** Show what waits; go to it when asked or following. @param {boolean} scroll */
  reveal(scroll) {
    if (this.missed) return this.startAgainAtEnd();
    const waiting = this.hiddenRows();
    for (const row of waiting) /** @type {HTMLElement} */ (row).hidden = false;
    if (this.following) this.trim();
    if (scroll && this.following) document.getElementById("end")?.scrollIntoView({ block: "end" });
    else if (scroll) waiting[0]?.scrollIntoView({ block: "center" });
    this.showCount();
  }

  trim() {
    const story = document.getElementById("story");
    if (this.list && story) trim(this.list, "earlier", story.dataset.rows ?? "");
  }

  /** Too much came to be kept here: the page begins again at the end. */
  startAgainAtEnd() {
    const url = new URL(location.href);
    for (const name of ["before", "after", "event"]) url.searchParams.delete(name);
    url.searchParams.set("at", "end");
    location.assign(`${url.pathname}${url.search}#end`);
  }

  /** Whether the reader sees the end of the list: then a new row below it moves nothing. */
  endIsVisible() {
    const end = document.getElementById("end");
    const bottom = document.getElementById("story")?.getBoundingClientRect().bottom ?? window.innerHeight;
    return Boolean(end) && /** @type {Element} */ (end).getBoundingClientRect().top < Math.min(bottom, window.innerHeight) + 1;
  }

  /** @param {boolean} wanted */
  follow(wanted) {
    if (wanted === this.following) return;
    this.following = wanted;
    document.querySelector("[data-follow]")?.setAttribute("aria-pressed", String(wanted));
    if (wanted) this.reveal(true);
  }

  /** Where to go on after a lost connection: the address of the stream says so. @param {MessageEvent} message */
  remember(message) {
    const place = this.querySelector("[sse-connect]");
    if (!message?.lastEventId || !place) return;
    const url = new URL(place.getAttribute("sse-connect") ?? "", location.href);
    url.searchParams.set("after", message.lastEventId);
    place.setAttribute("sse-connect", url.pathname + url.search);
  }

  /** A tab nobody looks at holds no connection; it catches up when it is looked at again. */
  onVisibility() {
    const place = this.querySelector("[sse-connect]");
    if (!place) return;
    if (document.hidden) {
      this.source?.close();
      this.source = null;
    } else if (!this.source) {
      const again = /** @type {Element} */ (place.cloneNode(true));
      place.replaceWith(again);
      // @ts-ignore htmx is a classic script
      window.htmx.process(again);
    }
  }
}

customElements.define("live-session", LiveSession);
