// A short word that goes by itself, with a way back where something was taken away.

import { button, byId } from "./dom.js";

const SHOWN_MS = 8000;
let timer = 0;

/** Shows `text`; `undo` adds a button for it. */
export function toast(text, undo) {
  const place = byId("toast");
  const clear = () => place.replaceChildren();
  clearTimeout(timer);
  place.replaceChildren(text);
  if (undo) {
    place.append(
      button("Undo", () => {
        clear();
        undo();
      }),
    );
  }
  timer = setTimeout(clear, SHOWN_MS);
}
