"""Graphs as launches of kernels: what the backends that compile our kernels share, whatever the vendor's library.

A backend hands over a `Driver` for each device that it opens; `compile_graph` lowers a graph for it, `support` says
what has a kernel. Imports no backend and no vendor library.
"""

from __future__ import annotations

from hetero_launch.compile import compile_graph
from hetero_launch.driver import Bound, Driver, Mems, Place, Run, Style
from hetero_launch.executable import LaunchExecutable
from hetero_launch.memory import Block, Pool
from hetero_launch.rules import support
from hetero_launch.runtime import Runtime

__all__ = [
    "Block", "Bound", "Driver", "LaunchExecutable", "Mems", "Place", "Pool", "Run", "Runtime", "Style",
    "compile_graph", "support",
]  # fmt: skip
