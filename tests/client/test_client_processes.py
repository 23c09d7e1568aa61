"""Processes that share a client without sharing its connections."""

from __future__ import annotations

import multiprocessing
import os

import pytest

from api_host_client import Client
from tests.fakes.edge import Edge, json_reply


@pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing forks here")
def test_a_forked_child_has_connections_of_its_own(edge: Edge, client: Client) -> None:
    edge.script += [json_reply({"status": "ok", "version": str(i)}) for i in range(4)]
    assert client.health().version == "0"
    children = [multiprocessing.get_context("fork").Process(target=client.health) for _ in range(2)]
    for child in children:
        child.start()
        child.join(10)
    assert client.health().version == "3"
    assert [child.exitcode for child in children] == [0, 0]
    assert [seen.connection for seen in edge.requests] == [0, 1, 2, 0]
