"""`hetero tune` and `hetero cache`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import hetero as ht
from hetero.cache import Cache

Call = Any


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HETERO_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_a_tuned_model_is_remembered_and_forgotten(call: Call, tmp_path: Path) -> None:
    graph = ht.trace(lambda x: ht.tanh(x @ x), ht.spec((16, 16), "float32"))
    graph.save(str(tmp_path / "m.hetero"))
    (found,) = json.loads(call("tune", tmp_path / "m.hetero", "--random", "0", "--json").stdout)
    ran = {t["device"]: t["seconds"] for t in found["trials"] if t["seconds"]}
    assert found["chosen"] == min(ran, key=lambda d: ran[d])
    assert found["settled"]
    assert {"numpy:0", "onnxruntime:0"} <= set(ran)
    shown = json.loads(call("cache", "--json").stdout)
    assert {k["kind"]: k["entries"] for k in shown["kinds"]}["auto"] == 1
    ht.reset_stats()
    graph.run({"x": np.zeros((16, 16), "float32")}, device="auto")
    assert ht.stats().events["auto cache hit"] == 1
    assert "auto: 1 entries removed" in call("cache", "--clear", "auto").stdout
    assert {k["kind"]: k["entries"] for k in json.loads(call("cache", "--json").stdout)["kinds"]}["auto"] == 0


def test_the_table_says_what_auto_takes(call: Call, tmp_path: Path) -> None:
    ht.trace(lambda x: x + 1, ht.spec((4,), "float32")).save(str(tmp_path / "m.hetero"))
    out = call("tune", tmp_path / "m.hetero", "--random", "0").stdout
    assert out.count("auto takes it") == 1
    assert "measured" in out


def test_profiles_are_cleared_by_name_only(call: Call, folder: Path) -> None:
    """They were measured at some cost."""
    (folder / "profiles").mkdir(parents=True)
    (folder / "profiles" / "here.toml").write_text("measured")
    Cache("opencl").put(b"kernel", "k")
    assert json.loads(call("cache", "--clear", "all", "--json").stdout) == {"opencl": {"entries": 1, "bytes": 53}}
    assert (folder / "profiles" / "here.toml").exists()
    call("cache", "--clear", "profiles")
    assert not (folder / "profiles" / "here.toml").exists()


def test_nothing_kept_and_an_unknown_kind_are_said(call: Call) -> None:
    assert "nothing is kept yet" in call("cache").stdout
    result = call("cache", "--clear", "opencll")
    assert result.exit_code == 2
    assert "nothing of the kind 'opencll' is kept" in str(result.exception)
