// What a model thinks before it answers, told from the answer by its tags. Knows no element.

// DeepSeek-R1, Qwen3 and most others; Magistral; Gemma 4.
const TAGS = [
  ["<think>", "</think>"],
  ["[THINK]", "[/THINK]"],
  ["<|channel>thought", "<channel|>"],
];

/** The parts of an answer: {thoughts (null where there are none), ended (whether they have), answer}. */
export function parts(text) {
  const begun = text.trimStart();
  for (const [opening, closing] of TAGS) {
    const end = text.indexOf(closing);
    const opened = begun.startsWith(opening);
    // Where the template has written the opening tag, only the closing one comes, on a line of its own.
    const before = text.slice(0, Math.max(0, end));
    const implied = end >= 0 && /(^|\n)[ \t]*$/.test(before) && !before.includes(opening);
    if (!opened && !implied) continue;
    const thoughts = opened ? begun.slice(opening.length).split(closing, 1)[0] : before;
    return { thoughts, ended: end >= 0, answer: end < 0 ? "" : text.slice(end + closing.length) };
  }
  return { thoughts: null, ended: false, answer: text };
}
