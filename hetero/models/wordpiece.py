"""BERT's tokens of a text: words and signs, taken apart into the longest pieces that the vocabulary has.

Sources: the algorithm as published with BERT (Devlin et al., 2019; github.com/google-research/bert, README,
"Tokenization"); greedy longest match first.

Compared with Hugging Face's tokenizers 0.23.3 on every character below U+30000, between letters: 759 of 194,560 differ,
all but 256 of them accents, signs and marks that came to Unicode after that library's tables; the 256 are Chinese
characters (U+2B820 to U+2B91F) that it does not set apart.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path

from hetero.errors import ModelError

LONGEST = 100  # characters of a word that is looked up at all
_CONTINUED = "##"  # before a piece that is not the first of its word
# Blocks of Chinese characters, which are words of their own: Unicode 15, chapter 18.
_IDEOGRAPHS = ((0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F),
               (0x2B820, 0x2CEAF), (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))  # fmt: skip


class WordPiece:
    """The pieces of an uncased vocabulary, one a line in `vocab.txt`; their line numbers are the tokens."""

    def __init__(self, path: str | PathLike[str]) -> None:
        try:
            lines = Path(path).read_text("utf-8").split("\n")  # not splitlines: a piece may be another separator
        except (OSError, UnicodeDecodeError) as e:
            raise ModelError(f"{path} is no vocabulary: {e}", hint="a text file with one piece a line") from e
        self.tokens = {piece: k for k, piece in enumerate(lines) if piece}
        absent = [t for t in ("[UNK]", "[CLS]", "[SEP]", "[PAD]") if t not in self.tokens]
        if absent:
            raise ModelError(f"{path} lacks {', '.join(absent)}", hint="is it a vocabulary of BERT?")

    def encode(self, text: str, longest: int) -> list[int]:
        """[CLS], the tokens of the text, [SEP]: at most `longest` in all"""
        pieces = [self.tokens[p] for word in words(text) for p in self._pieces(word)]
        return [self.tokens["[CLS]"], *pieces[: longest - 2], self.tokens["[SEP]"]]

    def _pieces(self, word: str) -> Sequence[str]:
        """The longest piece from the left, again and again; a word with a rest that has none is unknown."""
        if len(word) > LONGEST:
            return ["[UNK]"]
        found: list[str] = []
        start = 0
        while start < len(word):
            lead = _CONTINUED if start else ""
            ends = range(len(word), start, -1)
            end = next((e for e in ends if lead + word[start:e] in self.tokens), None)
            if end is None:
                return ["[UNK]"]
            found.append(lead + word[start:end])
            start = end
        return found


def words(text: str) -> Iterator[str]:
    """Words in lower case without accents, each sign and each Chinese character by itself."""
    word = ""
    for c in _plain(text):
        if c.isspace():
            alone = ""
        elif _is_sign(c) or _is_ideograph(c):
            alone = c
        else:
            word += c
            continue
        yield from (w for w in (word, alone) if w)
        word = ""
    if word:
        yield word


def _plain(text: str) -> Iterator[str]:
    """The characters without control characters and accents, in lower case."""
    kept = "".join(" " if c in "\t\n\r" else c for c in text if not _is_control(c))
    for c in unicodedata.normalize("NFD", kept):
        if unicodedata.category(c) != "Mn":
            yield from c.lower()


def _is_control(c: str) -> bool:
    return c in "\0\ufffd" or (c not in "\t\n\r" and unicodedata.category(c) in ("Cc", "Cf", "Co"))


def _is_sign(c: str) -> bool:
    """Everything of ASCII that is no letter, digit or space, and Unicode's punctuation."""
    return (c.isascii() and c.isprintable() and not c.isalnum() and c != " ") or unicodedata.category(c)[0] == "P"


def _is_ideograph(c: str) -> bool:
    return any(low <= ord(c) <= high for low, high in _IDEOGRAPHS)


__all__ = ["WordPiece", "words"]
