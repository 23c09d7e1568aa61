// The line of figures below the box: tokens a second, and how much of the context is used. Knows no host.

import { byId, count, el, speed } from "./dom.js";

const place = byId("facts");
const live = byId("live");

/** The figures of the last answer of a conversation; `contextOf` tells a model's context in tokens, if it is known. */
export function showFigures(conversation, contextOf) {
  live.textContent = "";
  const turn = conversation.turns.findLast((one) => one.usage);
  if (!turn) return place.replaceChildren();
  const parts = [];
  const rate = turn.timings?.tokens_per_second;
  if (rate) parts.push(el("span", {}, speed(rate)));
  // Of several answers only the chosen one goes on; their usage is told in one sum.
  const answers = turn.choices?.length ?? 1;
  const { total_tokens, completion_tokens } = turn.usage;
  const used = Math.round(total_tokens - completion_tokens * (1 - 1 / answers));
  const n_ctx = contextOf(turn.model);
  const told = answers > 1 ? `about ${count(used)}` : count(used);
  const text = n_ctx ? `context ${told} of ${count(n_ctx)} tokens` : `context ${told} tokens`;
  const share = n_ctx ? Math.min(1, used / n_ctx) : 0;
  parts.push(el("span", { class: share > 0.9 ? "full" : undefined }, ...(n_ctx ? [bar(share)] : []), text));
  place.replaceChildren(...parts);
}

/** The speed while an answer comes; not read out, as it changes all the time. */
export function showLive(run) {
  place.replaceChildren();
  live.textContent = run.speed ? `about ${speed(run.speed)}` : "";
}

/** A small bar that repeats what a text beside it says. */
export function bar(share) {
  const made = el("span", { class: "meter", "aria-hidden": "true" });
  made.style.setProperty("--share", share);
  return made;
}
