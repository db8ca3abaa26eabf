"""What docs/profiles.md shows can be read and run."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hetero.profile import read_text, read_topology_text
from hetero.profile.fields import EXTRA, MAIN
from hetero.profile.link import read_link_text
from hetero.profile.store import shipped_dir

TEXT = (Path(__file__).parents[2] / "docs" / "profiles.md").read_text("utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", TEXT, re.DOTALL)


def test_the_files_shown_can_be_read() -> None:
    value, link, topology = blocks("toml")
    whole = (shipped_dir() / "h100.toml").read_text("utf-8")
    line = next(x for x in whole.split("\n") if x.startswith("memory_byte_per_s"))
    assert read_text(whole.replace(line, value)).memory_byte_per_s == read_text(whole).memory_byte_per_s
    assert read_link_text(link).byte_per_s.value == 5.85e6 / 8
    assert [n.name for n in read_topology_text(topology).nodes] == ["camera", "jetson", "cloud.0", "cloud.1"]


def test_the_code_shown_runs() -> None:
    names: dict[str, Any] = {}
    exec(blocks("python")[0], names)
    assert [n.name for n in names["alone"].nodes] == ["camera", "jetson", "loihi"]
    assert names["slow"].link("uplink").byte_per_s.value == 1e6


def test_every_key_is_told_of() -> None:
    for key in (*MAIN, *EXTRA):
        assert f"`{key}`" in TEXT
