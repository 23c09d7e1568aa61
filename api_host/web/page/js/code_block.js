// A block of code: its language, its text in colours, and a button that copies it.
// The highlighter is fetched when the first code comes.

import { copyButton, el } from "./dom.js";
import { ofHighlighter } from "./sanitize.js";

// Colours of more than this would cost more time than they are worth.
const MOST_COLOURED = 60_000;

let highlighter = null;
let fetching = null;

function fetchHighlighter() {
  fetching ??= import("../vendor/highlight.min.js").then(
    (module) => (highlighter = module.default),
    () => null, // Code is as true without colours.
  );
  return fetching;
}

export class CodeBlock {
  #code = el("code");
  #text = "";

  constructor(language) {
    this.language = language;
    const pre = el("pre", { tabindex: "0" }, this.#code);
    const head = el("figcaption", {}, el("span", {}, language || "text"), copyButton("Copy code", () => this.#text));
    this.element = el("figure", { class: "code" }, head, pre);
  }

  show(text) {
    if (text === this.#text) return;
    this.#text = text;
    this.#colour();
    if (!highlighter) fetchHighlighter().then(() => this.#colour());
  }

  #colour() {
    const known = highlighter && this.language && highlighter.getLanguage(this.language);
    if (!known || this.#text.length > MOST_COLOURED) {
      this.#code.textContent = this.#text;
      return;
    }
    const { value } = highlighter.highlight(this.#text, { language: this.language, ignoreIllegals: true });
    this.#code.replaceChildren(ofHighlighter(value));
  }
}
