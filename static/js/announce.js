// @ts-check
/** One polite voice for screen readers: `announce("3 new events")`. */

/** @param {string} text */
export function announce(text) {
  const place = document.getElementById("announcer");
  if (!place) return;
  place.textContent = "";
  requestAnimationFrame(() => { place.textContent = text; });
}

// A page that only changed in part says so: the number of rows a filter left.
document.addEventListener("htmx:afterSwap", (event) => {
  const target = /** @type {HTMLElement} */ (event.target);
  if (target.id !== "sessions" && target.id !== "agents") return;
  const rows = target.querySelectorAll("[data-row]").length;
  announce(rows === 1 ? "1 row" : rows ? `${rows} rows` : "Nothing matches");
});
