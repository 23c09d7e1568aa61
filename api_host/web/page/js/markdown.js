// Markdown that grows: what has not changed since the last time stays the same elements, so nothing flickers and a
// selection survives. Knows nothing of where the text comes from.

import { Marked } from "../vendor/marked.esm.js";
import { CodeBlock } from "./code_block.js";
import { el } from "./dom.js";
import { ofModel } from "./sanitize.js";

const escaped = (text) =>
  text.replace(/[&<>"]/g, (sign) => ({ "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" })[sign]);

// Tags that mean what they say. Any other HTML is shown as it was written; it would not survive DOMPurify either, but a
// browser already complains when such things are parsed under the page's policy.
const PLAIN_TAG = /&lt;(\/?(?:br|sub|sup|kbd|mark|u|s|b|i|em|strong|small))\s*\/?&gt;/gi;

const marked = new Marked({
  gfm: true,
  breaks: true,
  renderer: {
    // Nothing is loaded from elsewhere: a picture is a link to it.
    image: ({ href, text }) => `<a href="${escaped(href)}">${escaped(text || href)}</a>`,
    html: ({ text }) => escaped(text).replace(PLAIN_TAG, "<$1>"),
    checkbox: ({ checked }) => (checked ? "☑ " : "☐ "),
  },
});

export class MarkdownView {
  #element;
  #blocks = [];
  #links = "{}";

  constructor(element) {
    this.#element = element;
  }

  /** Shows all of a text. */
  show(text) {
    const blocks = this.#parsed(text);
    blocks.forEach((block, place) => {
      const shown = this.#blocks[place];
      if (shown?.element === block.element) return;
      if (shown) shown.element.replaceWith(block.element);
      else this.#element.append(block.element);
    });
    for (const gone of this.#blocks.slice(blocks.length)) gone.element.remove();
    this.#blocks = blocks;
  }

  #parsed(text) {
    try {
      const all = marked.lexer(text);
      const links = JSON.stringify(all.links);
      const keep = links === this.#links ? this.#blocks : [];
      this.#links = links;
      return all.filter((token) => token.type !== "space").map((token, place) => renewed(keep[place], token));
    } catch {
      // Lists or quotes that nest deeper than the parser's stack, as of a model that repeats a dash: shown as written.
      // Each browser has an error of its own for that.
      return [renewed(this.#blocks[0], { type: "code", text })];
    }
  }
}

/** The block of a token; the one shown at its place is used again as far as it goes. */
function renewed(block, token) {
  if (token.type === "code") {
    const language = languageOf(token);
    const code = block?.code?.language === language ? block.code : new CodeBlock(language);
    code.show(token.text);
    return { code, element: code.element };
  }
  if (block?.raw === token.raw) return block;
  const element = el("div", { class: "block" });
  element.append(ofModel(marked.parser([token])));
  for (const pre of element.querySelectorAll("pre")) wrapCode(pre);
  for (const table of element.querySelectorAll("table")) wrapTable(table);
  return { raw: token.raw, element };
}

function wrapCode(pre) {
  const inner = pre.querySelector("code");
  const language = /language-(\S+)/.exec(inner?.className ?? "")?.[1] ?? "";
  const code = new CodeBlock(language.toLowerCase());
  code.show(pre.textContent.replace(/\n$/, ""));
  pre.replaceWith(code.element);
}

/** A wide table scrolls by itself. */
function wrapTable(table) {
  const frame = el("div", { class: "wide-table", tabindex: "0" });
  table.replaceWith(frame);
  frame.append(table);
}

const languageOf = (token) => (/^[\w+#.-]+/.exec(token.lang ?? "")?.[0] ?? "").toLowerCase();
