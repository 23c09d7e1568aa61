// The one way from markup to elements. What a model writes can be read here, and can run, load or imitate nothing.

import "../vendor/purify.min.js";

const { DOMPurify } = globalThis;

// What is not named here goes: style, form, input, img, iframe, svg and all the rest.
const TAGS =
  "p br hr h1 h2 h3 h4 h5 h6 strong b em i del s u mark small sub sup kbd blockquote pre code ul ol li " +
  "table thead tbody tr th td a";
const MODEL = {
  ALLOWED_TAGS: TAGS.split(" "),
  ALLOWED_ATTR: ["href", "title", "start", "align", "class"],
  ALLOWED_URI_REGEXP: /^(?:https?:\/\/|mailto:)/i,
  ADD_URI_SAFE_ATTR: ["start", "align"],
  ALLOW_DATA_ATTR: false,
  ALLOW_ARIA_ATTR: false,
  RETURN_DOM_FRAGMENT: true,
};
const HIGHLIGHT = { ALLOWED_TAGS: ["span"], ALLOWED_ATTR: ["class"], RETURN_DOM_FRAGMENT: true };
const CLASS = /^(?:hljs-[\w-]+|\w+_|language-[\w+#.-]+)$/;

// A model's classes could dress its text up as this page's own controls.
DOMPurify.addHook("uponSanitizeAttribute", (_, attribute) => {
  if (attribute.attrName === "class" && !attribute.attrValue.split(/\s+/).every((name) => CLASS.test(name))) {
    attribute.keepAttr = false;
  }
});
DOMPurify.addHook("afterSanitizeAttributes", (node) => {
  if (node.nodeName !== "A" || !node.hasAttribute("href")) return;
  node.setAttribute("target", "_blank");
  node.setAttribute("rel", "noopener noreferrer");
  node.setAttribute("title", node.href);
});

/** The elements of a model's markup. */
export const ofModel = (html) => DOMPurify.sanitize(html, MODEL);

/** The elements of what highlight.js made of code. */
export const ofHighlighter = (html) => DOMPurify.sanitize(html, HIGHLIGHT);
