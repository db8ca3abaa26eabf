"""What a graph becomes for a device: steps over storages, each storage with the steps between which it lives.

The rules that lower ops write into a `Plan`; the executable runs what it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from hetero.graph.build import compact
from hetero.graph.ir import Graph, Node, Port
from hetero.op import Array, TensorType
from hetero_kernels.templates import STORED
from hetero_launch.driver import Style
from hetero_launch.runtime import Runtime

Size: TypeAlias = "tuple[int, ...]"


@dataclass(frozen=True, slots=True)
class Storage:
    """A piece of device memory by number; `Plan` knows what it is."""

    number: int


@dataclass(frozen=True, slots=True)
class Together:
    """A kernel that does the work of several launches of another, on memory of their own.

    Its arguments are the storages of each, in that one's order, then that one's scalars.
    """

    text: str
    kernel: str
    size: Size
    group: Size


@dataclass(frozen=True, slots=True)
class Launch:
    """One kernel over a grid. `arguments` are storages and NumPy scalars in the kernel's order."""

    text: str
    kernel: str
    size: Size
    group: Size
    arguments: tuple[Any, ...]
    reads: tuple[Storage, ...]
    writes: tuple[Storage, ...]
    together: Callable[[], Together] | None = None  # `Style.together` such launches, each too small to go alone


@dataclass(frozen=True, slots=True)
class Copy:
    """Bytes from one storage to another."""

    source: Storage
    to: Storage
    nbytes: int
    source_byte: int = 0  # where they begin
    to_byte: int = 0

    @property
    def reads(self) -> tuple[Storage, ...]:
        return (self.source,)

    @property
    def writes(self) -> tuple[Storage, ...]:
        return (self.to,)


@dataclass(frozen=True, slots=True)
class Mapped:
    """Called with an array library and its arrays on the device's own memory: to read, then to write, none copied."""

    call: Callable[..., None]
    reads: tuple[Storage, ...]
    writes: tuple[Storage, ...]
    types: tuple[TensorType, ...]  # of the reads, then of the writes
    byte: int = 0  # where the writes begin


@dataclass(frozen=True, slots=True)
class Hosted:
    """Commands that the host decides on while it runs: called with the runtime and the memory read and written."""

    call: Callable[..., None]
    reads: tuple[Storage, ...]
    writes: tuple[Storage, ...]


Step: TypeAlias = "Launch | Copy | Mapped | Hosted"


@dataclass(slots=True)
class Plan:
    """Steps being collected for `graph`."""

    runtime: Runtime
    graph: Graph
    compile: Callable[[Graph], Callable[..., Any]]  # a body of the graph for the same device
    steps: list[Step] = field(default_factory=list[Step])
    sizes: list[int] = field(default_factory=list[int])  # bytes of each storage
    of: dict[int, Storage] = field(default_factory=dict[int, Storage])  # value of the graph -> where it lies
    constants: dict[int, Array] = field(default_factory=dict[int, Array])  # storage number -> contents
    late: dict[int, Node] = field(default_factory=dict[int, Node])  # value -> what makes it of constants alone
    late_bytes: int = 0  # of all of them
    fixed: dict[int, Any] = field(default_factory=dict[int, Any])  # storage number -> block that is there already

    @property
    def style(self) -> Style:
        return self.runtime.style

    def storage(self, nbytes: int) -> Storage:
        """New memory for the steps that follow."""
        self.sizes.append(nbytes)
        return Storage(len(self.sizes) - 1)

    def constant(self, array: Array) -> Storage:
        """Memory that holds `array` from the start."""
        made = self.storage(array.nbytes)
        self.constants[made.number] = array
        return made

    def block(self, block: Any) -> Storage:
        """Memory that is there already."""
        made = self.storage(0)
        self.fixed[made.number] = block
        return made

    def postpone(self, node: Node) -> bool:
        """Whether the node is made of constants alone: then it is computed here, once, when somebody asks for it.

        Together these take no more than the pool would keep; what is beyond is made anew in each run.
        """
        nbytes = self.late_bytes + sum(t.nbytes for t in self.graph.out_types(node))
        if node.op.name in ("scan", "cond") or not node.inputs or nbytes > self.runtime.driver.keep_bytes:
            return False
        if not all(self.known(i) for i in node.inputs):
            return False
        self.late |= dict.fromkeys(node.outputs, node)
        self.late_bytes = nbytes
        return True

    def known(self, value: int) -> bool:
        """Whether its contents do not depend on the inputs."""
        return value in self.graph.constants or value in self.late

    def contents(self, value: int) -> Array:
        """Of a known value."""
        if value in self.graph.constants:
            return self.graph.constants[value]
        nodes = {id(n): n for n in self.late.values()}.values()
        late = Graph(tuple(nodes), self.graph.types, (), (Port("value", value),), self.graph.constants)
        (made,) = compact(late).evaluate()
        return made

    def input(self, value: int) -> Storage:
        """Where a value of the graph lies; known ones are put on the device when first asked for."""
        if value not in self.of:
            self.of[value] = self.constant(self.contents(value))
        return self.of[value]

    def output(self, value: int) -> Storage:
        """Memory for a value of the graph that a step is about to write."""
        if value not in self.of:
            self.of[value] = self.storage(self.graph.types[value].nbytes)
        return self.of[value]

    def alias(self, value: int, source: int) -> None:
        """`value` is the memory of `source` under another shape."""
        self.of[value] = self.input(source)

    def launch(
        self,
        text: str,
        kernel: str,
        size: Size,
        group: Size,
        *,
        reads: Sequence[Any],
        writes: Sequence[Storage],
        numbers: Sequence[Any] = (),
        exact: bool = False,
        together: Callable[[], Together] | None = None,
    ) -> None:
        """A kernel whose arguments are `reads` (scalars may stand among them), `writes`, `numbers`; none of nothing.

        `exact`: the kernel counts on `group`, as those with local memory do.
        """
        if 0 in size:
            return
        if not exact:
            group = self.style.group(size, group)
        used, arguments = tuple(r for r in reads if isinstance(r, Storage)), (*reads, *writes, *numbers)
        launch = Launch(text, kernel, whole(size, group), group, arguments, used, tuple(writes), together)
        self.steps.append(launch)


