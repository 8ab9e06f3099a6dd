// @ts-check
/** The list of agents beside the canvas, brought up to date when lanes or their states change. All text is text. */

/** @param {HTMLElement} element the picture @param {import("./payload.js").Lane[]} lanes */
export function showNames(element, lanes) {
  const list = element.querySelector(".picture-lanes");
  if (!list) return;
  for (let n = list.children.length; n < lanes.length; n += 1) list.append(document.createElement("li"));
  while (list.children.length > lanes.length) list.lastElementChild?.remove();
  const chosen = new URLSearchParams(location.search).get("thread");
  lanes.forEach((lane, n) => {
    const row = /** @type {HTMLElement} */ (list.children[n]);
    const told = JSON.stringify(lane);
    if (row.dataset.told === told) return;
    const held = row.contains(document.activeElement);
    fill(element, row, lane, chosen);
    row.dataset.told = told;
    if (held) row.querySelector("a")?.focus();
  });
  const corner = element.querySelector(".picture-corner");
  if (corner) corner.textContent = lanes.length === 1 ? "1 lane" : `${lanes.length} lanes`;
}

/** @param {HTMLElement} element @param {HTMLElement} row @param {import("./payload.js").Lane} lane @param {string | null} chosen */
function fill(element, row, lane, chosen) {
  const [first, ...others] = lane.agents;
  row.className = "picture-lane";
  row.dataset.hue = String(first?.hue ?? 0);
  row.toggleAttribute("data-chosen", lane.agents.some((agent) => agent.id === chosen));
  const mark = span("lane-mark", "");
  mark.setAttribute("aria-hidden", "true");
  const parts = [mark];
  if (lane.folded || !first) {
    parts.push(span("lane-name clip", lane.name));
  } else {
    parts.push(link(first, "lane-name clip", `${first.name}: ${lane.summary}. Show only this agent in the story.`));
    for (const other of others) parts.push(link(other, "lane-other", other.name));
    if (lane.unnamed) parts.push(span("lane-more", `+${lane.unnamed}`));
  }
  parts.push(span("lane-summary", lane.summary), status(element, first));
  row.replaceChildren(...parts);
}

/** @param {import("./payload.js").Agent} agent @param {string} name @param {string} title */
function link(agent, name, title) {
  const found = document.createElement("a");
  found.className = name;
  const url = new URL(location.href);
  url.search = "";
  url.hash = "";
  url.searchParams.set("thread", agent.id);
  found.href = url.search;
  found.title = title;
  found.textContent = agent.name;
  return found;
}

/** @param {HTMLElement} element @param {import("./payload.js").Agent | undefined} agent */
function status(element, agent) {
  const place = span("lane-status", "");
  if (!agent) return place;
  place.dataset.kind = agent.status;
  const sample = element.querySelector(`:scope > [data-status="${CSS.escape(agent.status)}"]`);
  const icon = sample?.firstElementChild?.cloneNode(true);
  if (icon instanceof Element) {
    icon.removeAttribute("aria-hidden");
    icon.setAttribute("role", "img");
    icon.setAttribute("aria-label", agent.word);
    place.append(icon);
  }
  return place;
}

/** @param {string} name @param {string} text */
function span(name, text) {
  const found = document.createElement("span");
  found.className = name;
  found.textContent = text;
  return found;
}
