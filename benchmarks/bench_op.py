"""Single ops on each backend, as times of the backend over NumPy's for the same op in the same run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import hetero as ht
from benchmarks.ratio import ratio
from hetero import registry

# name -> shape of x, the op on a tensor, the same in NumPy
OPS: dict[str, tuple[tuple[int, ...], Callable[[Any], Any], Callable[[Any], Any]]] = {
    "exp": ((1_000_000,), ht.exp, np.exp),
    "sum of all": ((1_000_000,), ht.sum, np.sum),
    "sum of rows": ((1000, 1000), lambda x: ht.sum(x, axis=1), lambda x: np.sum(x, axis=1)),
    "sum of columns": ((1000, 1000), lambda x: ht.sum(x, axis=0), lambda x: np.sum(x, axis=0)),
    "argmax of rows": ((1000, 1000), lambda x: ht.argmax(x, axis=1), lambda x: np.argmax(x, axis=1)),
    "cumulative_sum": ((1000, 1000), lambda x: ht.cumulative_sum(x, axis=1), lambda x: np.cumsum(x, axis=1)),
    "matmul": ((512, 512), lambda x: x @ x, lambda x: x @ x),
    "sort": ((1000, 1000), ht.sort, lambda x: np.sort(x, kind="stable")),
    "concat": ((1000, 500), lambda x: ht.concat([x, x]), lambda x: np.concatenate([x, x])),
}


class Ops:
    """Data stays on the device; a turn ends when the device has finished."""

    params = (list(OPS), ["numpy", "opencl"])
    param_names = ("op", "backend")
    timeout = 120.0  # seconds

    def setup(self, op: str, name: str) -> None:
        try:
            self.device = registry.find(name)
        except ht.BackendError as e:
            raise NotImplementedError(str(e)) from e  # asv's word for: skip
        shape, self.call, self.numpy = OPS[op]
        self.x = np.random.default_rng(0).standard_normal(shape, "float32")
        self.there = ht.asarray(self.x, device=self.device)

    def _run(self) -> None:
        self.call(self.there)
        registry.load(self.device.backend).synchronize(self.device)

    def time_op(self, op: str, name: str) -> None:
        self._run()

    def track_numpy_over_hetero(self, op: str, name: str) -> float:
        """Above 1: faster than NumPy."""
        return ratio(lambda: self.numpy(self.x), self._run)

    track_numpy_over_hetero.unit = "x"  # pyright: ignore[reportFunctionMemberAccess]
