"""docs/chips.md says what the files of the chips say, and what the tests of their energy find."""

from __future__ import annotations

import re
from pathlib import Path

from hetero.chip.chip import OWN_LIMITS, Chip, chips, load_chip
from hetero.cli.profiles import text
from hetero.profile import Quantity
from hetero.profile.fields import LIMITS

DOCS = Path(__file__).parents[2] / "docs"
PAGE = DOCS / "chips.md"
HEAD = ("chip", "cores", "neurons a core", "axons a core", "memory for synapses", "bits of a weight", "bits of a spike",
        "longest delay", "energy of an event", "static power", "neurons")  # fmt: skip


def said(q: Quantity | None) -> str:
    """A value; in italics where it is an estimate."""
    if q is None:
        return "-"
    return f"*{text(q)}*" if q.status == "estimated" else text(q)


def row(chip: Chip) -> list[str]:
    memory = chip.quantity("synapse_byte_per_core") or chip.quantity("local_byte")
    limits = [said(chip.quantity(k)) for k in ("cores", "neurons_per_core", "axons_per_core")]
    weight, delay = (said(chip.quantity(k)) for k in ("weight_bits", "max_delay_steps"))
    rest = [_widths(chip.weight_widths) or weight, _spike(chip), delay]
    energy = [said(chip.spiking.joule_per_synaptic_event), said(chip.profile.static_w)]
    neurons = ", ".join(f"`{n}`" for n in chip.neurons) or "none"
    return [
        f"`{chip.name}`",
        *limits,
        "outside" if chip.synapses_in == "outside" else said(memory),
        *rest,
        *energy,
        neurons,
    ]


def _widths(widths: tuple[int, ...]) -> str:
    return ", ".join(map(str, widths))


def _spike(chip: Chip) -> str:
    return _widths(chip.activation_widths) or said(chip.quantity("spike_bits") or chip.quantity("activation_bits"))


def table() -> str:
    rows = [HEAD, ("---",) * len(HEAD), *(row(load_chip(n)) for n in chips())]
    return "\n".join(f"| {' | '.join(r)} |" for r in rows)


def test_the_table_is_that_of_the_files() -> None:
    """`python tests/chip/test_chip_docs.py` writes it anew."""
    assert table() in PAGE.read_text("utf-8")


def test_devices_stand_in_order() -> None:
    page = (DOCS / "backends" / "chip.md").read_text("utf-8")
    assert re.findall(r"`chip:(\d)` (\w+)", page) == [(str(k), n) for k, n in enumerate(chips())]


def test_every_limit_of_a_chip_is_told_of() -> None:
    page = PAGE.read_text("utf-8")
    for key in OWN_LIMITS.keys() - LIMITS.keys():
        assert f"`{key}`" in page


if __name__ == "__main__":
    page = PAGE.read_text("utf-8")
    before, rest = page.split("<!-- table -->\n")
    after = rest[rest.index("<!-- end -->") :]
    PAGE.write_text(f"{before}<!-- table -->\n{table()}\n{after}", "utf-8")
