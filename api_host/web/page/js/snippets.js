// Programs that ask this host, ready to run. Knows the languages, no element; the token is only ever a header.

const QUESTION = "What is the capital of France?";

const json = JSON.stringify;
const inShell = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** The body of a request, as JSON with a field a line; its end stands as far in as `indent`. */
function body({ model }, indent, step = "  ") {
  const fields = [
    ...(model ? [`"model": ${json(model)}`] : []),
    `"inputs": [{"role": "user", "content": ${json(QUESTION)}}]`,
    '"parameters": {"max_tokens": 200}',
  ];
  return `{\n${fields.map((field) => `${indent}${step}${field}`).join(",\n")}\n${indent}}`;
}

function curl({ url, token, model }) {
  const auth = token === null ? "" : ` \\\n  -H ${inShell(`Authorization: Bearer ${token}`)}`;
  return `curl ${inShell(`${url}/api`)}${auth} \\
  -H 'Content-Type: application/json' \\
  -d ${inShell(body({ model }, ""))}
`;
}

function requests({ url, token, model }) {
  const auth = token === null ? "" : `\n    headers={"Authorization": ${json(`Bearer ${token}`)}},`;
  return `import requests

answer = requests.post(
    ${json(`${url}/api`)},${auth}
    json=${body({ model }, "    ", "    ")},
    timeout=300,
)
answer.raise_for_status()
print(answer.json()["answer"]["content"])
`;
}

function openai({ url, token, model }) {
  return `from openai import OpenAI

client = OpenAI(base_url=${json(`${url}/v1`)}, api_key=${json(token ?? "none-is-asked-for")})
stream = client.chat.completions.create(
    model=${json(model ?? "demo")},
    messages=[{"role": "user", "content": ${json(QUESTION)}}],
    max_tokens=200,
    stream=True,
)
for chunk in stream:
    if chunk.choices:
        print(chunk.choices[0].delta.content or "", end="", flush=True)
`;
}

function javaScript({ url, token, model }) {
  const auth = token === null ? "" : `Authorization: ${json(`Bearer ${token}`)}, `;
  return `const response = await fetch(${json(`${url}/api`)}, {
  method: "POST",
  headers: { ${auth}"Content-Type": "application/json" },
  body: JSON.stringify(${body({ model }, "  ")}),
});
if (!response.ok) throw new Error(await response.text());
const { answer } = await response.json();
console.log(answer.content);
`;
}

/** By name: the highlighter's language, and the program for {url, token (null: none is asked for), model}. */
export const SNIPPETS = {
  curl: { language: "bash", text: curl },
  requests: { language: "python", text: requests },
  openai: { language: "python", text: openai },
  JavaScript: { language: "javascript", text: javaScript },
};
