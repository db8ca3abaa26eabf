"""How products by panels are cut for a processor: what `panels.ker` wants to know."""

from __future__ import annotations

from dataclasses import dataclass

from hetero_launch.plan import Plan, names_of

FLOATS = frozenset({"float32", "float64"})
ROWS = {64: 8}  # bytes of a vector -> rows of a panel, two vectors of each: as fit the 32 registers of such processors
FEW_ROWS = 6  # fit the 16 registers of others
SIDE = 2  # vectors of a strip, as in the kernel
DEPTH = 128  # lines of a strip that are put side by side
MOST = 12  # panels of an item; with these lines less than the 32 KiB of local memory that every device has
ITEMS = 4  # for each unit of the device, so that all end together


@dataclass(frozen=True, slots=True)
class Cut:
    """Lanes of a vector, rows of a panel, and columns of a strip."""

    lanes: int
    rows: int
    strip: int

    def names(self, dtype: str, stored: str, index: str) -> dict[str, str | int]:
        """Build-time names for operands of `dtype`, and results that are stored as `stored`."""
        return names_of(dtype) | {
            "U": names_of(stored)["T"], "W": self.lanes, "INDEX": index, "ROWS": self.rows, "PANELS": MOST,
            "DEPTH": DEPTH,
        }  # fmt: skip


def cut(plan: Plan, itemsize: int, rows: int = max(ROWS.values())) -> Cut:
    """By the registers of the device, and for no more `rows` than there are."""
    lanes = plan.style.lanes(itemsize)
    return Cut(lanes, min(rows, ROWS.get(lanes * itemsize, FEW_ROWS)), SIDE * lanes)


def parts(plan: Plan, number: int, strips: int, most: int = MOST) -> int:
    """Panels that an item computes, of `number` for each of so many strips: parts of one size."""
    wanted = number * strips // (ITEMS * plan.runtime.driver.units)
    return -(-number // -(-number // min(max(wanted, 1), MOST, number, max(most, 1))))
