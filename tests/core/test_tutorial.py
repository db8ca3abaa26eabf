"""The tutorial's Python runs as it stands, in order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

DOCS = Path(__file__).parent.parent.parent / "docs"


def run_blocks(name: str) -> int:
    """The Python of a page as it stands, in order; how many blocks there are."""
    blocks = re.findall(r"```python\n(.*?)```", (DOCS / name).read_text("utf-8"), re.DOTALL)
    names: dict[str, object] = {}
    for block in blocks:
        exec(compile(block, f"docs/{name}", "exec"), names)
    return len(blocks)


def test_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert run_blocks("tutorial.md") > 8
    out = capsys.readouterr().out
    assert "numpy:0" in out
    assert "graph classify" in out
    assert "True" in out


def test_the_page_on_spiking_networks_runs(capsys: pytest.CaptureFixture[str]) -> None:
    assert run_blocks("spiking.md") == 5
    out = capsys.readouterr().out
    for words in ("graph network", "lif(", "threshold", "it fits", "weights of each step: (200, 20, 64)"):
        assert words in out