def whole(size: Size, group: Size) -> Size:
    """`size` rounded up to whole groups."""
    return tuple(-(-n // g) * g for n, g in zip(size, group, strict=True))


def index_type(elements: int) -> tuple[str, type[np.signedinteger[Any]]]:
    """What sizes and strides are in a kernel, and as its arguments: 32 bits while that is enough."""
    return ("i64", np.int64) if elements >= 2**31 - 2**16 else ("i32", np.int32)


def scalars(values: Sequence[int], kind: type[np.signedinteger[Any]]) -> list[Any]:
    """Sizes and strides as a kernel takes them."""
    return [kind(v) for v in values]


def names_of(dtype: str) -> dict[str, str | int]:
    """T and C of a kernel for elements of `dtype`: how they are stored, what they are computed in."""
    stored, computed = STORED[dtype]
    return {"T": stored, "C": computed} | ({"HAS_F64": 1} if computed == "f64" else {})


CELLS = {1: "u8", 2: "u16", 4: "u32", 8: "u64", 16: "pair"}  # T of a kernel that only moves elements, by their bytes


def table(kind: type[np.signedinteger[Any]], *lists: Sequence[int]) -> Any:
    """A struct of integer arrays as a kernel argument."""
    return np.array([n for one in lists for n in one], kind)


def batch_strides(shape: tuple[int, ...], rank: int) -> list[int]:
    """Elements between neighbours along each leading axis; 0 where it is stretched."""
    *lead, rows, columns = shape
    lead = [1] * (rank - len(lead)) + lead
    out: list[int] = []
    step = rows * columns
    for size in reversed(lead):
        out.append(step if size != 1 else 0)
        step *= size
    return out[::-1]


def lifetimes(steps: Sequence[Step]) -> Mapping[int, tuple[int, int]]:
    """Storage number -> the first and the last step that touches it."""
    found: dict[int, tuple[int, int]] = {}
    for position, step in enumerate(steps):
        for storage in (*step.reads, *step.writes):
            first, _ = found.get(storage.number, (position, position))
            found[storage.number] = (first, position)
    return found


def share(sizes: Mapping[int, int], lives: Mapping[int, tuple[int, int]]) -> tuple[dict[int, int], list[int]]:
    """Slots for storages, largest first, each in the first slot that is free while it lives: number -> slot, and
    the size of each slot."""
    slots: list[list[int]] = []
    chosen: dict[int, int] = {}
    for number in sorted(sizes, key=lambda n: (-sizes[n], lives[n])):
        first, last = lives[number]
        free = (k for k, held in enumerate(slots) if all(lives[h][1] < first or last < lives[h][0] for h in held))
        position = next(free, len(slots))
        if position == len(slots):
            slots.append([])
        slots[position].append(number)
        chosen[number] = position
    return chosen, [max(sizes[n] for n in held) for held in slots]
