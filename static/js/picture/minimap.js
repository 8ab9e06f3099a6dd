// @ts-check
/** The whole session in a strip: how many agents worked at a time, where it went wrong, and which part is shown. */
import { BUCKET } from "./payload.js";
import { PAD } from "./scale.js";

const TALLEST = 4; // lanes at work at a time that fill the strip, unless there are more

const BUSY = new Set(["model", "tool", "grading", "compaction", "said", "user"]);

/** How many lanes were at work, and whether some waited for a person, per pixel.
 * @param {import("./payload.js").Picture} picture @param {import("./scale.js").Line} line @param {number} width */
export function density(picture, line, width) {
  const columns = Math.max(1, Math.floor(width)), scale = columns / Math.max(line.extent[1] - line.extent[0], 1e-6);
  const busy = new Uint16Array(columns), waits = new Uint8Array(columns);
  const { items, kinds } = picture;
  const isBusy = kinds.map((name) => BUSY.has(name));
  const waiting = kinds.indexOf("wait_person");
  const stamp = new Int32Array(columns).fill(-1);
  const columnsOf = (/** @type {number} */ n) => {
    const first = Math.floor((line.place(items.start[n]) - line.extent[0]) * scale);
    const end = (line.place(picture.end(n)) - line.extent[0]) * scale - (items.flags[n] & BUCKET ? 0.01 : 0);
    const from = Math.min(Math.max(first, 0), columns - 1);
    return [from, Math.min(Math.max(Math.floor(end), from), columns - 1)];
  };
  (picture.byLane ?? []).forEach((own, lane) => {
    for (const n of own) {
      if (items.kind[n] !== waiting) continue; // whoever waits for a person does not work meanwhile
      const [from, to] = columnsOf(n);
      waits.fill(1, from, to + 1);
      stamp.fill(lane, from, to + 1);
    }
    for (const n of own) {
      if (!isBusy[items.kind[n]]) continue;
      const [from, to] = columnsOf(n);
      for (let column = from; column <= to; column += 1) {
        if (stamp[column] === lane) continue; // a lane counts once
        stamp[column] = lane;
        busy[column] += 1;
      }
    }
  });
  return { busy, waits };
}

/** @param {import("./draw.js").Scene} scene @param {{busy: Uint16Array, waits: Uint8Array}} map @param {number} high */
export function drawMinimap(scene, map, high) {
  const { context, picture, view, width } = scene;
  const colours = scene.palette.read();
  const { line } = view, scale = (width - 2 * PAD) / Math.max(line.extent[1] - line.extent[0], 1e-6);
  context.clearRect(0, 0, width, high);
  const most = Math.max(TALLEST, map.busy.reduce((a, b) => Math.max(a, b), 0)), room = high - 8;
  context.fillStyle = colours.waiting;
  context.globalAlpha = 0.35;
  runs(map.waits, (from, to) => context.fillRect(PAD + from, high - 4, to - from, 3));
  context.globalAlpha = 0.75;
  context.fillStyle = colours["ink-faint"];
  runs(map.busy, (from, to, value) => {
    const tall = Math.max(2, (value / most) * room);
    context.fillRect(PAD + from, high - 4 - tall, to - from, tall);
  });
  context.globalAlpha = 1;
  context.fillStyle = colours.failed;
  let last = -9;
  const failures = [...picture.errors.at, ...picture.marks.at.filter((_, n) => picture.marks.kind[n] === "failure")];
  for (const at of failures) {
    const x = PAD + (line.place(at) - line.extent[0]) * scale;
    if (Math.abs(x - last) < 1) continue;
    context.fillRect(x - 1, 0, 2, 6);
    last = x;
  }
  const left = view.fitted ? 0 : PAD + (view.from - line.extent[0]) * scale;
  const right = view.fitted ? width : PAD + (view.to - line.extent[0]) * scale;
  if (!view.fitted) {
    context.fillStyle = colours.surface;
    context.globalAlpha = 0.6;
    context.fillRect(0, 0, left, high);
    context.fillRect(right, 0, width - right, high);
    context.globalAlpha = 1;
  }
  context.strokeStyle = view.fitted ? colours.line : colours.accent;
  context.lineWidth = 1;
  context.strokeRect(Math.max(left, 0) + 0.5, 0.5, Math.max(Math.min(right, width) - Math.max(left, 0) - 1, 2), high - 1);
}

/** Neighbours of one value as one. @param {ArrayLike<number>} values @param {(from: number, to: number, value: number) => void} draw */
function runs(values, draw) {
  let from = 0;
  for (let at = 1; at <= values.length; at += 1) {
    if (at < values.length && values[at] === values[from]) continue;
    if (values[from]) draw(from, at, values[from]);
    from = at;
  }
}
