"""The same kernel texts as CUDA C: read by a C++ compiler, with the words of CUDA defined away."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

import hetero_kernels as hk
from hetero_kernels import Input, Region, Step, spiking
from hetero_kernels.templates import STORED, TEMPLATES, expression

COMPILER = shutil.which("g++")
pytestmark = pytest.mark.skipif(COMPILER is None, reason="no g++ on this machine")

CUDA = """
#include <cmath>
#include <cstring>
struct Three { int x, y, z; };
static Three blockIdx, blockDim, threadIdx, gridDim;
static int atomicAdd(int *p, int x) { int was = *p; *p += x; return was; }
static int atomicExch(int *p, int x) { int was = *p; *p = x; return was; }
#define __global__
#define __device__
#define __shared__ static
#define __restrict__
#define __syncthreads()
static unsigned __float_as_uint(float f) { unsigned u; memcpy(&u, &f, 4); return u; }
"""
NAMES: dict[str, str | int] = {
    "T": "f32", "C": "f32", "U": "f32", "I": "i64", "RUN": 1, "TALL": 1, "RANK": 2, "UNIT": 1, "WIDTH": 1, "START": 0,
    "FOLD_WITH": "sum_", "TEAM": 32, "TILE": 16, "BETTER": ">", "LAST": 0, "OPERATOR": "+", "EXCLUSIVE": 0,
    "REVERSE": 0, "MODE": 2, "MEAN": 1, "COUNT_PAD": 0, "PLACES": 1, "DESCENDING": 0, "RIGHT": 0,
}  # fmt: skip
PANELS: dict[str, str | int] = {"ROWS": 4, "PANELS": 2, "DEPTH": 16, "SHARE": 4}
OTHERS: dict[str, dict[str, str | int]] = {
    "matmul_int8": {"OF_A": "u8", "OF_B": "i8", "ROWS": 4}, "scatter": {"FOLD_WITH": 1},
    "matmul_small": {"M": 3, "K": 4, "N": 5}, "conv_panels": PANELS | {"READY": 0},
    "matmul_panels": PANELS | {"READY": 1, "BESIDE": 1},
    "matmul_rows": PANELS,
    "put_along": {"FOLD_WITH": 1}, "copy": {"T": "u32"}, "pad": {"T": "u32"},
}  # fmt: skip
FOLDING = ("reduce_rows", "reduce_columns", "arg_rows")


def assert_reads(text: str, folder: Path) -> None:
    assert COMPILER
    (folder / "kernel.cc").write_text(CUDA + text)
    command = [COMPILER, "-std=c++17", "-fsyntax-only", str(folder / "kernel.cc")]
    made = subprocess.run(command, capture_output=True, text=True, check=False)
    assert made.returncode == 0, made.stderr[:2000]


@pytest.mark.parametrize("name", hk.names())
def test_a_kernel_file_is_cuda_c_too(name: str, tmp_path: Path) -> None:
    functions = ("arithmetic",) if name in FOLDING else ()
    assert_reads(hk.source(name, NAMES | OTHERS.get(name, {}), functions=functions), tmp_path)


@pytest.mark.parametrize("dtype", STORED)
def test_every_elementwise_template_is_cuda_c_too(dtype: str, tmp_path: Path) -> None:
    steps: list[Step] = []
    for op, table in TEMPLATES.items():
        result = "bool" if any(t.startswith(("CMP", "SPLAT(u8")) for t in table.values()) else dtype
        inputs = (0, 1) if any("{b}" in t for t in table.values()) else (0,)
        if op != "where" and expression(op, ("x",) * len(inputs), (dtype,) * len(inputs), result):
            steps.append(Step(op, inputs, result))
    region = Region((Input(dtype, "same"), Input(dtype, "same")), tuple(steps), (2,), rank=0)
    assert_reads(hk.flat(region, lanes=1), tmp_path)


def test_rows_by_teams_are_cuda_c_too(tmp_path: Path) -> None:
    steps = (
        Step("max", (0,), "float32", wide=False), Step("subtract", (0, 1), "float32"), Step("exp", (2,), "float32"),
        Step("sum", (3,), "float32", wide=False), Step("divide", (3, 4), "float32"),
    )  # fmt: skip
    assert_reads(hk.rows(Region((Input("float32"),), steps, (5,)), lanes=1, team=64), tmp_path)


@pytest.mark.parametrize("number", ["float32", "int32"])
def test_spiking_loops_are_cuda_c_too(number: str, tmp_path: Path) -> None:
    """Dense and sparse synapses, late and direct values, a state, a parameter and a number."""
    stored = STORED[number][0]
    region = Region(
        (Input(number), Input(number), Input(number), Input(number), Input(number), Input(number, "argument", False)),
        (Step("add", (0, 1), number), Step("add", (6, 2), number), Step("add", (7, 3), number),
         Step("multiply", (8, 4), number), Step("greater", (9, 5), "bool"), Step("cast", (10,), number)),
        (11, 9),
    )  # fmt: skip
    reads = (spiking.Read(0, 0), spiking.Read(1, 1))
    synapses = (spiking.Synapses(reads[0], 5, stored), spiking.Synapses(reads[1], 7, stored, "u16"))
    stage = spiking.Stage(7, synapses, (spiking.Read(1, 1),), 1, region, ((0, 0), (1, 1)))
    net = spiking.Net((5,), (stage,), stored, 2)
    assert_reads(spiking.whole(net, lanes=1, team=64), tmp_path)
    assert_reads(spiking.stages(net, lanes=1, team=64, slices=3), tmp_path)


def test_a_kernel_that_is_not_there_names_those_that_are() -> None:
    with pytest.raises(KeyError, match="matmul"):
        hk.source("no_such_kernel")
