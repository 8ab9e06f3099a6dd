// @ts-check
/**
 * `<session-picture data-url>`: who worked when, drawn on a canvas.
 *
 * It talks with the rest of the page by `daybreak:select` and follows a live session by the stream's `picture` events,
 * upon which it fetches what is new. `frameTimes` holds how long the last frames took to draw.
 */
import { announce } from "../announce.js";
import { MINIMAP, PictureCanvas, TOP } from "./canvas.js";
import { grouped } from "./draw.js";
import { Feed } from "./feed.js";
import { Hands } from "./interact.js";
import { showNames } from "./names.js";
import { Palette } from "./palette.js";
import { Picture } from "./payload.js";
import { PAD } from "./scale.js";
import { wordsFor } from "./words.js";

export class SessionPicture extends PictureCanvas {
  connectedCallback() {
    const canvas = this.querySelector("canvas"), scroller = this.querySelector(".picture-scroll");
    const context = canvas?.getContext("2d", { alpha: true });
    if (!canvas || !context || !(scroller instanceof HTMLElement) || this.feed) return;
    this.canvas = canvas;
    this.context = context;
    this.scroller = scroller;
    this.tip = /** @type {HTMLElement | null} */ (this.querySelector(".picture-tip"));
    this.minimapHeight = MINIMAP;
    const focused = document.querySelector("#events .event[data-focused]"); // the page is a permalink to it
    this.selectedSeq = focused instanceof HTMLElement ? Number(focused.dataset.seq) || 0 : 0;
    this.palette = new Palette(this, () => this.redraw());
    this.hands = new Hands(this, canvas);
    this.feed = new Feed(this);
    this.listen(scroller);
    this.resized = new ResizeObserver(() => this.measure());
    this.resized.observe(scroller);
    this.size(Number(this.dataset.lanes));
    this.seeking = this.selectedSeq > 0;
    this.feed.fetchAll();
  }

  disconnectedCallback() {
    this.palette?.stop();
    this.resized?.disconnect();
    this.pressing?.disconnect();
    this.feed?.stop();
    this.stopped?.abort();
    cancelAnimationFrame(this.frame);
    clearTimeout(this.growing);
  }

  /** @param {HTMLElement} scroller */
  listen(scroller) {
    this.stopped = new AbortController();
    const { signal } = this.stopped;
    scroller.addEventListener("scroll", () => this.redraw(), { signal, passive: true });
    this.addEventListener("click", (event) => {
      const act = /** @type {Element} */ (event.target).closest("[data-act]");
      if (act instanceof HTMLElement && this.act(act.dataset.act ?? "")) event.preventDefault();
    }, { signal });
    document.addEventListener("daybreak:select", (event) => {
      const { seq, from } = /** @type {CustomEvent} */ (event).detail ?? {};
      if (from !== "picture" && Number(seq)) this.show(Number(seq));
    }, { signal });
    document.addEventListener("keydown", (event) => {
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
      const target = /** @type {Element | null} */ (event.target);
      if (target?.closest?.("input, textarea, select, [contenteditable]") || document.querySelector("dialog[open]")) return;
      if (event.key === "e" || event.key === "E") this.toError(event.key === "e" ? 1 : -1);
    }, { signal });
    // The button belongs to the whole page: whoever presses or releases it, the picture goes along.
    const follow = document.querySelector("[data-follow]");
    const pressed = () => follow?.getAttribute("aria-pressed") === "true";
    this.pressing = new MutationObserver(() => { if (pressed() !== this.following) this.follow(pressed()); });
    if (follow) this.pressing.observe(follow, { attributes: true, attributeFilter: ["aria-pressed"] });
    document.addEventListener("visibilitychange", () => this.redraw(), { signal });
  }

  // What has come

