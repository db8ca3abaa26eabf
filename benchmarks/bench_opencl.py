"""The OpenCL backend by itself: launches, products, sorting, and the first kernel of a second process.

`python -m benchmarks.bench_opencl` prints the table of docs/backends/opencl.md.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import Any

import numpy as np

import hetero as ht
from benchmarks import bench_fusion
from benchmarks.ratio import at_most, ratio
from hetero import registry
from hetero.graph.build import Builder
from hetero.graph.passes.decompose import decompose
from hetero.op import Array, TensorType

FIRST_KERNEL = """
import time, numpy as np, hetero as ht
from hetero import registry
begin = time.perf_counter()
device = registry.find("opencl")
x = ht.asarray(np.ones(1000, np.float32), device=device)
f = ht.jit(lambda x: 0.5 * x * (1.0 + ht.tanh(0.79788 * (x + 0.044715 * x * x * x))))
start = time.perf_counter()
f(x)
registry.load("opencl").synchronize(device)
print(start - begin, time.perf_counter() - start)
"""


def first_kernel_s(folder: str) -> tuple[float, float]:
    """Seconds in a new process that keeps kernels in `folder`: until the device has its first data, with the import of
    pyopencl; then for trace, compile and first launch of a fused graph."""
    env = os.environ | {
        "HETERO_CACHE_DIR": folder, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "PYTHONDONTWRITEBYTECODE": "", "PYTHONPYCACHEPREFIX": f"{folder}/pyc",  # compiled, as installed modules are
    }  # fmt: skip
    made = subprocess.run([sys.executable, "-c", FIRST_KERNEL], env=env, capture_output=True, text=True, check=True)
    opened, first = map(float, made.stdout.split()[-2:])
    return opened, first


class OpenCL:
    """Times with data on the device; a turn ends when the device has finished."""

    timeout = 300.0  # seconds

    def setup(self) -> None:
        try:
            self.device = registry.find("opencl")
        except ht.BackendError as e:
            raise NotImplementedError(str(e)) from e  # asv's word for: skip
        self.backend = registry.load("opencl")
        rng = np.random.default_rng(0)
        self.small = rng.standard_normal(10, "float32")
        self.square = rng.standard_normal((1024, 1024), "float32")
        self.many = rng.standard_normal(1_000_000, "float32")
        self.image, self.weights = (
            rng.standard_normal((1, 64, 56, 56), "float32"),
            rng.standard_normal((64, 64, 3, 3), "float32"),
        )
        same = {"strides": (1, 1), "dilations": (1, 1), "pads_before": (1, 1), "pads_after": (1, 1)}
        self.add = self._call("add", self.small, self.small)
        self.matmul = self._call("matmul", self.square, self.square)
        self.sort = self._call("sort", self.many, axis=0)
        self.softmax = self._call("softmax", self.square, axis=1)
        self.transpose = self._call("permute", self.square, axes=(1, 0))
        self.conv = self._call("conv", self.image, self.weights, **same)

    def _call(self, op: str, *arrays: Array, **attrs: Any) -> Callable[[], None]:
        builder = Builder(track=False)
        refs = [builder.input(f"i{k}", TensorType(a.shape, a.dtype)) for k, a in enumerate(arrays)]
        graph = decompose(
            builder.build([builder(op, *refs, **attrs)]),
            lambda node, types, outs: bool(self.backend.support(node, types, outs, self.device)),
        )
        executable = self.backend.compile(graph, self.device)
        buffers = [self.backend.from_host(a, self.device) for a in arrays]

        def call() -> None:
            executable(*buffers)
            self.backend.synchronize(self.device)

        call()
        return call

    def time_add_of_ten(self) -> None:
        self.add()

    def time_matmul_1024(self) -> None:
        self.matmul()

    def time_sort_1e6(self) -> None:
        self.sort()

    def time_softmax_1024(self) -> None:
        self.softmax()

    def time_transpose_1024(self) -> None:
        self.transpose()

    def time_conv_64_56_56(self) -> None:
        self.conv()

    def track_first_kernel_of_a_second_process(self) -> float:
        """Seconds, all caches warm."""
        with tempfile.TemporaryDirectory() as folder:
            first_kernel_s(folder)
            return first_kernel_s(folder)[1]

    track_first_kernel_of_a_second_process.unit = "s"  # pyright: ignore[reportFunctionMemberAccess]


def median_s(call: Callable[[], Any], repeats: int = 15) -> float:
    times: list[float] = []
    repeats = at_most(repeats)
    for _ in range(repeats):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return sorted(times)[repeats // 2]


def main() -> None:
    """A line of Markdown a measurement."""
    one, fusion = OpenCL(), bench_fusion.Fusion()
    one.setup()
    fusion.setup("opencl")
    square, many = one.square, one.many
    norm = fusion.rows, fusion.scale, fusion.bias
    rows: list[tuple[str, Callable[[], Any], Callable[[], Any]]] = [
        ("gelu, tanh form, 1e7 float32", lambda: bench_fusion.gelu_numpy(fusion.x), fusion._gelu),
        ("layer norm 10000 x 1000 float32", lambda: bench_fusion.layer_norm_numpy(*norm),
         fusion._layer_norm),
        ("matmul 1024 float32", lambda: square @ square, one.matmul),
        ("sort 1e6 float32, stable", lambda: np.sort(many, kind="stable"), one.sort),
        ("transpose 1024 float32", lambda: square.T.copy(), one.transpose),
        ("add of 10 float32", lambda: one.small + one.small, one.add),
    ]  # fmt: skip
    for name, host, device in rows:
        found = ratio(host, device)
        print(f"| {name} | {1e3 * median_s(host):.3g} ms | {1e3 * median_s(device):.3g} ms | {found:.2g} |")
    with tempfile.TemporaryDirectory() as folder:
        _, cold = first_kernel_s(folder)
        again = [first_kernel_s(folder) for _ in range(5)]
        opened, warm = (statistics.median(times) for times in zip(*again, strict=True))
    print(f"first kernel of a process: {1e3 * cold:.0f} ms cold, {1e3 * warm:.1f} ms from the cache")
    print(f"until the device is open and has its first data, before it: {1e3 * opened:.0f} ms")


if __name__ == "__main__":
    main()
