"""Writes tokens.json: what Hugging Face's `tokenizers` makes of texts, for the tests beside this file.

    python tests/models/record_tokens.py FOLDER_OF_MINILM       # wants tokenizers; recorded with 0.23.3

Those marked "vector" are the texts whose vectors tests/nn/record_torch.py records next.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

VECTORS = (
    "The cat sits outside",
    "A feline rests in the open air",
    "A man is playing guitar",
    "The new movie is awesome",
    "Naïve café, 日本語 and 3.14!",
    "word " * 300,
)
TOKENS = (
    "",
    "   ",
    "unaffable",
    "Ünïcödé ÀÉÎÕÜ ß İstanbul",
    "don't stop—believing… (really?) [yes] {no} <tag> a_b c+d=e `x` ~ ^ | \\ / @me #tag $5 50% & *",
    "tabs\tand\nnew\r\nlines\x00\ufffd\u200b\u00ad\u00a0\u3000end",
    "中文字符混合English和日本語カタカナひらがな 한국어",
    "emoji 😀 👩‍🔬 ♥ ™ © ½ ² ﬁ",
    "a" * 99 + " " + "a" * 100 + " " + "a" * 101,
    "antidisestablishmentarianism pneumonoultramicroscopicsilicovolcanoconiosis",
    "Ελληνικά Русский עברית العربية हिन्दी ไทย",
    "3.14159 1e-10 0x1F 10,000,000 192.168.0.1 2024-01-01T00:00:00Z",
    "x " * 400,
)


def main() -> None:
    fast: Any = import_module("tokenizers").Tokenizer.from_file(str(Path(sys.argv[1]) / "tokenizer.json"))
    fast.no_padding()
    fast.enable_truncation(256)
    rows: list[Any] = [{"text": t, "tokens": fast.encode(t).ids, "vector": True} for t in VECTORS]
    rows += [{"text": t, "tokens": fast.encode(t).ids} for t in TOKENS]
    where = Path(__file__).parent / "tokens.json"
    where.write_text("[\n" + ",\n".join(json.dumps(r) for r in rows) + "\n]\n", "utf-8")


if __name__ == "__main__":
    main()
