// @ts-check
/** The theme switch without a reload. The choice is a cookie, so that the server renders the next page in it. */
import { announce } from "./announce.js";

const YEAR_S = 365 * 24 * 3600;

class ThemeSwitch extends HTMLElement {
  connectedCallback() {
    this.closest("form")?.addEventListener("submit", (event) => {
      const button = /** @type {HTMLButtonElement | null} */ (event.submitter);
      if (button?.name !== "theme") return;
      event.preventDefault();
      this.choose(button.value);
    });
  }

  /** @param {string} theme */
  choose(theme) {
    if (theme) document.documentElement.dataset.theme = theme;
    else delete document.documentElement.dataset.theme;
    const secure = location.protocol === "https:" ? "; Secure" : "";
    document.cookie = `theme=${theme}; Path=/; Max-Age=${YEAR_S}; SameSite=Lax${secure}`;
    for (const button of this.querySelectorAll("button")) {
      button.setAttribute("aria-pressed", String(button.value === theme));
    }
    announce(theme ? `The theme is ${theme}` : "The theme follows the system");
  }
}

customElements.define("theme-switch", ThemeSwitch);
