// What can go wrong between this page and the host, each with a sentence that says what to do.
// Knows statuses and codes, nothing of who asked.

const TITLES = {
  wrong_token: "The token is not right",
  context_length_exceeded: "The conversation is too long for the context",
  model_not_named: "No model is chosen",
  queue_full: "The host is busy",
  hub_rate_limited: "The hub asks for patience",
  host_stopping: "The host is stopping",
  worker_died: "The model's process ended",
  out_of_memory: "The model does not fit the memory",
  disk_full: "The disk is full",
  repo_not_found: "There is no such repository",
  file_not_found: "There is no such file",
  gated_repo: "The model's licence has to be accepted first",
  truncated: "The answer broke off",
  unreachable: "The host cannot be reached",
  edge: "The way to the host is broken",
};

const ADVICE = {
  wrong_token: "Take the token that the host printed when it started; a restarted host has a new one.",
  context_length_exceeded: "Begin a new conversation, or raise ctx_length in the settings.",
  model_not_named: "Choose one with the button at the top left.",
  truncated: "What came is kept. Try again, or go on from here.",
  unreachable: "See whether the host still runs, and whether its public address has changed since you opened this page.",
  edge: "The tunnel is down or the host has stopped. Its notebook shows the address that is good now.",
};

export class Failure extends Error {
  /**
   * @param {string} code the host's, or truncated, unreachable, edge
   * @param {string[]} sentences what happened
   * @param {number} status of HTTP; 0 when there was no answer
   * @param {number|null} retryAfter seconds after which trying again makes sense
   */
  constructor(code, sentences, status = 0, retryAfter = null) {
    super(sentences.join(" "));
    this.code = code;
    this.sentences = sentences;
    this.status = status;
    this.retryAfter = retryAfter;
  }

  get title() {
    return TITLES[this.code] ?? (this.status >= 500 ? "The host could not do that" : "The host refused that");
  }

  get advice() {
    return ADVICE[this.code] ?? "";
  }
}

/** From the JSON of an error, early or late. */
export function fromBody(body, status, retryAfter) {
  const sentences = [body.error].flat().map((sentence) => asSentence(String(sentence)));
  const code = body.code ?? (status === 403 ? "wrong_token" : "");
  if (code === "wrong_token") return new Failure(code, [], status);
  return new Failure(code, sentences, status, retryAfter ?? body.retry_after ?? null);
}

/** From an answer that is no success. */
export async function fromResponse(response) {
  const seconds = Number.parseFloat(response.headers.get("Retry-After"));
  const retryAfter = Number.isFinite(seconds) ? seconds : null;
  const text = await response.text().catch(() => "");
  try {
    const body = JSON.parse(text);
    if (body.error) return fromBody(body, response.status, retryAfter);
  } catch {
    // Not the host's own answer: a proxy's page.
  }
  return new Failure("edge", [`An answer of status ${response.status} came from somewhere before the host.`],
    response.status, retryAfter);
}

export const truncated = () => new Failure("truncated", ["The connection ended before the answer did."]);
export const unreachable = () => new Failure("unreachable", ["There was no answer at all."]);

/** With a full stop and a capital, unless it begins with the name of a field. */
function asSentence(text) {
  const begun = /^[a-z]+\s/.test(text) ? text[0].toUpperCase() + text.slice(1) : text;
  return /[.:!?]$/.test(begun) ? begun : `${begun}.`;
}
