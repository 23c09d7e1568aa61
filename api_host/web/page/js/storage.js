// What the browser keeps: JSON by key, for this tab or for this address. Where the browser refuses, memory has to do.
// Knows no key's meaning.

class Area {
  #memory = new Map();

  constructor(open) {
    try {
      this.#area = open();
    } catch {
      this.#area = null;
    }
  }

  #area;

  /** The text under a key; null if there is none. */
  text(key) {
    return this.#memory.get(key) ?? this.#area?.getItem(key) ?? null;
  }

  /** The value under a key; `otherwise` if there is none, or none that can be read. */
  get(key, otherwise = null) {
    try {
      return JSON.parse(this.text(key)) ?? otherwise;
    } catch {
      return otherwise;
    }
  }

  /** Keeps text. Returns false when it is kept in memory only, because the browser's room is used up or closed. */
  setText(key, text) {
    try {
      this.#area.setItem(key, text);
      this.#memory.delete(key);
      return true;
    } catch {
      this.#memory.set(key, text);
      return false;
    }
  }

  set(key, value) {
    return this.setText(key, JSON.stringify(value));
  }

  remove(key) {
    this.#memory.delete(key);
    this.#area?.removeItem(key);
  }

  /** All keys that begin with `prefix`. */
  keys(prefix) {
    const kept = this.#area ? Object.keys(this.#area) : [];
    return [...new Set([...kept, ...this.#memory.keys()])].filter((key) => key.startsWith(prefix));
  }
}

export const tab = new Area(() => sessionStorage);
export const browser = new Area(() => localStorage);
