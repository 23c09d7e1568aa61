"""Requests that nobody thought of, made of the host's own OpenAPI document and sent to a real host: no answer is a
fault of the host's, and every answer is one of those that the document tells of.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis import Case, HookContext
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from api_host.metrics import Metrics
from api_host.web.app import close_app, create_app
from tests.fakes.host_process import HostProcess, host_process
from tests.fakes.hub import LoopbackHub
from tests.fakes.pipeline import FakePipeline

TOKEN = "a-token-for-fuzzing"
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
MOST = {
    "max_tokens": 16,
    "max_completion_tokens": 16,
    "max_output_tokens": 16,
    "max_new_tokens": 16,
    "max_length": 64,
    "min_tokens": 8,
    "min_length": 8,
    "min_new_tokens": 8,
    "n_predict": 16,
    "num_predict": 16,
    "ctx_length": 128,
    "ctx_lenght": 128,
    "num_ctx": 128,
    "n": 2,
    "num_return_sequences": 2,
}


def _document() -> dict[str, Any]:
    app = create_app(FakePipeline(), None, Metrics(), "1.2.3")
    try:
        found: dict[str, Any] = app.test_client().get("/openapi.json").get_json()
    finally:
        close_app(app)
    paths = {path: methods for path, methods in found["paths"].items() if not _is_socket(methods)}
    return {**found, "paths": paths}


def _is_socket(methods: dict[str, Any]) -> bool:
    return any(told.get("x-websocket") for told in methods.values())


schema = schemathesis.openapi.from_dict(_document())
# Every boundary of every field in turn: some 8,000 requests more, which take minutes.
schema.config.phases.coverage.enabled = False


# Fields that contradict each other, or that name what is not there: with them hardly any request comes to the engine.
UNLIKELY = {"repo_id", "file_name", "name", "options", "response_format", "output_config", "text", "lora"}
UNLIKELY |= {"grammar", "json_schema", "chat_format", "tools", "tool_choice", "logprobs", "top_logprobs"}
UNLIKELY |= {"logit_bias", "bad_words", "bad_words_ids", "suppress_tokens", "best_of", "context", "suffix"}


@schema.hook
def map_body(context: HookContext, body: Any) -> Any:
    """The body with work that this machine can do; every second one is also made likely to be answered."""
    if not isinstance(body, dict):
        return body
    bounded = {name: _bounded(name, value) for name, value in body.items()}
    if len(repr(body)) % 2:
        return bounded
    likely = {name: value for name, value in bounded.items() if name not in UNLIKELY}
    if isinstance(likely.get("messages"), list):
        likely["messages"] = [{"role": "user", "content": str(likely["messages"])}]
    return {**likely, "model": "demo"}


@schema.hook
def map_query(context: HookContext, query: Any) -> Any:
    return map_body(context, query)


def _bounded(name: str, value: Any) -> Any:
    if isinstance(value, dict):
        return {inner: _bounded(inner, item) for inner, item in value.items()}
    if isinstance(value, int | float) and name in MOST:
        return min(value, MOST[name])
    return value


@pytest.fixture(scope="module")
def fuzzed_host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[HostProcess]:
    """A host whose hub knows no model."""
    with (
        LoopbackHub() as hub,
        host_process(tmp_path_factory.mktemp("fuzzed"), TOKEN, HF_ENDPOINT=hub.url) as host,
    ):
        yield host


@schema.parametrize()
@settings(
    max_examples=15, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
def test_any_request_is_answered_as_the_document_tells(case: Case, fuzzed_host: HostProcess) -> None:
    response = case.call(base_url=fuzzed_host.url, headers={"Authorization": f"Bearer {TOKEN}"}, timeout=30)
    case.validate_response(response, checks=CHECKS)
    assert "Traceback" not in response.text
    assert str(Path(__file__).parent.parent.parent) not in response.text
