"""The tutorial's Python runs as it stands, in order."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TEXT = (Path(__file__).parent.parent.parent / "docs" / "tutorial.md").read_text("utf-8")


def test_the_tutorial_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {}
    blocks = re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL)
    assert len(blocks) > 8
    for block in blocks:
        exec(compile(block, "docs/tutorial.md", "exec"), names)
    out = capsys.readouterr().out
    assert "numpy:0" in out
    assert "graph classify" in out
    assert "True" in out
