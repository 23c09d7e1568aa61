"""How well text stands out from what is behind it, as WCAG 2.2 (success criterion 1.4.3) computes it."""

from __future__ import annotations

from playwright.sync_api import Page

# Colours come from the browser as "rgb(...)", "rgba(...)" or "color(srgb ...)": a canvas turns all of them into bytes.
_MEASURE = """
() => {
  const brush = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const bytes = (colour) => {
    brush.clearRect(0, 0, 1, 1);
    brush.fillStyle = colour;
    brush.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = brush.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (front, back) => [0, 1, 2].map((i) => front[i] * front[3] + back[i] * (1 - front[3]));
  const linear = (byte) => (byte / 255 <= 0.04045 ? byte / 255 / 12.92 : ((byte / 255 + 0.055) / 1.055) ** 2.4);
  const luminance = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const behind = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(bytes(getComputedStyle(at).backgroundColor));
    const canvas = matchMedia("(prefers-color-scheme: dark)").matches ? [18, 18, 18] : [255, 255, 255];
    return layers.reverse().reduce((back, front) => over(front, back), canvas);
  };
  const veil = (element) => {
    let opacity = 1;
    for (let at = element; at; at = at.parentElement) opacity *= Number(getComputedStyle(at).opacity);
    return opacity;
  };
  const hasText = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  const shown = (element) =>
    element.checkVisibility({ visibilityProperty: true, opacityProperty: true }) &&
    element.getBoundingClientRect().width > 1;
  const found = [];
  for (const element of document.querySelectorAll("body, body *")) {
    const typed = element.matches("input, textarea") && (element.value || element.placeholder);
    if (!(hasText(element) || typed) || !shown(element) || element.matches(":disabled, :disabled *, option")) continue;
    const style = getComputedStyle(element, typed && !element.value ? "::placeholder" : null);
    const back = behind(element);
    const ink = bytes(style.color);
    ink[3] *= veil(element);
    const [light, dark] = [luminance(over(ink, back)), luminance(back)].sort((a, b) => b - a);
    const size = parseFloat(style.fontSize);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    found.push([(light + 0.05) / (dark + 0.05), large ? 3 : 4.5,
      `${element.tagName.toLowerCase()}.${element.className} "${(typed || element.textContent).trim().slice(0, 40)}"`]);
  }
  return found;
}
"""


def measured(page: Page) -> list[tuple[float, float, str]]:
    """Of each visible text: its contrast, the contrast it needs (4.5, or 3 for large text), and which it is."""
    return [(ratio, needed, where) for ratio, needed, where in page.evaluate(_MEASURE)]


def faint(page: Page) -> list[str]:
    """The visible texts that stand out too little, each with its contrast."""
    return [f"{ratio:.2f} {where}" for ratio, needed, where in measured(page) if ratio < needed]
