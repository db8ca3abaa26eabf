"""The events that papers state, through our formula, give the energies that they state."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from hetero.chip import Events, bill, load_chip

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parents[1] / "data" / "chip-energy.json").read_text("utf-8"))[
    "cases"
]


def predicted(case: dict[str, Any]) -> tuple[float, float, float]:
    """What we compute (low, mid, high) for a second or a query."""
    chip = load_chip(case["chip"])
    if "watt" in case:
        events = case["neurons"] * case["hz"] * case["synapses"]
        made = bill(chip, Events(ticks=1000, updates=1000 * case["neurons"], synaptic=round(events)))
        assert made.seconds is not None
        assert made.seconds.mid == pytest.approx(1)
        assert made.watt is not None
        return made.watt.low, made.watt.mid, made.watt.high
    idle = case["idle_updates"]
    made = bill(chip, Events(0, updates=idle, idle_updates=idle, synaptic=case["spikes"] * case["fan_out"]))
    assert made.energy_j is not None  # no ticks: without static energy, as the column that was measured
    return made.energy_j.low, made.energy_j.mid, made.energy_j.high


@pytest.mark.parametrize("case", CASES, ids=lambda c: c["name"])
def test_a_published_energy_is_found_again(case: dict[str, Any]) -> None:
    low, mid, high = predicted(case)
    published = case.get("watt") or case["joule"]
    assert abs(mid / published - 1) <= case["within"]
    assert low <= published <= high


def test_most_of_them_were_not_fitted() -> None:
    assert sum(not c["fitted"] for c in CASES if c["chip"] == "truenorth") == 3
    assert not any(c["fitted"] for c in CASES if c["chip"] == "loihi")


def test_the_sum_of_the_terms() -> None:
    events = Events(ticks=10, updates=1000, idle_updates=400, spikes=7, synaptic=500, hops=20, busiest=(300, 600))
    made = bill(load_chip("loihi"), events)
    seconds = 10 * 465e-9 + 300 * 3.5e-9 + 600 * 8.4e-9
    expected = {
        "static": 29.5e-3 * seconds, "update": 600 * 81e-12 + 400 * 52e-12, "spike": 7 * 69.3e-12, "hop": 20 * 3e-12,
        "synaptic": 500 * 23.6e-12,
    }  # fmt: skip
    assert {k: v.mid for k, v in made.terms.items()} == pytest.approx(expected)
    assert made.missing == ()
    energy, duration = made.energy_j, made.seconds
    assert energy is not None
    assert duration is not None
    assert energy.mid == pytest.approx(math.fsum(expected.values()))
    assert energy.low < energy.mid < energy.high
    assert duration.mid == pytest.approx(seconds)


def test_what_an_event_holds_is_not_added_again() -> None:
    made = bill(load_chip("truenorth"), Events(ticks=1000, updates=10**6, spikes=10**6, synaptic=10**6, hops=10**9))
    assert set(made.terms) == {"static", "synaptic"}
    assert made.missing == ()
    assert set(bill(load_chip("loihi2"), Events(5, synaptic=9)).terms) == {"synaptic"}


def test_what_nobody_published_is_named() -> None:
    made = bill(load_chip("akida1"), Events(ticks=10, updates=5, synaptic=5))
    assert (made.energy_j, made.seconds) == (None, None)
    assert made.missing == ("static", "update", "spike", "hop", "synaptic")
    part = bill(load_chip("spinnaker2"), Events(ticks=10, updates=5, synaptic=5))
    assert part.missing == ("static", "spike", "hop")
    assert part.energy_j is not None
    assert part.energy_j.mid == pytest.approx(5 * 450e-12 + 5 * 2.19e-9)


def test_another_tick() -> None:
    made = bill(load_chip("truenorth"), Events(ticks=100), tick_s=2e-3)
    assert made.seconds is not None
    assert made.seconds.mid == pytest.approx(0.2)


def test_events_add_up() -> None:
    one = Events(1, 2, 1, 3, 4, 5, (6, 7))
    assert one + replace(one, ticks=9) == Events(10, 4, 2, 6, 8, 10, (12, 14))
