// @ts-check
/** `<lane-track data-url="…?seq=">`: a click on a shape goes to the event it stands for. */

class LaneTrack extends HTMLElement {
  connectedCallback() {
    this.addEventListener("click", (event) => {
      const shape = /** @type {Element} */ (event.target).closest("[data-seq]");
      if (shape) location.assign(`${this.dataset.url}${shape.getAttribute("data-seq")}`);
    });
  }
}

customElements.define("lane-track", LaneTrack);
