// Answers on their way: one for each conversation at most, whichever is on the screen. Knows no element.

import { stream } from "./api.js";
import { inputs, save } from "./conversations.js";

const SAVE_EVERY_MS = 1000;

/** One answer that is being written. `waiting` is the host's last word while there is no text: {status, progress}. */
class Run {
  abort = new AbortController();
  waiting = { status: "queued", progress: {} };
  pieces = 0;
  firstPiece = 0;

  constructor(conversation, turn) {
    this.conversation = conversation;
    this.turn = turn;
  }

  /** Pieces of text a second so far; most pieces are one token. 0 while that means nothing yet. */
  get speed() {
    const seconds = (performance.now() - this.firstPiece) / 1000;
    return this.pieces > 1 && seconds > 0.2 ? (this.pieces - 1) / seconds : 0;
  }
}

export class Answering {
  #runs = new Map();
  #request;
  #changed;
  #ended;

  /**
   * @param {() => object} request the fields of a request beside its inputs
   * @param {(run: Run) => void} changed called with each event
   * @param {(run: Run, failure: Error|null, kept: boolean) => void} ended called once; `kept`: the browser has saved it
   */
  constructor(request, changed, ended) {
    this.#request = request;
    this.#changed = changed;
    this.#ended = ended;
    addEventListener("pagehide", () => this.#runs.forEach((run) => save(run.conversation)));
  }

  /** The answer on its way in a conversation, if there is one. */
  of(conversation) {
    return this.#runs.get(conversation.id);
  }

  /** Has a conversation's last turn answered, in a new turn. */
  async start(conversation) {
    const body = { ...this.#request(), inputs: inputs(conversation) };
    const turn = { role: "assistant", content: "", finish: "cut" };
    conversation.turns.push(turn);
    save(conversation);
    const run = new Run(conversation, turn);
    this.#runs.set(conversation.id, run);
    let failure = null;
    this.#changed(run);
    try {
      await this.#follow(run, stream(body, run.abort.signal));
    } catch (error) {
      failure = error;
      turn.finish = turn.content ? "cut" : "failed";
    }
    if (run.abort.signal.aborted) {
      failure = null;
      turn.finish = "stopped";
    }
    if (this.of(conversation) !== run) return;
    this.#runs.delete(conversation.id);
    this.#ended(run, failure, save(conversation));
  }

  /** Ends a conversation's answer; what has come stays. */
  stop(conversation) {
    this.of(conversation)?.abort.abort();
  }

  /** Ends it unheard and unsaved, because the conversation goes on without it. */
  abandon(conversation) {
    const run = this.of(conversation);
    this.#runs.delete(conversation.id);
    run?.abort.abort();
  }

  async #follow(run, events) {
    const { turn } = run;
    let saved = performance.now();
    for await (const { name, data } of events) {
      if (run.abort.signal.aborted) break;
      if (name === "status") {
        run.waiting = data;
      } else if (name === "done") {
        Object.assign(turn, { finish: data.finish_reason, model: data.model, usage: data.usage, timings: data.timings });
      } else {
        run.waiting = null;
        run.firstPiece ||= performance.now();
        run.pieces += data.index === 0;
        take(turn, data);
      }
      this.#changed(run);
      if (performance.now() - saved > SAVE_EVERY_MS) {
        save(run.conversation);
        saved = performance.now();
      }
    }
  }
}

function take(turn, { text, index, logprobs }) {
  if (index > 0 || turn.choices) {
    turn.choices ??= [turn.content];
    while (turn.choices.length <= index) turn.choices.push("");
    turn.choices[index] += text;
    turn.content = turn.choices[0];
  } else {
    turn.content += text;
  }
  if (logprobs && index === 0) (turn.logprobs ??= []).push(...logprobs);
}
