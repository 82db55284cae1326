"""Tokens of a text in any script: words and their hashed codes, without a vocabulary.

The same text has the same codes on every machine and in every run; a run keeps only the number of codes and of words
(its settings). Two words may share a code: of 8,192 codes and 2,000 words about one in five does.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

NOTHING = 0
"""The code behind the end of a text."""
LONGEST = 24
"""Letters of a word; what is longer, as in scripts that write no blanks, is cut into pieces of `PIECE`."""
PIECE = 4
_ASCII = re.compile(r"[a-z0-9]+|[^\sa-z0-9]")
_ALONE = re.compile("[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
"""Letters that are words by themselves: kana, and Chinese characters."""


def split(text: str) -> list[str]:
    """The words and marks of a text, in lower case, equal characters written equally (Unicode's form NFKC)."""
    plain = unicodedata.normalize("NFKC", text).casefold()
    words = _ASCII.findall(plain) if plain.isascii() else _any_script(plain)
    return [piece for word in words for piece in _pieces(word)]


def encode(texts: Sequence[str], length: int, codes: int) -> NDArray[np.int32]:
    """(N, length) codes of the first `length` words of each text, from 1 to `codes` - 1, filled up with `NOTHING`."""
    found = np.full((len(texts), length), NOTHING, np.int32)
    known: dict[str, int] = {}
    for row, text in enumerate(texts):
        for at, word in enumerate(split(text[: length * 64])[:length]):
            if word not in known:
                known[word] = 1 + zlib.crc32(word.encode("utf-8", "replace")) % (codes - 1)
            found[row, at] = known[word]
    return found


def _any_script(text: str) -> Iterator[str]:
    """Runs of letters, digits and the signs on them; single characters of scripts without blanks; marks."""
    word = ""
    for letter in text:
        kind = unicodedata.category(letter)
        if kind[0] in "LMN" and not _ALONE.match(letter):
            word += letter
            continue
        if word:
            yield word
            word = ""
        if kind[0] in "LPS":
            yield letter
    if word:
        yield word


def _pieces(word: str) -> list[str]:
    return [word] if len(word) <= LONGEST else [word[at : at + PIECE] for at in range(0, len(word), PIECE)]
