// @ts-check
/**
 * `<session-story>`: the rows of a session, of which only some are on the page, and the one that is selected.
 *
 * Pieces are loaded by htmx where the list has a gap; this keeps the reader's place meanwhile and lets rows go at the
 * other end. What is selected here is told to everybody as `daybreak:select`; what is selected elsewhere is shown here.
 */
import { announce } from "./announce.js";
import { filters, rowsOf, seqOf, trim } from "./rows.js";

class SessionStory extends HTMLElement {
  connectedCallback() {
    const list = document.getElementById("events");
    if (!list) return;
    this.list = list;
    this.address = this.dataset.rows ?? "";
    /** @type {{id: string, seq: number}} */
    this.selected = { id: this.dataset.event ?? "", seq: 0 };
    this.looking = 0; // the `seq` that is being loaded around
    this.height = 0;
    list.addEventListener("htmx:beforeSwap", (event) => this.beforePiece(/** @type {CustomEvent} */ (event).detail));
    list.addEventListener("htmx:afterSettle", () => this.afterPiece());
    list.addEventListener("click", (event) => this.onClick(event));
    list.addEventListener("focusin", (event) => this.onFocus(event));
    this.onSelect = (/** @type {Event} */ event) => this.show(/** @type {CustomEvent} */ (event).detail);
    this.onKey = (/** @type {KeyboardEvent} */ event) => this.key(event);
    document.addEventListener("daybreak:select", this.onSelect);
    document.addEventListener("keydown", this.onKey);
    this.mark();
    const focused = /** @type {HTMLElement | null} */ (this.querySelector(".event[data-focused]"));
    if (focused && !location.hash) this.centre(focused);
    else if (this.hasAttribute("data-at-end")) this.scrollTop = this.scrollHeight;
    this.setAttribute("data-ready", "");
  }

  disconnectedCallback() {
    document.removeEventListener("daybreak:select", this.onSelect ?? (() => {}));
    document.removeEventListener("keydown", this.onKey ?? (() => {}));
  }

  /** Remember where the reader is before a piece is put above it. @param {any} detail */
  beforePiece(detail) {
    const edge = detail.elt?.dataset?.edge;
    this.edge = edge;
    this.height = this.scrollHeight - this.scrollTop;
  }

  afterPiece() {
    if (!this.list) return;
    if (this.edge === "earlier") {
      this.scrollTop = this.scrollHeight - this.height;
      trim(this.list, "later", this.address ?? "");
    } else if (this.edge === "later") {
      const below = this.scrollHeight - this.scrollTop;
      trim(this.list, "earlier", this.address ?? "");
      this.scrollTop = this.scrollHeight - below;
    } else if (this.looking) {
      const seq = this.looking;
      this.looking = 0;
      this.reveal(this.rowAt(seq));
    }
    this.edge = undefined;
    this.mark();
  }

  /** @param {MouseEvent} event */
  onClick(event) {
    const row = /** @type {Element} */ (event.target).closest(".event");
    if (row) this.choose(/** @type {HTMLElement} */ (row), "story");
  }

  /** Stepping with the keyboard selects. @param {FocusEvent} event */
  onFocus(event) {
    const row = /** @type {Element} */ (event.target).closest(".event");
    if (row && /** @type {Element} */ (event.target).matches(":focus-visible")) {
      this.choose(/** @type {HTMLElement} */ (row), "keys");
    }
  }

  /** @param {HTMLElement} row @param {string} from */
  choose(row, from) {
    const id = row.id.replace(/^event-/, "");
    if (this.selected?.id === id) return;
    this.selected = { id, seq: seqOf(row) };
    this.mark();
    this.remember();
    this.telling = true;
    document.dispatchEvent(new CustomEvent("daybreak:select", { detail: { ...this.selected, from } }));
    this.telling = false;
  }

  /** Something was selected elsewhere. @param {{seq: number, id: string}} detail */
  show({ seq, id }) {
    if (this.telling) return;
    const row = id ? document.getElementById(`event-${id}`) : this.rowAt(seq);
    this.selected = { id: id || row?.id.replace(/^event-/, "") || "", seq: seq || (row ? seqOf(row) : 0) };
    if (row && this.list?.contains(row)) {
      this.mark();
      this.reveal(row);
      this.remember();
    } else {
      this.lookAround(seq, id);
    }
  }

