"""Every command does its job, has help with an example and JSON, and exits 0, 1 or 2."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import Result

import hetero as ht
from hetero.testing import DoNothingBackend, plugged

Call = Callable[..., Result]
COMMANDS = ("calibrate", "demo", "devices", "diff", "doctor", "graph", "plan", "profiles", "run")


def as_json(result: Result) -> Any:
    assert result.exit_code in (0, 1), result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize("command", COMMANDS)
def test_help_has_an_example(call: Call, command: str) -> None:
    result = call(command, "--help")
    assert result.exit_code == 0
    assert f"Example: hetero {command}" in " ".join(result.output.split())
    assert "--json" in result.output


def test_version(call: Call) -> None:
    assert call("--version").output.strip() == ht.__version__


def test_doctor_tells_of_each_backend(call: Call) -> None:
    report = as_json(call("doctor", "--json"))
    assert report["backends"]["numpy"]["found"]
    assert report["backends"]["numpy"]["version"] == np.__version__
    assert report["in_use"]
    for backend in report["backends"].values():
        assert backend["found"] or (backend["reason"] and backend["fix"])
    assert "numpy:0" in call("doctor").output


def test_doctor_names_the_extra_that_brings_what_is_missing(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hetero.cli.doctor._version", lambda name: "")
    assert "hetero[exact]" in call("doctor").output


def test_devices_are_listed_by_the_names_that_select_them(call: Call) -> None:
    names = [d["name"] for d in as_json(call("devices", "--json"))]
    assert "numpy:0" in names
    for name in names:
        with ht.use(name) as device:
            assert device.name == name
    assert "numpy:0" in call("devices").output


def test_graph_shows_the_model_at_each_stage(call: Call, model: Path) -> None:
    text = call("graph", model).output
    assert "matmul" in text
    assert "open: batch" in text
    report = as_json(call("graph", model, "--json", "--size", "batch=2"))
    assert report["inputs"] == {"x": {"dtype": "float32", "shape": "(2, 3)"}}
    assert report["ops"]["matmul"] == 1
    assert report["peak_bytes"] > 0
    assert as_json(call("graph", model, "--json"))["peak_bytes"] is None
    assert "fused" in call("graph", model, "--stage", "fused").output or "tanh" in call("graph", model).output


def test_run_takes_arrays_and_writes_arrays(call: Call, model: Path, tmp_path: Path) -> None:
    x = np.arange(6, dtype="float32").reshape(2, 3)
    np.save(tmp_path / "x.npy", x)
    result = call("run", model, "--input", f"x={tmp_path}/x.npy", "--output", tmp_path / "out", "--json")
    report = as_json(result)
    assert report["device"] == "numpy:0"
    assert report["seconds"] > 0
    assert "measured" in report["seconds_status"]
    want = ht.Graph.load(str(model)).run({"x": x})
    assert set(report["outputs"]) == set(want)
    files = [o["file"] for o in report["outputs"].values()]
    assert len(set(files)) == len(want)  # two names that look alike on disk keep apart
    for name, array in want.items():
        assert np.array_equal(np.load(report["outputs"][name]["file"]), array)


def test_run_with_random_inputs_is_the_same_for_the_same_seed(call: Call, model: Path) -> None:
    first, second, other = (
        as_json(call("run", model, "--random", seed, "--size", "batch=4", "--json"))["outputs"] for seed in (1, 1, 2)
    )
    assert first == second != other
    assert next(iter(first.values()))["shape"][0] == 4


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("{model}",), "inputs without a value: x"),
        (("{model}", "--input", "y=a.npy"), "no input is called 'y'"),
        (("{model}", "--input", "x=missing.npy"), "cannot read an array"),
        (("{model}", "--random", "0", "--backend", "tpu"), "no backend is called 'tpu'"),
        (("{model}", "--random", "0", "--size", "batch=many"), "not NAME=N"),
        (("nothing.onnx", "--random", "0"), "there is no file"),
    ],
)
def test_bad_input_to_run_is_told_with_exit_code_2(
    call: Call, model: Path, arguments: tuple[str, ...], said: str
) -> None:
    result = call("run", *(a.replace("{model}", str(model)) for a in arguments))
    assert result.exit_code == 2
    assert said in str(result.exception)


def test_the_program_prints_the_error_and_no_traceback(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_bytes(b"not a model")
    code = "import sys; from hetero.cli import main; sys.argv = ['hetero', 'graph', sys.argv[1]]; main()"
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path / "m.onnx")], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert "Traceback" not in done.stderr


def test_diff_of_a_device_with_itself_is_nothing(call: Call, model: Path) -> None:
    report = as_json(call("diff", model, "numpy", "numpy", "--random", "0", "--json"))
    assert report["agree"]
    assert all(n["absolute"] == 0 and n["ulp"] in (0, None) for n in report["nodes"])
    assert {"matmul", "tanh", "sum"} <= {n["op"] for n in report["nodes"]}


def test_diff_names_the_first_node_over_the_tolerance_and_exits_1(call: Call, model: Path) -> None:
    with plugged(DoNothingBackend()):
        result = call("diff", model, "numpy", "nothing", "--random", "0", "--json")
        assert result.exit_code == 1
        report = as_json(result)
        assert not report["agree"]
        assert "matmul" in report["first_over"]
        assert "leaves numpy first at matmul" in " ".join(
            call("diff", model, "numpy", "nothing", "--random", "0").output.split()
        )


def test_ulp_counts_the_floats_between() -> None:
    from hetero.cli.diff import _ulp

    one = np.array([1.0, -1.0, 0.0], "float32")
    above = np.nextafter(one, np.float32(9))
    assert _ulp(one, above) == 1
    assert _ulp(one, one) == 0
    assert (
        _ulp(
            np.array([np.nextafter(np.float32(0), np.float32(-1))]),
            np.array([np.nextafter(np.float32(0), np.float32(1))]),
        )
        == 2
    )
    assert _ulp(np.array([1]), np.array([1])) is None


def test_the_demo_agrees_with_onnxruntime_and_magika(call: Call, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import os\n\n\ndef f(x: int) -> int:\n    return os.getpid() + x\n" * 20)
    (tmp_path / "b.toml").write_text('[project]\nname = "x"\nversion = "1"\ndependencies = ["numpy>=1"]\n' * 10)
    report = as_json(call("demo", tmp_path / "a.py", tmp_path / "b.toml", "--json"))
    assert report["agree"], report["problems"]
    assert report["magika"] == ["python", "toml"]
    ran = [b for b in report["backends"] if b["ran"]]
    assert "numpy:0" in [b["device"] for b in ran]
    for backend in ran:
        assert backend["labels"] == ["python", "toml"]
        assert backend["largest_difference_from_onnxruntime"] < 1e-4
        assert backend["seconds_per_inference"] > 0
        assert sum(n for ops in backend["ops"].values() for n in ops.values()) > 0


def test_the_demo_finds_a_backend_that_is_wrong(call: Call, tmp_path: Path) -> None:
    (tmp_path / "a.py").write_text("import os\nprint(os.getcwd())\n" * 30)
    with plugged(DoNothingBackend()):
        result = call("demo", tmp_path / "a.py", "--json")
    assert result.exit_code == 1
    problems = " ".join(as_json(result)["problems"])
    assert "nothing:0: a score is off" in problems
    assert "nothing:0 names another type" in problems


def test_the_demo_tells_when_onnxruntime_itself_is_far_from_the_scores_in_double(call: Call, tmp_path: Path) -> None:
    """A few bytes and padding: variances of nearly nothing, where float32 has no digits left."""
    (tmp_path / "hostname").write_bytes(b"machine-7\n")
    report = as_json(call("demo", tmp_path / "hostname", "--json"))
    far = [p for p in report["problems"] if "a score is off" in p]
    told = [p for p in report["problems"] if "ONNX Runtime is itself" in p]
    assert bool(far) == bool(told)
    assert report["agree"] == (not far)


def test_the_demo_refuses_what_cannot_be_read(call: Call, tmp_path: Path) -> None:
    from hetero.cli.magika_model import open_model

    with pytest.raises(ht.ModelError, match="cannot read"):
        open_model().features(tmp_path)


def test_the_demo_refuses_files_that_are_not_there(call: Call) -> None:
    result = call("demo", "/no/such/file", "/nor/this")
    assert result.exit_code == 2
    assert "/no/such/file, /nor/this" in str(result.exception)


def test_features_are_magikas_own(tmp_path: Path) -> None:
    """White space at both edges, a file shorter than the window, one longer than a block."""
    from hetero.cli.magika_model import open_model

    model = open_model()
    for content in (b"  \n x = 1\n\n ", b"ab" * 5000, b" " * 3000 + b"z" * 3000, bytes(range(256)) * 8):
        path = tmp_path / "f"
        path.write_bytes(content)
        from magika.types.seekable import Seekable

        with path.open("rb") as file:
            theirs = model.magika._extract_features_from_seekable(
                Seekable(file), **{k: model.config[k] for k in ("beg_size", "mid_size", "end_size", "padding_token",
                                                                 "block_size", "use_inputs_at_offsets")}
            )  # fmt: skip
        assert model.features(path).tolist() == [*theirs.beg, *theirs.end]