  /** @param {any} sent an answer of the server: all of the session, a part of it, or what is new */
  take(sent) {
    const isWhole = sent.range[0] <= sent.extent[0] && sent.range[1] >= sent.extent[1];
    if (sent.after !== null && this.picture) this.picture.merge(sent);
    else this.picture = new Picture(sent);
    if ((isWhole && sent.after === null) || !this.overview) this.overview = this.picture;
    this.toggleAttribute("data-empty", this.picture.lastSeq === 0);
    this.groups = grouped(this.picture);
    this.itemsChanged();
    showNames(this, this.picture.lanes);
    this.size(this.picture.lanes.length);
    this.stretch();
    this.showFacts();
    if (this.seeking && this.picture.found?.seq === this.selectedSeq) this.reveal();
    this.seeking = false;
    this.redraw();
  }

  itemsChanged() {
    this.selected = this.selectedSeq && this.picture ? this.picture.itemOf(this.selectedSeq) : -1;
    this.hovered = -1;
    this.map = null;
  }

  showFacts() {
    const { picture } = this;
    if (!picture) return;
    const wrong = this.failures().length;
    const next = this.querySelector('[data-act="error"]');
    if (next instanceof HTMLElement) {
      next.hidden = wrong === 0;
      next.textContent = `Next error (${wrong.toLocaleString("en")})`;
    }
    const skip = this.querySelector('[data-act="skip"]');
    if (skip instanceof HTMLElement) {
      skip.hidden = picture.gaps.length === 0;
      skip.textContent = picture.gaps.length === 1 ? "Skip 1 gap" : `Skip ${picture.gaps.length} gaps`;
    }
  }

  /** Where it went wrong: errors, and steps that somebody marked as a failure. */
  failures() {
    const { picture } = this;
    if (!picture) return [];
    const found = picture.errors.seq.map((seq, n) => ({ seq, at: picture.errors.at[n] }));
    picture.marks.seq.forEach((seq, n) => {
      if (picture.marks.kind[n] === "failure" && !found.some((error) => error.seq === seq)) found.push({ seq, at: picture.marks.at[n] });
    });
    return found.sort((a, b) => a.at - b.at || a.seq - b.seq);
  }

  // What a reader does

  /** @param {string} name @returns {boolean} whether it was ours to do */
  act(name) {
    const { view, canvas } = this;
    if (!view || !canvas) return false;
    if (name === "in" || name === "out") this.zoom(name === "in" ? 1 / 1.6 : 1.6, canvas.clientWidth / 2);
    else if (name === "fit") { this.unfollow(); view.fit(); this.moved(); }
    else if (name === "error") this.toError(1);
    else if (name === "skip") this.skip();
    else if (name === "time" || name === "order") this.drawBy(name);
    else if (name === "fold") this.fold();
    else return false;
    return true;
  }

  /** @param {number} pixels */
  pan(pixels) {
    this.unfollow();
    this.view?.pan(pixels);
    this.moved();
  }

  /** @param {number} factor @param {number} x */
  zoom(factor, x) {
    this.unfollow();
    this.view?.zoom(factor, x);
    this.moved();
  }

  /** The part shown has changed. */
  moved() {
    this.hover(-1, -1);
    this.feed?.moved();
    this.redraw();
  }

  /** A pixel of the minimap as a place on the line. @param {number} x */
  onMap(x) {
    const [first, last] = this.view?.line.extent ?? [0, 1];
    return first + ((x - PAD) / Math.max((this.view?.width ?? 1) - 2 * PAD, 1)) * (last - first);
  }

  /** @param {number} x */
  isInWindow(x) {
    const { view } = this;
    return Boolean(view && !view.fitted && this.onMap(x) >= view.from && this.onMap(x) <= view.to);
  }

  /** @param {number} by pixels of the minimap */
  moveWindow(by) {
    const shift = this.onMap(by) - this.onMap(0);
    this.unfollow();
    if (this.view) this.view.show(this.view.from + shift, this.view.to + shift);
    this.moved();
  }

