"""Text into a vocabulary's tokens, so that what many prompts have in common is read once.

A long text is cut into pieces where that changes no token, and the pieces that were read last are kept: a chat sends
all that was said again, and thousands of requests begin with the same instructions.
"""

from __future__ import annotations

import ctypes
import functools
import itertools
import re
from array import array
from collections.abc import Iterator
from dataclasses import dataclass

import llama_cpp

# Characters that a piece has at least; one that grew longer than LONGEST, for want of a place to cut, is not kept.
SHORTEST = 128
LONGEST = 1024
N_KEPT = 8192

_CUT = re.compile(r"(?<=[A-Za-z]) (?=[A-Za-z])")

# Tokens that forbid cuts. Most of them are made of characters, a space written in one of three ways, and may reach over
# a cut. Those for which llama.cpp looks first, in the text as it is, may also begin or end at one.
_REACHES_OVER = re.compile("[A-Za-z][ ▁Ġ]")
_LOOKED_FOR_AT_A_CUT = re.compile(r" ?[A-Za-z]|.*[A-Za-z]( |\Z)| \Z", re.DOTALL)
_LOOKED_FOR_FIRST = (
    llama_cpp.LLAMA_TOKEN_ATTR_CONTROL
    | llama_cpp.LLAMA_TOKEN_ATTR_USER_DEFINED
    | llama_cpp.LLAMA_TOKEN_ATTR_UNKNOWN
)


@dataclass(frozen=True)
class Joints:
    """What to do where texts are put together.

    A cut leaves out ``n_skipped`` spaces: one where llama.cpp writes it before every text. ``before`` and ``after`` are
    what ``add_special`` adds to a text.
    """

    n_skipped: int
    before: array[int]
    after: array[int]


class Tokenizer:
    """The tokens of texts.

    A cut between two words changes nothing where no token reaches over it: then tokens meet there, and what is on
    either side is read by itself. Vocabularies for which that does not hold have every text read whole.

    Args:
        vocab: llama.cpp's.
    """

    def __init__(self, vocab: llama_cpp.llama_vocab_p) -> None:
        self._vocab = vocab
        self._kept = functools.lru_cache(N_KEPT)(self._read)
        exists = llama_cpp.llama_vocab_type(vocab) != llama_cpp.LLAMA_VOCAB_TYPE_NONE
        self._longest = 0
        self._may_cut = exists and not self._has_tokens_over_cuts()
        self._joints: Joints | None = None

    def fewest(self, text: str) -> int:
        """The fewest tokens that a text can have, which is known before it is read; 0 where nothing is known.

        Every byte of it is in a token, but for vocabularies that put texts into another form first.
        """
        keeps_all = (llama_cpp.LLAMA_VOCAB_TYPE_SPM, llama_cpp.LLAMA_VOCAB_TYPE_BPE)
        if not self._longest or llama_cpp.llama_vocab_type(self._vocab) not in keeps_all:
            return 0
        return len(text.encode("utf-8", "replace")) // self._longest

    def tokens(self, text: str, add_special: bool, parse_special: bool = True) -> array[int]:
        """The tokens of ``text``.

        Args:
            add_special: adds BOS and EOS as the model wants them.
            parse_special: whether the text of a control token is that token.
        """
        joints = self._find_joints(text)
        if joints is None:
            return self._read(text, parse_special, add_special)
        tokens = joints.before[:] if add_special else array("i")
        for piece in _pieces(text, joints.n_skipped):
            read = self._kept if len(piece) <= LONGEST else self._read
            tokens += read(piece, parse_special)
        return tokens + joints.after if add_special else tokens

    def read_ahead(self, text: str) -> Iterator[int]:
        """Reads what others will begin with, a piece each time, and gives its number of tokens; the end may go on."""
        joints = self._find_joints(text)
        pieces = [] if joints is None else [*_pieces(text, joints.n_skipped)]
        for piece in pieces[:-1]:
            if len(piece) <= LONGEST:
                yield len(self._kept(piece, True))

    def _find_joints(self, text: str) -> Joints | None:
        """How pieces of this vocabulary's texts are joined; None for a text that is to be read whole."""
        cut = _CUT.search(text, SHORTEST) if self._may_cut else None
        if cut is None:
            return None
        if self._joints is None:
            # With letters of the text: a small vocabulary may lack others, which llama.cpp does not survive.
            self._joints = self._try_joints(text[cut.start() - 1], text[cut.end()])
            self._may_cut = self._joints is not None
        return self._joints

    def _try_joints(self, a: str, b: str) -> Joints | None:
        one, both = self._read(a, True), self._read(f"{a} {b}", True)
        special = self._read(a, True, add_special=True)
        at = next((i for i in range(len(special)) if special[i : i + len(one)] == one), None)
        if at is None:
            return None
        for n_skipped, rest in enumerate((f" {b}", b)):
            if one + self._read(rest, True) == both:
                return Joints(n_skipped, special[:at], special[at + len(one) :])
        return None

    def _has_tokens_over_cuts(self) -> bool:
        made: list[bytes] = []
        looked_for: list[bytes] = []
        for token in range(llama_cpp.llama_vocab_n_tokens(self._vocab)):
            first = llama_cpp.llama_vocab_get_attr(self._vocab, token) & _LOOKED_FOR_FIRST
            (looked_for if first else made).append(llama_cpp.llama_vocab_get_text(self._vocab, token))
        self._longest = max(map(len, itertools.chain(made, looked_for)), default=0)
        return _REACHES_OVER.search(b"\n".join(made).decode("utf-8", "replace")) is not None or any(
            _LOOKED_FOR_AT_A_CUT.match(text.decode("utf-8", "replace")) for text in looked_for
        )

    def _read(self, text: str, parse_special: bool, add_special: bool = False) -> array[int]:
        data = text.encode("utf-8", "replace")
        count = -len(data) - 8
        while count < 0:
            # What it says to be short of: a space may be added behind every token that was looked for.
            room = -count
            tokens = array("i", bytes(4 * room))
            first = ctypes.byref(llama_cpp.llama_token.from_buffer(tokens))
            count = llama_cpp.llama_tokenize(
                self._vocab, data, len(data), first, room, add_special, parse_special
            )
        return tokens[:count]


def _pieces(text: str, n_skipped: int) -> Iterator[str]:
    """Where texts begin alike, so do their pieces: each ends at the first place to cut that is far enough."""
    begins = [0]
    while cut := _CUT.search(text, begins[-1] + SHORTEST):
        begins.append(cut.start() + n_skipped)
    for begin, end in itertools.pairwise([*begins, len(text) + n_skipped]):
        yield text[begin : end - n_skipped]
