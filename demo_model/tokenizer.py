"""A byte-level byte-pair encoding, as GPT-2 has it: learns merges from text and turns text into token ids.

Text is first cut into words by the pattern that llama.cpp calls ``gpt-2``, then each word's bytes are merged.
Digits and bytes beyond ASCII are never merged: arithmetic sees every digit, and a character such as an emoji takes
several tokens. Knows nothing about what the text says.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise

Pair = tuple[str, str]

# llama.cpp: 's|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+
_WORDS = re.compile(r"'s|'t|'re|'ve|'m|'ll|'d| ?[^\W\d_]+| ?\d+| ?(?:[^\w\s]|_)+|\s+(?!\S)|\s+")
_UNMERGED = frozenset("0123456789")


def byte_symbols() -> dict[int, str]:
    """GPT-2's printable character for each of the 256 bytes."""
    printable = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    symbols = {byte: chr(byte) for byte in printable}
    others = (byte for byte in range(256) if byte not in symbols)
    symbols.update({byte: chr(256 + i) for i, byte in enumerate(others)})
    return symbols


_SYMBOLS = byte_symbols()


def _word_symbols(word: str) -> tuple[str, ...]:
    return tuple(_SYMBOLS[byte] for byte in word.encode())


def _merge(symbols: Sequence[str], pair: Pair) -> tuple[str, ...]:
    merged: list[str] = []
    i = 0
    while i < len(symbols):
        if tuple(symbols[i : i + 2]) == pair:
            merged.append(symbols[i] + symbols[i + 1])
            i += 2
        else:
            merged.append(symbols[i])
            i += 1
    return tuple(merged)


def _mergeable(symbol: str) -> bool:
    plain = symbol.replace(_SYMBOLS[0x20], "")
    return plain.isascii() and not (_UNMERGED & set(plain))


def learn_merges(texts: Iterable[str], n_merges: int) -> list[Pair]:
    """The ``n_merges`` merges that shorten the texts most, in the order in which they apply.

    Args:
        texts: the corpus, without special tokens.
        n_merges: how many to learn; fewer come back when the corpus has no more pairs.
    """
    words = Counter(word for text in texts for word in _WORDS.findall(text))
    words = Counter({word: count for word, count in words.items() if count > 2})  # no invented names
    pieces = {word: _word_symbols(word) for word in words}
    merges: list[Pair] = []
    while len(merges) < n_merges:
        pairs: Counter[Pair] = Counter()
        for word, symbols in pieces.items():
            for pair in pairwise(symbols):
                if _mergeable(pair[0]) and _mergeable(pair[1]):
                    pairs[pair] += words[word]
        if not pairs:
            break
        best = max(pairs, key=lambda pair: (pairs[pair], pair))
        merges.append(best)
        joined = best[0] + best[1]
        for word, symbols in pieces.items():
            if joined in "".join(symbols):
                pieces[word] = _merge(symbols, best)
    return merges


class Tokenizer:
    """Encodes text with learned merges.

    The vocabulary is the special tokens, the 256 bytes and one token for each merge, in this order.
    """

    def __init__(self, special_tokens: Sequence[str], merges: Sequence[Pair]) -> None:
        self.special_tokens = tuple(special_tokens)
        self.merges = list(merges)
        self.tokens = [*special_tokens, *_SYMBOLS.values(), *(a + b for a, b in merges)]
        self.ids = {token: i for i, token in enumerate(self.tokens)}
        self._ranks = {pair: rank for rank, pair in enumerate(merges)}
        self._special = re.compile("(" + "|".join(map(re.escape, special_tokens)) + ")")
        self._cache: dict[str, list[int]] = {}

    def encode(self, text: str) -> list[int]:
        """The token ids of the text; special tokens in it are recognised."""
        ids: list[int] = []
        for part in self._special.split(text):
            if part in self.special_tokens:
                ids.append(self.ids[part])
            else:
                for word in _WORDS.findall(part):
                    ids += self._word(word)
        return ids

    def _word(self, word: str) -> list[int]:
        known = self._cache.get(word)
        if known is None:
            symbols = _word_symbols(word)
            while True:
                pairs = [p for p in pairwise(symbols) if p in self._ranks]
                if not pairs:
                    break
                symbols = _merge(symbols, min(pairs, key=self._ranks.__getitem__))
            known = self._cache[word] = [self.ids[symbol] for symbol in symbols]
        return known
