// @ts-check
/** The lanes: every item as a rectangle or a small shape, one colour at a time, neighbours on one pixel drawn once. */
import { FAILED } from "./payload.js";
import { PAD, clock, ticks } from "./scale.js";

/**
 * How a kind looks: which colour ("hue" is the agent's own), how strong, how high (share of the lane) and where in it.
 * `shape`: bar as long as it took, or a mark of `wide` pixels. What is drawn later lies on top.
 * @typedef {{colour: string, alpha?: number, high: number, at?: "middle" | "top" | "bottom", wide?: number,
 *   shape?: "bar" | "mark" | "triangle" | "diamond" | "square", striped?: boolean}} Look
 */

/** @type {Map<string, Look>} in the order of drawing */
export const LOOKS = new Map([
  ["status", { colour: "ink-faint", alpha: 0.45, high: 0.16, at: "bottom", wide: 1, shape: "mark" }],
  ["wait_agents", { colour: "hue", alpha: 0.4, high: 0.12 }],
  ["wait_queue", { colour: "ink-faint", alpha: 0.7, high: 0.12, at: "bottom" }],
  ["wait_retry", { colour: "failed", high: 0.3, striped: true }],
  ["model", { colour: "hue", alpha: 0.5, high: 0.42 }],
  ["compaction", { colour: "ink-soft", alpha: 0.6, high: 0.42 }],
  ["thought", { colour: "hue", alpha: 0.6, high: 0.42, wide: 1, shape: "mark" }],
  ["tool", { colour: "hue", high: 0.7 }],
  ["grading", { colour: "simulated", high: 0.7, striped: true }],
  ["wait_tool", { colour: "hue", high: 0.7, striped: true }],
  ["wait_person", { colour: "waiting", high: 0.84, striped: true }],
  ["said", { colour: "hue", high: 0.84, wide: 2, shape: "mark" }],
  ["sent", { colour: "ink-soft", high: 0.84, wide: 2, shape: "mark" }],
  ["received", { colour: "ink-soft", high: 0.84, wide: 2, shape: "mark" }],
  ["compacted", { colour: "ink", high: 0.9, wide: 2, shape: "mark" }],
  ["user", { colour: "ink", high: 0.6, wide: 8, shape: "diamond" }],
  ["warning", { colour: "waiting", high: 0.5, wide: 8, shape: "triangle" }],
  ["outcome", { colour: "done", high: 0.5, wide: 8, shape: "square" }],
  ["interrupt", { colour: "failed", high: 0.5, wide: 7, shape: "square" }],
  ["failed_result", { colour: "failed", high: 0.6, wide: 9, shape: "triangle" }],
  ["error", { colour: "failed", high: 0.75, wide: 11, shape: "triangle" }],
]);

/** @typedef {{name: string, look: Look, hue: number, items: Int32Array}} Group items of one look, by lane and time */

/** Items in the order of drawing. @param {import("./payload.js").Picture} picture @returns {Group[]} */
export function grouped(picture) {
  const { items, threads, kinds } = picture;
  /** @type {Map<number, number[]>} */
  const found = new Map();
  for (const own of picture.byLane ?? []) {
    for (const n of own) {
      const look = LOOKS.get(kinds[items.kind[n]]);
      const key = items.kind[n] * 16 + (look?.colour === "hue" ? threads.hue[items.thread[n]] : 0);
      const list = found.get(key);
      if (list) list.push(n);
      else found.set(key, [n]);
    }
  }
  const order = [...LOOKS.keys()];
  const rank = (/** @type {number} */ key) => order.indexOf(kinds[key >> 4]);
  return [...found.keys()].sort((a, b) => rank(a) - rank(b) || a - b).map((key) => {
    const name = kinds[key >> 4];
    return { name, look: LOOKS.get(name) ?? { colour: "ink", high: 0.5 }, hue: key & 15,
      items: Int32Array.from(found.get(key) ?? []) };
  });
}

/**
 * @typedef {{context: CanvasRenderingContext2D, picture: import("./payload.js").Picture,
 *   view: import("./scale.js").View, palette: import("./palette.js").Palette, groups: Group[],
 *   top: number, lane: number, width: number, height: number, axis: number, selected: number, hovered: number,
 *   found: {at: number, thread: number} | null}} Scene
 *   `top`: where the first lane begins (above the canvas when scrolled); `axis`: where the lanes' space begins
 */