  /** @param {number} a @param {number} b */
  brush(a, b) {
    this.unfollow();
    this.view?.show(this.onMap(Math.min(a, b)), this.onMap(Math.max(a, b)));
    this.moved();
  }

  /** @param {number} x of the minimap */
  centre(x) {
    if (!this.view || this.view.fitted) return;
    const half = this.view.length / 2, middle = this.onMap(x);
    this.unfollow();
    this.view.show(middle - half, middle + half);
    this.moved();
  }

  /** @param {number} x @param {number} y @returns {number} the item there, or -1 */
  at(x, y) {
    const { picture, view } = this;
    if (!picture || !view || y < TOP) return -1;
    const lane = Math.floor((y - TOP + (this.scroller?.scrollTop ?? 0)) / (this.laneHeight));
    const unit = picture.byOrder ? view.scale : 0;
    let best = -1, least = Infinity;
    for (const n of picture.byLane?.[lane] ?? []) {
      const left = view.x(picture.items.start[n]), right = Math.max(view.x(picture.end(n)), left + unit);
      const off = x < left ? left - x : x > right ? x - right : 0;
      if (off > 6) continue;
      // The smallest under the pointer is what is meant; routine only where there is nothing else.
      const score = off * 4 + Math.min(right - left, 2000) / 10 + (picture.kinds[picture.items.kind[n]] === "status" ? 300 : 0);
      if (score < least) [best, least] = [n, score];
    }
    return best;
  }

  /** @param {number} x @param {number} y */
  hover(x, y) {
    const n = x < 0 ? -1 : this.at(x, y);
    if (this.tip) {
      this.tip.hidden = n < 0;
      if (n >= 0 && this.picture && this.canvas) {
        this.tip.textContent = wordsFor(this.picture, n);
        const left = this.canvas.getBoundingClientRect().left - this.getBoundingClientRect().left;
        const most = this.clientWidth - this.tip.offsetWidth - 8;
        this.tip.style.insetInlineStart = `${Math.max(8, Math.min(left + x + 12, most))}px`;
        const box = this.canvas.getBoundingClientRect().top - this.getBoundingClientRect().top;
        this.tip.style.insetBlockStart = `${box + y + 18}px`;
      }
    }
    if (this.canvas) this.canvas.style.cursor = n >= 0 ? "pointer" : "";
    if (n !== this.hovered) {
      this.hovered = n;
      this.redraw();
    }
  }

  /** @param {number} x @param {number} y */
  pick(x, y) {
    const n = this.at(x, y);
    if (n >= 0) this.choose(n);
  }

  /** Select an item and tell the page. @param {number} n */
  choose(n) {
    const { picture } = this;
    if (!picture) return;
    this.selectedSeq = picture.items.seq[n];
    this.selected = n;
    announce(wordsFor(picture, n));
    this.reveal();
    this.tellSelection();
  }

  tellSelection() {
    const detail = { seq: this.selectedSeq, id: "", from: "picture" };
    document.dispatchEvent(new CustomEvent("daybreak:select", { detail }));
  }

  /** Show an event that was selected elsewhere. @param {number} seq */
  show(seq) {
    this.selectedSeq = seq;
    this.selected = this.picture?.itemOf(seq) ?? -1;
    if (this.selected >= 0) this.reveal();
    else this.seek();
    this.redraw();
  }

  /** What is selected is one of many in a bucket: ask where. */
  seek() {
    this.seeking = true;
    this.feed?.find();
  }

  /** Bring what is selected into view. */
  reveal() {
    const { picture, view, scroller } = this;
    if (!picture || !view || !scroller) return;
    const n = this.selected, found = picture.found;
    const at = n >= 0 ? picture.items.start[n] : found?.at, thread = n >= 0 ? picture.items.thread[n] : found?.thread;
    if (at === undefined || thread === undefined) return;
    this.unfollow();
    view.reveal(at, n >= 0 ? picture.end(n) : at);
    const high = this.laneHeight, top = picture.threads.lane[thread] * high, room = scroller.clientHeight - TOP;
    if (top < scroller.scrollTop) scroller.scrollTop = top;
    else if (top + high > scroller.scrollTop + room) scroller.scrollTop = top + high - room;
    this.moved();
  }

