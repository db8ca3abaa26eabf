"""NumPy alone: when this moves between two runs, the machine did, not hetero."""

from __future__ import annotations

import numpy as np


class Control:
    def setup(self) -> None:
        self.small = np.ones(10, "float32")
        self.large = np.ones(10_000_000, "float32")

    def time_small_add(self) -> None:
        _ = self.small + self.small

    def time_large_tanh(self) -> None:
        np.tanh(self.large)
