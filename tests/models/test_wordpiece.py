"""Tokens of a small vocabulary, by hand; of the real one see test_minilm.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from hetero.errors import ModelError
from hetero.models.wordpiece import WordPiece, words

PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "un", "##aff", "##able", "##a", "##f", "the", "!", "日", "caf", "##e"]


@pytest.fixture
def pieces(tmp_path: Path) -> WordPiece:
    path = tmp_path / "vocab.txt"
    path.write_text("\n".join(PIECES) + "\n", "utf-8")
    return WordPiece(path)


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("", []),
        ("Unaffable!", ["un", "##aff", "##able", "!"]),
        ("unafx", ["[UNK]"]),
        ("the日the", ["the", "日", "the"]),
        ("Café", ["caf", "##e"]),
        ("the\x00 \u200bthe\u3000!", ["the", "the", "!"]),
        ("un" + "a" * 98, ["un", *["##a"] * 98]),
        ("un" + "a" * 99, ["[UNK]"]),
    ],
)
def test_the_longest_pieces_from_the_left(pieces: WordPiece, text: str, wanted: list[str]) -> None:
    tokens = pieces.encode(text, 200)
    assert [PIECES[t] for t in tokens] == ["[CLS]", *wanted, "[SEP]"]


def test_a_long_text_is_cut_and_keeps_its_end_sign(pieces: WordPiece) -> None:
    assert pieces.encode("the " * 50, 10) == [2, *[9] * 8, 3]


def test_signs_are_words() -> None:
    assert list(words("a-b $5 'c' …")) == ["a", "-", "b", "$", "5", "'", "c", "'", "…"]


def test_a_file_that_is_no_vocabulary_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "vocab.txt"
    with pytest.raises(ModelError, match="is no vocabulary"):
        WordPiece(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ModelError, match="is no vocabulary"):
        WordPiece(path)
    path.write_text("a\nb\n")
    with pytest.raises(ModelError, match=r"lacks \[UNK\], \[CLS\], \[SEP\], \[PAD\]"):
        WordPiece(path)


def test_a_character_that_unicode_has_not_given_away_stays_in_its_word() -> None:
    assert list(words("ab\u0378cd")) == ["ab\u0378cd"]
