"""The reader refuses each kind of lie, and tells all of them at once."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hetero.errors import ProfileError
from hetero.profile import Efficiency, Interval, Profile, given, interval, load, read, read_text, to_text, write
from hetero.profile.units import accepted, to_base

GOOD = """
name = "toy"
title = "A toy"
kind = "npu"
year = 2024
dtypes = ["int8", "float32"]
unknown = ["launch_s", "static_w"]

memory_byte = { value = 8, unit = "MiB", source = "s", year = 2024, status = "datasheet", uncertainty = 0.0 }
memory_byte_per_s = { value = 2.5, unit = "GB/s", source = "s", year = 2024, status = "measured", uncertainty = 0.1 }
active_w = { value = 2, unit = "W", source = "s", year = 2024, status = "datasheet", uncertainty = 0.1, scope = "chip" }

[ops]
run = ["conv", "elementwise"]
refuse = ["sort"]

[peak_op_per_s]
int8 = { value = 4, unit = "Top/s", source = "s", year = 2024, status = "datasheet", uncertainty = 0.05 }

[[efficiency]]
op_class = "conv"
dtype = "int8"
size = [10, 20]
compute = { value = 0.5, unit = "1", source = "s", year = 2024, status = "measured", uncertainty = 0.1 }

[sources]
s = { title = "a source", url = "https://example.org" }
"""


def problems(text: str) -> str:
    with pytest.raises(ProfileError) as e:
        read_text(text, "toy.toml")
    return e.value.problem


def test_the_good_one_is_read_in_base_units() -> None:
    p = read_text(GOOD)
    assert p.memory_byte is not None
    assert p.memory_byte_per_s is not None
    assert (p.memory_byte.value, p.memory_byte.unit) == (8 * 2**20, "B")
    assert p.memory_byte_per_s.value == 2.5e9
    assert p.peak_op_per_s["int8"].value == 4e12
    assert p.launch_s is None
    assert p.runs("conv", "compute")
    assert p.runs("add", "elementwise")
    assert not p.runs("sort")
    assert not p.runs("matmul", "compute")


LIES: dict[str, tuple[str, str, str]] = {
    "nan": ("value = 4,", "value = nan,", "peak_op_per_s.int8.value: wants a finite number"),
    "inf": ("value = 2.5,", "value = inf,", "memory_byte_per_s.value: wants a finite number"),
    "negative": ("value = 8,", "value = -8,", "memory_byte.value: wants a number that is not negative"),
    "zero bandwidth": ("value = 2.5,", "value = 0,", "memory_byte_per_s.value: wants more than zero"),
    "zero peak": ("value = 4,", "value = 0.0,", "peak_op_per_s.int8.value: wants more than zero"),
    "a bandwidth that may be zero": (
        '"measured", uncertainty = 0.1 }\nactive',
        '"measured", uncertainty = 1 }\nactive',
        "memory_byte_per_s.uncertainty: wants less than 1",
    ),
    "nan uncertainty": ("uncertainty = 0.05", "uncertainty = nan", "uncertainty: wants a number from 0 to 10"),
    "negative uncertainty": ("uncertainty = 0.05", "uncertainty = -0.1", "uncertainty: wants a number from 0"),
    "underflow to zero": ('value = 4, unit = "Top/s"', 'value = 1e-323, unit = "fop/s"', "wants more than zero"),
    "overflow": ('value = 4, unit = "Top/s"', 'value = 1e308, unit = "Top/s"', "wants a finite number"),
    "huge integer": ("value = 4,", f"value = {10**400},", "peak_op_per_s.int8.value: wants a finite number"),
    "text for a number": ("value = 4,", 'value = "4",', "peak_op_per_s.int8.value: wants a number, got '4'"),
    "true for a number": ("value = 4,", "value = true,", "peak_op_per_s.int8.value: wants a number, got True"),
    "bare number": (
        'int8 = { value = 4, unit = "Top/s", source = "s", year = 2024, status = "datasheet", uncertainty = 0.05 }',
        "int8 = 4e12",
        "peak_op_per_s.int8: wants a table",
    ),
    "wrong unit": ('unit = "GB/s"', 'unit = "GB"', "memory_byte_per_s.unit: wants 'B/s'"),
    "no such prefix": ('unit = "GB/s"', 'unit = "KB/s"', "memory_byte_per_s.unit: wants 'B/s'"),
    "unknown key": ("year = 2024\nd", "yaer = 1\nyear = 2024\nd", "yaer: is not a known key; did you mean year"),
    "unknown key of a value": ("status = ", "colour = 1, status = ", "colour: is not a known key"),
    "missing key": ('title = "A toy"\n', "", "title: is missing"),
    "missing value": ("memory_byte = {", "joule_per_byte = {", "memory_byte: is missing; list it in unknown"),
    "given and unknown": ('["launch_s",', '["launch_s", "memory_byte",', "memory_byte: is given, yet listed"),
    "source that is not there": (
        'source = "s", year = 2024, status = "measured"',
        'source = "t", year = 2024, status = "measured"',
        "'t' is not in [sources]",
    ),
    "status that is none": ('"measured"', '"guessed"', "'guessed' is not one of datasheet, measured, estimated"),
    "power without a scope": (', scope = "chip"', "", "active_w.scope: is missing"),
    "year of the future": ("year = 2024\ndtypes", "year = 20240\ndtypes", "year: 20240 is not a year"),
    "dtype that is none": ('"float32"]', '"float33"]', "dtypes[1]: 'float33' is not one of"),
    "dtype twice": ('"float32"]', '"float32", "int8"]', "dtypes: names 'int8' twice"),
    "peak of a dtype it lacks": ('dtypes = ["int8", ', "dtypes = [", "peak_op_per_s.int8: is a peak of a dtype"),
    "limit that is none": ("[sources]", "[limits]\nsram = 4\n[sources]", "limits.sram: is not one of"),
    "name with a path": ('name = "toy"', 'name = "../toy"', "name: wants lower-case letters"),
    "size upside down": ("size = [10, 20]", "size = [20, 10]", "efficiency[0].size: wants two whole numbers"),
    "efficiency of nothing": ("compute = {", "# compute = {", "efficiency[0]: gives none of compute"),
    "ops that are not a list": ('run = ["conv", "elementwise"]', "run = 3", "ops.run: wants a list"),
    "idle above full power": (
        '["launch_s", "static_w"]\n',
        '["launch_s"]\nstatic_w = { value = 3, unit = "W", source = "s", year = 2024, status = "datasheet", '
        'uncertainty = 0.1, scope = "chip" }\n',
        "static_w: is more than active_w",
    ),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_refused_with_its_place(lie: str) -> None:
    old, new, message = LIES[lie]
    assert old in GOOD
    found = problems(GOOD.replace(old, new, 1))
    assert message in found
    assert "toy.toml" in found


def test_all_lies_are_told_at_once() -> None:
    text = GOOD
    for lie in ("nan", "negative", "zero bandwidth", "unknown key", "missing key", "wrong unit", "dtype that is none"):
        old, new, _ = LIES[lie]
        text = text.replace(old, new, 1)
    found = problems(text)
    for place in ("int8.value", "memory_byte.value", "memory_byte_per_s.value", "yaer", "title", "dtypes[1]"):
        assert place in found
    assert "memory_byte_per_s.unit" in found
    assert found.count("\n") == 7


def test_a_row_of_efficiency_cannot_stand_twice() -> None:
    row = GOOD[GOOD.index("[[efficiency]]") : GOOD.index("[sources]")]
    assert "efficiency[1]: repeats" in problems(GOOD.replace("[sources]", row + "[sources]"))


HOSTILE: dict[str, bytes] = {
    "empty": b"",
    "not text": bytes(range(256)),
    "not TOML": b"{ not toml",
    "deep arrays": b"a = " + b"[" * 100_000,
    "deep arrays by line": b"a = " + b"[\n" * 100_000,
    "deep tables": b"a = " + b"{a=" * 100_000,
    "long dotted key": b"a." * 200_000 + b"a = 1",
    "deep header": b"[" + b"a." * 2_000 + b"a]\nb = 1",
    "huge": b"#" * (2 << 20),
    "huge number": b"year = " + b"9" * 4000,
    "huge hexadecimal number": b"year = 0x" + b"f" * 4000,
    "date": b"year = 2024-01-01\nname = 07:32:00",
    "nul": b"name = '\x00'",
    "control characters": b'name = "a\\u0007\\u001b[31m"',
    "sources that are not tables": b"sources = [1, 2]",
    "a source that is a text": b"[sources]\ns = 'x'",
    "rows that are not tables": b"efficiency = [1, [2]]",
    "tables for texts": b"[name]\n[title]\n[kind]\n[ops.run]\n[year]",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_file_is_an_error_of_ours(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_bytes(HOSTILE[kind])
    with pytest.raises(ProfileError) as e:
        read(path)
    assert len(str(e.value)) < 100_000
    assert "\x1b" not in str(e.value)


def test_nesting_is_refused_before_a_parser_sees_it(tmp_path: Path) -> None:
    path = tmp_path / "p.toml"
    path.write_bytes(HOSTILE["deep arrays by line"])
    with pytest.raises(ProfileError, match="nests deeper than"):
        read(path)


def test_a_file_that_cannot_be_opened_is_an_error_of_ours(tmp_path: Path) -> None:
    for path in (tmp_path / "none.toml", tmp_path):
        with pytest.raises(ProfileError, match="cannot read profile"):
            read(path)


def test_an_unknown_name_is_answered_with_near_ones() -> None:
    with pytest.raises(ProfileError, match="jetson-orin-nano"):
        load("jetson-orin-nan")


def test_what_is_written_is_read_back_equal(tmp_path: Path) -> None:
    p = read_text(GOOD)
    row = Efficiency("matmul", "*", None, given(0.3, "1"), None, given(1e-6, "s"))
    odd = replace(p, title='quo"te \\ tab\t newline\n \x7f \x01 é', efficiency=(*p.efficiency, _known(row, p)))
    for profile in (p, odd):
        write(profile, tmp_path / "deep" / "p.toml")
        assert read(tmp_path / "deep" / "p.toml") == profile
    assert [f.name for f in (tmp_path / "deep").iterdir()] == ["p.toml"]  # no temporary file is left


def _known(row: Efficiency, p: Profile) -> Efficiency:
    assert row.compute is not None
    assert row.launch_s is not None
    source = next(iter(p.sources))
    return replace(row, compute=replace(row.compute, source=source), launch_s=replace(row.launch_s, source=source))


def test_numpy_scalars_are_written_as_numbers() -> None:
    p = read_text(GOOD)
    assert p.memory_byte is not None
    strange = replace(p, memory_byte=replace(p.memory_byte, value=np.float64(8.5), year=np.int64(2024)))
    assert read_text(to_text(strange)) == strange


def test_a_profile_that_lies_is_not_written(tmp_path: Path) -> None:
    p = read_text(GOOD)
    assert p.memory_byte_per_s is not None
    for lie in (math.nan, -1.0, 0.0, math.inf):
        bad = replace(p, memory_byte_per_s=replace(p.memory_byte_per_s, value=lie))
        with pytest.raises(ProfileError, match="memory_byte_per_s"):
            write(bad, tmp_path / "p.toml")
    assert list(tmp_path.iterdir()) == []


def test_a_calibrated_profile_hides_the_shipped_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HETERO_PROFILE_DIR", str(tmp_path))
    write(replace(load("h100"), title="mine"), tmp_path / "h100.toml")
    write(replace(load("h100"), name="here"), tmp_path / "here.toml")
    assert load("h100").title == "mine"
    assert load("here").name == "here"
    assert load(tmp_path / "here.toml") == load(str(tmp_path / "here.toml"))


UNITS = [
    (3.35, "TB/s", "B/s", 3.35e12),
    (10, "Mbit/s", "B/s", 1.25e6),
    (2, "KiB", "B", 2048.0),
    (2, "kB", "B", 2000.0),
    (5, "us", "s", 5e-6),
    (1, "nJ/bit", "J/B", 8e-9),
    (26, "pJ", "J", 26e-12),
    (62.5, "Pop/s", "op/s", 62.5e15),
    (12, "1", "1", 12.0),
]


@pytest.mark.parametrize(("value", "unit", "base", "expected"), UNITS)
def test_units_are_worth_what_physics_says(value: float, unit: str, base: str, expected: float) -> None:
    assert to_base(value, unit, base) == expected


def test_units_of_other_kinds_are_refused() -> None:
    assert to_base(1, "GB", "B/s") is None
    assert to_base(1, "%", "1") is None
    assert "KB" not in accepted("B")


def check_interval(found: Interval, low: float, mid: float, high: float) -> None:
    assert (found.low, found.mid, found.high) == pytest.approx((low, mid, high))


def test_intervals_hold_every_value_they_stand_for() -> None:
    rng = np.random.default_rng(0)
    operations: list[Callable[[Interval, Interval], Interval]] = [
        lambda a, b: a + b,
        lambda a, b: a * b,
        lambda a, b: a / b,
        lambda a, b: a.max(b),
    ]
    for _ in range(200):
        x, y = np.sort(rng.uniform(0.1, 9, 3)), np.sort(rng.uniform(0.1, 9, 3))
        for operation in operations:
            whole = operation(Interval(*x), Interval(*y))
            inside = operation(interval(rng.uniform(x[0], x[2])), interval(rng.uniform(y[0], y[2]))).mid
            assert whole.low - 1e-12 <= inside <= whole.high + 1e-12
            assert whole.low <= whole.mid <= whole.high


def test_a_quantity_never_goes_below_nothing() -> None:
    check_interval(given(10, "W", 0.2).interval, 8, 10, 12)
    check_interval(interval(given(10, "W", 3)), 0, 10, 40)
    check_interval(6 / interval(3.0), 2, 2, 2)
    assert (Interval(1, 1, 1) / Interval(0, 1, 2)).high == math.inf


def test_the_closest_row_of_efficiency_wins() -> None:
    rows = (
        Efficiency("*", "*", None, given(0.1, "1")),
        Efficiency("conv", "*", None, given(0.2, "1")),
        Efficiency("conv", "int8", None, given(0.3, "1")),
        Efficiency("conv", "int8", (10, 20), given(0.4, "1")),
    )
    p = replace(read_text(GOOD), efficiency=rows)
    assert p.efficiency_of("conv", "int8", 15) is rows[3]
    assert p.efficiency_of("conv", "int8", 20) is rows[2]
    assert p.efficiency_of("conv", "float32", 15) is rows[1]
    assert p.efficiency_of("softmax", "int8", 15) is rows[0]
    assert read_text(GOOD).efficiency_of("softmax", "int8", 15) is None


def test_the_dynamic_power_of_other_scopes_is_not_subtracted_at_the_high_end() -> None:
    p = read_text(GOOD)
    idle = replace(given(0.5, "W"), scope="chip")
    assert p.dynamic_w is not None
    check_interval(p.dynamic_w, 1.8, 2, 2.2)
    same = replace(p, static_w=idle).dynamic_w
    other = replace(p, static_w=replace(idle, scope="board")).dynamic_w
    assert same is not None
    assert other is not None
    check_interval(same, 1.3, 1.5, 1.7)
    check_interval(other, 1.3, 1.5, 2.2)
