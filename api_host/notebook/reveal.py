"""The access token on show, for a while.

Outputs are saved with a notebook and shared with it, so a token that stood on the card, hidden or not, would go along
with every copy, and so would one in a link. The card therefore holds none: somebody asks for it
(``host.show_token()``), it is shown with a link and a QR code that sign in with one click, and after a minute it is
taken out of the output again. Only a notebook that is saved within that minute, or whose kernel is killed in it, keeps
the token. In those links it stands behind the ``#``, a part of the address that browsers send to no server.
"""

from __future__ import annotations

from urllib.parse import quote

from api_host.notebook import markup
from api_host.notebook.qr import qr_code

NO_TOKEN = "This host asks for no access token: whoever has its URL can use it."
HIDDEN_AGAIN = "The access token is hidden again; host.show_token() shows it."


def sign_in_link(url: str, token: str) -> str:
    """The chat page's address with the token in its fragment."""
    return f"{url}/#token={quote(token, safe='')}"


def token_html(url: str, token: str, seconds: float) -> str:
    """The token with what signs in at ``url``, and the promise to take it back after ``seconds``."""
    signing_in = sign_in_link(url, token)
    rows = [
        ("Access token", markup.code(token)),
        ("Sign in", markup.link(signing_in, "open the chat page with it")),
        ("", markup.faint(f"Shown for {seconds:.0f} s, then taken out of this output.")),
    ]
    code = qr_code(signing_in, "QR code that signs in to the chat page")
    return markup.box(markup.beside(markup.grid(rows), code))


def token_text(url: str, token: str) -> str:
    """The same as lines."""
    return f"Access token: {token}\nSigned in with one click: {sign_in_link(url, token)}"
