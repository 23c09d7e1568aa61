"""The page of the APIs keeps its promises: its examples run against a real host, its routes are those there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from api_host.host import ApiHost
from api_host.metrics import Metrics
from api_host.web.app import close_app, create_app
from tests.examples import Example, check_each_is_run_or_says_why_not, examples_in
from tests.fakes.pipeline import FakePipeline

PAGE = Path(__file__).parent.parent / "docs" / "apis.md"
TEXT = PAGE.read_text()
EXAMPLES = examples_in(TEXT)
TO_RUN = [example for example in EXAMPLES if example.not_run is None]
VARIABLES = 'import os\n\nurl, token = os.environ["URL"], os.environ["TOKEN"]\n'


@pytest.mark.parametrize("example", TO_RUN, ids=str)
def test_an_example_runs_and_prints_what_it_should(
    example: Example, demo_host: ApiHost, tmp_path: Path
) -> None:
    example.run(demo_host, tmp_path, before=VARIABLES)


def test_every_example_is_run_or_says_why_not() -> None:
    assert len(TO_RUN) > 20
    check_each_is_run_or_says_why_not(EXAMPLES)


def _headings() -> list[str]:
    without_code = re.sub(r"^```.*?^```", "", TEXT, flags=re.DOTALL | re.MULTILINE)
    return re.findall(r"^#+ (.+)$", without_code, re.MULTILINE)


def test_every_link_leads_somewhere() -> None:
    anchors = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in _headings()}
    links = re.findall(r"\]\((?!https?:)([^)]+)\)", TEXT)
    assert len(links) > 8
    for link in links:
        path, _, anchor = link.partition("#")
        assert (PAGE.parent / path).exists(), link
        assert path or anchor in anchors, link


def test_every_dialect_has_a_section_that_names_its_routes() -> None:
    app = create_app(FakePipeline(), None, Metrics(), "1.2.3")
    try:
        document = app.test_client().get("/openapi.json").get_json()
    finally:
        close_app(app)
    own = {"host"}
    missing = [
        path
        for path, methods in document["paths"].items()
        for told in methods.values()
        if not own & set(told["tags"]) and f"{path}`" not in TEXT
    ]
    assert missing == []
