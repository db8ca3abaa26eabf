"""docs/nn.md: its Python runs as it stands, in order; the part with MiniLM's weights where they are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import hetero as ht

PAGE = Path(__file__).parent.parent.parent / "docs" / "nn.md"


def test_the_page_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        try:
            exec(compile(block, "docs/nn.md", "exec"), names)
        except ht.ModelError as e:
            if "the weights of MiniLM are not installed" not in str(e):
                raise
    assert len(blocks) == 7
    out = capsys.readouterr().out
    for words in (
        "(32, 10)",
        "layers.2.bias: float32(10,)",
        "['batch', 'sequence'] 1",
        "True",
        "unexpected: head (3,)",
        "shape: norm.weight is (8,), the module wants (16,)",
        "params.attention.key.bias",
        "tokens/s (measured)",
    ):
        assert words in out
