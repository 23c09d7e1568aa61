// The list of conversations, and what can be done with the open one. Knows what is kept, nothing of what is on the screen.

import { button, byId, el } from "./dom.js";
import * as conversations from "./conversations.js";

export class Sidebar {
  #list = byId("conversations");
  #nav = byId("sidebar");
  #shade = byId("shade");
  #menu = byId("menu");
  #actions;
  #open = null;
  #rows = new Map();

  /** @param {{renamed, deleted, exported, imported, begin}} actions what the buttons do */
  constructor(actions) {
    this.#actions = actions;
    byId("new").addEventListener("click", () => {
      this.hide();
      actions.begin();
    });
    this.#menu.addEventListener("click", () => this.#slide(true));
    this.#shade.addEventListener("click", () => this.hide());
    this.#nav.addEventListener("keydown", (event) => {
      if (event.key === "Escape" && this.#slid) {
        event.stopPropagation();
        this.hide();
      }
    });
    const file = byId("import-file");
    byId("import").addEventListener("click", () => file.click());
    file.addEventListener("change", async () => {
      const [chosen] = file.files;
      if (chosen) actions.imported(await chosen.text());
      file.value = "";
    });
  }

  get #slid() {
    return this.#nav.classList.contains("slid");
  }

  /** Closes the drawer that the list is on a narrow screen. */
  hide() {
    if (this.#slid) this.#slide(false);
  }

  #slide(open) {
    this.#nav.classList.toggle("slid", open);
    this.#shade.hidden = !open;
    this.#menu.setAttribute("aria-expanded", String(open));
    (open ? byId("new") : this.#menu).focus();
  }

  /** Shows what is kept, with `open` marked. */
  show(open) {
    this.#open = open;
    if (this.#list.querySelector("input")) return; // A name is being written.
    const kept = conversations.all();
    byId("none-yet").hidden = kept.length > 0;
    // A row that stays is not taken out, or it would lose the focus, and a click that has begun on it.
    const rows = new Map(kept.map((one) => [this.#key(one), one]));
    for (const [key, row] of this.#rows) if (!rows.has(key)) row.remove();
    for (const [key, one] of rows) rows.set(key, this.#rows.get(key) ?? this.#row(one));
    this.#rows = rows;
    [...rows.values()].forEach((row, place) => {
      if (this.#list.children[place] !== row) this.#list.insertBefore(row, this.#list.children[place] ?? null);
    });
  }

  #key({ id, name }) {
    return JSON.stringify([id, name, id === this.#open.id]);
  }

  #row(conversation) {
    const here = conversation.id === this.#open.id;
    const link = el(
      "a",
      { href: `#c=${conversation.id}`, "aria-current": here ? "page" : undefined, click: () => this.hide() },
      conversation.name,
    );
    const row = el("li", { class: here ? "here" : undefined }, link);
    if (here) {
      const { deleted, exported } = this.#actions;
      row.append(
        el(
          "div",
          { class: "actions" },
          button("Rename", () => this.#rename(row)),
          button("Delete", () => deleted(this.#open)),
          button("Export JSON", () => exported("json")),
          button("Export Markdown", () => exported("md")),
        ),
      );
    }
    return row;
  }

  #rename(row) {
    const input = el("input", { type: "text", "aria-label": "Conversation name", maxlength: "200" });
    const link = row.querySelector("a");
    const { id } = this.#open;
    input.value = this.#open.name;
    let open = true;
    const done = (keep) => {
      if (!open) return; // Taking the field away takes its focus, which ends here a second time.
      open = false;
      const byKey = document.activeElement === input;
      input.replaceWith(link);
      const name = input.value.trim();
      if (keep && name) this.#actions.renamed(id, name);
      else this.show(this.#open);
      if (byKey) this.#list.querySelector(".here .actions button")?.focus();
    };
    input.addEventListener("keydown", (event) => {
      if ((event.key !== "Enter" && event.key !== "Escape") || event.isComposing) return;
      event.stopPropagation();
      event.preventDefault();
      done(event.key === "Enter");
    });
    input.addEventListener("blur", () => done(true));
    link.replaceWith(input);
    input.focus();
    input.select();
  }
}
