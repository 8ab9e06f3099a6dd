// @ts-check
/**
 * What was found in a session, and the line of marks above its story: a click selects the event on this page instead
 * of opening it anew. The links work by themselves, also in a new tab.
 */
document.addEventListener("click", (event) => {
  if (event.defaultPrevented || event.button || event.ctrlKey || event.metaKey || event.shiftKey || event.altKey) return;
  const target = /** @type {Element} */ (event.target);
  const link = /** @type {HTMLElement | null} */ (target.closest?.("#session-hits a[data-seq], #session-marks a[data-seq]"));
  if (!link || !document.querySelector("session-story")) return;
  event.preventDefault();
  const detail = { seq: Number(link.dataset.seq), id: link.dataset.event ?? "", from: "find" };
  document.dispatchEvent(new CustomEvent("daybreak:select", { detail }));
});
