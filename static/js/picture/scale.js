// @ts-check
/** From times to pixels: the part that is shown, skipped gaps, and the marks of the axis. Pure. */

const GAP_PX = 28;
export const PAD = 9; // pixels on either side, so that what stands at the very beginning is whole
const SMALLEST = { time: 2, order: 4 };

/** Long times without anything, made short. Times go in, places on the drawn line come out. */
export class Line {
  /** @param {[number, number]} extent @param {[number, number][]} gaps @param {number} width */
  constructor(extent, gaps, width) {
    this.origin = extent[0];
    this.gaps = gaps;
    const idle = gaps.reduce((sum, [from, to]) => sum + to - from, 0);
    const busy = Math.max(extent[1] - extent[0] - idle, 1);
    const room = Math.max(width - GAP_PX * gaps.length, width / 2);
    this.gap = gaps.length ? (GAP_PX * busy) / room : 0;
    this.extent = [this.place(extent[0]), this.place(extent[1])];
  }

  /** @param {number} time */
  place(time) {
    let place = time;
    for (const [from, to] of this.gaps) {
      if (time <= from) break;
      place -= time < to ? (time - from) * (1 - this.gap / (to - from)) : to - from - this.gap;
    }
    return place;
  }

  /** @param {number} place */
  time(place) {
    let time = place;
    for (const [from, to] of this.gaps) {
      if (time <= from) break;
      const inside = time - from;
      time = inside < this.gap ? from + (inside / this.gap) * (to - from) : time + to - from - this.gap;
    }
    return time;
  }
}

/** What is shown of the line, `from` and `to` being places on it. */
export class View {
  /** @param {Line} line @param {boolean} byOrder */
  constructor(line, byOrder) {
    this.line = line;
    this.byOrder = byOrder;
    this.smallest = byOrder ? SMALLEST.order : SMALLEST.time;
    this.from = line.extent[0];
    this.to = line.extent[1];
    this.width = 1;
    this.fitted = true;
  }

  get length() {
    return Math.max(this.to - this.from, 1e-6);
  }

  /** Pixels per unit of the line. */
  get scale() {
    return Math.max(this.width - 2 * PAD, 1) / this.length;
  }

  /** @param {number} time */
  x(time) {
    return PAD + (this.line.place(time) - this.from) * this.scale;
  }

  /** @param {number} x */
  time(x) {
    return this.line.time(this.from + (x - PAD) / this.scale);
  }

  fit() {
    [this.from, this.to] = this.line.extent;
    this.fitted = true;
  }

  /** @param {number} from @param {number} to */
  show(from, to) {
    const [first, last] = this.line.extent;
    const whole = Math.max(last - first, this.smallest);
    const length = Math.min(Math.max(to - from, this.smallest), whole);
    const middle = (from + to) / 2;
    this.from = Math.min(Math.max(middle - length / 2, first), first + whole - length);
    this.to = this.from + length;
    this.fitted = length >= whole * 0.999;
  }

  /** @param {number} factor below 1 shows less @param {number} x the pixel that stays where it is */
  zoom(factor, x) {
    const share = (x - PAD) / Math.max(this.width - 2 * PAD, 1);
    const held = this.from + share * this.length;
    const length = Math.max(this.length * factor, this.smallest);
    const from = held - share * length;
    this.show(from, from + length);
  }

  /** @param {number} pixels */
  pan(pixels) {
    const by = pixels / this.scale;
    this.show(this.from + by, this.to + by);
  }

  /** Bring a stretch of time into view, without changing the zoom more than it takes. @param {number} start @param {number} end */
  reveal(start, end) {
    const from = this.line.place(start), to = this.line.place(Math.max(end, start));
    const margin = this.length * 0.05;
    if (from >= this.from + margin && from <= this.to - margin) return;
    const middle = to - from > this.length ? from + this.length * 0.4 : (from + to) / 2;
    this.show(middle - this.length / 2, middle + this.length / 2);
  }

  /** Keep the end in view. */
  toEnd() {
    const [, last] = this.line.extent;
    this.show(last - this.length, last);
  }
}

const STEPS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 10e3, 15e3, 30e3, 60e3, 120e3, 300e3, 600e3, 900e3,
  1800e3, 3600e3, 7200e3, 3 * 3600e3, 6 * 3600e3, 12 * 3600e3, 24 * 3600e3];

/** Round times for the axis, about one in 90 pixels. @param {View} view @param {boolean} byOrder @returns {number[]} */
export function ticks(view, byOrder) {
  const wanted = 90 / view.scale;
  let step = STEPS.find((size) => size >= wanted) ?? Math.ceil(wanted / 864e5) * 864e5;
  if (byOrder) step = 10 ** Math.ceil(Math.log10(Math.max(wanted, 1)));
  if (byOrder && step / 5 >= wanted) step /= 5;
  else if (byOrder && step / 2 >= wanted) step /= 2;
  const first = Math.ceil(view.time(0) / step) * step, last = view.time(view.width);
  const found = [];
  for (let at = first; at <= last && found.length < 400; at += step) found.push(at);
  return found;
}

/** The same words as console.formats.duration. @param {number} ms */
export function duration(ms) {
  if (ms < 999.5) return `${ms < 9.95 ? Math.round(ms * 10) / 10 : Math.round(ms)} ms`;
  if (ms < 9950) return `${(ms / 1000).toFixed(1)} s`;
  const whole = Math.round(ms / 1000);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${pad(whole % 60)} s`;
  const minutes = Math.round(whole / 60);
  if (minutes < 1440) return `${Math.floor(minutes / 60)} h ${pad(minutes % 60)} min`;
  return `${Math.floor(minutes / 1440)} d ${Math.floor(minutes / 60) % 24} h`;
}

/** @param {number} number */
function pad(number) {
  return String(number).padStart(2, "0");
}

/** A place on the axis: short, as on a clock. @param {number} ms @param {number} step */
export function clock(ms, step) {
  if (Math.abs(ms) < 60e3 && step < 60e3) return step < 1000 ? `${ms < 1000 ? Math.round(ms) + " ms" : (ms / 1000).toFixed(step < 100 ? 2 : 1) + " s"}` : `${Math.round(ms / 1000)} s`;
  const sign = ms < 0 ? "−" : "", whole = Math.abs(Math.round(ms / 1000));
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  const rest = step < 1000 ? ((Math.abs(ms) / 1000) % 60).toFixed(1).padStart(4, "0") : pad(whole % 60);
  return hours ? `${sign}${hours}:${pad(minutes)}:${rest}` : `${sign}${minutes}:${rest}`;
}
