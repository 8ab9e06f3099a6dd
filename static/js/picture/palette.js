// @ts-check
/** The theme's colours as a canvas needs them: read once, and again when the theme changes. */

const TOKENS = ["surface", "surface-hover", "surface-chosen", "line", "line-strong", "ink", "ink-soft", "ink-faint", "accent",
  "waiting", "failed", "done", "simulated"];
const HUES = 10;

/** @typedef {{[token: string]: string} & {hues: string[], font: string}} Colours */

export class Palette {
  /** @param {HTMLElement} place @param {() => void} changed */
  constructor(place, changed) {
    this.place = place;
    /** @type {any} */
    this.colours = null;
    /** @type {Map<string, CanvasPattern | string>} */
    this.patterns = new Map();
    const renew = () => { this.colours = null; this.patterns.clear(); changed(); };
    this.observer = new MutationObserver(renew);
    this.observer.observe(document.documentElement, { attributes: true, attributeFilter: ["data-theme"] });
    this.media = ["(prefers-color-scheme: dark)", "(forced-colors: active)"].map((query) => matchMedia(query));
    for (const media of this.media) media.addEventListener("change", renew);
    this.stop = () => {
      this.observer.disconnect();
      for (const media of this.media) media.removeEventListener("change", renew);
    };
  }

  /** @returns {Colours} */
  read() {
    if (this.colours) return this.colours;
    const probe = document.createElement("span");
    probe.hidden = true;
    this.place.append(probe);
    const style = getComputedStyle(probe);
    const resolve = (/** @type {string} */ token) => {
      probe.style.color = `var(--${token})`;
      return style.color;
    };
    const found = /** @type {any} */ (Object.fromEntries(TOKENS.map((token) => [token, resolve(token)])));
    // Hues tell agents apart and are ours to keep where the system otherwise chooses colours.
    probe.style.setProperty("forced-color-adjust", "none");
    found.hues = Array.from({ length: HUES }, (_, n) => resolve(`hue-${n}`));
    for (const token of ["waiting", "failed", "done"]) found[token] = resolve(token);
    found.font = `11px ${style.fontFamily}`;
    probe.remove();
    this.colours = found;
    return found;
  }

  /** Diagonal lines in a colour: what waits is striped, so that it is not told by its colour alone.
   * @param {CanvasRenderingContext2D} context @param {string} colour @param {number} gap */
  stripes(context, colour, gap) {
    const key = `${colour} ${gap}`;
    const known = this.patterns.get(key);
    if (known) return known;
    const tile = document.createElement("canvas");
    tile.width = tile.height = gap;
    const drawing = tile.getContext("2d");
    if (!drawing) return colour;
    drawing.fillStyle = this.read().surface; // what lies beneath must not fill the spaces
    drawing.fillRect(0, 0, gap, gap);
    drawing.globalAlpha = 0.25;
    drawing.fillStyle = colour;
    drawing.fillRect(0, 0, gap, gap);
    drawing.globalAlpha = 1;
    drawing.strokeStyle = colour;
    drawing.lineWidth = gap / 4;
    drawing.beginPath();
    for (const shift of [-gap, 0, gap]) {
      drawing.moveTo(shift, gap);
      drawing.lineTo(shift + gap, 0);
    }
    drawing.stroke();
    const pattern = context.createPattern(tile, "repeat") ?? colour;
    this.patterns.set(key, pattern);
    return pattern;
  }
}
