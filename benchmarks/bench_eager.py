"""Small eager work: what a Tensor adds to NumPy's own `a + b`."""

from __future__ import annotations

import timeit

import numpy as np

import hetero as ht


class EagerAdd:
    """`a + b` of float32 on `numpy`."""

    params = ([1, 10, 100, 1000],)
    param_names = ("n",)

    def setup(self, n: int) -> None:
        self.arrays = np.ones(n, "float32"), np.ones(n, "float32")
        self.tensors = tuple(ht.asarray(a, device="numpy") for a in self.arrays)

    def time_add(self, n: int) -> None:
        a, b = self.tensors
        _ = a + b

    def track_times_numpy(self, n: int) -> float:
        """hetero's time over NumPy's: the best of 25 turns each, taken in turn."""
        best = {"numpy": float("inf"), "hetero": float("inf")}
        pairs = {"numpy": self.arrays, "hetero": self.tensors}
        for _ in range(25):
            for name, (x, y) in pairs.items():
                seconds = timeit.timeit("x + y", globals={"x": x, "y": y}, number=20_000)
                best[name] = min(best[name], seconds)
        return best["hetero"] / best["numpy"]

    track_times_numpy.unit = "x"  # pyright: ignore[reportFunctionMemberAccess]
