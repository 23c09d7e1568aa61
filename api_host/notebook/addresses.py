"""The part of the card that stays still: where the host is reached, its QR code, and lines for the laptop.

Links can be clicked and text can be selected only where nothing is redrawn meanwhile, so what changes every second is
a card of its own (``figures``).
"""

from __future__ import annotations

from api_host.facts import Addresses
from api_host.notebook import markup
from api_host.notebook.qr import qr_code
from api_host.notebook.snippets import asking_client_snippet, asking_openai_snippet

STOPPED = "This host has stopped; host.start() starts it again."
MOVED = "The host's card is shown by a later cell."


def addresses_html(addresses: Addresses, has_token: bool, default_model: str | None) -> str:
    """The still part.

    Args:
        addresses: where the host is reached.
        has_token: whether the host asks for a token; the token itself is not in here.
        default_model: None when a request has to name its model.
    """
    grid = markup.grid(
        [
            ("Public URL", _public(addresses)),
            ("Local URL", _local(addresses)),
            ("Access token", _token(has_token)),
        ]
    )
    head = f'<div style="font-size:115%;margin-bottom:6px">{markup.strong("API Host")}</div>'
    facts = head + grid
    if addresses.public is not None:
        facts = markup.beside(facts, qr_code(addresses.public, "QR code of the chat page's address"))
    return markup.box(facts, _snippets(addresses, has_token, default_model))


def addresses_text(addresses: Addresses) -> str:
    """The same in a line or two."""
    told = {"Public URL": addresses.public, "Local URL": addresses.local, "No public URL": addresses.problem}
    return "\n".join(["API Host", *(f"{name}: {value}" for name, value in told.items() if value)])


def _public(addresses: Addresses) -> str:
    if addresses.public is not None:
        return markup.link(addresses.public)
    if addresses.problem is not None:
        return markup.text(f"none: {addresses.problem}")
    return "on its way" if addresses.tunnel_wanted else "none: the tunnel is switched off"


def _local(addresses: Addresses) -> str:
    if addresses.local is None:
        return "on its way"
    return f"{markup.link(addresses.local)} from this machine only"


def _token(has_token: bool) -> str:
    if has_token:
        return f"hidden; {markup.code('host.show_token()')} in a cell shows it for a minute"
    return markup.strong("none: whoever has the URL can use this host")


def _snippets(addresses: Addresses, has_token: bool, default_model: str | None) -> str:
    url = addresses.public or addresses.local
    if url is None:
        return ""
    client = asking_client_snippet(url, has_token, names_model=default_model is None)
    openai = asking_openai_snippet(url, has_token, default_model or "demo")
    return markup.details(
        "On your laptop",
        markup.code("pip install api-host-client"),
        markup.listing(client),
        markup.code("pip install openai"),
        markup.listing(openai),
    )
