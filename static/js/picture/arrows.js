// @ts-check
/** Messages between agents: a curve from where each was sent to where it was received, drawn last. */

const MOST = 1500; // in one frame; the reader is told when there are more
const HEADS = 200; // with more curves than this, only the emphasised have a head

/** The arrows that touch an item's events. @param {import("./payload.js").Picture} picture @param {number} item */
export function arrowsOf(picture, item) {
  if (item < 0) return [];
  const { items, arrows } = picture;
  const own = new Set([items.seq[item], items.seq[item] + items.ended[item]]);
  const found = [];
  for (let n = 0; n < arrows.sent_seq.length; n += 1) {
    if (own.has(arrows.sent_seq[n]) || own.has(arrows.received_seq[n])) found.push(n);
  }
  return found;
}

/** @param {import("./draw.js").Scene} scene @returns {{drawn: number, wanted: number}} */
export function drawArrows(scene) {
  const { context, picture, axis, width, height } = scene;
  const colours = scene.palette.read();
  const shown = visible(scene);
  const drawn = shown.slice(0, MOST);
  context.save();
  context.beginPath();
  context.rect(0, axis, width, height - axis);
  context.clip();
  context.strokeStyle = context.fillStyle = colours["ink-soft"];
  context.globalAlpha = drawn.length > 300 ? 0.14 : drawn.length > 60 ? 0.3 : 0.5;
  context.lineWidth = 1;
  context.beginPath();
  for (const curve of drawn) trace(context, curve);
  context.stroke();
  if (drawn.length <= HEADS) for (const curve of drawn) head(context, curve, 4);
  const emphasised = new Set([...arrowsOf(picture, scene.selected), ...arrowsOf(picture, scene.hovered)]);
  context.globalAlpha = 1;
  context.strokeStyle = context.fillStyle = colours.accent;
  context.lineWidth = 2;
  for (const n of emphasised) {
    const curve = curveOf(scene, n);
    context.beginPath();
    trace(context, curve);
    context.stroke();
    head(context, curve, 7);
    if (curve.taken > curve.x2 + 3) {
      // From here to there the message lay in the queue.
      context.setLineDash([2, 3]);
      context.beginPath();
      context.moveTo(curve.x2, curve.y2);
      context.lineTo(curve.taken, curve.y2);
      context.stroke();
      context.setLineDash([]);
      context.fillRect(curve.taken - 1, curve.y2 - 4, 2, 8);
    }
  }
  context.restore();
  return { drawn: drawn.length, wanted: shown.length };
}

/** @typedef {{x1: number, y1: number, x2: number, y2: number, taken: number}} Curve */

/** @param {import("./draw.js").Scene} scene @param {number} n @returns {Curve} */
function curveOf(scene, n) {
  const { picture, view, top, lane } = scene;
  const { arrows, threads } = picture;
  const unit = picture.byOrder ? view.scale : 0;
  const taken = arrows.taken[n];
  return {
    x1: view.x(arrows.sent[n]) + unit / 2,
    y1: top + (threads.lane[arrows.sender[n]] + 0.5) * lane,
    x2: view.x(arrows.received[n]) + unit / 2,
    y2: top + (threads.lane[arrows.receiver[n]] + 0.5) * lane,
    taken: taken === null ? -1 : view.x(taken) + unit / 2,
  };
}

/** Those that cross what is shown, each pair of pixels once. @param {import("./draw.js").Scene} scene */
function visible(scene) {
  const { picture, width, height, axis } = scene;
  const { arrows, threads } = picture;
  /** @type {Curve[]} */
  const found = [];
  const seen = new Set();
  for (let n = picture.arrows.sent.length - 1; n >= 0; n -= 1) {
    const curve = curveOf(scene, n);
    if (Math.max(curve.x1, curve.x2) < -30 || Math.min(curve.x1, curve.x2) > width + 30) continue;
    if (Math.max(curve.y1, curve.y2) < axis || Math.min(curve.y1, curve.y2) > height) continue;
    const key = (half(curve.x1, width) * 16384 + half(curve.x2, width)) * 2 ** 20
      + threads.lane[arrows.sender[n]] * 1024 + threads.lane[arrows.receiver[n]];
    if (seen.has(key)) continue;
    seen.add(key);
    found.push(curve);
  }
  return found;
}

/** @param {number} x @param {number} width */
function half(x, width) {
  return Math.round((Math.min(Math.max(x, -60), width + 60) + 60) / 2);
}

/** @param {CanvasRenderingContext2D} context @param {Curve} curve */
function trace(context, { x1, y1, x2, y2 }) {
  const bend = Math.max(10, Math.min(48, Math.abs(x2 - x1) / 2));
  context.moveTo(x1, y1);
  context.bezierCurveTo(x1 + bend, y1 + (y2 - y1) * 0.15, x2 - bend, y2 - (y2 - y1) * 0.15, x2, y2);
}

/** @param {CanvasRenderingContext2D} context @param {Curve} curve @param {number} size */
function head(context, { y1, x2, y2 }, size) {
  const down = y2 >= y1 ? 1 : -1;
  context.beginPath();
  context.moveTo(x2, y2);
  context.lineTo(x2 - size, y2 - down * size * 0.25);
  context.lineTo(x2 - size * 0.25, y2 - down * size);
  context.closePath();
  context.fill();
}
