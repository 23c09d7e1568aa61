"""What the host tells of itself: the OpenAPI document, and the page that shows it to people."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
import requests
import schemathesis

from tests.web.site import TOKEN, Site

SCHEMAS = "#/components/schemas/"
Json = dict[str, Any]


@pytest.fixture
def document(site: Site) -> Json:
    found: Json = site.get("/openapi.json").json()
    return found


def operations(document: Json) -> Iterator[tuple[str, str, Json]]:
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            yield method, path, told


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            yield node["$ref"]
        for value in node.values():
            yield from references(value)
    elif isinstance(node, list):
        for value in node:
            yield from references(value)


def test_the_document_is_openapi_3_1(document: Json) -> None:
    assert document["openapi"] == "3.1.0"
    schemathesis.openapi.from_dict(document).validate()
    for schema in document["components"]["schemas"].values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for _, path, told in operations(document):
        for content in told.get("requestBody", {}).get("content", {}).values():
            jsonschema.Draft202012Validator.check_schema(content["schema"])
        assert told["responses"], path


def test_no_reference_leads_nowhere(document: Json) -> None:
    found = set(references(document))
    assert len(found) > 20
    assert found <= {SCHEMAS + name for name in document["components"]["schemas"]}


def test_every_route_is_told_and_no_other(site: Site, document: Json) -> None:
    routes = {
        (method.lower(), re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule), rule.websocket)
        for rule in site.app.url_map.iter_rules()
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    sockets = {(method, path) for method, path, websocket in routes if websocket}
    told = {(method, path): told for method, path, told in operations(document)}
    assert told.keys() == {(method, path) for method, path, _ in routes}
    assert {key for key, operation in told.items() if operation.get("x-websocket")} == sockets
    assert len({operation["operationId"] for operation in told.values()}) == len(told)


def test_what_is_open_is_what_needs_no_token(site: Site, document: Json) -> None:
    is_open = {
        path
        for method, path, told in operations(document)
        if method == "get" and "{" not in path and told.get("security") == []
    }
    plain = {
        path for method, path, told in operations(document) if method == "get" and not told.get("x-websocket")
    }
    answered = {path for path in plain if requests.get(site.url + path, timeout=10).status_code == 200}
    assert answered == is_open == {"/", "/health", "/docs"}


def test_a_document_needs_the_token(site: Site) -> None:
    assert requests.get(f"{site.url}/openapi.json", timeout=10).status_code == 403


MOST_TOKENS = {"minimum": 1, "maximum": 1_000_000}
TEMPERATURE = {"minimum": 0, "maximum": 10}


@pytest.mark.parametrize(
    ("path", "name", "range_", "default"),
    [
        ("/api/models/load", "options.ctx_length", {"minimum": 64, "maximum": 10_000_000}, None),
        ("/api", "parameters.max_tokens", MOST_TOKENS, 512),
        ("/api", "parameters.temperature", TEMPERATURE, 1.0),
        ("/api", "parameters.top_k", {"minimum": 0}, 10),
        ("/api", "parameters.top_p", {"minimum": 0, "maximum": 1}, 0.95),
        ("/v1/chat/completions", "max_completion_tokens", MOST_TOKENS, None),
        ("/v1/completions", "temperature", TEMPERATURE, None),
        ("/v1/embeddings", "dimensions", {"minimum": 1}, None),
        ("/v1/responses", "max_output_tokens", MOST_TOKENS, None),
        ("/v1/messages", "max_tokens", MOST_TOKENS, "required"),
        ("/v1/messages", "top_k", {"minimum": 0}, 0),
        ("/api/chat", "options.num_predict", {"minimum": -2}, None),
        ("/api/embed", "dimensions", {"minimum": 1}, None),
        ("/api/v1/generate", "repetition_penalty", {"exclusiveMinimum": 0, "maximum": 10}, None),
        ("/predict", "max_new_tokens", {"minimum": 1}, 4096),
        ("/predict", "stream", {"type": "boolean"}, True),
        ("/generate", "params.n_predict", MOST_TOKENS, None),
        ("/generate", "prompt", {"minLength": 1}, "required"),
        ("/zephyr/python", "max_new_tokens", MOST_TOKENS, 256),
        ("/zephyr/python", "temperature", TEMPERATURE, 0.7),
        ("/zephyr/code-doc", "language", {"maxLength": 50}, "python"),
    ],
)
def test_a_field_has_its_range_and_its_default(
    document: Json, path: str, name: str, range_: Json, default: Any
) -> None:
    schema = document["paths"][path]["post"]["requestBody"]["content"]["application/json"]["schema"]
    parents, _, last = name.rpartition(".")
    for parent in filter(None, parents.split(".")):
        schema = _object(document, schema["properties"][parent])
    field = schema["properties"][last]
    (told, *_) = field.get("anyOf", [field])
    assert range_.items() <= told.items()
    if default == "required":
        assert last in schema["required"]
    else:
        assert field["default"] == default


def _object(document: Json, schema: Json) -> Json:
    (reference,) = references(schema)
    found: Json = document["components"]["schemas"][reference.removeprefix(SCHEMAS)]
    return found


def test_every_field_says_what_it_may_hold(document: Json) -> None:
    said = {"type", "anyOf", "enum", "const", "$ref"}
    silent = [
        f"{path} {name}"
        for _, path, told in operations(document)
        for content in told.get("requestBody", {}).get("content", {}).values()
        for name, field in content["schema"]["properties"].items()
        if not said & field.keys()
    ]
    assert silent == []


def test_a_route_tells_the_errors_that_its_dialect_answers(document: Json) -> None:
    paths = document["paths"]
    native, petals = paths["/api"]["post"]["responses"], paths["/api/v1/generate"]["post"]["responses"]
    socket = paths["/api/v2/generate"]["get"]["responses"]
    assert "wrong_token" in native["403"]["description"] and "401" not in native
    assert "wrong_token" in paths["/v1/models"]["get"]["responses"]["401"]["description"]
    assert "session_full" not in native["400"]["description"]
    assert "session_full" in socket["400"]["description"]
    assert "429" not in petals and {"101", "401", "426", "503"} <= socket.keys()
    assert native["429"]["headers"].keys() == {"Retry-After"}


def test_the_page_asks_for_the_token_and_shows_every_route_for_it(site: Site, document: Json) -> None:
    asked = requests.get(f"{site.url}/docs", timeout=10)
    assert (asked.status_code, asked.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    assert '<form method="post" action="/docs">' in asked.text
    assert re.search(r'<input type="password" name="token"[^>]*>', asked.text)
    assert "/v1/chat/completions" not in asked.text

    shown = requests.post(f"{site.url}/docs", data={"token": TOKEN}, timeout=10)
    assert shown.status_code == 200
    for method, path, told in operations(document):
        method = "WS" if told.get("x-websocket") else method.upper()
        assert f"<code>{method} {path}</code>" in shown.text
    assert TOKEN not in shown.text
    assert site.get("/docs").text == shown.text

    refused = requests.post(f"{site.url}/docs", data={"token": "wrong"}, timeout=10)
    assert refused.status_code == 403
    assert "/v1/chat/completions" not in refused.text


def test_the_page_tells_ranges_defaults_and_what_is_required(site: Site) -> None:
    page = site.get("/docs").text
    chat = page.split("<code>POST /v1/chat/completions</code>")[1].split("</details>")[0]
    turns = r'<td>list of object: <a href="#openai.Turn">Turn</a> items ≥ 1'
    assert re.search(rf"<code>messages</code> <small>required</small>\s*{turns}", chat)
    for anchor in set(re.findall(r'href="#([^"]+)"', page)):
        assert f'id="{anchor}"' in page
    predict = page.split("<code>POST /predict</code>")[1].split("</details>")[0]
    assert re.search(
        r"<code>max_new_tokens</code>\s*<td>integer ≥ 1 ≤ 10000000<td><code>4096</code>", predict
    )


@pytest.mark.parametrize("headers", [{}, {"Authorization": f"Bearer {TOKEN}"}], ids=["form", "document"])
def test_the_page_runs_no_script_and_asks_no_other_host(site: Site, headers: dict[str, str]) -> None:
    page = requests.get(f"{site.url}/docs", headers=headers, timeout=10)
    assert page.headers["Content-Type"].startswith("text/html")
    policy = page.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "script-src" not in policy
    assert page.headers["Referrer-Policy"] == "no-referrer"
    assert not re.search(r"<script|<link|<img|<iframe|\bon\w+=|javascript:|@import|url\(", page.text)
    assert re.findall(r'(?:href|src|action)="(?!/docs"|#)[^"]*"', page.text) == []
