"""The commands for spiking networks: run in an arithmetic, verify devices against each other."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from hetero.cli.app import app
from hetero.spiking.build import build
from hetero.testing.spiking_learning import random_learning

NET = Path(__file__).parent.parent / "data" / "nir" / "lif_norse.nir"
HOW = ["--dt", "1e-4", "--rule", "euler"]


@pytest.fixture
def spikes(tmp_path: Path) -> str:
    train = np.loadtxt(NET.parent / "lif_exact.csv", delimiter=",")[:, :1]
    np.save(tmp_path / "spikes.npy", train.astype("float32"))
    return str(tmp_path / "spikes.npy")


def invoke(*arguments: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, list(arguments))
    assert done.exit_code == code, done.output + str(done.exception)
    return done.stdout


def test_two_backends_give_the_same_spikes(spikes: str) -> None:
    said = json.loads(invoke("verify", str(NET), *HOW, "--input", spikes, "--on", "numpy,opencl", "--json"))
    assert said["arithmetic"] == "float32"
    assert said["devices"]["opencl"]["identical"]
    assert said["devices"]["opencl"]["spikes"] == 4


def test_loihi_arithmetic_is_made_and_said(spikes: str) -> None:
    out = invoke("verify", str(NET), *HOW, "--input", spikes, "--on", "numpy,opencl", "--arithmetic", "loihi")
    assert "made from float32 by quantize_loihi" in out
    assert "identical: every spike (4) and every state" in out


def test_a_run_in_loihi_arithmetic_spikes_one_step_later(spikes: str, tmp_path: Path) -> None:
    folder = str(tmp_path / "out")
    said = json.loads(
        invoke("run", str(NET), *HOW, "--input", spikes, "--arithmetic", "loihi", "--output", folder, "--json")
    )
    assert "quantize_loihi" in said["arithmetic"]
    (file,) = Path(folder).glob("*.npy")
    assert np.flatnonzero(np.load(file)).tolist() == [461, 511, 711, 761]


def test_what_cannot_be_compared_is_refused(spikes: str, tmp_path: Path) -> None:
    np.save(tmp_path / "half.npy", np.full((5, 1), 0.5, "float32"))
    for arguments in (
        ["--on", "numpy", "--random", "0"],
        ["--on", "numpy,opencl", "--random", "0", "--arithmetic", "bfloat16"],
        ["--on", "numpy,opencl", "--arithmetic", "loihi", "--input", str(tmp_path / "half.npy")],
        ["--on", "numpy,nowhere", "--random", "0"],
    ):
        assert CliRunner().invoke(app, ["verify", str(NET), *HOW, *arguments]).exit_code != 0


def test_help_has_an_example() -> None:
    out = invoke("verify", "--help")
    assert "hetero verify net.nir" in out


def test_a_network_that_learns_keeps_its_steps(tmp_path: Path) -> None:
    net, _ = random_learning(4)
    build(net, steps=30).save(str(tmp_path / "net.hetero"))
    out = invoke("verify", str(tmp_path / "net.hetero"), "--random", "0", "--on", "numpy,opencl")
    assert "identical" in out
    said = CliRunner().invoke(app, ["map", str(tmp_path / "net.hetero"), "--chip", "loihi"])
    assert said.exit_code != 0
    assert "learns, and virtual chips do not" in str(said.exception)
