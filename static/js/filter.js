// @ts-check
/**
 * `<filter-list>`: a search field above a long list of checkboxes. What is chosen stays in sight.
 * And forms with `data-tidy`: what is not filled in stays out of the address.
 */
import { announce } from "./announce.js";

class FilterList extends HTMLElement {
  connectedCallback() {
    this.field = /** @type {HTMLInputElement | null} */ (this.querySelector("[data-filter]"));
    this.field?.addEventListener("input", () => { this.filter(); this.tell(); });
    this.field?.addEventListener("keydown", (event) => { if (event.key === "Enter") event.preventDefault(); });
    this.addEventListener("change", () => this.count());
    this.filter();
    this.count();
  }

  items() {
    return /** @type {HTMLElement[]} */ ([...this.querySelectorAll("[data-item]")]);
  }

  filter() {
    const wanted = (this.field?.value ?? "").trim().toLowerCase();
    for (const item of this.items()) {
      const chosen = Boolean(item.querySelector("input:checked"));
      item.hidden = !chosen && !(item.textContent ?? "").toLowerCase().includes(wanted);
    }
  }

  count() {
    const place = this.querySelector("[data-count]");
    const chosen = this.querySelectorAll("input:checked").length;
    if (place) place.textContent = chosen ? `${chosen} chosen` : "nobody chosen";
  }

  tell() {
    const shown = this.items().filter((item) => !item.hidden).length;
    announce(shown === 1 ? "1 agent" : shown ? `${shown} agents` : "No agent matches");
  }
}

customElements.define("filter-list", FilterList);

document.addEventListener("formdata", (event) => {
  const form = /** @type {HTMLFormElement} */ (event.target);
  if (!form.matches("[data-tidy]")) return;
  for (const [name, value] of [...event.formData]) if (value === "") event.formData.delete(name);
});