  /** Bring the piece of the log around a place onto the page. @param {number} seq @param {string} id */
  lookAround(seq, id) {
    const wanted = filters();
    if (id) wanted.set("event", id);
    else wanted.set("seq", String(seq));
    this.looking = seq || -1;
    // @ts-ignore htmx is a classic script
    window.htmx.ajax("GET", `${this.address}?${wanted}`, { source: this.list, target: this.list, swap: "innerHTML" });
  }

  /** The row of a place: the event itself, else the last one before it. @param {number} seq */
  rowAt(seq) {
    const focused = this.list?.querySelector(".event[data-focused]");
    if (focused && (seq < 0 || seqOf(focused) === seq)) return /** @type {HTMLElement} */ (focused);
    const rows = this.list ? rowsOf(this.list) : [];
    if (!rows.length || seq < seqOf(rows[0]) || (seq > seqOf(rows[rows.length - 1]) && this.hasMore())) return null;
    return rows.filter((row) => seqOf(row) <= seq).pop() ?? null;
  }

  hasMore() {
    return Boolean(this.list?.querySelector('[data-edge="later"]'));
  }

  /** @param {HTMLElement | null} row */
  reveal(row) {
    if (!row) return;
    if (!this.selected?.id) this.selected = { id: row.id.replace(/^event-/, ""), seq: seqOf(row) };
    this.mark();
    this.remember();
    const box = row.getBoundingClientRect();
    const own = this.getBoundingClientRect();
    if (box.top < own.top || box.bottom > own.bottom) this.centre(row);
  }

  /** Scroll the pane, and the page only where the pane is as long as the story. @param {HTMLElement} row */
  centre(row) {
    if (this.scrollHeight <= this.clientHeight + 1) {
      row.scrollIntoView({ block: "nearest" });
      return;
    }
    const box = row.getBoundingClientRect(), own = this.getBoundingClientRect();
    this.scrollTop += box.top - own.top - (own.height - box.height) / 2;
  }

  mark() {
    for (const row of this.list?.querySelectorAll("[data-focused]") ?? []) {
      row.removeAttribute("data-focused");
      row.removeAttribute("aria-current");
    }
    const row = this.selected?.id ? document.getElementById(`event-${this.selected.id}`) : null;
    row?.setAttribute("data-focused", "");
    row?.setAttribute("aria-current", "true");
  }

  /** The address is the permalink of what is selected. */
  remember() {
    if (!this.selected?.id) return;
    const url = new URL(location.href);
    for (const name of ["before", "after", "at", "seq"]) url.searchParams.delete(name);
    url.searchParams.set("event", this.selected.id);
    url.hash = "";
    history.replaceState(history.state, "", url);
  }

  /** h and l go to the agent's own step before and after; y copies the permalink. @param {KeyboardEvent} event */
  key(event) {
    const target = /** @type {Element} */ (event.target);
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (target.closest("input, textarea, select, [contenteditable], dialog, canvas")) return;
    const done = { h: () => this.stepOwn(-1), l: () => this.stepOwn(1), y: () => this.copyLink() }[event.key];
    if (done && done()) event.preventDefault();
  }

  /** @param {number} by */
  stepOwn(by) {
    const rows = this.list ? rowsOf(this.list).filter((row) => !row.hidden) : [];
    const now = rows.findIndex((row) => row.hasAttribute("data-focused"));
    if (now < 0) return false;
    const own = rows[now].dataset.thread;
    for (let place = now + by; rows[place]; place += by) {
      if (rows[place].dataset.thread === own) {
        rows[place].querySelector("summary")?.focus();
        rows[place].scrollIntoView({ block: "nearest" });
        return true;
      }
    }
    announce(by > 0 ? "No later step of this agent here" : "No earlier step of this agent here");
    return true;
  }

  copyLink() {
    if (!this.selected?.id) return false;
    navigator.clipboard?.writeText(location.href).then(
      () => announce("Link to this event copied"),
      () => announce("The link is in the address bar"),
    );
    return true;
  }
}

customElements.define("session-story", SessionStory);
