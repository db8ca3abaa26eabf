"""Kernels as text, for every device that compiles C: hand-written ones by name, generated ones from a region.

Imports nothing of ours: backends hand over plain data and get source back.
"""

from __future__ import annotations

from hetero_kernels.follow import CHANNEL, COLUMN, followed
from hetero_kernels.generate import broadcast, flat, rows, together
from hetero_kernels.region import Input, Region, Step, missing, takes_long
from hetero_kernels.text import for_large_grids, is_rounded, names, prelude, source

__all__ = [
    "CHANNEL", "COLUMN", "Input", "Region", "Step", "broadcast", "flat", "followed", "for_large_grids", "is_rounded",
    "missing", "names", "prelude", "rows", "source", "takes_long", "together",
]  # fmt: skip
