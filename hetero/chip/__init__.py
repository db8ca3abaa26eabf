"""Virtual neuromorphic chips as data: what fits on one, where it goes, what a run costs."""

from hetero.chip.chip import Chip, chips, load_chip, read_chip_text
from hetero.chip.energy import Bill, Events, bill
from hetero.chip.limits import Violation
from hetero.chip.mapping import Mapped, map_network
from hetero.chip.simulate import Run, run_graph, simulate

__all__ = [
    "Bill",
    "Chip",
    "Events",
    "Mapped",
    "Run",
    "Violation",
    "bill",
    "chips",
    "load_chip",
    "map_network",
    "read_chip_text",
    "run_graph",
    "simulate",
]
