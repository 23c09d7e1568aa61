"""The lines to paste on a laptop, for one host.

Knows nothing of where they are shown. A snippet that is kept with a notebook asks for the token instead of holding it.
"""

from __future__ import annotations

_ASK = 'token = getpass("Access token: ")\n'


def client_snippet(url: str, token: str | None, names_model: bool) -> str:
    """A chat by the client, with the token in it.

    Args:
        url: where the host is reached.
        token: None for a host without one.
        names_model: whether a request has to name its model, as the host has no default.
    """
    arguments = repr(url) if token is None else f"{url!r}, {token!r}"
    return "from api_host_client import Client\n" + _chat(f"Client({arguments})", names_model)


def asking_client_snippet(url: str, has_token: bool, names_model: bool) -> str:
    """The same without the token, which is typed when it runs; it can be kept and shared."""
    if not has_token:
        return client_snippet(url, None, names_model)
    lines = f"from getpass import getpass\nfrom api_host_client import Client\n{_ASK}"
    return lines + _chat(f"Client({url!r}, token)", names_model)


def asking_openai_snippet(url: str, has_token: bool, model: str) -> str:
    """A chat by the ``openai`` package, which asks for the token when it runs."""
    importing = "from openai import OpenAI\n"
    return (
        (f"from getpass import getpass\n{importing}{_ASK}" if has_token else importing)
        + f"client = OpenAI(base_url={url + '/v1'!r}, api_key={'token' if has_token else repr('none')})\n"
        + "answer = client.chat.completions.create(\n"
        + f"    model={model!r},\n"
        + '    messages=[{"role": "user", "content": "Hello"}],\n'
        + ")\n"
        + "print(answer.choices[0].message.content)"
    )


def _chat(client: str, names_model: bool) -> str:
    model = ', model="demo"' if names_model else ""
    return (
        f"client = {client}\n"
        f'for chunk in client.stream_chat("Hello"{model}):\n'
        '    print(chunk.text, end="", flush=True)'
    )
