"""Checks of the network: the hub that models come from, and cloudflared for the public URL."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from urllib.parse import urlsplit

import requests

from api_host.cli.doctor.check import Finding, broken, ok, warning
from api_host.cli.printable import printable
from api_host.config import HostConfig
from api_host.credentials import hub_token
from api_host.errors import InvalidRequest, TunnelFailed
from api_host.models.hub.hub import Hub
from api_host.models.reference import parse_reference
from api_host.tunnel import binary, reach

HUB = "https://huggingface.co"
HUB_TIMEOUT_S = 8.0
REACH_LIMIT_S = 4.0
_VERSION_LIMIT_S = 10.0
# What cloudflared talks to: the service that makes quick tunnels, and the edge that carries them.
_EDGE = (("api.trycloudflare.com", 443), ("region1.v2.argotunnel.com", 7844))
_TRUE = {"1", "ON", "YES", "TRUE"}


def hub(config: HostConfig) -> Finding:
    """Whether models can be fetched, and whether the hub token is taken. Needed when the default model is not here."""
    endpoint = os.environ.get("HF_ENDPOINT", "").rstrip("/") or HUB
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in _TRUE:
        return _unfetchable(config, "HF_HUB_OFFLINE is set: nothing is fetched", "unset HF_HUB_OFFLINE")
    try:
        token = hub_token(config)
    except InvalidRequest as wrong:
        return broken(wrong.message, "set HF_TOKEN to the token alone, or unset it")
    route = "/api/whoami-v2" if token else "/api/models?limit=1"
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        with requests.get(endpoint + route, headers=headers, timeout=HUB_TIMEOUT_S, stream=True) as answer:
            status = answer.status_code
    except requests.RequestException as error:
        return _unfetchable(config, f"{endpoint} cannot be reached ({_reason(error)})", _network_cure())
    if token and status in (401, 403):
        return warning(
            f"{endpoint} is reached, but does not take the hub token",
            "make a new one at https://huggingface.co/settings/tokens and set it as HF_TOKEN, or unset it",
        )
    if status == 429:
        return warning(f"{endpoint} asks for patience (429)", "wait some minutes, or set HF_TOKEN")
    if status >= 500:
        return _unfetchable(config, f"{endpoint} answers {status}", "the hub has an outage: try again later")
    return ok(f"{endpoint} is reached{', and takes the hub token' if token else ''}")


def _unfetchable(config: HostConfig, told: str, cure: str) -> Finding:
    model = config.model
    if model is not None and Hub(config.models_dir).locate(parse_reference(model)) is None:
        return broken(f"{told}; the default model {model} is not on this disk", cure)
    return warning(f"{told}; models on this disk and the demo still work", cure)


def _network_cure() -> str:
    named = "correct HF_ENDPOINT or unset it; or " if os.environ.get("HF_ENDPOINT") else ""
    return (
        f"{named}connect this machine to the internet (on Kaggle: switch Internet on in the notebook's settings), "
        "or set HTTPS_PROXY"
    )


def _reason(error: requests.RequestException) -> str:
    told = str(error)
    for mark, reason in (
        ("NameResolution", "its name is not known"),
        ("refused", "the connection is refused"),
        ("timed out", f"nothing within {HUB_TIMEOUT_S:.0f} s"),
        ("certificate", "its certificate is not trusted"),
    ):
        if mark in told:
            return reason
    return type(error).__name__


def cloudflared(config: HostConfig) -> Finding:
    """Whether there can be a public URL."""
    if not config.tunnel:
        return ok("not needed: the tunnel is off")
    named = os.environ.get(binary.BINARY_ENV)
    if named and shutil.which(named) is None:
        return broken(
            f"{binary.BINARY_ENV} names {named}, which is no program that can be run",
            f"correct {binary.BINARY_ENV}, or unset it: cloudflared is fetched when it is needed",
        )
    kept = binary.cache_folder() / "cloudflared"
    program = named or shutil.which("cloudflared") or (str(kept) if kept.exists() else None)
    if program is None:
        told = _fetchable()
        if isinstance(told, Finding):
            return told
    else:
        told = _version(program)
        if not told:
            return broken(
                f"{program} does not run as cloudflared",
                f"remove it, or name another one in {binary.BINARY_ENV}",
            )
    closed = [
        f"{host}:{port}" for host, port in _EDGE if not reach.connects(host, port, REACH_LIMIT_S, time.sleep)
    ]
    if closed:
        return warning(
            f"{told}; {' and '.join(closed)} cannot be reached: there will be no public URL",
            "allow outgoing TCP to the ports 443 and 7844, or go on locally: api-host serve --no-tunnel",
        )
    return ok(f"{told}; Cloudflare is reached")


def _fetchable() -> str | Finding:
    """What is told of a program that is to be fetched at the first start."""
    cure = f"install cloudflared (on the PATH, or its path in {binary.BINARY_ENV}), or use --no-tunnel"
    try:
        host = urlsplit(binary.release_url()).hostname or ""
    except TunnelFailed as failure:
        return warning(failure.message, cure)
    if not reach.connects(host, 443, REACH_LIMIT_S, time.sleep):
        return warning(f"cloudflared is not here, and cannot be fetched from {host}", cure)
    return "cloudflared is not here yet, and is fetched at the first start"


def _version(program: str) -> str:
    """``cloudflared version ...``; "" of anything else."""
    try:
        said = subprocess.run(
            [program, "--version"], capture_output=True, text=True, timeout=_VERSION_LIMIT_S, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    line = said.stdout.strip().partition(" (")[0]
    return printable(line) if "cloudflared" in line else ""
