"""Loops and branches on OpenCL: the bodies are executables that hand memory to each other, against the references."""

from __future__ import annotations

import numpy as np
import pytest

import hetero.ops
from hetero.graph.build import Builder
from hetero.graph.ir import Graph
from hetero.op import OPS, Attrs, TensorType
from hetero.spi import Device
from hetero.testing.agree import assert_agrees
from hetero_opencl import OpenCLBackend

assert hetero.ops

FOUND = OpenCLBackend().probe()
DEVICE = FOUND.devices[0] if FOUND.devices else Device("opencl")
pytestmark = pytest.mark.skipif(not FOUND.devices, reason=f"no OpenCL device: {FOUND.reason}")

ROW = TensorType((5,), np.dtype("float32"))
ROWS = ROW.with_shape((7, 5))
FLAG = TensorType((), np.dtype("bool"))
RNG = np.random.default_rng(0)
STATE, XS = RNG.random(ROW.known, np.float32), RNG.random(ROWS.known, np.float32)  # pyright: ignore[reportArgumentType, reportCallIssue]


def handing_on() -> Graph:
    """state, x -> x, state: no kernel at all, each step's x is the next one's state"""
    body = Builder("handing on", track=False)
    state, x = body.input("state", ROW), body.input("x", ROW)
    return body.build([x, state])


def summing() -> Graph:
    """state, x -> state / 2 + x, (state / 2 + x) * x: the order of the steps shows in every output"""
    body = Builder("summing", track=False)
    state, x = body.input("state", ROW), body.input("x", ROW)
    new = body("add", body("multiply", state, 0.5), x)
    return body.build([new, body("multiply", new, x)])


def scan_of(body: Graph, *, reverse: bool) -> Graph:
    builder = Builder("scan", track=False)
    refs = [builder.input("state", ROW), builder.input("xs", ROWS)]
    attrs: Attrs = {"body": body, "carried": 1, "scanned": 1, "reverse": reverse}
    return builder.build(builder.emit(OPS["scan"], refs, attrs))


@pytest.mark.parametrize("reverse", [False, True], ids=["forwards", "reversed"])
@pytest.mark.parametrize("body", [handing_on(), summing()], ids=lambda g: g.name)
def test_a_scan_gives_what_its_reference_gives(body: Graph, reverse: bool) -> None:
    assert_agrees(scan_of(body, reverse=reverse), (STATE, XS), DEVICE)


@pytest.mark.parametrize("said", [True, False])
def test_a_cond_runs_the_branch_that_the_bool_says(said: bool) -> None:
    """One branch hands its inputs on crosswise, the other computes."""
    builder = Builder("cond", track=False)
    refs = [builder.input("p", FLAG), builder.input("a", ROW), builder.input("b", ROW)]
    made = builder.emit(OPS["cond"], refs, {"then": handing_on(), "otherwise": summing()})
    assert_agrees(builder.build(made), (np.array(said), STATE, XS[0]), DEVICE)


def test_a_cond_in_a_scan_gives_what_its_reference_gives() -> None:
    """The branch changes from step to step, on memory of the step."""
    body = Builder("body", track=False)
    state, flag, x = body.input("state", ROW), body.input("flag", FLAG), body.input("x", ROW)
    chosen = body.emit(OPS["cond"], [flag, state, x], {"then": handing_on(), "otherwise": summing()})
    builder = Builder("scan", track=False)
    refs = [builder.input("state", ROW), builder.input("flags", FLAG.with_shape((7,))), builder.input("xs", ROWS)]
    attrs: Attrs = {"body": body.build(chosen), "carried": 1, "scanned": 2, "reverse": True}
    flags = np.arange(7) % 3 == 0
    assert_agrees(builder.build(builder.emit(OPS["scan"], refs, attrs)), (STATE, flags, XS), DEVICE)
