"""`hetero convert --to int8`, `int4`, `bfloat16`: what it writes, says and refuses."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from typer.testing import CliRunner, Result

import hetero as ht
from hetero import dtype as dt
from hetero.convert.onnx_in import from_onnx
from hetero.graph.build import Builder
from hetero.graph.ir import Graph
from hetero.op import TensorType


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A network whose answer is the largest of four inputs, and samples with their classes."""
    builder = Builder("largest", track=False)
    x = builder.input("x", TensorType((10, 4), dt.float32))
    w = builder.constant(np.eye(4, dtype=np.float32) + np.float32(0.01))
    builder.build({"y": builder("relu", builder("matmul", x, w))}).to_onnx(str(tmp_path / "net.onnx"))
    samples = np.random.default_rng(0).uniform(0, 1, (50, 4)).astype(np.float32)
    np.savez(tmp_path / "calib.npz", x=samples, y=samples.argmax(1))
    return tmp_path


def call(*args: object) -> Result:
    from hetero.cli.app import app

    return CliRunner().invoke(app, ["convert", *[str(a) for a in args]])


def test_int8_is_written_as_onnx_with_a_page(files: Path) -> None:
    out, page = files / "small.onnx", files / "r.html"
    done = call(files / "net.onnx", "--to", "int8", "--data", files / "calib.npz", "--output", out, "--report", page)
    assert done.exit_code == 0, done.output
    assert "SQNR" in done.output
    assert "right answers on the test data: original 100.00%" in done.output.replace("\n", " ")
    kinds = [n.op_type for n in onnx.load(out).graph.node]
    assert kinds.count("QuantizeLinear") == 1
    assert kinds.count("DequantizeLinear") == 2
    assert "SQNR of each layer" in page.read_text()


@pytest.mark.parametrize("weights", ["int8", "int4", "bfloat16"])
def test_json_is_the_report(files: Path, weights: str) -> None:
    out = files / "small.hetero"
    done = call(files / "net.onnx", "--to", weights, "--data", files / "calib.npz", "--output", out, "--json")
    assert done.exit_code == 0, done.output
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["weights"] == weights
    assert found["label"] == "measured"
    assert found["data"] == "test"
    assert set(found["accuracy"]) == {"original", "quantised"}
    assert [a["op"] for a in found["layers"]] == ["matmul"]
    assert found["written"] == {"network": str(out)}
    samples = np.load(files / "calib.npz")["x"][:10]
    made, wanted = (
        g.run({"x": samples}, device="numpy")["y"] for g in (Graph.load(str(out)), from_onnx(files / "net.onnx"))
    )
    assert np.abs(made - wanted).max() < 0.3


def test_products_of_codes_are_written_when_asked_for(files: Path) -> None:
    out = files / "whole.onnx"
    done = call(files / "net.onnx", "--to", "int8", "--data", files / "calib.npz", "--output", out, "--whole")
    assert done.exit_code == 0, done.output
    assert "MatMulInteger" in [n.op_type for n in onnx.load(out).graph.node]


@pytest.mark.parametrize(
    ("more", "said"),
    [(["--activations", "int3"], "activations='int3'"), (["--output", "small.txt"], "neither .hetero nor .onnx"),
     (["--skip", "nothing"], "no layer nothing to skip"), (["--calibration", "guess"], "calibration='guess'")],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(files: Path, more: list[str], said: str) -> None:
    done = call(files / "net.onnx", "--to", "int8", "--data", files / "calib.npz", *more)
    assert isinstance(done.exception, ht.HeteroError)
    assert said in str(done.exception)


def test_the_help_has_an_example() -> None:
    said = " ".join(call("--help").output.split())
    assert "hetero convert model.onnx --to int8 --data calib.npz" in said


def test_a_network_of_two_inputs_takes_them_by_name(tmp_path: Path) -> None:
    builder = Builder("two", track=False)
    a, b = (builder.input(n, TensorType((3, 4), dt.float32)) for n in "ab")
    w = builder.constant(np.eye(4, dtype=np.float32))
    builder.build({"y": builder("add", builder("matmul", a, w), b)}).to_onnx(str(tmp_path / "net.onnx"))
    np.savez(tmp_path / "calib.npz", a=np.ones((3, 4), np.float32))
    done = call(tmp_path / "net.onnx", "--to", "int8", "--data", tmp_path / "calib.npz")
    assert "has no b, only a" in str(done.exception)
    np.savez(tmp_path / "calib.npz", a=np.ones((3, 4), np.float32), b=np.ones((3, 4), np.float32))
    done = call(tmp_path / "net.onnx", "--to", "int8", "--data", tmp_path / "calib.npz", "--json")
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["data"] == "data"
