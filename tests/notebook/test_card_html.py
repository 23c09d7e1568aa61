"""The card's HTML: what stands on it, that nothing on it can run, and that the token is not there."""

from __future__ import annotations

from dataclasses import replace
from html.parser import HTMLParser

import pytest

from api_host.facts import Addresses, Facts
from api_host.notebook import markup
from api_host.notebook.addresses import addresses_html, addresses_text
from api_host.notebook.figures import figures_html, figures_text
from api_host.notebook.reveal import sign_in_link, token_html
from api_host.notebook.snippets import asking_client_snippet, asking_openai_snippet, client_snippet
from tests.notebook import sample

PLAIN_TAGS = {"div", "a", "b", "code", "pre", "details", "summary", "svg", "g", "path"}
PUBLIC = str(sample.ADDRESSES.public)


class Seen(HTMLParser):
    """What a browser would make of it: the tags with their attributes, and the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()
        assert self.open == [], "every tag is closed"

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))
        self.open.append(tag)

    def handle_startendtag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attributes)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data + "\n"

    @property
    def links(self) -> list[str | None]:
        return [attributes["href"] for tag, attributes in self.tags if tag == "a"]

    @property
    def widths(self) -> list[str]:
        """How far each bar is filled."""
        styles = [str(attributes.get("style", "")) for _, attributes in self.tags]
        return [style.split(";")[0].removeprefix("width:") for style in styles if style.startswith("width:")]


def whole(facts: Facts, has_token: bool = True) -> str:
    return addresses_html(facts.addresses, has_token, facts.default_model) + figures_html(facts)


@pytest.mark.parametrize("facts", sample.STATES.values(), ids=sample.STATES)
def test_nothing_on_the_card_can_run_or_load(facts: Facts) -> None:
    for tag, attributes in Seen(whole(facts)).tags:
        assert tag in PLAIN_TAGS
        assert not [name for name in attributes if name.startswith("on") or name in ("src", "srcdoc")]
        assert "url(" not in str(attributes.get("style"))


def test_what_others_say_is_text_on_the_card() -> None:
    seen = Seen(figures_html(sample.BUSY))
    assert sample.FAILED.name in seen.text
    assert sample.FAILED.notes[0] in seen.text
    assert "the prompt has 9,120 tokens & the context 8,192" in seen.text
    problem = Addresses("http://127.0.0.1:5000", None, '<img src=x onerror="alert(1)">', True)
    assert str(problem.problem) in Seen(addresses_html(problem, True, None)).text


def test_both_urls_are_links_and_an_address_that_is_none_stays_text() -> None:
    seen = Seen(addresses_html(sample.ADDRESSES, True, "demo"))
    assert seen.links == [PUBLIC, "http://127.0.0.1:5000"]
    assert Seen(markup.link("javascript:alert(1)")).links == []
    assert Seen(markup.link('https://x.example/"onclick="a')).links == ['https://x.example/"onclick="a']


def test_only_a_public_url_has_a_qr_code() -> None:
    def has_code(facts: Facts) -> bool:
        return any(tag == "svg" for tag, _ in Seen(whole(facts)).tags)

    assert has_code(sample.SERVING)
    assert not has_code(sample.LOCAL_ONLY)
    assert len(addresses_html(sample.ADDRESSES, True, "demo")) < 6_000


def test_each_state_of_the_public_url_is_told() -> None:
    def told(addresses: Addresses) -> str:
        return Seen(addresses_html(addresses, True, None)).text

    assert "on its way" in told(Addresses("http://127.0.0.1:5000", None, None, tunnel_wanted=True))
    assert "the tunnel is switched off" in told(Addresses("http://127.0.0.1:5000"))
    assert "switch Internet on" in told(sample.LOCAL_ONLY.addresses)
    assert "switch Internet on" in addresses_text(sample.LOCAL_ONLY.addresses)


def test_a_host_without_a_token_says_so() -> None:
    assert "whoever has the URL can use this host" in Seen(whole(sample.SERVING, has_token=False)).text
    assert "getpass" not in whole(sample.SERVING, has_token=False)


def test_a_download_has_a_bar_that_fills_and_a_load_one_of_unknown_length() -> None:
    half = replace(sample.DOWNLOADING, bytes_done=300, bytes_total=1200)
    only = replace(sample.SERVING, models=(half,), gpus=())
    assert Seen(figures_html(only)).widths[0] == "25%"
    assert "25 %" in figures_text(only)
    loading = figures_html(replace(only, models=(sample.LOADING,)))
    assert "repeating-linear-gradient" in loading
    assert "repeating-linear-gradient" not in figures_html(only)
    assert "download begins" in figures_html(replace(only, models=(replace(half, bytes_total=0),)))


def test_figures_are_for_people() -> None:
    text = Seen(figures_html(sample.SERVING)).text
    for figure in (
        "qwen3 4B Q4_K - Medium on Tesla T4, 37 of 37 layers on the GPU, 8 sequences of 8192 tokens",
        "Tesla T4, 87 % busy, 9.6 of 16.1 GB",
        "2.9 of 13.6 GB",
        "1,284 so far, 3 running, 1 waiting",
        "212 tokens per second now, 402,118 in all",
        "1 h 15 min",
    ):
        assert figure in text
    assert "Last error" not in text
    assert "idle" in figures_html(replace(sample.SERVING, tokens_per_second=0.2))


def test_what_changes_within_a_minute_without_requests_changes_nothing_on_the_card() -> None:
    later = replace(sample.SERVING, uptime=4_535.0, memory_used=sample.SERVING.memory_used + 1_000_000)
    assert figures_html(later) == figures_html(sample.SERVING)
    assert figures_html(replace(later, uptime=4_590.0)) != figures_html(sample.SERVING)


def test_many_models_are_counted() -> None:
    many = tuple(replace(sample.LOADED, name=f"owner/name/{at}.gguf") for at in range(9))
    assert "and 4 more" in figures_html(replace(sample.SERVING, models=many))


def test_the_snippets_are_python_and_the_cards_hold_no_token() -> None:
    for names_model in (True, False):
        code = client_snippet("https://x.example", 'quote"and\\slash', names_model)
        compile(code, "snippet", "exec")
        assert ("model=" in code) == names_model
    assert "Client('https://x.example')" in client_snippet("https://x.example", None, True)
    for has_token in (True, False):
        for code in (
            asking_client_snippet("https://x.example", has_token, names_model=True),
            asking_openai_snippet("https://x.example", has_token, 'it\'s "mine"'),
        ):
            compile(code, "snippet", "exec")
            assert ("getpass" in code) == has_token


def test_the_sign_in_link_hides_the_token_from_servers() -> None:
    token = "a/b#c d&e<f>"
    url, _, fragment = sign_in_link(PUBLIC, token).partition("#")
    assert url == PUBLIC + "/"
    assert fragment == "token=a%2Fb%23c%20d%26e%3Cf%3E"
    seen = Seen(token_html(PUBLIC, token, 60))
    assert token in seen.text
    assert seen.links == [sign_in_link(PUBLIC, token)]
