// Elements made and found. Text only ever goes in as text; markup has one way in, markdown.js.

export const byId = (id) => document.getElementById(id);

/** An element; attributes that are undefined or false are left out, functions are listeners. */
export function el(tag, attributes = {}, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") made.addEventListener(name, value);
    else if (value !== undefined && value !== false) made.setAttribute(name, value === true ? "" : value);
  }
  made.append(...children);
  return made;
}

/** A button that does one thing. */
export function button(text, onClick, attributes = {}) {
  return el("button", { type: "button", ...attributes, click: onClick }, text);
}

/** Text as a size in bytes, such as 4.7 GB. */
export function size(bytes) {
  const units = ["B", "kB", "MB", "GB", "TB"];
  const power = bytes > 0 ? Math.min(4, Math.floor(Math.log10(bytes) / 3)) : 0;
  const amount = bytes / 1000 ** power;
  return `${power > 1 ? amount.toFixed(1) : Math.round(amount)} ${units[power]}`;
}

/** A speed with as many digits as mean something. */
export const speed = (rate) => `${rate.toFixed(rate < 100 ? 1 : 0)} tokens/s`;

/** A number as people write it, such as 4,096. */
export const count = (number) => number.toLocaleString("en");

/** So many tokens, in words. */
export const counted = (tokens) => `${count(tokens)} ${tokens === 1 ? "token" : "tokens"}`;

/** Copies text, also where the address is not secure and the clipboard's own way is closed. */
export async function copy(text) {
  if (navigator.clipboard) {
    try {
      await navigator.clipboard.writeText(text);
      return true;
    } catch {
      // Not granted: the old way is left.
    }
  }
  const area = el("textarea", { class: "unseen", "aria-hidden": "true" });
  area.value = text;
  const place = document.querySelector("dialog[open]") ?? document.body;
  const before = document.activeElement;
  place.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  before?.focus();
  return done;
}

/** A button that copies what `text()` gives, and says so for a moment. */
export function copyButton(label, text) {
  const made = button(label, async () => {
    made.textContent = (await copy(text())) ? "Copied" : "Press Ctrl+C";
    setTimeout(() => (made.textContent = label), 1500);
  });
  made.setAttribute("aria-label", label);
  return made;
}