/** @param {Scene} scene */
export function drawLanes(scene) {
  const { context, picture, top, lane, width, height, axis } = scene;
  const colours = scene.palette.read();
  context.save();
  context.beginPath();
  context.rect(0, axis, width, height - axis);
  context.clip();
  context.fillStyle = colours.line;
  context.globalAlpha = 0.5;
  for (let n = 1; n <= picture.lanes.length; n += 1) context.fillRect(0, Math.round(top + n * lane) - 1, width, 1);
  context.globalAlpha = 1;
  drawGaps(scene, colours);
  drawChosen(scene, colours);
  for (const group of scene.groups) drawGroup(scene, group, colours);
  drawFailed(scene, colours);
  drawMarks(scene, colours);
  context.restore();
}

/** @param {Scene} scene @param {Group} group @param {import("./palette.js").Colours} colours */
function drawGroup(scene, group, colours) {
  const { context, picture, view, top, lane, width, height, axis } = scene;
  const { look } = group, { items } = picture;
  const colour = look.colour === "hue" ? colours.hues[group.hue] : colours[look.colour];
  context.fillStyle = look.striped ? scene.palette.stripes(context, colour, 6) : colour;
  context.globalAlpha = look.alpha ?? 1;
  const high = Math.max(2, Math.round(lane * look.high));
  const shift = look.at === "bottom" ? lane - high - 1 : look.at === "top" ? 0 : Math.round((lane - high) / 2);
  const isBar = (look.shape ?? "bar") === "bar";
  const bucketed = picture.buckets > 0, unit = picture.byOrder ? view.scale : 0;
  const wide = look.shape === "mark" && unit ? Math.max(look.wide ?? 2, Math.min(unit * 0.75, 26)) : look.wide ?? 2;
  const line = view.line, straight = line.gaps.length === 0, scale = view.scale, from = view.from - PAD / scale;
  const figures = !isBar && look.shape !== "mark";
  if (figures) context.beginPath();
  let row = -1, y = 0, seen = false, held = 0, until = -1;
  for (let i = 0; i < group.items.length; i += 1) {
    const n = group.items[i];
    const own = picture.threads.lane[items.thread[n]];
    if (own !== row) {
      if (until >= 0 && seen) context.fillRect(held, y, until - held, high);
      row = own;
      until = -1;
      y = Math.round(top + own * lane) + shift;
      seen = y + high >= axis && y <= height;
    }
    if (!seen) continue;
    const start = items.start[n];
    const left = ((straight ? start : line.place(start)) - from) * scale;
    let right = left;
    if (isBar || bucketed) {
      const end = picture.end(n);
      right = ((straight ? end : line.place(end)) - from) * scale;
    }
    if (right < -12 || left > width + 12) continue;
    if (figures) {
      figure(context, look, bucketed ? (left + right) / 2 : left + unit / 2, y, wide, high);
      continue;
    }
    const begin = isBar ? left : left + unit / 2 - wide / 2;
    const end = isBar ? Math.max(right, left + Math.max(1, unit * 0.9)) : Math.max(begin + wide, bucketed ? right : 0);
    if (until >= 0 && begin <= until + 0.5 && begin >= held && (end - begin < 1.5 || bucketed)) {
      until = Math.max(until, end); // joins its neighbour: nobody could see them apart
    } else {
      if (until >= 0) context.fillRect(held, y, until - held, high);
      held = begin;
      until = end;
    }
  }
  if (until >= 0 && seen && !figures) context.fillRect(held, y, until - held, high);
  if (figures) context.fill();
  context.globalAlpha = 1;
}

/** @param {CanvasRenderingContext2D} context @param {Look} look
 * @param {number} x @param {number} y @param {number} wide @param {number} high */
export function figure(context, look, x, y, wide, high) {
  const half = Math.min(wide, high + 2) / 2;
  if (look.shape === "triangle") {
    context.moveTo(x, y);
    context.lineTo(x + half, y + high);
    context.lineTo(x - half, y + high);
  } else if (look.shape === "diamond") {
    context.moveTo(x, y);
    context.lineTo(x + half, y + high / 2);
    context.lineTo(x, y + high);
    context.lineTo(x - half, y + high / 2);
  } else {
    context.rect(x - half, y, half * 2, high);
  }
  context.closePath();
}

