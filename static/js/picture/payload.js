// @ts-check
/** What the server sends to draw, as columns, and how what is new is worked into it. */

export const OPEN = 1;
export const FAILED = 2;
export const BUCKET = 8;
const KEY = 64; // more than there are kinds

/**
 * @typedef {{start: number[], length: number[], thread: number[], kind: number[], seq: number[], ended: number[],
 *   flags: number[], count: number[]}} Items
 * @typedef {{sent_seq: number[], sent: number[], sender: number[], received_seq: number[], received: number[],
 *   receiver: number[], taken: (number | null)[]}} Arrows
 * @typedef {{id: string, name: string, hue: number, status: string, word: string}} Agent
 * @typedef {{name: string, summary: string, folded: boolean, agents: Agent[], unnamed: number}} Lane
 */

/** A session as far as its picture goes. */
export class Picture {
  /** @param {any} sent */
  constructor(sent) {
    /** @type {string[]} */
    this.kinds = sent.kinds;
    /** @type {Items} */
    this.items = sent.items;
    /** @type {Arrows} */
    this.arrows = sent.arrows;
    this.buckets = Number(sent.buckets);
    this.takeFacts(sent);
    this.index();
  }

  /** What every answer brings anew. @param {any} sent */
  takeFacts(sent) {
    this.lastSeq = Number(sent.last_seq);
    this.byOrder = Boolean(sent.by_order);
    /** @type {[number, number]} */
    this.extent = sent.extent;
    /** @type {[number, number]} */
    this.range = sent.range;
    /** @type {number | null} */
    this.now = sent.now;
    this.at = performance.now();
    /** @type {Lane[]} */
    this.lanes = sent.lanes;
    /** @type {{lane: number[], hue: number[], name: string[]}} */
    this.threads = sent.threads;
    /** @type {{seq: number[], at: number[], thread: number[]}} */
    this.errors = sent.errors;
    /** @type {{seq: number[], at: number[], thread: number[], kind: string[]}} */
    this.marks = sent.marks;
    /** @type {[number, number][]} */
    this.gaps = sent.gaps;
    /** @type {{seq: number, at: number, thread: number} | null} */
    this.found = sent.found;
    /** @type {string[]} */
    this.notices = sent.notices;
  }

  index() {
    /** @type {Map<number, number>} */
    this.places = new Map();
    const { seq, kind } = this.items;
    for (let n = 0; n < seq.length; n += 1) this.places.set(seq[n] * KEY + kind[n], n);
    /** @type {Map<number, number>} */
    this.arrowPlaces = new Map(this.arrows.received_seq.map((received, n) => [received, n]));
    this.arrange();
  }

  /** Items by lane, for finding what is under a pointer. */
  arrange() {
    /** @type {number[][]} */
    this.byLane = this.lanes.map(() => []);
    const { thread, start } = this.items;
    for (let n = 0; n < thread.length; n += 1) this.byLane[this.threads.lane[thread[n]]]?.push(n);
    for (const own of this.byLane) own.sort((a, b) => start[a] - start[b] || a - b);
    this.hasOpen = this.items.flags.some((flags) => flags & OPEN);
  }

  /** Work in what came after `lastSeq`. @param {any} sent */
  merge(sent) {
    this.takeFacts(sent);
    const own = this.items, fresh = /** @type {Items} */ (sent.items);
    for (let n = 0; n < fresh.seq.length; n += 1) {
      // A call that turned out to be a wait has another kind than it had.
      const place = this.placeOf(fresh.seq[n], fresh.kind[n]);
      for (const name of /** @type {(keyof Items)[]} */ (Object.keys(own))) {
        if (fresh[name].length) own[name][place] = fresh[name][n];
      }
      this.places?.set(fresh.seq[n] * KEY + fresh.kind[n], place);
    }
    const arrows = /** @type {Arrows} */ (sent.arrows);
    for (let n = 0; n < arrows.received_seq.length; n += 1) {
      const place = this.arrowPlaces?.get(arrows.received_seq[n]) ?? this.arrows.received_seq.length;
      for (const name of /** @type {(keyof Arrows)[]} */ (Object.keys(arrows))) {
        // @ts-ignore the columns of one name hold the same type
        this.arrows[name][place] = arrows[name][n];
      }
      this.arrowPlaces?.set(arrows.received_seq[n], place);
    }
    this.arrange();
  }

  /** @param {number} seq @param {number} kind */
  placeOf(seq, kind) {
    const same = this.places?.get(seq * KEY + kind);
    if (same !== undefined) return same;
    const spans = ["tool", "model"].map((name) => this.places?.get(seq * KEY + this.kinds.indexOf(name)));
    const turned = ["wait_agents", "compaction"].includes(this.kinds[kind]) ? spans.find((n) => n !== undefined) : undefined;
    return turned ?? this.items.seq.length;
  }

  /** The item that stands for an event: that begins with it, ends with it, or is it. @param {number} seq */
  itemOf(seq) {
    const { items } = this;
    let ending = -1;
    for (let n = 0; n < items.seq.length; n += 1) {
      if (items.seq[n] === seq && !(items.flags[n] & 4)) return n;
      if (items.ended[n] && items.seq[n] + items.ended[n] === seq) ending = n;
    }
    return ending;
  }

  /** How far the clock has come for what is still going on. */
  get clock() {
    return this.now === null ? this.extent[1] : this.now + performance.now() - this.at;
  }

  /** Whether something grows while one looks. */
  get isLive() {
    return this.now !== null && Boolean(this.hasOpen);
  }

  /** @param {number} n */
  end(n) {
    const length = this.items.length[n];
    return length < 0 ? Math.max(this.clock, this.items.start[n]) : this.items.start[n] + length;
  }
}
