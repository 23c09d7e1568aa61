// An error as a person reads it: what happened, what to do, and a button to try again once that makes sense.

import { button, el } from "./dom.js";

/**
 * Shows `failure` in `place`, instead of what stood there.
 * @param {() => void} [retry] tries again; without it there is no button
 */
export function showFailure(place, failure, retry) {
  const told = el("div", { role: "alert" }, el("strong", {}, failure.title));
  for (const sentence of [...failure.sentences, failure.advice].filter(Boolean)) told.append(el("p", {}, sentence));
  const notice = el("div", { class: "notice" }, told);
  if (retry) notice.append(retryButton(failure.retryAfter, retry));
  place.replaceChildren(notice);
}

/** The button counts down the seconds that the host asks for. It is no part of the alert, or each would be read out. */
function retryButton(seconds, retry) {
  const made = button("Try again", retry);
  const ready = performance.now() + (seconds ?? 0) * 1000;
  const show = () => {
    const left = Math.ceil((ready - performance.now()) / 1000);
    made.disabled = left > 0;
    made.textContent = left > 0 ? `Try again in ${left} s` : "Try again";
    if (left > 0) setTimeout(() => made.isConnected && show(), 200);
  };
  if (seconds) queueMicrotask(show);
  return made;
}
