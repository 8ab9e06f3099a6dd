// @ts-check
/** A canvas that shows a part of a picture: its size, the line of time, and the drawing of a frame. */
import { drawArrows } from "./arrows.js";
import { drawAxis, drawLanes } from "./draw.js";
import { density, drawMinimap } from "./minimap.js";
import { Line, PAD, View } from "./scale.js";

export const MINIMAP = 34, AXIS = 20, TOP = MINIMAP + AXIS;
const SIZES = [[9, 22], [13, 18], [18, 15], [Infinity, 12]]; // lanes up to, pixels each
const KEPT_TIMES = 1200;

export class PictureCanvas extends HTMLElement {
  constructor() {
    super();
    /** @type {HTMLCanvasElement | null} */
    this.canvas = null;
    /** @type {CanvasRenderingContext2D | null} */
    this.context = null;
    /** @type {HTMLElement | null} */
    this.scroller = null;
    /** @type {import("./palette.js").Palette | null} */
    this.palette = null;
    /** @type {import("./payload.js").Picture | null} what is drawn */
    this.picture = null;
    /** @type {import("./payload.js").Picture | null} the whole session, which the minimap shows */
    this.overview = null;
    /** @type {import("./draw.js").Group[]} */
    this.groups = [];
    /** @type {View | null} */
    this.view = null;
    /** @type {{busy: Uint16Array, waits: Uint8Array} | null} */
    this.map = null;
    /** @type {number[]} milliseconds that the last frames took to draw */
    this.frameTimes = [];
    this.laneHeight = 12;
    this.skips = false;
    this.following = false;
    this.selectedSeq = 0;
    this.selected = -1;
    this.hovered = -1;
    this.frame = 0;
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    this.growing = undefined;
  }

  /** The drawn line follows the extent; what is shown stays, unless it is everything or the end. */
  stretch() {
    const { picture } = this;
    if (!picture || !this.canvas) return;
    const [first, last] = picture.extent;
    /** @type {[number, number]} */
    const extent = [first, Math.max(picture.isLive ? picture.clock : last, first + 1)];
    const line = new Line(extent, this.skips ? picture.gaps : [], this.canvas.clientWidth || 1);
    if (!this.view || this.view.byOrder !== picture.byOrder) {
      this.view = new View(line, picture.byOrder);
    }
    const { view } = this, was = view.line;
    const shown = [was.time(view.from), was.time(view.to)];
    view.line = line;
    view.width = this.canvas.clientWidth || 1;
    if (view.fitted) view.fit();
    else if (was.gaps !== line.gaps) view.show(line.place(shown[0]), line.place(shown[1]));
    if (this.following && !view.fitted) view.toEnd();
    this.map = null;
  }

  /** @param {number} lanes */
  size(lanes) {
    const [, height] = SIZES.find(([most]) => lanes <= most) ?? [0, 12];
    this.laneHeight = height;
    this.style.setProperty("--lane-height", `${height}px`);
    this.style.setProperty("--lane-count", String(Math.max(lanes, 1)));
    this.measure();
  }

  measure() {
    const { canvas, scroller } = this;
    if (!canvas || !scroller) return;
    const wide = canvas.parentElement?.clientWidth ?? 0, high = scroller.clientHeight, dense = window.devicePixelRatio || 1;
    if (canvas.width === Math.round(wide * dense) && canvas.height === Math.round(high * dense)) return;
    canvas.width = Math.round(wide * dense);
    canvas.height = Math.round(high * dense);
    canvas.style.inlineSize = `${wide}px`;
    canvas.style.blockSize = `${high}px`;
    this.stretch();
    this.redraw();
  }

  redraw() {
    if (!this.frame) this.frame = requestAnimationFrame(() => { this.frame = 0; this.draw(); });
  }

  draw() {
    const { picture, view, context, canvas, overview } = this;
    if (!picture || !view || !context || !canvas || !this.palette || !canvas.width) return;
    const began = performance.now();
    const dense = window.devicePixelRatio || 1;
    const width = canvas.width / dense, height = canvas.height / dense;
    view.width = width;
    context.setTransform(dense, 0, 0, dense, 0, 0);
    context.clearRect(0, 0, width, height);
    const scene = { context, picture, view, palette: this.palette, groups: this.groups, axis: TOP,
      top: TOP - (this.scroller?.scrollTop ?? 0), lane: this.laneHeight, width, height,
      selected: this.selected, hovered: this.hovered,
      found: this.selected < 0 && picture.found?.seq === this.selectedSeq ? picture.found : null };
    drawAxis(scene, MINIMAP, AXIS);
    drawLanes(scene);
    const told = drawArrows(scene);
    this.map ??= density(overview ?? picture, view.line, width - 2 * PAD);
    drawMinimap(scene, this.map, MINIMAP - 2);
    this.remember(performance.now() - began);
    this.tell(told);
    this.grow(width);
  }

  /** @param {number} took */
  remember(took) {
    this.frameTimes.push(took);
    if (this.frameTimes.length > KEPT_TIMES) this.frameTimes.splice(0, KEPT_TIMES / 2);
    if (!this.hasAttribute("data-ready")) {
      this.setAttribute("data-ready", "");
      performance.mark("picture-ready");
    }
  }

  /** While something goes on, the picture grows: by a pixel at a time, or once a second where motion is unwanted. */
  grow(/** @type {number} */ width) {
    clearTimeout(this.growing);
    if (!this.picture?.isLive || document.hidden || !this.view) return;
    const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
    const wait = calm ? 1000 : Math.min(1000, Math.max(16, 1 / this.view.scale));
    this.growing = setTimeout(() => { this.stretch(); this.redraw(); }, wait);
  }

  /** Every cut, with its numbers. @param {{drawn: number, wanted: number}} arrows */
  tell(arrows) {
    const notices = [...(this.picture?.notices ?? [])];
    if (arrows.drawn < arrows.wanted) {
      notices.push(`${arrows.drawn.toLocaleString("en")} of ${arrows.wanted.toLocaleString("en")} message arrows are drawn; zoom in to see the others.`);
    }
    const place = this.querySelector("[data-notices]"), text = notices.join(" ");
    if (place && place.textContent !== text) place.textContent = text;
  }
}
