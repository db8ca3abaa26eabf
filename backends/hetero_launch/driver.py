"""What a backend hands over for one open device. All else about launches is written once, against this."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol, TypeAlias

from hetero.op import Array

Mems: TypeAlias = "list[Any]"  # the driver's own handles to memory, by storage number
Run: TypeAlias = Callable[[Mems], None]  # a step: hands its commands to the device

LARGEST = 1024  # items of a group, on any accelerator


@dataclass(frozen=True, slots=True)
class Style:
    """How kernels are cut for a kind of device."""

    vector_bytes: int  # a vector of lanes; 0: an item is a lane
    team: int  # items that fold one row together
    run: int  # neighbours that an item moves one after the other
    blas: frozenset[str]  # dtypes whose matrix products the driver's array library computes, on the device's own memory
    crowd: int = 1  # items that a group has at least, where the kernel does not say how many
    double_bytes: int = 0  # a vector of elements of eight bytes, where it is shorter
    local_bytes: int = 1 << 15  # of local memory that a group may use: what every device has at the least
    together: int = 16  # small launches of one kernel that are handed over as one; 1: each by itself

    def lanes(self, widest: int) -> int:
        """Lanes of a kernel whose widest element has `widest` bytes; W of portable.h."""
        held = self.double_bytes if widest > 4 and self.double_bytes else self.vector_bytes
        return held // max(widest, 4) if held else 1

    def group(self, size: Sequence[int], group: Sequence[int]) -> tuple[int, ...]:
        """`group` doubled along the first two axes, as far as they have items for it, until it is a crowd."""
        made = list(group)
        for axis in range(min(len(made), 2)):
            while prod(made) < self.crowd and made[axis] < min(size[axis], LARGEST):
                made[axis] *= 2
        return tuple(made)


@dataclass(frozen=True, slots=True)
class Bound:
    """A kernel whose arguments nobody else sets: `bind(position, value)`, then `launch()`."""

    bind: Callable[[int, Any], None]
    launch: Callable[[], None]


@dataclass(frozen=True, slots=True)
class Place:
    """A storage as an array: its number, where it begins, its type, and whether it is written."""

    number: int
    byte: int
    shape: tuple[int, ...]
    dtype: Any
    written: bool


class Driver(Protocol):
    """One open device. Commands run in the order in which they are handed over."""

    name: str  # in messages
    style: Style
    units: int  # that run groups side by side
    keep_bytes: int  # of memory that nobody uses, held for the next who asks
    keep_incoming_bytes: int  # likewise of memory for what comes from the host; 0: it is memory as any other
    address: Callable[[Any], int] | None  # of memory, where a run that comes again gains by getting the same
    failure: tuple[type[Exception], ...]  # what the vendor's library raises

    @property
    def lock(self) -> AbstractContextManager[Any, Any]:
        """Held while commands are handed over; may be taken again inside."""
        ...

    def allocate(self, nbytes: int) -> Any:
        """New memory, aligned for every element type; a failure where there is none."""
        ...

    def incoming(self, nbytes: int) -> Any:
        """New memory for what comes from the host, if that is of another kind."""
        ...

    def idle(self, mem: Any) -> None:
        """Incoming memory is no longer referred to by us, though commands may still read it. Any thread may call."""
        ...

    def write(self, mem: Any, array: Array) -> None:
        """Copy `array`, which may change afterwards, to the beginning of `mem`."""
        ...

    def read(self, array: Array, mem: Any, byte: int = 0) -> None:
        """Copy from `mem`, beginning at `byte`, into all of a contiguous `array`; waits for it."""
        ...

    def copy(self, to: Any, source: Any, nbytes: int, source_byte: int = 0, to_byte: int = 0) -> None:
        """Copy on the device."""
        ...

    def finish(self) -> None:
        """Wait for everything."""
        ...

    def kernel(self, text: str, name: str, size: tuple[int, ...], group: tuple[int, ...]) -> Bound:
        """A kernel of the program `text`, built now, for `size` items in groups of `group`."""
        ...

    def arrays(self, call: Callable[..., None], places: Sequence[Place]) -> Run:
        """A step that calls `call(xp, *arrays)`: an array library and the places as its arrays, none copied."""
        ...

    def repeated(self, runs: list[Run], storages: Sequence[int]) -> list[Run]:
        """Steps of kernels and copies, which touch these storages, as they are best done again and again."""
        ...
