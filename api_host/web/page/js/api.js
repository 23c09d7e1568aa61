// The host's routes as this page uses them. Knows how to ask, nothing of what is done with the answers.

import { headers } from "./access.js";
import { Failure, fromBody, fromResponse, truncated, unreachable } from "./failures.js";
import { events } from "./sse.js";

// The host sends something every 15 s; three times that in silence is a dead line.
const SILENCE_MS = 45_000;

/** An address of this host, also where a proxy serves it below a path. */
export const address = (path) => new URL(path, document.baseURI);

/** Asks for JSON. Throws Failure; an AbortError when `signal` ended it. */
export async function ask(path, body, signal) {
  const response = await send(path, body, signal);
  try {
    return await response.json();
  } catch (error) {
    throw error.name === "AbortError" ? error : truncated();
  }
}

/**
 * Streams `POST /api`: yields `{name, data}` of status, message and done. Throws Failure, also when the stream ends
 * without saying so; an AbortError when `signal` ended it.
 */
export async function* stream(body, signal) {
  const line = new AbortController();
  const dead = () => line.abort(truncated());
  let timer = setTimeout(dead, SILENCE_MS);
  try {
    const response = await send("api", { ...body, stream: true }, AbortSignal.any([signal, line.signal]));
    for await (const event of events(response.body)) {
      clearTimeout(timer);
      timer = setTimeout(dead, SILENCE_MS);
      if (event.name === "comment") continue;
      const data = JSON.parse(event.data);
      if (event.name === "error") throw fromBody(data, data.status ?? 500, null);
      yield { name: event.name, data };
      if (event.name === "done") return;
    }
    throw truncated();
  } catch (error) {
    if (error instanceof Failure || signal.aborted) throw error;
    throw truncated();
  } finally {
    clearTimeout(timer);
  }
}

async function send(path, body, signal) {
  const options = { headers: headers(), signal, cache: "no-store" };
  if (body !== undefined) {
    options.method = "POST";
    options.headers["Content-Type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(address(path), options);
  } catch (error) {
    throw error.name === "AbortError" || error instanceof Failure ? error : unreachable();
  }
  if (!response.ok) throw await fromResponse(response);
  return response;
}
