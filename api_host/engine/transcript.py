"""The text of one sequence on its way out: tokens in, pieces out, made when somebody takes them.

A step is short, and the first thing after it is the next one: text is made of several tokens at once, unless a stop
string has to be found. Knows nothing of when pieces are taken.
"""

from __future__ import annotations

from collections.abc import Callable

from api_host.engine.detokenizer import Detokenizer
from api_host.engine.messages import Piece
from api_host.generation import FinishReason, TokenLogprob


class Transcript:
    """One text.

    Args:
        id: of the request; ``index``: of the choice.
        detokenizer: makes text of bytes.
        bytes_of: the bytes of a token.

    ``begun`` is whether any text of it was taken.
    """

    def __init__(
        self, id: int, index: int, detokenizer: Detokenizer, bytes_of: Callable[[int], bytes]
    ) -> None:
        self._id = id
        self._index = index
        self._detokenizer = detokenizer
        self._watches = detokenizer.watches
        self._bytes_of = bytes_of
        self._unread: list[int] = []
        self._n_untaken = 0
        self._text = ""
        self._logprobs: list[TokenLogprob] = []
        self.begun = False

    def add(self, token: int) -> bool:
        """The text goes on with ``token``; returns whether a stop string has ended it."""
        self._unread.append(token)
        self._n_untaken += 1
        if not self._watches:
            return False
        self._read()
        return self._detokenizer.stopped

    def note(self, logprob: TokenLogprob) -> None:
        """How likely the newest token was, and which others were."""
        self._logprobs.append(logprob)

    def take(self) -> Piece | None:
        """What may be shown since the last time; None for nothing."""
        if not self._n_untaken:
            return None
        self._read()
        return self._piece(None) if self._text else None

    def finish(self, reason: FinishReason) -> Piece:
        """The last piece, with all that was held back."""
        self._read()
        if not self._detokenizer.stopped:
            self._text += self._detokenizer.flush()
        return self._piece(reason)

    def _read(self) -> None:
        if self._unread:
            self._text += self._detokenizer.push(b"".join(map(self._bytes_of, self._unread)))
            self._unread.clear()

    def _piece(self, reason: FinishReason | None) -> Piece:
        text, self._text = self._text, ""
        logprobs, self._logprobs = self._logprobs, []
        n_tokens, self._n_untaken = self._n_untaken, 0
        self.begun = True
        return Piece(self._id, self._index, text, n_tokens, reason, logprobs or None)
