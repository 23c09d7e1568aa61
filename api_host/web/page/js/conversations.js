// The conversations that this browser keeps, each under a key of its own. Knows no element and no host.
//
// A conversation: {id, name, system, updated (ms), turns: [turn]}.
// A turn: {role: "user"|"assistant", content}; an assistant's also has finish ("stop", "length", "stopped", "cut" or
// "failed"), model, usage, timings, and choices where several answers were asked for.

import { browser } from "./storage.js";

const PREFIX = "api-host.conversation.";
const NAME_LENGTH = 60;

/** A new conversation, which is kept from its first turn on. */
export function begin(system = "") {
  return { id: newId(), name: "", system, updated: Date.now(), turns: [] };
}

/** All that are kept, the latest first. */
export function all() {
  return browser
    .keys(PREFIX)
    .map((key) => browser.get(key))
    .filter(isWhole)
    .sort((one, other) => other.updated - one.updated);
}

export function find(id) {
  const found = browser.get(PREFIX + id);
  return isWhole(found) ? found : null;
}

const isWhole = (found) => Array.isArray(found?.turns);

/** Keeps a conversation as it is now. Returns false when the browser has no room left. */
export function save(conversation) {
  conversation.updated = Date.now();
  conversation.name ||= nameFor(conversation.turns);
  return browser.set(PREFIX + conversation.id, conversation);
}

export const remove = (id) => browser.remove(PREFIX + id);

/** Calls `then` when another tab has changed what is kept. */
export function onChangeElsewhere(then) {
  addEventListener("storage", (event) => (event.key === null || event.key.startsWith(PREFIX)) && then(event.key));
}

/** The turns as the host takes them: user and assistant in turn, each with text; half a sign has no place in UTF-8. */
export function inputs(conversation) {
  const messages = conversation.system.trim() ? [{ role: "system", content: conversation.system }] : [];
  for (const { role, content } of conversation.turns) {
    const last = messages.at(-1);
    if (!content) continue;
    if (last?.role === role) last.content += `\n\n${content}`;
    else messages.push({ role, content });
  }
  return messages.map(({ role, content }) => ({ role, content: content.toWellFormed() }));
}

/** A conversation as JSON, to keep or to import elsewhere. */
export const asJson = (conversation) =>
  JSON.stringify({ format: "api-host-conversation", version: 1, ...conversation }, null, 2);

/** A conversation as Markdown, to read. */
export function asMarkdown({ name, system, turns }) {
  const parts = [`# ${name}`];
  if (system.trim()) parts.push(`**System prompt**\n\n${system.trim()}`);
  for (const turn of turns) parts.push(`## ${turn.role === "user" ? "You" : "Assistant"}\n\n${turn.content.trim()}`);
  return `${parts.join("\n\n")}\n`;
}

/** The conversation in an exported JSON text. Throws an Error whose message says what is wrong. */
export function fromJson(text) {
  let found;
  try {
    found = JSON.parse(text);
  } catch {
    throw new Error("This file is no JSON.");
  }
  const turns = Array.isArray(found?.turns) ? found.turns : [];
  const sound = (turn) => ["user", "assistant"].includes(turn?.role) && typeof turn.content === "string";
  if (!turns.length || !turns.every(sound)) throw new Error("This file is no conversation that was exported here.");
  const system = typeof found.system === "string" ? found.system : "";
  return { ...begin(system), name: String(found.name ?? "").slice(0, 200), turns: turns.map(taken) };
}

/** A turn of a file without what could not be shown. */
function taken({ role, content, finish, model, usage, timings, choices, logprobs }) {
  const turn = { role, content, finish, model: typeof model === "string" ? model : undefined, logprobs };
  const areNumbers = (...figures) => figures.every(Number.isFinite);
  if (areNumbers(usage?.completion_tokens, usage?.total_tokens)) turn.usage = usage;
  if (areNumbers(timings?.tokens_per_second)) turn.timings = timings;
  if (Array.isArray(choices) && choices.every((choice) => typeof choice === "string")) turn.choices = choices;
  return turn;
}

function nameFor(turns) {
  const signs = [...(turns[0]?.content.trim().split("\n", 1)[0] ?? "")];
  const name = signs.slice(0, NAME_LENGTH).join("");
  return signs.length > NAME_LENGTH ? `${name.trimEnd()}…` : name || "Untitled";
}

// crypto.randomUUID is there at secure addresses only.
function newId() {
  return [...crypto.getRandomValues(new Uint8Array(8))].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
