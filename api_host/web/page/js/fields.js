// A parameter's field, made of its JSON schema: reads and writes its value, and says what is wrong with it.
// Knows no parameter's meaning.

import { el } from "./dom.js";

/** The schema without its "or null", which an empty field says. */
function core(schema) {
  return schema.anyOf?.find((choice) => choice.type !== "null") ?? schema;
}

/** The default as text; empty when there is none. */
const usual = (given) => String(given.default ?? "");

const isNumber = (type) => type === "integer" || type === "number";

/** What is allowed, in words. */
function range({ type, minimum, exclusiveMinimum, maximum }) {
  if (!isNumber(type)) return "";
  const low = minimum ?? exclusiveMinimum;
  const from = exclusiveMinimum !== undefined ? `above ${low}` : `${low}`;
  return `${from} to ${maximum?.toLocaleString("en")}`;
}

/** How each kind of value is written in a field: its text, and back. `read` throws an Error that says what is wrong. */
const KINDS = {
  number: {
    write: String,
    read(text, { type, minimum, exclusiveMinimum, maximum }) {
      const value = Number(text);
      const low = minimum ?? exclusiveMinimum;
      const whole = type !== "integer" || Number.isInteger(value);
      const inside = !(value < low) && !(value > maximum) && value !== exclusiveMinimum;
      if (Number.isFinite(value) && whole && inside) return value;
      throw new Error(`Allowed: ${whole ? "" : "a whole number, "}${range({ type, minimum, exclusiveMinimum, maximum })}`);
    },
  },
  choice: { write: String, read: (text) => text === "true" },
  text: { write: String, read: String },
  lines: {
    write: (lines) => lines.map((line) => line.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")).join("\n"),
    read: (text) =>
      text
        .split("\n")
        .filter(Boolean)
        .map((line) => line.replace(/\\(\\|n)/g, (_, sign) => (sign === "n" ? "\n" : "\\"))),
  },
  json: {
    write: (value) => JSON.stringify(value),
    read(text) {
      try {
        return JSON.parse(text);
      } catch {
        throw new Error("This is no JSON");
      }
    },
  },
};

function kindOf(schema) {
  if (isNumber(schema.type)) return "number";
  if (schema.type === "boolean") return "choice";
  if (schema.type === "string") return "text";
  return schema.type === "array" && schema.items?.type === "string" ? "lines" : "json";
}

/**
 * A field with label, explanation, range and default.
 * @param {(value: any) => void} changed gets the value; undefined for the default
 */
export function field(name, given, explanation, value, changed) {
  const schema = core(given);
  const kind = kindOf(schema);
  const { read, write } = KINDS[kind];
  const help = el("p", { class: "hint", id: `help-${name}` });
  const input = control(kind, name, given);
  const wrong = el("p", { class: "wrong", id: `wrong-${name}`, hidden: true });
  const told = [range(schema), isNumber(schema.type) && usual(given) && `default ${usual(given)}`].filter(Boolean);
  help.append(explanation, " ", el("small", {}, told.join(", ")));
  if (value !== undefined) input.value = write(value);
  const check = () => {
    let found;
    let problem = "";
    try {
      // A number's field gives an empty text also for what is no number.
      if (input.validity.badInput) throw new Error("This is no number");
      found = input.value.trim() === "" ? undefined : read(input.value, schema);
    } catch (error) {
      problem = error.message;
    }
    input.setCustomValidity(problem);
    input.setAttribute("aria-invalid", String(problem !== ""));
    wrong.textContent = problem;
    wrong.hidden = !problem;
    if (!problem) changed(found);
    input.classList.toggle("set", found !== undefined);
  };
  input.addEventListener("input", check);
  input.classList.toggle("set", value !== undefined);
  return el("div", { class: `field ${kind}-field` }, el("label", { for: input.id }, name), input, help, wrong);
}

function control(kind, name, given) {
  const schema = core(given);
  const shared = { id: `field-${name}`, "aria-describedby": `help-${name} wrong-${name}` };
  if (kind === "number") {
    const step = schema.type === "integer" ? "1" : "any";
    return el("input", { ...shared, type: "number", step, placeholder: usual(given), inputmode: "decimal" });
  }
  if (kind === "choice") {
    const none = { true: "default (yes)", false: "default (no)" }[usual(given)] ?? "as it is";
    const words = Object.entries({ "": none, true: "yes", false: "no" });
    return el("select", shared, ...words.map(([value, word]) => el("option", { value }, word)));
  }
  if (kind === "text" && name !== "grammar") return el("input", { ...shared, type: "text", spellcheck: "false" });
  return el("textarea", { ...shared, rows: kind === "lines" ? "2" : "3", spellcheck: "false" });
}
