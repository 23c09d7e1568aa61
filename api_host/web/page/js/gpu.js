// What the host's GPUs do, once a second over the host's WebSocket, while anybody looks. Without a GPU there is nothing
// to see. Knows nothing of models.

import { endLoan, lendToHandshake } from "./access.js";
import { address } from "./api.js";
import { byId, el } from "./dom.js";
import { bar } from "./facts.js";

const RETRY_MS = 15_000;
const list = byId("gpus");
let socket = null;
let without = false;

/** Begins to watch; the socket is closed while the page is hidden. */
export function watchGpus() {
  document.addEventListener("visibilitychange", () => (document.hidden ? socket?.close() : open()));
  open();
}

function open() {
  if (without || socket || document.hidden) return;
  const url = address("zephyr/ws/gpu-stats");
  url.protocol = url.protocol.replace("http", "ws");
  lendToHandshake(url);
  const mine = new WebSocket(url);
  socket = mine;
  mine.addEventListener("open", () => endLoan(url));
  mine.addEventListener("message", ({ data }) => show(JSON.parse(data).gpus));
  mine.addEventListener("close", () => {
    endLoan(url);
    socket = null;
    list.hidden = true;
    if (!document.hidden) setTimeout(open, RETRY_MS);
  });
}

function show(gpus) {
  if (!gpus.length) {
    without = true;
    socket.close();
    return;
  }
  list.replaceChildren(...gpus.map(row));
  list.hidden = false;
}

function row({ name, load, memoryUsed, memoryTotal }) {
  const gigabytes = (megabytes) => (megabytes / 1024).toFixed(1);
  const short = name.replace(/^(NVIDIA|Tesla)\s+/g, "");
  const busy = load === null ? "" : `load ${Math.round(load)} % · `;
  const memory = `${gigabytes(memoryUsed)} of ${gigabytes(memoryTotal)} GiB`;
  return el("li", { title: `${name}: load and memory` }, `${short} · ${busy}`, bar(memoryUsed / memoryTotal), memory);
}
