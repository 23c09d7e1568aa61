// The dialog with the system prompt and every parameter. What differs from the defaults is kept in this browser.

import { ask } from "./api.js";
import { browser } from "./storage.js";
import { byId, el } from "./dom.js";
import { closable } from "./dialogs.js";
import { field } from "./fields.js";
import { showFailure } from "./notice.js";
import { GROUPS, OPTIONS } from "./parameters.js";

const KEYS = { parameters: "api-host.parameters", options: "api-host.options" };

export class Settings {
  #dialog = byId("settings");
  #system = byId("system");
  #place = byId("parameters");
  #changed;
  #schemas = null;
  #values = { parameters: browser.get(KEYS.parameters, {}), options: browser.get(KEYS.options, {}) };

  /** @param {(system: string) => void} systemChanged */
  constructor(systemChanged) {
    closable(this.#dialog);
    this.#changed = systemChanged;
    this.#system.addEventListener("input", () => this.#changed(this.#system.value));
    this.#dialog.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
    byId("reset").addEventListener("click", () => this.#reset());
  }

  /** The fields of a request that these settings make. */
  request() {
    const made = {};
    for (const [part, values] of Object.entries(this.#values)) if (Object.keys(values).length) made[part] = values;
    return made;
  }

  /** The context that a request asks for, in tokens, if it does. */
  get ctxLength() {
    return this.#values.options.ctx_length;
  }

  async open(system) {
    this.#system.value = system;
    this.#dialog.showModal();
    this.#system.focus();
    if (!this.#schemas) await this.#fetch();
  }

  async #fetch() {
    const notice = byId("settings-notice");
    try {
      const { schemas } = (await ask("openapi.json")).components;
      const known = schemas["native.SamplingParams"].properties;
      this.#schemas = { parameters: known, options: schemas["native.Options"].properties };
      notice.replaceChildren();
      this.#draw();
    } catch (failure) {
      showFailure(notice, failure, () => this.#fetch());
    }
  }

  #draw() {
    const { parameters, options } = this.#schemas;
    const told = new Set(GROUPS.flatMap((group) => Object.keys(group.fields)));
    const rest = Object.keys(parameters).filter((name) => !told.has(name));
    const others = { title: "Others", fields: Object.fromEntries(rest.map((name) => [name, ""])) };
    const groups = GROUPS.map((group) => this.#group(group, parameters, "parameters"));
    if (rest.length) groups.push(this.#group(others, parameters, "parameters"));
    this.#place.replaceChildren(...groups, this.#group(OPTIONS, options, "options"));
  }

  #group({ title, open, fields }, schemas, part) {
    const names = Object.keys(fields).filter((name) => name in schemas);
    const values = this.#values[part];
    const made = names.map((name) =>
      field(name, schemas[name], fields[name], values[name], (value) => this.#set(part, name, value)),
    );
    const inUse = names.some((name) => name in values);
    return el("details", { open: open || inUse }, el("summary", {}, title), ...made);
  }

  #set(part, name, value) {
    if (value === undefined) delete this.#values[part][name];
    else this.#values[part][name] = value;
    browser.set(KEYS[part], this.#values[part]);
  }

  #reset() {
    for (const part of Object.keys(KEYS)) {
      this.#values[part] = {};
      browser.remove(KEYS[part]);
    }
    if (this.#schemas) this.#draw();
  }
}
