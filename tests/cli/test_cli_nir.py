"""The command line with a .nir file: what it must be told, and that it runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from typer.testing import Result

NET = Path(__file__).parent.parent / "data/nir/lif_norse.nir"
Call = Callable[..., Result]


def test_run_takes_dt_and_rule_and_one_unnamed_input(call: Call, tmp_path: Path) -> None:
    x = np.loadtxt(NET.with_name("lif_lava_loihi_fixed.csv"), delimiter=",", dtype=np.float32)[:, :1]
    np.save(tmp_path / "spikes.npy", x)
    given = ("--input", tmp_path / "spikes.npy", "--output", tmp_path, "--backend", "numpy")
    assert call("run", NET, "--dt", 1e-4, "--rule", "exact", *given).exit_code == 0
    assert np.flatnonzero(np.load(tmp_path / "output.npy")).tolist() == [460, 510, 710, 760]


def test_a_missing_dt_or_rule_is_said_with_the_reason(call: Call) -> None:
    for command in ("run", "graph"):
        for given, missing in (((), "--dt and --rule is missing"), (("--dt", 1e-4), ": --rule is missing")):
            result = call(command, NET, *given)
            assert result.exit_code == 2
            assert "continuous time" in str(result.exception)
            assert missing in str(result.exception)


def test_graph_shows_the_layers(call: Call) -> None:
    result = call("graph", NET, "--dt", 1e-4, "--rule", "euler")
    assert result.exit_code == 0
    assert "rule='euler'" in result.stdout


def test_diff_and_plan_take_dt_and_rule(call: Call) -> None:
    given = ("--dt", 1e-4, "--rule", "euler", "--size", "time=20")
    result = call("diff", NET, "numpy", "numpy", *given, "--random", 0)
    assert result.exit_code == 0, result.exception
    assert "agrees with numpy" in result.stdout
    result = call("plan", NET, "--topology", "robot", "--budget", 0.1, *given)
    assert result.exit_code == 0, result.exception
    assert "neuron updates" in result.stdout


def test_dt_is_for_nir_files_only(call: Call, model: Path) -> None:
    assert "are for .nir files" in str(call("graph", model, "--dt", 1e-4).exception)


def test_a_spiking_network_becomes_an_onnx_model(call: Call, tmp_path: Path) -> None:
    import onnxruntime

    how = ("--dt", 1e-4, "--rule", "exact")
    result = call("convert", NET, *how, "--to", "onnx", "--output", tmp_path / "net.onnx", "--opset", 17)
    assert result.exit_code == 0, result.exception
    x = np.loadtxt(NET.with_name("lif_lava_loihi_fixed.csv"), delimiter=",", dtype=np.float32)[:, :1]
    session: Any = onnxruntime.InferenceSession(str(tmp_path / "net.onnx"))
    (made,) = session.run(None, {"input": x})
    assert np.flatnonzero(made).tolist() == [460, 510, 710, 760]
    assert "wants --output" in str(call("convert", NET, *how, "--to", "onnx").exception)
    assert "wants --data" in str(call("convert", NET, *how).exception)
