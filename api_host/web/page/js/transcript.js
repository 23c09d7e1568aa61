// The turns of the conversation on the screen. Knows how a turn looks; what its buttons do is told from outside.

import { button, counted, el, speed } from "./dom.js";
import { MarkdownView } from "./markdown.js";
import { showFailure } from "./notice.js";
import { parts } from "./thoughts.js";
import { showWaiting } from "./waiting.js";

const NOTES = {
  length: "Ended at the limit of max_tokens or of the context.",
  stopped: "Stopped.",
  cut: "Broke off before its end.",
  failed: "No answer came.",
};

export class Transcript {
  #element;
  #actions;
  #views = new Map();

  /**
   * @param {HTMLElement} element
   * @param {{edit: (turn, text) => void, regenerate: () => void, choose: (turn, text) => void}} actions
   */
  constructor(element, actions) {
    this.#element = element;
    this.#actions = actions;
  }

  /** Shows a conversation from its beginning; `welcome` stands where there is no turn. */
  show(conversation, run, welcome) {
    this.#views.clear();
    this.#element.replaceChildren();
    if (!conversation.turns.length) this.#element.append(welcome);
    for (const turn of conversation.turns) {
      const view = turn.role === "user" ? new UserView(turn, this.#actions) : new AnswerView(turn, this.#actions);
      this.#views.set(turn, view);
      this.#element.append(view.element);
    }
    this.#markLast(conversation);
    if (run) this.update(run);
  }

  /** Shows what has come of an answer. */
  update(run) {
    this.#views.get(run.turn)?.progress(run);
  }

  /** Shows an answer that has ended. */
  end(run, failure) {
    this.#views.get(run.turn)?.end(failure);
    this.#markLast(run.conversation);
  }

  #markLast({ turns }) {
    for (const [turn, view] of this.#views) view.element.classList.toggle("last", turn === turns.at(-1));
  }
}

class UserView {
  constructor(turn, actions) {
    this.turn = turn;
    this.actions = actions;
    this.element = el("article", { "aria-label": "You", class: "turn you" });
    this.#read();
  }

  #read() {
    const edit = button("Edit", () => this.#edit());
    this.element.replaceChildren(
      el("div", { class: "text" }, this.turn.content),
      el("div", { class: "actions" }, edit),
    );
    return edit;
  }

  #edit() {
    const area = el("textarea", { "aria-label": "Your text", rows: "3" });
    area.value = this.turn.content;
    const cancel = () => this.#read().focus();
    const form = el(
      "form",
      {
        class: "editing",
        submit: (event) => {
          event.preventDefault();
          if (area.value.trim()) this.actions.edit(this.turn, area.value.trim());
        },
        keydown: (event) => {
          if (event.isComposing) return;
          if (event.key === "Escape") {
            event.stopPropagation();
            cancel();
          } else if (event.key === "Enter" && !event.shiftKey) {
            event.preventDefault();
            form.requestSubmit();
          }
        },
      },
      area,
      el("div", { class: "row" }, button("Cancel", cancel), el("button", { class: "primary" }, "Ask again")),
    );
    this.element.replaceChildren(form);
    area.focus();
    area.setSelectionRange(area.value.length, area.value.length);
  }
}

class AnswerView {
  #thinking = null;
  #thought = null;
  #timer = 0;
  #cost = 0;

  constructor(turn, actions) {
    this.turn = turn;
    this.actions = actions;
    this.text = el("div", { class: "text" });
    this.markdown = new MarkdownView(this.text);
    this.place = el("div");
    this.foot = el("div", { class: "actions" });
    this.element = el("article", { "aria-label": "Assistant", class: "turn assistant" }, this.text, this.place, this.foot);
    this.#draw();
    this.end(null);
  }

  progress(run) {
    this.element.setAttribute("aria-busy", "true");
    this.foot.replaceChildren();
    if (run.waiting) showWaiting(this.place, run.waiting);
    else this.place.replaceChildren();
    // Drawing takes at most a quarter of the time, however long the text has grown.
    if (!this.#timer) this.#timer = setTimeout(() => this.#draw(), Math.max(30, this.#cost * 3));
  }

  end(failure) {
    clearTimeout(this.#timer);
    this.#draw();
    this.element.removeAttribute("aria-busy");
    this.place.replaceChildren();
    if (failure) showFailure(this.place, failure, this.actions.regenerate);
    else if (NOTES[this.turn.finish]) this.place.append(el("p", { class: "note" }, NOTES[this.turn.finish]));
    const regenerate = button("Regenerate", this.actions.regenerate, { class: "only-last" });
    this.foot.replaceChildren(...(failure ? [] : [regenerate]), ...this.#choices(), ...this.#figures());
  }

  #draw() {
    const start = performance.now();
    this.#timer = 0;
    const { thoughts, ended, answer } = parts(this.turn.content);
    if (thoughts !== null) {
      this.#showThinking(thoughts, ended);
    } else if (this.#thinking) {
      this.#thinking.remove();
      this.#thinking = null; // Of several answers one may have thoughts, and the next chosen none.
    }
    this.markdown.show(answer);
    this.#cost = performance.now() - start;
  }

  #showThinking(text, ended) {
    if (!this.#thinking) {
      const inner = el("div");
      this.#thought = new MarkdownView(inner);
      this.#thinking = el("details", { class: "thinking" }, el("summary", {}, "Thinking"), inner);
      this.text.before(this.#thinking);
    }
    this.#thinking.firstChild.textContent = ended ? "Thoughts" : "Thinking";
    this.#thought.show(text);
  }

  /** Where several answers were asked for: which of them goes on. */
  #choices() {
    const { choices } = this.turn;
    if (!choices) return [];
    const select = el("select", { "aria-label": "Which answer" });
    choices.forEach((_, place) => select.append(el("option", { value: place }, `Answer ${place + 1} of ${choices.length}`)));
    select.value = String(Math.max(0, choices.indexOf(this.turn.content)));
    select.addEventListener("change", () => {
      this.actions.choose(this.turn, choices[select.value]);
      this.#draw();
    });
    return [select];
  }

  #figures() {
    const { model, usage, timings } = this.turn;
    if (!usage) return [];
    const facts = [shortName(model), counted(usage.completion_tokens)];
    if (timings?.tokens_per_second) facts.push(speed(timings.tokens_per_second));
    return [el("span", { class: "figures" }, facts.join(" · "))];
  }
}

/** A model's name without its owner. */
export const shortName = (name) => (name ?? "").split("/").at(-1);
