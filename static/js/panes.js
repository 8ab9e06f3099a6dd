// @ts-check
/** `<session-panes>`: on a narrow page one pane at a time, chosen by its tab; selecting a step opens the inspector. */

class SessionPanes extends HTMLElement {
  connectedCallback() {
    for (const tab of this.tabs()) tab.addEventListener("click", () => this.choose(tab.dataset.shows ?? "story"));
    this.choose(this.dataset.pane ?? "story");
  }

  tabs() {
    return /** @type {HTMLElement[]} */ ([...this.querySelectorAll(".pane-tabs [data-shows]")]);
  }

  /** @param {string} name */
  choose(name) {
    this.dataset.pane = name;
    for (const tab of this.tabs()) tab.setAttribute("aria-pressed", String(tab.dataset.shows === name));
    this.dispatchEvent(new CustomEvent("daybreak:pane", { bubbles: true, detail: { pane: name } }));
  }
}

customElements.define("session-panes", SessionPanes);
