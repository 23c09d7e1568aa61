// What is going on before the first word: queued, a download, a load, the reading of the prompt. Knows no host.

import { el, size } from "./dom.js";

/** Shows a status event, {status, progress}, in `place`; what shows there already is changed, so that it stands still. */
export function showWaiting(place, { status, progress }) {
  const shown = place.firstElementChild;
  const view = shown?.classList.contains("waiting") ? shown : made();
  if (view !== shown) place.replaceChildren(view);
  const [line, bar] = view.children;
  line.textContent = told(status, progress ?? {});
  const total = status === "downloading" ? progress?.bytes_total : 0;
  bar.hidden = status !== "downloading" && status !== "loading";
  if (total) bar.value = progress.bytes_done / total;
  else bar.removeAttribute("value");
}

function made() {
  return el("div", { class: "waiting" }, el("p"), el("progress", { "aria-label": "Model progress", max: "1" }));
}

function told(status, progress) {
  if (status === "downloading") {
    const total = progress.bytes_total ? ` of ${size(progress.bytes_total)}` : "";
    return `Downloading ${progress.file?.split("/").at(-1) ?? "the model"}, ${size(progress.bytes_done ?? 0)}${total}`;
  }
  if (status === "loading") {
    if (progress.waiting_for_requests) return "Waiting for the model's other requests to end";
    return progress.seconds >= 1 ? `Loading the model, ${Math.round(progress.seconds)} s` : "Loading the model";
  }
  return status === "prefill" ? "Reading the prompt" : "Waiting for a free place";
}
