// Server-sent events out of a stream of bytes, as the HTML standard has them. Knows no event's meaning.

/** Yields `{name, data}` for each event; comments keep the line open and are yielded as `{name: "comment"}`. */
export async function* events(body) {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let rest = "";
  let name = "message";
  let data = [];
  try {
    for (;;) {
      const { done, value } = await reader.read();
      rest += decoder.decode(value, { stream: !done });
      // A line may end in \r\n; a \r at the end of what has come may be half of that.
      const lines = rest.split(/\r\n|\n|\r(?!$)/);
      rest = lines.pop();
      for (const line of lines) {
        if (line === "") {
          if (data.length) yield { name, data: data.join("\n") };
          name = "message";
          data = [];
        } else if (line.startsWith(":")) {
          yield { name: "comment", data: "" };
        } else {
          const [, field, text] = /^([^:]*):? ?(.*)$/s.exec(line);
          if (field === "event") name = text;
          if (field === "data") data.push(text);
        }
      }
      if (done) return;
    }
  } finally {
    reader.cancel().catch(() => {}); // The connection may be gone already; nobody waits for it any more.
  }
}
