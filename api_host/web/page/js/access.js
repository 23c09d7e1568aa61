// The access token of this tab: where it is kept, and how a request carries it. Knows nothing of what it opens.

import { tab } from "./storage.js";

const KEY = "api-host.token";
const COOKIE = "api_host_token";

/** Whether the host wants a token at all; it says so in its page. */
export const asked = document.documentElement.dataset.token === "asked";

export const token = () => (asked ? tab.text(KEY) : null);
export const keep = (value) => tab.setText(KEY, value);
export const forget = () => tab.remove(KEY);

/** The headers that carry the token. */
export function headers() {
  return token() === null ? {} : { Authorization: `Bearer ${token()}` };
}

/**
 * Has a WebSocket's handshake carry the token, as a browser gives it no header. A cookie for that one address and a few
 * seconds: the address itself would stand in the logs of every proxy on the way.
 */
export function lendToHandshake(url) {
  const value = token();
  if (value === null) return;
  const quoted = value.replace(/[",;\\]/g, (sign) => `\\${sign.charCodeAt(0).toString(8).padStart(3, "0")}`);
  const secure = location.protocol === "https:" ? "; Secure" : "";
  document.cookie = `${COOKIE}="${quoted}"; Path=${url.pathname}; Max-Age=15; SameSite=Strict${secure}`;
  void document.cookie; // A write may still be on its way when the handshake begins; a read waits for it.
}

/** Takes the cookie away again. */
export function endLoan(url) {
  document.cookie = `${COOKIE}=; Path=${url.pathname}; Max-Age=0; SameSite=Strict`;
}
