// @ts-check
/** `<running-clock data-seconds="12.5">`: goes on counting while a session runs. */

class RunningClock extends HTMLElement {
  connectedCallback() {
    this.started = performance.now() - Number(this.dataset.seconds) * 1000;
    this.timer = setInterval(() => this.show(), 1000);
  }

  disconnectedCallback() {
    clearInterval(this.timer);
  }

  show() {
    if (!document.hidden) this.textContent = words((performance.now() - (this.started ?? 0)) / 1000);
  }
}

/** The same words as console.formats.duration. @param {number} seconds */
function words(seconds) {
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${pad(whole % 60)} s`;
  const minutes = Math.floor(whole / 60);
  if (minutes < 1440) return `${Math.floor(minutes / 60)} h ${pad(minutes % 60)} min`;
  const hours = Math.floor(minutes / 60);
  return `${Math.floor(hours / 24)} d ${hours % 24} h`;
}

/** @param {number} number */
function pad(number) {
  return String(number).padStart(2, "0");
}

customElements.define("running-clock", RunningClock);
