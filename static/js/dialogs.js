// @ts-check
/** Dialogs and menus: `data-opens="id"` opens one, `data-closes` closes it, a click outside closes a menu. */

document.addEventListener("click", (event) => {
  const target = /** @type {Element} */ (event.target);
  const opener = target.closest("[data-opens]");
  if (opener) {
    fill(/** @type {HTMLElement} */ (opener));
    open(opener.getAttribute("data-opens") ?? "");
  }
  const closer = target.closest("[data-closes]");
  closer?.closest("dialog")?.close();
  for (const menu of openMenus()) {
    if (!menu.contains(target) || opener) menu.open = false;
  }
});

document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || !openMenus().length) return;
  event.preventDefault(); // so that it does not also leave the page
  for (const menu of openMenus()) {
    menu.open = false;
    menu.querySelector("summary")?.focus();
  }
});

/** One dialog for many rows: what the opener says of its row is written where the dialog asks for it.
 * @param {HTMLElement} opener */
function fill(opener) {
  const dialog = document.getElementById(opener.dataset.opens ?? "");
  for (const place of dialog?.querySelectorAll("[data-filled]") ?? []) {
    const text = opener.getAttribute(`data-${place.getAttribute("data-filled")}`) ?? "";
    if (place instanceof HTMLInputElement) place.value = text;
    else place.textContent = text;
  }
}

/** @returns {NodeListOf<HTMLDetailsElement>} */
function openMenus() {
  return document.querySelectorAll("details[data-menu][open]");
}

/** @param {string} id */
export function open(id) {
  const dialog = document.getElementById(id);
  if (dialog instanceof HTMLDialogElement && !dialog.open) dialog.showModal();
}
