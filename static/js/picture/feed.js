// @ts-check
/** Where the picture's numbers come from: all at first, what is new while live, and a closer look where it is bucketed. */

const SETTLED_MS = 140; // after the last movement, before a closer look is fetched
const BUCKETS_MS = 2000; // between two fetches of a bucketed picture that grows

export class Feed {
  /** @param {import("./element.js").SessionPicture} element */
  constructor(element) {
    this.element = element;
    this.stopped = new AbortController();
    this.fetching = false;
    this.wanted = 0; // the last `seq` there is
    this.fetchedAt = 0;
    document.addEventListener("htmx:sseOpen", (event) => this.listen(/** @type {CustomEvent} */ (event).detail.source), {
      signal: this.stopped.signal,
    });
  }

  stop() {
    this.stopped.abort();
    clearTimeout(this.timer);
  }

  /** @param {EventSource} source */
  listen(source) {
    source.addEventListener("picture", (event) => {
      this.wanted = Math.max(this.wanted, Number(/** @type {MessageEvent} */ (event).data) || 0);
      this.catchUp();
    });
  }

  /** @param {{[name: string]: string | number}} more */
  async get(more) {
    const { element } = this;
    const url = new URL(element.dataset.url ?? "", location.href);
    const own = { width: Math.max(300, Math.round(element.canvas?.clientWidth ?? 1000)), draw: element.dataset.draw ?? "time",
      fold: element.dataset.fold ?? "", find: element.selectedSeq || "" };
    for (const [name, value] of Object.entries({ ...own, ...more })) if (value !== "") url.searchParams.set(name, String(value));
    const first = element.dataset.first;
    delete element.dataset.first;
    // The page has asked for this already, while the scripts were on their way.
    const early = first && !Object.keys(more).length && !element.selectedSeq;
    const answer = await fetch(early ? first : url, { signal: this.stopped.signal });
    if (!answer.ok || !answer.headers.get("Content-Type")?.includes("json")) throw new Error(`The picture answered ${answer.status}.`);
    return answer.json();
  }

  /** @param {{[name: string]: string | number}} more */
  async fetch(more) {
    this.fetching = true;
    this.fetchedAt = performance.now();
    try {
      this.element.take(await this.get(more));
      this.element.removeAttribute("data-broken");
    } catch (error) {
      if (!this.stopped.signal.aborted) this.element.setAttribute("data-broken", "");
    }
    this.fetching = false;
    this.catchUp();
  }

  fetchAll() {
    return this.fetch({});
  }

  /** Where the selected event is, when it is not among what is drawn. */
  find() {
    return this.element.picture?.buckets ? this.fetch(this.shown()) : undefined;
  }

  /** The part to fetch: somewhat more than is shown, so that a small movement needs nothing new. */
  shown() {
    const { view } = this.element;
    if (!view || view.fitted) return {};
    const margin = view.length * 0.5;
    return { from: view.line.time(view.from - margin).toFixed(1), to: view.line.time(view.to + margin).toFixed(1),
      width: Math.round(view.width * 2) };
  }

  /** What is shown has changed: look closer, or again at all of it, when it is not known well enough. */
  moved() {
    const { picture, view, overview } = this.element;
    if (!picture || !view || (!picture.buckets && picture === overview)) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => {
      if (this.fetching) return this.moved();
      const [from, to] = picture.range, [first, last] = picture.extent;
      const start = Math.max(view.time(0), first), end = Math.min(view.time(view.width), last);
      const covered = from <= start && to >= end;
      const close = !picture.buckets || to - from <= (end - start) * 2.6;
      if (!(covered && close)) this.fetch(this.shown());
    }, SETTLED_MS);
  }

  /** Fetch what is new, one request at a time. */
  catchUp() {
    const { picture, overview } = this.element;
    if (this.fetching || this.stopped.signal.aborted || !picture || picture.lastSeq >= this.wanted) return;
    if (!picture.buckets && picture === overview) {
      this.fetch({ after: picture.lastSeq });
      return;
    }
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.fetch(this.shown()), Math.max(0, this.fetchedAt + BUCKETS_MS - performance.now()));
  }
}