/** Spans that ended badly carry the mark of it at their end. @param {Scene} scene @param {import("./palette.js").Colours} colours */
function drawFailed(scene, colours) {
  const { context, picture, view, top, lane, width, axis, height } = scene;
  if (picture.buckets) return;
  const { items } = picture, look = /** @type {Look} */ (LOOKS.get("failed_result"));
  const high = Math.round(lane * look.high), shift = Math.round((lane - high) / 2);
  context.fillStyle = colours.failed;
  context.beginPath();
  let last = -9, row = -1;
  for (let n = 0; n < items.flags.length; n += 1) {
    if (!(items.flags[n] & FAILED)) continue;
    const own = picture.threads.lane[items.thread[n]], x = view.x(picture.end(n)), y = top + own * lane + shift;
    if (x < -9 || x > width + 9 || y < axis - lane || y > height || (own === row && Math.abs(x - last) < 1)) continue;
    figure(context, look, x, y, look.wide ?? 9, high);
    [last, row] = [x, own];
  }
  context.fill();
}

/** What people said of a step: a flag in its lane. @param {Scene} scene @param {import("./palette.js").Colours} colours */
function drawMarks(scene, colours) {
  const { context, picture, view, top, lane, width } = scene;
  const { marks, threads } = picture;
  const unit = picture.byOrder ? view.scale : 0;
  for (let n = 0; n < marks.seq.length; n += 1) {
    const x = view.x(marks.at[n]) + unit / 2;
    if (x < -9 || x > width + 9) continue;
    const y = Math.round(top + threads.lane[marks.thread[n]] * lane) + 1, high = lane - 2;
    context.fillStyle = colours.surface;
    context.fillRect(x - 2, y - 1, 4, high + 2);
    context.fillRect(x - 2, y - 1, 10, Math.max(4, Math.round(high * 0.45)) + 2);
    context.fillStyle = marks.kind[n] === "failure" ? colours.failed : marks.kind[n] === "good" ? colours.done : colours.accent;
    context.fillRect(x - 1, y, 2, high);
    context.fillRect(x - 1, y, 8, Math.max(4, Math.round(high * 0.45)));
  }
}

/** @param {Scene} scene @param {import("./palette.js").Colours} colours */
function drawGaps(scene, colours) {
  const { context, view, height, axis, width } = scene;
  for (const [from, to] of view.line.gaps) {
    const left = view.x(from), right = view.x(to);
    if (right < 0 || left > width) continue;
    context.fillStyle = scene.palette.stripes(context, colours["line-strong"], 9);
    context.globalAlpha = 0.28;
    context.fillRect(left, axis, right - left, height - axis);
    context.globalAlpha = 1;
    context.fillStyle = colours["line-strong"];
    context.fillRect(left, axis, 1, height - axis);
    context.fillRect(right - 1, axis, 1, height - axis);
  }
}

/** What is selected, also where it is one of many in a bucket.
 * @param {Scene} scene @param {import("./palette.js").Colours} colours */
function drawChosen(scene, colours) {
  const { context, picture, view, top, lane, width, selected, found } = scene;
  if (selected < 0 && !found) return;
  const { items, threads } = picture;
  const start = selected >= 0 ? items.start[selected] : found?.at ?? 0;
  const end = selected >= 0 ? picture.end(selected) : start;
  const y = top + threads.lane[selected >= 0 ? items.thread[selected] : found?.thread ?? 0] * lane;
  const unit = picture.byOrder ? view.scale : 0;
  const left = Math.max(view.x(start) - 3, -4);
  const right = Math.min(Math.max(view.x(end), left + 3 + Math.max(3, unit)) + 3, width + 4);
  context.fillStyle = colours["surface-chosen"];
  context.fillRect(0, y, width, lane - 1);
  context.strokeStyle = colours.accent;
  context.lineWidth = 2;
  context.strokeRect(left, y + 1, right - left, lane - 3);
}

/** Times above the lanes. @param {Scene} scene @param {number} y @param {number} high */
export function drawAxis(scene, y, high) {
  const { context, view, picture, width, height } = scene;
  const colours = scene.palette.read();
  context.font = colours.font;
  context.textBaseline = "middle";
  const places = ticks(view, picture.byOrder), step = places.length > 1 ? places[1] - places[0] : 1e6;
  let free = -1;
  for (const at of places) {
    const x = Math.round(view.x(at));
    const text = picture.byOrder ? `event ${at + 1}` : clock(at, step);
    const wide = context.measureText(text).width;
    if (x < free || x + wide + 4 > width) continue;
    context.fillStyle = colours.line;
    context.fillRect(x, y, 1, height - y);
    context.fillStyle = colours["ink-faint"];
    context.fillText(text, x + 4, y + high / 2);
    free = x + wide + 12;
  }
}
