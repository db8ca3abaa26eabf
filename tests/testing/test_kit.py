"""The conformance kit itself: it passes a backend that is right and finds one that is wrong."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hetero import dtype as dt
from hetero.graph.build import Builder
from hetero.op import OPS, TensorType
from hetero.testing import DoNothingBackend, assert_agrees, assert_close, plugged, random_graph

HERE = Path(__file__).parent


def suite(name: str, *more: str) -> tuple[int, str]:
    """The suite as a third party runs it."""
    command = [sys.executable, "-m", "pytest", "-p", "wrong_backend", "-p", "no:cacheprovider", "-q", "--pyargs"]
    command += ["hetero.testing", f"--hetero-backend={name}", *more]
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path}, cwd=HERE)
    return done.returncode, done.stdout


def test_a_backend_that_is_right_passes_the_suite() -> None:
    code, out = suite("right", "-k", "float32 or random or loop or branch or buffer or special")
    assert code == 0, out[-2000:]
    assert int(re.search(r"(\d+) passed", out)[1]) > 300  # type: ignore[index]  # pyright: ignore[reportOptionalSubscript]


def test_a_backend_that_is_slightly_off_fails_at_every_float_op() -> None:
    code, out = suite("off", "-k", "op_gives and float32 and (tanh or matmul or softmax or exp or sum)")
    assert code == 1
    assert "off by" in out
    failed = set(re.findall(r"FAILED .*?\[off-(\w+?)-\d", out))
    assert {"tanh", "matmul", "softmax", "exp", "sum"} <= failed


def test_a_backend_that_is_not_there_fails_rather_than_skips() -> None:
    code, out = suite("quantum", "-k", "special")
    assert code != 0
    assert "no backend is called 'quantum'" in out


def with_one_away(required: str, *more: str) -> tuple[int, str]:
    """Exit status and output of the suite where a backend has no device."""
    command = [sys.executable, "-m", "pytest", "-p", "wrong_backend", "-p", "no:cacheprovider", "-q", *more]
    command += ["--pyargs", "hetero.testing", "-k", "signs and (numpy or away)"]
    path = os.pathsep.join([str(HERE), os.environ.get("PYTHONPATH", "")])
    env = os.environ | {"PYTHONPATH": path, "HETERO_REQUIRE": required}
    made = subprocess.run(command, capture_output=True, text=True, env=env, cwd=HERE)
    return made.returncode, made.stdout


@pytest.mark.parametrize("more", [(), ("-n", "1")], ids=["here", "in workers"])
def test_a_backend_without_a_device_is_left_out_and_named_once(more: tuple[str, ...]) -> None:
    _, out = with_one_away("numpy", *more)
    assert out.count("hetero: away was not tested: it is far away") == 1
    assert "skipped" not in out


def test_a_backend_without_a_device_fails_where_it_is_required() -> None:
    code, out = with_one_away("away")
    assert code == 1
    assert "it is far away" in out


def test_a_backend_that_computes_nothing_is_found_wrong() -> None:
    graph, arrays = random_graph(0)
    with plugged(DoNothingBackend()) as device, pytest.raises(AssertionError):
        assert_agrees(graph, arrays, device)


@pytest.mark.parametrize(
    ("got", "said"),
    [
        (np.ones(3, "float32"), r"shape \(3,\)"),
        (np.ones(2, "float64"), "dtype float64"),
        (np.array([1, 1.001], "float32"), "off by"),
        (np.array([1, np.nan], "float32"), "inf or nan"),
    ],
)
def test_agreement_names_what_differs(got: np.ndarray, said: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(AssertionError, match=said):
        assert_close(got, np.ones(2, "float32"), "it")


def test_integers_must_be_equal() -> None:
    with pytest.raises(AssertionError, match="1 of 2 elements differ"):
        assert_close(np.array([1, 2]), np.array([1, 3]), "it")


def test_random_graphs_are_the_same_for_the_same_seed_and_use_many_ops() -> None:
    assert random_graph(5)[0] == random_graph(5)[0]
    used = {n.op.name for seed in range(60) for n in random_graph(seed)[0].nodes}
    assert len(used) > 15
    assert used <= set(OPS)


def test_a_do_nothing_device_shows_where_ops_would_run() -> None:
    builder = Builder()
    x = builder.input("x", TensorType((2,), dt.float32))
    graph = builder.build({"y": builder("tanh", x)})
    with plugged(DoNothingBackend()):
        assert graph.run({"x": [1, 2]}, device="nothing")["y"].tolist() == [0, 0]
