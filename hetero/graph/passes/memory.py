"""Buffer reuse: where in one arena each intermediate lies, so that what never lives at once shares bytes.

Offsets are assigned largest value first, each at the lowest place that no value alive at the same time holds
(greedy by size; Pisarchyk and Lee, "Efficient Memory Management for Deep Neural Net Inference", 2020, section 5).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from hetero.graph.ir import Graph, Node

ALIGN = 128  # bytes: a cache line pair, and what OpenCL asks of sub-buffers on most devices
VIEWS = frozenset({"reshape"})  # the output is the input's memory under another shape


@dataclass(frozen=True, slots=True)
class Life:
    """A stored value: made at step `start`, last read at step `end`."""

    value: int
    nbytes: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class MemoryPlan:
    """Where intermediates lie. Outputs of the graph are not in the arena: they outlive the run."""

    offsets: Mapping[int, int]  # value -> byte in the arena
    arena_bytes: int
    output_bytes: int
    alias: Mapping[int, int] = field(default_factory=dict[int, int])  # view -> the value whose memory it is
    frees: Mapping[int, tuple[int, ...]] = field(default_factory=dict[int, tuple[int, ...]])  # step -> dead after it
    loose_bytes: int = 0  # most bytes at once of values that the device allocates by itself

    @property
    def peak_bytes(self) -> int:
        return self.arena_bytes + self.output_bytes + self.loose_bytes


def plan_memory(graph: Graph, *, placed: Callable[[Node], bool] | None = None, align: int = ALIGN) -> MemoryPlan:
    """The plan of a static graph. `placed` says whether a node writes where it is told; others are loose."""
    alias = _aliases(graph)
    last = _last_use(graph, alias)
    kept = {alias.get(p.value, p.value) for p in graph.outputs}
    free_of_charge = kept | {p.value for p in graph.inputs} | set(graph.constants)
    lives: list[Life] = []
    loose: list[Life] = []
    frees: dict[int, list[int]] = {}
    for step, node in enumerate(graph.nodes):
        for i in node.outputs:
            if alias.get(i, i) in free_of_charge or i in alias:
                continue
            life = Life(i, _rounded(graph.types[i].nbytes, align), step, last.get(i, step))
            (lives if placed is None or placed(node) else loose).append(life)
            frees.setdefault(life.end, []).append(i)
    offsets, arena = _pack(lives)
    made = {i for n in graph.nodes for i in n.outputs}
    output_bytes = sum(graph.types[i].nbytes for i in kept if i in made)
    return MemoryPlan(offsets, arena, output_bytes, alias, {s: tuple(v) for s, v in frees.items()}, _most(loose))


def _aliases(graph: Graph) -> dict[int, int]:
    """View -> the value that owns its memory."""
    alias: dict[int, int] = {}
    for node in graph.nodes:
        if node.op.name in VIEWS:
            source = node.inputs[0]
            alias[node.outputs[0]] = alias.get(source, source)
    return alias


def _last_use(graph: Graph, alias: Mapping[int, int]) -> dict[int, int]:
    return {alias.get(i, i): step for step, node in enumerate(graph.nodes) for i in node.inputs}


def _rounded(nbytes: int, align: int) -> int:
    return -(-nbytes // align) * align


def _pack(lives: list[Life]) -> tuple[dict[int, int], int]:
    placed: list[tuple[int, Life]] = []
    for life in sorted(lives, key=lambda v: (-v.nbytes, v.start)):
        at = 0
        for offset, other in sorted(
            ((o, v) for o, v in placed if v.start <= life.end and life.start <= v.end), key=_at
        ):
            if offset - at >= life.nbytes:
                break
            at = max(at, offset + other.nbytes)
        placed.append((at, life))
    return {v.value: o for o, v in placed}, max((o + v.nbytes for o, v in placed), default=0)


def _at(item: tuple[int, Life]) -> int:
    return item[0]


def _most(lives: list[Life]) -> int:
    """The largest sum of bytes alive at one step."""
    steps = {v.start for v in lives}
    return max((sum(v.nbytes for v in lives if v.start <= s <= v.end) for s in steps), default=0)