  /** To the next step of the selected one's lane, or the one before. @param {number} by */
  step(by) {
    const { picture } = this;
    if (!picture) return;
    const n = this.selected;
    const own = picture.byLane?.[n >= 0 ? picture.threads.lane[picture.items.thread[n]] : 0] ?? [];
    const next = own[n < 0 ? 0 : own.indexOf(n) + by];
    if (next !== undefined) this.choose(next);
  }

  /** To what the lane above or below did at the time. @param {number} by */
  stepLane(by) {
    const { picture } = this;
    const n = this.selected;
    if (!picture || n < 0) return this.step(0);
    const own = picture.byLane?.[picture.threads.lane[picture.items.thread[n]] + by] ?? [];
    const at = picture.items.start[n];
    const distance = (/** @type {number} */ m) => Math.abs(picture.items.start[m] - at);
    const next = own.reduce((best, m) => (best < 0 || distance(m) < distance(best) ? m : best), -1);
    if (next >= 0) this.choose(next);
  }

  /** @param {number} by */
  scrollLanes(by) {
    if (this.scroller) this.scroller.scrollTop += by * 3 * (this.laneHeight);
  }

  /** @param {number} by */
  toError(by) {
    const all = this.failures();
    if (!all.length) return announce("Nothing went wrong here");
    const now = all.findIndex((error) => error.seq === this.selectedSeq);
    const next = now < 0 ? (by > 0 ? 0 : all.length - 1) : (now + by + all.length) % all.length;
    announce(`Error ${next + 1} of ${all.length}`);
    this.show(all[next].seq);
    this.tellSelection();
  }

  skip() {
    this.skips = !this.skips;
    this.querySelector('[data-act="skip"]')?.setAttribute("aria-pressed", String(this.skips));
    this.stretch();
    this.moved();
  }

  /** @param {"time" | "order"} how */
  drawBy(how) {
    if (this.dataset.draw === how) return;
    this.dataset.draw = how;
    for (const link of this.querySelectorAll('[data-act="time"], [data-act="order"]')) {
      if (/** @type {HTMLElement} */ (link).dataset.act === how) link.setAttribute("aria-current", "true");
      else link.removeAttribute("aria-current");
    }
    this.remake("draw", how === "order" ? "order" : "");
  }

  fold() {
    const folded = this.dataset.fold === "ended";
    this.dataset.fold = folded ? "none" : "ended";
    const link = this.querySelector('[data-act="fold"]');
    if (link) link.textContent = folded ? "Fold ended agents" : "Show ended agents";
    this.remake("fold", this.dataset.fold);
  }

  /** Fetch all of it drawn in another way, which the page's address then names. @param {string} name @param {string} value */
  remake(name, value) {
    const url = new URL(location.href);
    if (value) url.searchParams.set(name, value);
    else url.searchParams.delete(name);
    history.replaceState(history.state, "", url);
    if (name === "draw") this.view = null;
    this.overview = null;
    this.feed?.fetchAll();
  }

  // Following

  /** @param {boolean} wanted */
  follow(wanted) {
    this.following = wanted;
    if (wanted && this.view) {
      this.view.toEnd();
      this.feed?.moved();
      this.redraw();
    }
  }

  /** The reader moves: the picture no longer runs away from them. */
  unfollow() {
    if (!this.following) return;
    this.following = false;
    const button = document.querySelector('[data-follow][aria-pressed="true"]');
    if (button instanceof HTMLElement) button.click();
  }
}

customElements.define("session-picture", SessionPicture);
