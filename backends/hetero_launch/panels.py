"""How products by panels are cut for a processor: what `panels.ker` wants to know."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hetero_launch.plan import Plan, Storage, names_of

FLOATS = frozenset({"float32", "float64"})
ROWS = {64: 8}  # bytes of a vector -> rows of a panel, two vectors of each: as fit the 32 registers of such processors
FEW_ROWS = 6  # fit the 16 registers of others
SIDE = 2  # vectors of a strip, as in the kernel
DEPTH = 128  # lines of a strip that are taken at once: a strip of them stays next to the core
MOST = 64  # panels of a part, where local memory holds so many tiles: a strip is put in order once for all of them
FEW, PARTS = 32, 4  # but no more than so many, or as make so many parts, that the panels of one stay near to the core
PIECES = 8  # of the work for each unit of the device, or more, so that all end together
GROUPS = 4  # that take them, for each unit: more than can run, since a runtime may give some to one that is late


@dataclass(frozen=True, slots=True)
class Cut:
    """What the registers and the local memory of a device are good for."""

    lanes: int  # of a vector
    rows: int  # of a panel
    strip: int  # columns of a strip
    most: int  # panels of a part
    share: int  # a group takes this part of the work that is left in a turn

    def names(self, dtype: str, stored: str, index: str) -> dict[str, str | int]:
        """Build-time names for operands of `dtype`, and results that are stored as `stored`."""
        return names_of(dtype) | {
            "U": names_of(stored)["T"], "W": self.lanes, "INDEX": index, "ROWS": self.rows, "PANELS": self.most,
            "DEPTH": DEPTH, "SHARE": self.share,
        }  # fmt: skip


def cut(plan: Plan, itemsize: int, rows: int = max(ROWS.values())) -> Cut:
    """For no more `rows` than there are."""
    lanes = plan.style.lanes(itemsize)
    rows = min(rows, ROWS.get(lanes * itemsize, FEW_ROWS))
    lines = plan.style.local_bytes // (SIDE * lanes * itemsize) - DEPTH - 1  # one line for a vector that overhangs
    return Cut(lanes, rows, SIDE * lanes, max(min(lines // rows, MOST), 1), 2 * plan.runtime.driver.units)


def of_a_part(plan: Plan, number: int, strips: int, most: int) -> int:
    """Panels of a part, of `number` for each of so many strips: parts of one size."""
    wanted = number * strips // (PIECES * plan.runtime.driver.units)
    near = max(FEW, number // PARTS)
    return -(-number // -(-number // min(max(wanted, 1), number, near, max(most, 1))))


def launch(
    plan: Plan, text: str, kernel: str, pieces: int, *, reads: Sequence[Any], writes: Storage, numbers: Sequence[Any]
) -> None:
    """Groups of one item that take `pieces` in turn."""
    groups = min(pieces, GROUPS * plan.runtime.driver.units)
    turns = plan.block(plan.runtime.turns)
    plan.launch(text, kernel, (groups,), (1,), reads=reads, writes=(turns, writes), numbers=numbers, exact=True)
