"""The kernel for products of bytes: both styles of devices, both forms of lowering, against Python's own integers."""

from __future__ import annotations

import numpy as np
import pytest

import hetero_kernels as hk
from hetero import dtype as dt
from hetero.graph.build import Builder
from hetero.graph.ir import Graph
from hetero.op import Array, TensorType

cl = pytest.importorskip("pyopencl")


def arguments(dtype: str, shape: tuple[int, ...], seed: int) -> Array:
    info = np.iinfo(dtype)
    return np.random.default_rng(seed).integers(info.min, info.max + 1, shape).astype(dtype)


def run_kernel(a: Array, b: Array, zeros: tuple[Array, Array], lanes: int) -> Array:
    """The kernel alone, on PoCL, with vectors of `lanes`."""
    context = cl.create_some_context(interactive=False)
    queue = cl.CommandQueue(context)
    (m, k), n = a.shape, b.shape[1]
    kinds = {"int8": "i8", "uint8": "u8"}
    names = {"OF_A": kinds[a.dtype.name], "OF_B": kinds[b.dtype.name], "ROWS": 4, "RANK": 1, "INDEX": "i32", "W": lanes}
    program = cl.Program(context, hk.source("matmul_int8", names)).build()
    made = np.full((m * n + 64,), -7, np.int32)
    padded = [np.concatenate([x.ravel(), np.zeros(64, x.dtype)]) for x in (a, b, *zeros)]
    flags = cl.mem_flags
    given = [cl.Buffer(context, flags.READ_ONLY | flags.COPY_HOST_PTR, hostbuf=x) for x in padded]
    to = cl.Buffer(context, flags.READ_WRITE | flags.COPY_HOST_PTR, hostbuf=made)
    size = (-(-n // lanes), -(-m // 4), 1)
    numbers = [np.int32(v) for v in (m, n, k)]
    program.hetero_matmul_int8(queue, size, (1, 1, 1), *given, to, *numbers, np.array([1, 0, 0], np.int32))
    cl.enqueue_copy(queue, made, to)
    return made[: m * n].reshape(m, n)


@pytest.mark.parametrize("lanes", [1, 8])
@pytest.mark.parametrize(("left", "right"), [("uint8", "int8"), ("int8", "uint8")])
@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 33, 9), (8, 700, 17)])
def test_the_kernel_sums_exactly(shape: tuple[int, int, int], left: str, right: str, lanes: int) -> None:
    m, k, n = shape
    a, b = arguments(left, (m, k), 0), arguments(right, (k, n), 1)
    zeros = arguments(left, (1,), 2), arguments(right, (1,), 3)
    wanted = (a.astype(object) - int(zeros[0][0])) @ (b.astype(object) - int(zeros[1][0]))
    np.testing.assert_array_equal(run_kernel(a, b, zeros, lanes), wanted.astype(np.int64))


def graph(k: int, total: int) -> Graph:
    builder = Builder(track=False)
    a, b = builder.input("a", TensorType((2, 3, k), dt.uint8)), builder.input("b", TensorType((k, 21), dt.int8))
    zeros = builder.constant(9, dt.uint8), builder.constant(-3, dt.int8)
    return builder.build({"y": builder("matmul_integer", a, b, *zeros, total=total)})


@pytest.mark.parametrize("k", [200, 1000])
def test_a_device_takes_the_op_whole_and_sums_exactly(k: int) -> None:
    """200 products of bytes stay below 2^24, and go through products of floats on a processor; 1,000 do not."""
    a, b = arguments("uint8", (2, 3, k), 0), arguments("int8", (k, 21), 1)
    wanted = (a.astype(object) - 9) @ (b.astype(object) + 3)
    found = graph(k, 0).run({"a": a, "b": b}, device="opencl")["y"]
    np.testing.assert_array_equal(found, wanted.astype(np.int64))


def test_sums_wrap_around_beyond_32_bits() -> None:
    a, b = np.full((1, 34000), 255, np.uint8), np.full((34000, 3), -128, np.int8)
    zeros = np.zeros(1, np.uint8), np.full(1, 127, np.int8)
    exact = 34000 * 255 * -255
    assert run_kernel(a, b, zeros, 8).tolist() == [[(exact + 2**31) % 2**32 - 2**31] * 3]
