"""A graph as loops on a chip, with what happened in the last run."""

from __future__ import annotations

from collections.abc import Mapping

from hetero.chip import Mapped, Run, simulate
from hetero.errors import FOREIGN, HeteroError, from_foreign
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
        values: dict[int, Array] = dict(self.graph.constants)
        values |= {p.value: a for p, a in zip(self.graph.inputs, inputs, strict=True)}
        for node in self.graph.nodes:
            given = tuple(values[i] for i in node.inputs)
            try:
                if node.outputs in self._mapped:
                    made, self.last_run = simulate(self._mapped[node.outputs], node, given)
                else:
                    made = node.op.evaluate(given, node.attrs)
            except HeteroError as e:
                raise e.at(node.label) from e.__cause__
            except FOREIGN as e:
                raise from_foreign(node.label, e) from e
            values |= dict(zip(node.outputs, made, strict=True))
        return tuple(values[p.value].copy() for p in self.graph.outputs)
