// @ts-check
/** What an item is, in a sentence for the tip under the pointer. */
import { BUCKET, FAILED } from "./payload.js";
import { duration } from "./scale.js";

/** @type {{[kind: string]: string}} */
const SAYS = {
  model: "asks the model",
  tool: "runs a tool",
  wait_person: "waits for a person",
  wait_agents: "waits for other agents",
  wait_tool: "waits for a tool of the client",
  wait_queue: "waits in the queue",
  wait_retry: "waits to try again",
  grading: "is graded",
  compaction: "shortens its context",
  user: "a person",
  said: "says something",
  thought: "thinks",
  sent: "sends a message",
  received: "gets a message",
  error: "an error",
  failed_result: "a tool failed",
  interrupt: "interrupted",
  compacted: "its context was shortened",
  outcome: "an outcome",
  warning: "a warning",
  status: "changes its state",
};

/** @param {import("./payload.js").Picture} picture @param {number} n */
export function wordsFor(picture, n) {
  const { items, threads, arrows } = picture;
  const kind = picture.kinds[items.kind[n]], who = threads.name[items.thread[n]];
  let says = `${who}: ${SAYS[kind] ?? kind}`;
  if (items.flags[n] & BUCKET) {
    const count = items.count[n] || 1;
    return `${says}${count > 1 ? `, and ${(count - 1).toLocaleString("en")} more here; zoom in to see each` : ""}`;
  }
  if (items.flags[n] & FAILED) says += ", which failed";
  const length = items.length[n];
  if (!picture.byOrder && length !== 0) says += `, ${duration(picture.end(n) - items.start[n])}${length < 0 ? " so far" : ""}`;
  const message = arrowAt(picture, n, kind);
  if (message < 0) return says;
  if (kind === "sent") return `${says} to ${threads.name[arrows.receiver[message]]}`;
  const taken = arrows.taken[message];
  says += ` from ${threads.name[arrows.sender[message]]}`;
  return taken === null || picture.byOrder ? says : `${says}, taken up after ${duration(taken - arrows.received[message])}`;
}

/** @param {import("./payload.js").Picture} picture @param {number} n @param {string} kind */
function arrowAt(picture, n, kind) {
  if (kind === "sent") return picture.arrows.sent_seq.indexOf(picture.items.seq[n]);
  return kind === "received" ? picture.arrowPlaces?.get(picture.items.seq[n]) ?? -1 : -1;
}
