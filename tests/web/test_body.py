"""A body that ends early is refused as that, also where what has come could be read as a whole one."""

from __future__ import annotations

import json
import socket

import pytest

from tests.fakes.pipeline import FakePipeline
from tests.web.site import TOKEN, Site, read_all


@pytest.mark.parametrize(
    ("path", "kind", "body"),
    [
        ("/api", "application/json", json.dumps({"inputs": "Hi"}) + "  "),
        ("/api/v1/generate", "application/x-www-form-urlencoded", "model=demo&inputs=A+story+of+a+cat"),
    ],
)
@pytest.mark.parametrize("in_header", [True, False])
def test_a_body_shorter_than_its_announced_length_is_no_request(
    site: Site, pipeline: FakePipeline, path: str, kind: str, body: str, in_header: bool
) -> None:
    proof = f"Authorization: Bearer {TOKEN}" if in_header else f"Cookie: api_host_token={TOKEN}"
    head = f"POST {path} HTTP/1.1\r\nHost: x\r\n{proof}\r\nContent-Type: {kind}\r\n"
    with socket.create_connection(("127.0.0.1", site.port), timeout=10) as sock:
        sock.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n{body[:-2]}".encode())
        sock.shutdown(socket.SHUT_WR)
        data = read_all(sock)
    assert b"the body did not arrive whole" in data
    assert not pipeline.requests
