"""The vocabulary of a GGML file, put into the words in which a GGUF writes SentencePiece's.

A GGML file holds for each token: u32 length, the bytes, and a float32 score (not in the ggml container). Spaces
are spaces, byte tokens are the byte itself, the unknown token is " \\u2047 ", and control tokens are empty. A GGUF
has ``▁`` for a space, ``<0x0A>`` for a byte, and a type for each token.

LLaMA's vocabulary stands in the order of its merges, each piece with the score 259 - id: where the file has no
scores, these are taken.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

from api_host.models.ggml.source import Source

UNK, BOS, EOS = 0, 1, 2
_SPECIAL = (b"<unk>", b"<s>", b"</s>")
_FIRST_BYTE = len(_SPECIAL)
_FIRST_PIECE = _FIRST_BYTE + 256
_MAX_TOKEN_BYTES = 1024
_SPACE = "▁".encode()


class TokenType(IntEnum):
    """The numbers of ``tokenizer.ggml.token_type``."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    UNUSED = 5
    BYTE = 6


@dataclass
class Vocabulary:
    """Three lists of one length: the index is the token's id."""

    texts: list[bytes]
    scores: list[float]
    types: list[TokenType]


def read_vocabulary(source: Source, n_vocab: int, has_scores: bool) -> Vocabulary:
    """All tokens.

    Raises:
        ModelLoadFailed: cut off, a token that is absurdly long or no text, a score that is no number, or not the
            order that LLaMA's tokens have: <unk>, <s>, </s>, 256 bytes, pieces of which some begin with a space.
    """
    vocabulary = Vocabulary([], [], [])
    seen: set[bytes] = set()
    for token_id in range(n_vocab):
        text, score = _read_token(source, token_id, has_scores)
        piece, kind = _piece(source, token_id, text)
        if piece in seen:
            # llama.cpp ends its process over two tokens of one text; the first is the one a tokenizer finds.
            piece, kind = b"<repeated_%d>" % token_id, TokenType.UNUSED
        seen.add(piece)
        vocabulary.texts.append(piece)
        vocabulary.scores.append(score)
        vocabulary.types.append(kind)
    if not any(piece.startswith(_SPACE) for piece in vocabulary.texts):
        raise source.refused("no token of its vocabulary begins with a space: not SentencePiece's, or spoilt")
    return vocabulary


def _read_token(source: Source, token_id: int, has_scores: bool) -> tuple[bytes, float]:
    what = f"token {token_id} of its vocabulary"
    (length,) = source.unpack("I", what)
    if length > _MAX_TOKEN_BYTES:
        raise source.refused(f"{what} is {length} bytes long, more than {_MAX_TOKEN_BYTES}: damaged")
    text = source.take(length, what)
    if not has_scores:
        return text, float(min(0, _FIRST_PIECE - token_id))
    (score,) = source.unpack("f", what)
    if not math.isfinite(score):
        raise source.refused(f"{what} has no number as its score: damaged")
    return text, score


def _piece(source: Source, token_id: int, text: bytes) -> tuple[bytes, TokenType]:
    if token_id < _FIRST_BYTE:
        return _SPECIAL[token_id], TokenType.UNKNOWN if token_id == UNK else TokenType.CONTROL
    if token_id < _FIRST_PIECE:
        byte = token_id - _FIRST_BYTE
        if text != bytes([byte]):
            raise source.refused(
                f"token {token_id} of its vocabulary is not the byte 0x{byte:02X}, as in LLaMA's: no LLaMA model"
            )
        return b"<0x%02X>" % byte, TokenType.BYTE
    if not text:
        return b"<control_%d>" % token_id, TokenType.CONTROL
    try:
        text.decode()
    except UnicodeDecodeError:
        raise source.refused(f"token {token_id} of its vocabulary is no UTF-8 text: damaged") from None
    return text.replace(b" ", _SPACE), TokenType.NORMAL
