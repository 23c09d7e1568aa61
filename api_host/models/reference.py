"""Which model is meant: the spellings of a reference, read into a ModelRef.

Knows neither the disk nor the hub: a name is refused by its looks alone, before anything is opened or asked.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import unquote, urlsplit

from api_host.errors import InvalidRequest

DEMO = "demo"

_MAX_TEXT = 1024
_MAX_FILE_NAME = 512
_SPELLINGS = (
    "write owner/name/file.gguf, owner/name:Q4_K_M, owner/name, demo, or the path of a GGUF below models_dir"
)
_REPO_RULE = "must be owner/name, each of at most 96 letters, digits, '.', '_' and '-'"
_FILE_RULE = "must be a relative .gguf name of letters, digits, '._-+()' and spaces, without '..'"
_REPO_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,95}")
_FILE_SEGMENT = re.compile(r"[A-Za-z0-9_+()-][A-Za-z0-9._+ ()-]*")
_QUANT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_HUB_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co")


@dataclass(frozen=True)
class ModelRef:
    """One model: ``repo_id`` with ``file_name``, with ``quant`` or alone; the demo; or a local ``path``.

    ``file_name`` may lie in folders of the repository. ``path`` is relative to the host's ``models_dir``.
    ``owner/name/file.gguf`` can also be a local path; ``Hub.locate`` takes the local file when there is one.
    """

    repo_id: str | None = None
    file_name: str | None = None
    quant: str | None = None
    path: str | None = None

    @property
    def name(self) -> str:
        """The one canonical spelling, which ``parse_reference`` reads back."""
        if self.path is not None:
            return self.path
        if self.repo_id is None:
            return DEMO
        if self.file_name is not None:
            return f"{self.repo_id}/{self.file_name}"
        return f"{self.repo_id}:{self.quant}" if self.quant is not None else self.repo_id

    @property
    def is_demo(self) -> bool:
        return self.repo_id is None and self.path is None

    @property
    def is_local(self) -> bool:
        return self.path is not None

    def __str__(self) -> str:
        return self.name


def parse_reference(text: str) -> ModelRef:
    """The reference that ``text`` spells.

    Args:
        text: ``owner/name/file.gguf``, ``owner/name:Q4_K_M``, ``owner/name``, ``demo``, the path of a local
            GGUF, or the same as an address on huggingface.co or hf.co.

    Raises:
        InvalidRequest: it is none of these, or a name that no model may have.
    """
    if not isinstance(text, str) or not text.strip() or len(text) > _MAX_TEXT:
        raise InvalidRequest(f"model: must be a text of 1 to {_MAX_TEXT} characters; {_SPELLINGS}")
    spelled = _without_address(text.strip())
    ref = _read(spelled)
    if ref is None:
        raise InvalidRequest(f"model: {_shown(text)} is not the name of a model; {_SPELLINGS}")
    return ref


def reference_from_parts(repo_id: str, file_name: str) -> ModelRef:
    """The reference given as two fields. Raises InvalidRequest with a sentence for each wrong one."""
    problems = []
    if not is_repo_id(repo_id):
        problems.append(f"repo_id: {_REPO_RULE}; got {_shown(repo_id)}")
    if not is_file_name(file_name):
        problems.append(f"file_name: {_FILE_RULE}; got {_shown(file_name)}")
    if problems:
        raise InvalidRequest(*problems)
    return ModelRef(repo_id=repo_id, file_name=file_name)


def _read(text: str) -> ModelRef | None:
    if text == DEMO:
        return ModelRef()
    repo_id, colon, quant = text.partition(":")
    if colon:
        return ModelRef(repo_id, quant=quant) if is_repo_id(repo_id) and _QUANT.fullmatch(quant) else None
    if not text.lower().endswith(".gguf"):
        return ModelRef(text) if is_repo_id(text) else None
    if not is_file_name(text):
        return None
    owner, _, rest = text.partition("/")
    name, slash, file_name = rest.partition("/")
    if slash and is_repo_id(f"{owner}/{name}"):
        return ModelRef(f"{owner}/{name}", file_name=file_name)
    return ModelRef(path=text)


def _without_address(text: str) -> str:
    """The spelling inside an address of the hub; any other text as it is."""
    host = text.partition("/")[0].lower()
    if host in _HUB_HOSTS:
        text = f"https://{text}"
    if "://" not in text:
        return text
    try:
        address = urlsplit(text)
    except ValueError:  # an unclosed bracket, or a host that is none
        address = urlsplit("")
    if address.scheme not in ("https", "http") or (address.netloc or "").lower() not in _HUB_HOSTS:
        raise InvalidRequest(f"model: {_shown(text)} is not an address on huggingface.co; {_SPELLINGS}")
    segments = unquote(address.path).strip("/").split("/")
    if len(segments) > 2 and segments[2] in ("resolve", "blob", "tree"):
        if segments[3:4] != ["main"]:
            raise InvalidRequest(
                f"model: {_shown(text)} names another revision than main; only main is served"
            )
        del segments[2:4]
    return "/".join(segments)


def is_repo_id(repo_id: str) -> bool:
    """Whether a reference can name this repository."""
    parts = repo_id.split("/") if isinstance(repo_id, str) else []
    return len(parts) == 2 and all(
        _REPO_PART.fullmatch(part) and ".." not in part and "--" not in part and part[-1] not in ".-"
        for part in parts
    )


def is_file_name(name: str) -> bool:
    """Whether a reference can name this file, of a repository or below ``models_dir``."""
    if not isinstance(name, str) or not name.lower().endswith(".gguf") or len(name) > _MAX_FILE_NAME:
        return False
    return ".." not in name and all(_FILE_SEGMENT.fullmatch(segment) for segment in name.split("/"))


def _shown(text: object) -> str:
    shown = repr(text)
    return shown if len(shown) <= 80 else f"{shown[:76]}...{shown[-1]}"
