// @ts-check
/** What mouse, touch and keys do with the picture. It decides nothing: it tells the element. */

const CLICK_PX = 4;

/**
 * @typedef {import("./element.js").SessionPicture} Element_
 */

export class Hands {
  /** @param {Element_} element @param {HTMLCanvasElement} canvas */
  constructor(element, canvas) {
    this.element = element;
    this.canvas = canvas;
    /** @type {Map<number, {x: number, y: number}>} */
    this.down = new Map();
    /** @type {{kind: "pan" | "brush" | "window", x: number, moved: boolean, at: number} | null} */
    this.drag = null;
    canvas.addEventListener("pointerdown", (event) => this.press(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const name of /** @type {const} */ (["pointerup", "pointercancel"])) {
      canvas.addEventListener(name, (event) => this.release(event));
    }
    canvas.addEventListener("pointerleave", () => element.hover(-1, -1));
    canvas.addEventListener("dblclick", (event) => this.doubled(event));
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("keydown", (event) => { if (this.key(event)) event.preventDefault(); });
  }

  /** @param {MouseEvent} event */
  place(event) {
    const box = this.canvas.getBoundingClientRect();
    return { x: event.clientX - box.left, y: event.clientY - box.top };
  }

  /** @param {PointerEvent} event */
  press(event) {
    if (event.button !== 0) return;
    const { x, y } = this.place(event);
    this.down.set(event.pointerId, { x, y });
    try {
      this.canvas.setPointerCapture(event.pointerId);
    } catch {
      return; // the pointer is already gone
    }
    if (this.down.size > 1) {
      this.drag = null;
      return;
    }
    const kind = y > this.element.minimapHeight ? "pan" : this.element.isInWindow(x) ? "window" : "brush";
    this.drag = { kind, x, moved: false, at: x };
  }

  /** @param {PointerEvent} event */
  move(event) {
    const { x, y } = this.place(event);
    const held = this.down.get(event.pointerId);
    if (!held) {
      this.element.hover(x, y);
      return;
    }
    if (this.down.size === 2) {
      this.pinch(event.pointerId, x);
    } else if (this.drag) {
      const by = x - held.x;
      if (!this.drag.moved && Math.abs(x - this.drag.x) < CLICK_PX) return;
      this.drag.moved = true;
      if (this.drag.kind === "pan") this.element.pan(-by);
      else if (this.drag.kind === "window") this.element.moveWindow(by);
      else this.element.brush(this.drag.x, x);
    }
    this.down.set(event.pointerId, { x, y });
  }

  /** Two fingers: what was between them stays between them. @param {number} id @param {number} x */
  pinch(id, x) {
    const [a, b] = [...this.down.entries()];
    const other = a[0] === id ? b[1].x : a[1].x, before = a[0] === id ? a[1].x : b[1].x;
    const old = Math.abs(before - other), now = Math.abs(x - other);
    if (old > 8 && now > 8) this.element.zoom(old / now, (x + other) / 2);
    this.element.pan(-(x - before) / 2);
  }

  /** @param {PointerEvent} event */
  release(event) {
    if (!this.down.delete(event.pointerId)) return;
    const drag = this.drag;
    this.drag = null;
    if (!drag || event.type === "pointercancel") return;
    const { x, y } = this.place(event);
    if (drag.moved) return;
    if (drag.kind === "pan") this.element.pick(x, y);
    else this.element.centre(x);
  }

  /** @param {MouseEvent} event */
  doubled(event) {
    const { x, y } = this.place(event);
    if (y > this.element.minimapHeight) this.element.zoom(1 / 3, x);
  }

  /** @param {WheelEvent} event */
  wheel(event) {
    const { x } = this.place(event);
    const unit = event.deltaMode === 1 ? 16 : 1;
    if (event.ctrlKey || event.metaKey) {
      event.preventDefault();
      this.element.zoom(Math.exp(Math.max(-60, Math.min(60, event.deltaY * unit)) * 0.01), x);
    } else if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      event.preventDefault();
      this.element.pan((event.deltaX || event.deltaY) * unit);
    }
  }

  /** @param {KeyboardEvent} event @returns {boolean} whether the key meant something */
  key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return false;
    const { element } = this, wide = this.canvas.clientWidth;
    switch (event.key) {
      case "ArrowLeft": event.shiftKey ? element.step(-1) : element.pan(-wide * 0.15); return true;
      case "ArrowRight": event.shiftKey ? element.step(1) : element.pan(wide * 0.15); return true;
      case "ArrowUp": event.shiftKey ? element.stepLane(-1) : element.scrollLanes(-1); return true;
      case "ArrowDown": event.shiftKey ? element.stepLane(1) : element.scrollLanes(1); return true;
      case "+": case "=": element.zoom(1 / 1.6, wide / 2); return true;
      case "-": case "_": element.zoom(1.6, wide / 2); return true;
      case "0": element.act("fit"); return true;
      default: return false;
    }
  }
}
