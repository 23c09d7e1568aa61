// The dialog in which a model is chosen: what is on the host, or any name; with the progress of its download and load.

import { button, byId, count, el, size } from "./dom.js";
import { closable } from "./dialogs.js";
import { showFailure } from "./notice.js";
import { showWaiting } from "./waiting.js";

const POLL_MS = 2000;
const STATUS = { loaded: "In memory", downloading: "Downloading", loading: "Loading", failed: "Failed" };

export class ModelPicker {
  #dialog = byId("models");
  #input = byId("model-input");
  #list = byId("model-list");
  #progress = byId("model-progress");
  #notice = byId("model-notice");
  #submit = byId("model-load");
  #models;
  #changed;
  #active = -1;
  #drawn = "";
  #timer = 0;
  #loading = null;

  /** @param {() => void} changed called when another model has been chosen or a status has changed */
  constructor(models, changed) {
    this.#models = models;
    this.#changed = changed;
    closable(this.#dialog);
    this.#dialog.querySelector("form").addEventListener("submit", (event) => {
      event.preventDefault();
      const name = this.#rows[this.#active]?.dataset.name ?? this.#input.value.trim();
      if (name) this.#load(name);
    });
    this.#input.addEventListener("input", () => this.#draw());
    this.#input.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
      if (!step) return;
      event.preventDefault();
      this.#activate(Math.max(-1, Math.min(this.#rows.length - 1, this.#active + step)));
    });
    this.#dialog.addEventListener("close", () => clearTimeout(this.#timer));
  }

  open() {
    if (this.#dialog.open) return;
    this.#input.value = "";
    this.#notice.replaceChildren();
    this.#draw();
    this.#dialog.showModal();
    this.#input.focus();
    this.#poll();
  }

  get #rows() {
    return [...this.#list.querySelectorAll("[role=row]")];
  }

  async #poll() {
    try {
      await this.#models.refresh();
      this.#draw();
      this.#changed();
    } catch (failure) {
      if (!this.#loading) showFailure(this.#notice, failure);
    }
    clearTimeout(this.#timer);
    if (this.#dialog.open) this.#timer = setTimeout(() => this.#poll(), POLL_MS);
  }

  #draw() {
    const typed = this.#input.value.trim().toLowerCase();
    const { known, current, default: first } = this.#models;
    const drawn = JSON.stringify([typed, known, current, first]);
    if (drawn === this.#drawn) return; // What stands still keeps the focus, and a click that has begun on it.
    this.#drawn = drawn;
    const before = this.#rows[this.#active]?.dataset.name;
    const focused = document.activeElement.closest("#model-list [role=row]")?.dataset.name;
    const found = known.filter((model) => model.name.toLowerCase().includes(typed));
    const rank = (model) => (model.status === "unloaded" ? 1 : 0);
    found.sort((one, other) => rank(one) - rank(other) || one.name.localeCompare(other.name));
    this.#list.replaceChildren(...found.map((model, place) => this.#row(model, place)));
    this.#activate(found.findIndex((model) => model.name === before));
    if (focused) {
      const row = this.#rows.find((one) => one.dataset.name === focused);
      (row?.querySelector("button") ?? this.#input).focus();
    }
  }

  #row(model, place) {
    const current = model.name === this.#models.current;
    const name = el(
      "div",
      { role: "gridcell", class: "cell" },
      el("span", { class: `dot ${model.status}` }),
      el("span", { class: "name" }, model.name),
      el("small", {}, facts(model, model.name === this.#models.default)),
    );
    name.addEventListener("click", () => this.#load(model.name));
    const attributes = { role: "row", id: `model-${place}`, "aria-selected": String(current), "data-name": model.name };
    const row = el("div", attributes, name);
    const word = { loaded: "Free memory", loading: "Cancel", downloading: "Cancel" }[model.status];
    const act = button(word, () => this.#unload(model.name), { class: "small" });
    if (word) row.append(el("div", { role: "gridcell" }, act));
    return row;
  }

  #activate(place) {
    this.#active = place;
    this.#rows.forEach((row, at) => row.classList.toggle("active", at === place));
    const row = this.#rows[place];
    row?.scrollIntoView({ block: "nearest" });
    if (row) this.#input.setAttribute("aria-activedescendant", row.id);
    else this.#input.removeAttribute("aria-activedescendant");
  }

  async #unload(name) {
    try {
      await this.#models.unload(name);
    } catch (failure) {
      showFailure(this.#notice, failure);
    }
    this.#poll();
  }

  async #load(name) {
    if (this.#loading) this.#loading.abort();
    const mine = new AbortController();
    this.#loading = mine;
    this.#submit.disabled = true;
    this.#notice.replaceChildren();
    try {
      const found = await this.#follow(this.#models.load(name, mine.signal));
      this.#models.choose(found);
      this.#dialog.close();
      await this.#models.refresh();
    } catch (failure) {
      if (mine.signal.aborted) return;
      showFailure(this.#notice, failure, () => this.#load(name));
    } finally {
      if (this.#loading === mine) {
        this.#loading = null;
        this.#submit.disabled = false;
        this.#progress.replaceChildren();
      }
      this.#changed();
    }
  }

  async #follow(loading) {
    showWaiting(this.#progress, { status: "loading" });
    for (;;) {
      const { done, value } = await loading.next();
      if (done) return value;
      showWaiting(this.#progress, value);
    }
  }
}

function facts(model, isDefault) {
  const { status, progress, n_ctx, device } = model;
  const parts = [];
  if (status === "unloaded") parts.push(model.size ? "On this disk" : "Not in memory");
  else parts.push(STATUS[status] ?? status);
  if (status === "downloading" && progress?.bytes_total) {
    parts.push(`${Math.floor((100 * progress.bytes_done) / progress.bytes_total)} %`);
  }
  if (model.size) parts.push(size(model.size));
  if (n_ctx) parts.push(`${count(n_ctx)} tokens of context`);
  if (device) parts.push(device);
  if (isDefault) parts.push("default");
  if (model.error) parts.push([model.error.error].flat().join(" "));
  return parts.join(" · ");
}
