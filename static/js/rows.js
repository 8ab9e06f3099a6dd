// @ts-check
/** The rows of the story: how many of them a page holds, and what stands where the others were. */

export const MOST_ROWS = 150;

/** @param {Element} list @returns {HTMLElement[]} */
export function rowsOf(list) {
  return /** @type {HTMLElement[]} */ ([...list.querySelectorAll(":scope > .event")]);
}

/** @param {Element} row */
export function seqOf(row) {
  return Number(/** @type {HTMLElement} */ (row).dataset.seq);
}

/**
 * Let rows go at one end until no more than `MOST_ROWS` are left, and put a link there that brings them back.
 * @param {HTMLElement} list @param {"earlier" | "later"} edge @param {string} address of the story's pieces
 */
export function trim(list, edge, address) {
  const rows = rowsOf(list);
  const extra = rows.length - MOST_ROWS;
  if (extra <= 0) return;
  const gone = edge === "earlier" ? rows.slice(0, extra) : rows.slice(-extra);
  const kept = edge === "earlier" ? rows[extra] : rows[rows.length - extra - 1];
  for (const row of gone) row.remove();
  list.querySelector(`:scope > [data-edge="${edge}"]`)?.remove();
  const more = edgeLink(edge, seqOf(kept), address);
  if (edge === "earlier") list.prepend(more);
  else list.append(more);
  // @ts-ignore htmx is a classic script
  window.htmx.process(more);
}

/** @param {"earlier" | "later"} edge @param {number} seq @param {string} address */
function edgeLink(edge, seq, address) {
  const more = document.createElement("li");
  more.className = "more-events";
  more.dataset.edge = edge;
  const place = edge === "earlier" ? "before" : "after";
  const wanted = filters();
  wanted.set(place, String(seq));
  more.setAttribute("hx-get", `${address}?${wanted}`);
  more.setAttribute("hx-trigger", "intersect once");
  more.setAttribute("hx-swap", "outerHTML");
  const link = document.createElement("a");
  link.className = "button";
  link.href = `?${wanted}`;
  link.textContent = edge === "earlier" ? "Earlier events" : "Later events";
  more.append(link);
  return more;
}

/** What the page's own address leaves out of the story. */
export function filters() {
  const wanted = new URLSearchParams();
  const now = new URLSearchParams(location.search);
  for (const name of ["thread", "events"]) {
    const value = now.get(name);
    if (value) wanted.set(name, value);
  }
  return wanted;
}
