// The box in which a message is written: Enter sends, Escape stops. Knows no conversation.

import { byId } from "./dom.js";

export class Composer {
  #box = byId("message");
  #send = byId("send");
  #stop = byId("stop");

  /** @param {(text: string) => boolean} send takes the text, or leaves it there by answering false */
  constructor(send, stop) {
    const form = byId("composer");
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const text = this.#box.value.trim();
      if (!text || this.running || !send(text)) return;
      this.#box.value = "";
      this.#fit();
    });
    this.#box.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      form.requestSubmit();
    });
    this.#box.addEventListener("input", () => this.#fit());
    this.#stop.addEventListener("click", stop);
    document.addEventListener("keydown", (event) => {
      if (event.isComposing) return; // Escape takes back what an input method has on its way.
      if (event.key === "Escape" && this.running && !document.querySelector("dialog[open]")) stop();
    });
    this.#fit();
  }

  get running() {
    return !this.#stop.hidden;
  }

  /** Whether an answer is being written, which can be stopped. */
  set running(running) {
    const had = [this.#send, this.#stop].includes(document.activeElement);
    this.#send.hidden = running;
    this.#stop.hidden = !running;
    if (had) (running ? this.#stop : this.#box).focus();
  }

  focus() {
    this.#box.focus();
  }

  #fit() {
    this.#send.disabled = !this.#box.value.trim();
    this.#box.style.height = "auto";
    this.#box.style.height = `${this.#box.scrollHeight}px`;
  }
}
