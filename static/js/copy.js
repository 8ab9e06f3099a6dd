// @ts-check
/** `<copy-text value="…">` or `<copy-text from="pre">`: a button that copies. Absent without scripts. */
import { announce } from "./announce.js";

const DRAWING = '<svg class="icon" viewBox="0 0 16 16" width="14" height="14" aria-hidden="true"><rect x="5.5" y="5.5" width="8" height="8" rx="1"/><path d="M10.5 5.5v-3h-8v8h3"/></svg>';

class CopyText extends HTMLElement {
  connectedCallback() {
    if (this.firstChild) return;
    const button = document.createElement("button");
    button.type = "button";
    button.innerHTML = DRAWING;
    button.setAttribute("aria-label", this.hasAttribute("from") ? "Copy this code" : "Copy");
    button.addEventListener("click", () => this.copy(button));
    this.append(button);
  }

  /** @param {HTMLButtonElement} button */
  async copy(button) {
    try {
      await navigator.clipboard.writeText(this.text());
      this.say(button, "copied");
    } catch {
      this.say(button, "copying is not allowed here");
    }
  }

  /** @param {HTMLButtonElement} button @param {string} text */
  say(button, text) {
    button.querySelector("span")?.remove();
    const said = document.createElement("span");
    said.textContent = text;
    button.append(said);
    announce(text);
    setTimeout(() => said.remove(), 2000);
  }

  text() {
    const value = this.getAttribute("value");
    if (value !== null) return value;
    return this.closest("figure")?.querySelector(this.getAttribute("from") ?? "pre")?.textContent?.trim() ?? "";
  }
}

customElements.define("copy-text", CopyText);
