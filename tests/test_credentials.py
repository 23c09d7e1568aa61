"""The hub's token as it is pasted: with blanks around it, with what no header carries, from each of its places."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from api_host.config import HostConfig
from api_host.credentials import hub_token
from api_host.errors import InvalidRequest

pytestmark = pytest.mark.usefixtures("clean_settings")

TOKEN = "hf_abcdefghijklmnopqrstuvwxyz"


@pytest.mark.parametrize("pasted", [TOKEN, f"{TOKEN}\n", f" {TOKEN}\r\n"])
def test_blanks_around_a_pasted_hub_token_do_not_count(pasted: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert hub_token(HostConfig.from_arguments(hub_token=pasted)) == TOKEN
    monkeypatch.setenv("HF_TOKEN", pasted)
    assert hub_token(HostConfig()) == TOKEN
    monkeypatch.setenv("API_HOST_HUB_TOKEN", "\n")
    assert hub_token(HostConfig()) == TOKEN


@pytest.mark.parametrize("pasted", ["hf_ab cdef", "hf_\u00e9bcdef", "hf_ab\ncdef"])
def test_a_hub_token_that_no_header_carries_is_refused_without_being_repeated(
    pasted: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ValidationError, match="hub_token: printable ASCII characters without spaces") as told:
        HostConfig.from_arguments(hub_token=pasted)
    assert pasted not in str(told.value)
    monkeypatch.setenv("HF_TOKEN", pasted)
    with pytest.raises(
        InvalidRequest, match="HF_TOKEN: printable ASCII characters without spaces"
    ) as refused:
        hub_token(HostConfig())
    assert pasted not in str(refused.value)
