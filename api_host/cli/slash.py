"""The /commands of a chat: what each does, and what Tab offers after it.

Knows a Session and a place to say things; nothing of readline or of how an answer is drawn.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import MISSING, fields
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from api_host.cli.session import NoConversation, Session
from api_host.generation import SamplingParams
from api_host_client import ClientError

Say = Callable[[str], None]
Answer = Callable[[str], None]
LoadModel = Callable[[str], None]

HELP = {
    "/help": ("", "what there is to type"),
    "/system": ("[TEXT]", "set the system prompt and start anew; without a text, show it; '-' removes it"),
    "/model": ("[REF]", "go on with another model; without one, list the host's"),
    "/set": ("[NAME [VALUE]]", "a sampling parameter; 'default' puts it back; alone, show all"),
    "/reset": ("", "forget the turns"),
    "/retry": ("", "ask the last question again"),
    "/save": ("FILE", "keep the conversation: JSON, or Markdown as FILE.md"),
    "/load": ("FILE", "go on with a conversation that was saved as JSON"),
    "/quit": ("", "end the chat (Ctrl-D does, too)"),
}
# They shape the answer's JSON, or hold what nobody types.
_NOT_FOR_A_CHAT = {"n", "logprobs", "logit_bias", "bad_words", "json_schema", "max_length"}
_DEFAULT = "default"


class WrongCommand(Exception):
    """What was typed means nothing here; the text says why."""


class Slash:
    """Runs the commands of one chat.

    Args:
        session: what they change.
        say: shows a line.
        answer: asks a question and shows the answer.
        load_model: has the host load a model, and shows how far it is. Raises ClientError.
    """

    def __init__(self, session: Session, say: Say, answer: Answer, load_model: LoadModel) -> None:
        self._session = session
        self._say = say
        self._answer = answer
        self._load_model = load_model
        self._own_files: set[Path] = set()

    def run(self, line: str) -> bool:
        """Does what ``line`` says; a mistake is told. False: the chat is to end. Raises ClientError."""
        name, _, rest = line.partition(" ")
        if name in ("/quit", "/exit"):
            return False
        try:
            self._do(name, rest.strip())
        except WrongCommand as mistake:
            self._say(str(mistake))
        return True

    def complete(self, before: str) -> list[str]:
        """The words that may stand where the line ``before`` ends."""
        name, space, rest = before.partition(" ")
        if not space:
            return list(HELP)
        if name == "/set":
            return [_DEFAULT] if " " in rest else list(_parameters())
        if name == "/model":
            try:
                return [model.name for model in self._session.client.models()]
            except ClientError:
                return []
        return _paths(rest) if name in ("/save", "/load") else []

    def _do(self, name: str, rest: str) -> None:
        match name:
            case "/help":
                self._help()
            case "/system":
                self._system(rest)
            case "/model":
                self._model(rest)
            case "/set":
                self._set(*rest.split(maxsplit=1))
            case "/reset":
                self._session.reset()
                self._say("The turns are forgotten.")
            case "/retry":
                self._retry()
            case "/save":
                self._save(_path(rest))
            case "/load":
                self._load(_path(rest))
            case _:
                raise WrongCommand(f"{name} is no command; /help lists them.")

    def _help(self) -> None:
        for name, (arguments, meaning) in HELP.items():
            self._say(f"  {f'{name} {arguments}':<22} {meaning}")
        self._say("Ctrl-C stops an answer or a load; at an empty prompt it ends the chat.")

    def _system(self, text: str) -> None:
        if text:
            self._session.set_system("" if text == "-" else text)
        self._say(f"System prompt: {self._session.system or 'none'}")

    def _model(self, ref: str) -> None:
        client = self._session.client
        if ref:
            self._load_model(ref)
            client.model = ref
            self._say(f"Now talking to {ref}.")
            return
        for model in client.models():
            mark = "*" if model.name == client.model else " "
            self._say(f"{mark} {model.name}  {model.status}")

    def _set(self, name: str = "", value: str = "") -> None:
        if not name:
            for known, default in _parameters().items():
                set_to = self._session.parameters.get(known)
                self._say(
                    f"  {known:<22} {_shown(default) if set_to is None else f'{_shown(set_to)}  (set here)'}"
                )
            return
        if name not in _parameters():
            raise WrongCommand(f"{name} is no parameter; /set lists them.")
        if value == _DEFAULT:
            self._session.parameters.pop(name, None)
        elif value:
            self._session.parameters[name] = _read(name, value)
        self._say(f"{name} = {_shown(self._session.parameters.get(name, _parameters()[name]))}")

    def _retry(self) -> None:
        question = self._session.take_back()
        if question is None:
            raise WrongCommand("nothing has been asked yet.")
        self._say(f"> {question}")
        self._answer(question)

    def _save(self, path: Path) -> None:
        try:
            if path not in self._own_files and path.exists():
                raise WrongCommand(f"{path} is there already; take another name.")
            self._session.save(path)
        except OSError as error:
            raise WrongCommand(f"{path} cannot be written: {error.strerror}.") from None
        self._own_files.add(path)
        self._say(f"Saved to {path}.")

    def _load(self, path: Path) -> None:
        try:
            self._session.load(path)
        except OSError as error:
            raise WrongCommand(f"{path} cannot be read: {error.strerror}.") from None
        except NoConversation as reason:
            raise WrongCommand(f"{path} holds no conversation: {reason}.") from None
        self._own_files.add(path)
        self._say(f"Going on after {len(self._session.turns) // 2} turns of {path}.")


def _parameters() -> dict[str, Any]:
    """Each parameter that can be set, with its default."""
    return {
        field.name: None if field.default is MISSING else field.default
        for field in fields(SamplingParams)
        if field.name not in _NOT_FOR_A_CHAT
    }


def _read(name: str, value: str) -> Any:
    """The value, checked as the host would. A list of texts may be typed as a single one."""
    try:
        told = json.loads(value)
    except ValueError:
        told = value
    if name == "stop" and not isinstance(told, list):
        told = [value]
    try:
        checked = TypeAdapter(SamplingParams).validate_python({name: told})
    except ValidationError as error:
        raise WrongCommand(f"{name}: {error.errors()[0]['msg']}.") from None
    return getattr(checked, name)


def _shown(value: Any) -> str:
    return "the host's choice" if value is None else json.dumps(value, ensure_ascii=False)


def _path(text: str) -> Path:
    if not text:
        raise WrongCommand("a file's name is missing.")
    try:
        return Path(text).expanduser()
    except RuntimeError:
        raise WrongCommand(f"{text}: nobody here has such a home folder; write the whole path.") from None


def _paths(begun: str) -> list[str]:
    """Files and folders whose names go on from ``begun``."""
    folder, _, start = begun.rpartition("/")
    prefix = f"{folder}/" if folder or begun.startswith("/") else ""
    try:
        found = sorted(Path(prefix or ".").expanduser().iterdir())
    except OSError:
        return []
    return [
        f"{prefix}{path.name}{'/' if path.is_dir() else ''}" for path in found if path.name.startswith(start)
    ]
