"""`hetero map` shows where a network goes, what does not fit, and what a run costs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

from hetero import dtype as dt
from hetero.chip import chips
from hetero.cli.app import app
from hetero.errors import HeteroError
from hetero.graph.store import save
from hetero.spiking.build import build
from hetero.spiking.layers import Layer
from hetero.spiking.network import Edge, Network


def call(*args: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, ["map", *args], env={"COLUMNS": "200"}, catch_exceptions=False)
    assert result.exit_code == code, result.output
    return result.stdout


@pytest.fixture
def net(tmp_path: Path) -> str:
    rng = np.random.default_rng(0)
    weight = rng.integers(1, 9, (20, 300)).astype(np.int32)
    neuron = {k: np.full(20, v, np.int32) for k, v in {"du": 4095, "dv": 0, "vth": 40, "bias": 0}.items()}
    layers = {"fc1": Layer("fc1", "synapse_dense", {"weight": weight}), "n1": Layer("n1", "loihi_lif", neuron)}
    edges = (Edge("x", "fc1"), Edge("fc1", "n1"), Edge("n1", "y"))
    save(build(Network({"x": (300,)}, layers, ("y",), edges, dt.int32, "toy")), tmp_path / "net.hetero")
    np.save(tmp_path / "x.npy", (rng.random((25, 300)) < 0.1).astype(np.int32))
    return str(tmp_path / "net.hetero")


def test_what_fits_is_a_table(net: str) -> None:
    shown = call(net, "--chip", "loihi")
    assert "toy on Intel Loihi: 1 of 128 cores, fits" in shown
    assert "n1" in shown
    assert "6,000" in shown
    assert "not checked, since nobody published it: synapses_per_core, fan_in, fan_out" in shown


def test_what_does_not_fit_exits_with_one(net: str) -> None:
    shown = call(net, "--chip", "truenorth", "--random", "0", code=1)
    assert "does not fit: 2 limits broken" in shown
    assert "fan_in: layer n1: fan-in 300 > 256 axons of a core; split the layer into groups of 256 inputs" in shown
    assert "axon_types: layer n1" in shown
    assert "not run" in shown


def test_a_run_says_what_it_cost_and_that_it_is_simulated(net: str) -> None:
    x = np.load(Path(net).parent / "x.npy")
    shown = call(net, "--chip", "loihi", "--input", f"x={Path(net).parent / 'x.npy'}")
    assert "simulated: 25 ticks, 500 neuron updates, " in shown
    assert f"{int(x.sum()) * 20:,} synaptic events" in shown
    assert "energy " in shown
    report = json.loads(call(net, "--chip", "loihi", "--json", "--input", f"x={Path(net).parent / 'x.npy'}"))
    run: dict[str, Any] = report["run"]
    assert run["label"] == "simulated"
    assert run["events"]["synaptic"] == int(x.sum()) * 20
    assert run["energy_j"]["low"] < run["energy_j"]["mid"] < run["energy_j"]["high"]
    assert sum(t["mid"] for t in run["terms_j"].values()) == pytest.approx(run["energy_j"]["mid"])


def test_json_has_every_violation(net: str) -> None:
    report = json.loads(call(net, "--chip", "akida1", "--json", code=1))
    assert (report["fits"], report["run"]) == (False, None)
    assert [v["limit"] for v in report["violations"]] == ["neuron"]
    assert set(report["layers"][0]) >= {"layer", "cores", "neuron_use", "memory_use", "hops_per_spike"}


def test_what_nobody_published_has_no_energy(net: str) -> None:
    assert "energy" in call(net, "--chip", "loihi2", "--random", "0")
    assert "without static, spike, hop, which nobody published" in call(net, "--chip", "spinnaker2", "--random", "0")


def test_a_chip_may_be_a_file(net: str, tmp_path: Path) -> None:
    from hetero.chip.chip import chip_dir

    text = (chip_dir() / "loihi.toml").read_text("utf-8").replace('title = "Intel Loihi"', 'title = "Mine"')
    (tmp_path / "mine.toml").write_text(text, "utf-8")
    assert "toy on Mine: 1 of 128 cores" in call(net, "--chip", str(tmp_path / "mine.toml"))


def test_help_names_the_chips_and_has_an_example() -> None:
    shown = call("--help")
    assert "Example: hetero map" in shown
    for name in chips():
        assert name in shown


def test_no_chip_of_that_name(net: str) -> None:
    with pytest.raises(HeteroError, match="no chip is called 'lohi'"):
        call(net, "--chip", "lohi")
