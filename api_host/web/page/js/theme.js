// Light or dark: as the system has it, or as the person chose. Knows no colour.

import { browser } from "./storage.js";

const KEY = "api-host.theme";
const NEXT = { system: "light", light: "dark", dark: "system" };

/** Has a button change the theme. */
export function themeSwitch(button) {
  const root = document.documentElement;
  const label = () => {
    const theme = root.dataset.theme ?? "system";
    button.setAttribute("aria-label", `Theme: ${theme}`);
    button.title = `Theme: ${theme}`;
  };
  button.addEventListener("click", () => {
    const theme = NEXT[root.dataset.theme ?? "system"];
    if (theme === "system") {
      delete root.dataset.theme;
      browser.remove(KEY);
    } else {
      root.dataset.theme = theme;
      browser.setText(KEY, theme);
    }
    label();
  });
  label();
}
