// The models of the host, and the one that this browser uses. Knows no element.

import { ask, stream } from "./api.js";
import { browser } from "./storage.js";

const KEY = "api-host.model";

export class Models {
  known = [];
  default = null;
  // Read once: a model that another tab chooses is not the one that this tab's bar names.
  #chosen = browser.text(KEY);

  constructor(answer) {
    this.#take(answer);
  }

  /** The model that requests name; null leaves it to the host's default. */
  get chosen() {
    return this.#chosen;
  }

  choose(name) {
    this.#chosen = name === this.default ? null : name;
    if (this.#chosen === null) browser.remove(KEY);
    else browser.setText(KEY, name);
  }

  /** The model that answers, whoever chose it; null when nobody did. */
  get current() {
    return this.chosen ?? this.default;
  }

  find(name) {
    return this.known.find((model) => model.name === name);
  }

  async refresh(signal) {
    this.#take(await ask("api/models", undefined, signal));
  }

  /** Has a model loaded: yields {status, progress} while it takes, and returns its canonical name. */
  async *load(model, signal) {
    for await (const { name, data } of stream({ task: "none", model }, signal)) {
      if (name === "status") yield data;
      if (name === "done") return data.model;
    }
    return model;
  }

  /** Takes a model out of memory, or ends its load. */
  unload(model) {
    return ask("api/models/unload", { model });
  }

  #take({ models, default: first }) {
    this.known = models;
    this.default = first;
  }
}
