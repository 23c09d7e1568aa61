// Asks for the access token until the host takes it. Knows nothing of what comes after.

import { asked, forget, keep, token } from "./access.js";
import { ask } from "./api.js";
import { byId } from "./dom.js";
import { showFailure } from "./notice.js";

/** The answer of GET /api/models, once the host has let the page in. */
export function signIn() {
  const section = byId("sign-in");
  const form = section.querySelector("form");
  const input = byId("token");
  const notice = byId("sign-in-notice");
  return new Promise((resolve) => {
    const attempt = async () => {
      try {
        const models = await ask("api/models");
        section.hidden = true;
        resolve(models);
      } catch (failure) {
        if (failure.code === "wrong_token") forget();
        section.hidden = false;
        showFailure(notice, failure, failure.code === "wrong_token" ? undefined : attempt);
        input.focus();
      }
    };
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      // A token is printable ASCII without spaces; what is not cannot stand in a header.
      keep(input.value.replace(/[^\x21-\x7e]/g, ""));
      notice.replaceChildren();
      attempt();
    });
    if (asked && token() === null) {
      section.hidden = false;
      input.focus();
    } else {
      attempt();
    }
  });
}
