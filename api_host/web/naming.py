"""How a JSON body names a model and says how it is loaded: ``model``, or ``repo_id`` and ``file_name``.

Knows the fields, not whether such a model exists; the pipeline does.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Any

from annotated_types import Ge, Le
from pydantic import WithJsonSchema

from api_host.generation import LoadOptions

CtxLength = Annotated[int, Ge(64), Le(10_000_000)]


@dataclass
class LoadFields:
    """``options`` of a load; ``ctx_lenght`` is how the original's documents spell ``ctx_length``."""

    __pydantic_config__ = {"extra": "forbid"}

    use_gpu: bool | None = None
    ctx_length: CtxLength | None = None
    ctx_lenght: CtxLength | None = field(default=None, metadata={"hidden": True})

    def load_options(self) -> LoadOptions:
        ctx_length = self.ctx_length if self.ctx_length is not None else self.ctx_lenght
        return LoadOptions(use_gpu=self.use_gpu, ctx_length=ctx_length)


@dataclass
class NamedModel:
    """The fields with which a body names its model, and the token, which the guard has judged already."""

    __pydantic_config__ = {"extra": "forbid"}

    token: Annotated[Any, WithJsonSchema({"type": ["string", "null"]})] = None
    model: str | None = None
    repo_id: str | None = None
    file_name: str | None = None

    @property
    def reference(self) -> str | None:
        """The model as one spelling; None: the host's default model."""
        if self.repo_id is not None:
            return f"{self.repo_id}/{self.file_name}"
        return self.model


def naming_problems(body: dict[str, Any]) -> list[str]:
    """What is wrong between the fields that name a model and its options; their types are judged elsewhere."""
    model, repo_id, file_name = (body.get(name) for name in ("model", "repo_id", "file_name"))
    problems = [
        f"{name}: is empty; leave it out for the host's default model"
        for name, value in (("model", model), ("repo_id", repo_id), ("file_name", file_name))
        if value == ""
    ]
    if repo_id is not None and file_name is None:
        problems.append("file_name: is missing; repo_id needs the name of a GGUF file in it")
    if file_name is not None and repo_id is None:
        problems.append("repo_id: is missing; file_name needs the repository that holds it")
    if model is not None and (repo_id is not None or file_name is not None):
        problems.append(
            "model: names the model a second time; allowed: model alone, or repo_id and file_name"
        )
    options = body.get("options")
    if isinstance(options, dict):
        spellings = [options[name] for name in ("ctx_length", "ctx_lenght") if options.get(name) is not None]
        if len(spellings) == 2 and spellings[0] != spellings[1]:
            problems.append("options.ctx_lenght: differs from options.ctx_length; allowed: one of the two")
    return problems
