// The dialog with programs that ask this host, one a tab; the token stands there only once it is asked for.

import { asked, token } from "./access.js";
import { address } from "./api.js";
import { CodeBlock } from "./code_block.js";
import { byId, el } from "./dom.js";
import { closable } from "./dialogs.js";
import { SNIPPETS } from "./snippets.js";

export const PLACEHOLDER = "YOUR_TOKEN";

export class SnippetDrawer {
  #dialog = byId("snippets");
  #panel = byId("snippet-panel");
  #reveal = byId("show-token");
  #tabs;
  #open = "curl";
  #model = null;

  constructor() {
    closable(this.#dialog);
    this.#tabs = Object.keys(SNIPPETS).map((name) => this.#tab(name));
    const row = byId("snippet-tabs");
    row.append(...this.#tabs);
    row.addEventListener("keydown", (event) => this.#keyed(event));
    this.#reveal.hidden = !asked;
    this.#reveal.addEventListener("click", () => this.#show(!this.#shown));
    this.#dialog.addEventListener("close", () => this.#show(false));
  }

  open(model) {
    this.#model = model;
    this.#show(false);
    this.#dialog.showModal();
    this.#tabs.find((tab) => tab.tabIndex === 0).focus();
  }

  get #shown() {
    return this.#reveal.getAttribute("aria-pressed") === "true";
  }

  /** The snippet of the open tab, with the token or without. */
  #show(withToken) {
    this.#reveal.setAttribute("aria-pressed", String(withToken));
    this.#reveal.textContent = withToken ? "Hide token" : "Show token";
    for (const tab of this.#tabs) {
      const here = tab.textContent === this.#open;
      tab.setAttribute("aria-selected", String(here));
      tab.tabIndex = here ? 0 : -1;
      if (here) this.#panel.setAttribute("aria-labelledby", tab.id);
    }
    const { language, text } = SNIPPETS[this.#open];
    const code = new CodeBlock(language);
    const shown = !asked ? null : withToken ? token() : PLACEHOLDER;
    code.show(text({ url: address(".").href.replace(/\/$/, ""), token: shown, model: this.#model }));
    this.#panel.replaceChildren(code.element);
  }

  #tab(name) {
    const attributes = { type: "button", role: "tab", id: `tab-${name}`, "aria-controls": "snippet-panel" };
    return el("button", { ...attributes, click: () => this.#choose(name) }, name);
  }

  #choose(name) {
    this.#open = name;
    this.#show(this.#shown);
  }

  #keyed(event) {
    const places = { ArrowRight: 1, ArrowLeft: -1, Home: -Infinity, End: Infinity };
    const step = places[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const last = this.#tabs.length - 1;
    const now = this.#tabs.findIndex((tab) => tab.tabIndex === 0);
    const next = Number.isFinite(step) ? (now + step + last + 1) % (last + 1) : step > 0 ? last : 0;
    this.#choose(this.#tabs[next].textContent);
    this.#tabs[next].focus();
  }
}
