"""A graph with its loops on a chip, and what happened in the last run."""

from __future__ import annotations

from collections.abc import Mapping

from hetero.chip import Mapped, Run, run_graph
from hetero.graph.ir import Graph
from hetero.op import Array


class ChipExecutable:
    """Runs a graph. `last_run` has events, energy and time of the last call's loop; simulated, not measured."""

    def __init__(self, graph: Graph, mapped: Mapping[tuple[int, ...], Mapped]) -> None:
        self.graph = graph
        self.peak_bytes = graph.peak_bytes
        self.last_run: Run | None = None
        self._mapped = mapped

    def __call__(self, *inputs: Array) -> tuple[Array, ...]:
        outputs, self.last_run = run_graph(self.graph, self._mapped, inputs)
        return outputs
