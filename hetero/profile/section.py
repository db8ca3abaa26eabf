"""Reading TOML strictly: a file becomes sections that hand out checked values and note every problem they meet."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, cast

from hetero.errors import ProfileError
from hetero.profile.fields import Field
from hetero.profile.quantity import SCOPES, STATUSES, Quantity
from hetero.profile.units import accepted, to_base

MAX_BYTE = 1 << 20  # the largest file that is read
MAX_LINE = 4096  # TOML readers take quadratic time for a long dotted key
MAX_DEPTH = 64
YEARS = range(1950, 2101)
T = TypeVar("T")


@dataclass(slots=True)
class Report:
    """The problems of one file, and the sources that its values may name."""

    file: str
    sources: set[str] = field(default_factory=set[str])
    problems: list[str] = field(default_factory=list[str])

    def finish(self, what: str, docs: str = "docs/profiles.md") -> None:
        """Raise all the problems as one error; `docs` lists what is right."""
        if not self.problems:
            return
        count = f"{len(self.problems)} problems" if len(self.problems) > 1 else "a problem"
        lines = "".join(f"\n  {p}" for p in self.problems[:200])
        raise ProfileError(f"{what} {self.file} has {count}:{lines}", hint=f"{docs} lists every key and unit")


def parse(path: Path, what: str) -> dict[str, Any]:
    """The table in a TOML file; every way in which a file can be bad becomes a ProfileError."""
    try:
        with path.open("rb") as f:
            data = f.read(MAX_BYTE + 1)
    except OSError as e:
        raise ProfileError(f"cannot read {what} {path}: {e.strerror or e}") from e
    return parse_bytes(data, str(path), what)


def parse_bytes(data: bytes, file: str, what: str) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib  # pyright: ignore[reportMissingImports]
    if len(data) > MAX_BYTE:
        raise ProfileError(f"{what} {file} is larger than {MAX_BYTE} bytes: it cannot be one")
    try:
        text = data.decode("utf-8")
        _refuse_hostile(text)
        return tomllib.loads(text)
    except (ValueError, RecursionError, OverflowError) as e:  # TOMLDecodeError and UnicodeDecodeError are ValueErrors
        raise ProfileError(f"{what} {file} is not TOML: {str(e)[:200]}") from e


def _refuse_hostile(text: str) -> None:
    """Lines and nesting that no honest file has, refused before a parser spends its time or its stack on them."""
    depth = 0
    for number, line in enumerate(text.split("\n"), 1):
        if len(line) > MAX_LINE:
            raise ValueError(f"line {number} is longer than {MAX_LINE} characters")
        for c in line:
            depth = depth + 1 if c in "[{" else max(0, depth - 1) if c in "]}" else depth
            if depth > MAX_DEPTH:
                raise ValueError(f"line {number} nests deeper than {MAX_DEPTH}")


class Section:
    """One table of a file: hands out each key once; `close` complains about the keys nobody asked for."""

    def __init__(self, report: Report, values: dict[str, Any], path: str = "") -> None:
        self.report, self.values, self.path = report, values, path
        self._taken: set[str] = set()

    def complain(self, key: str, problem: str) -> None:
        self.report.problems.append(f"{self.where(key)}: {problem}")

    def where(self, key: str) -> str:
        return f"{self.path}.{key}" if self.path and key else self.path or key or "the file"

    def has(self, key: str) -> bool:
        return key in self.values

    def take(self, key: str, wanted: type[T], default: T | None = None, *, required: bool = True) -> T:
        """The value of `key`, of that exact type. `default` (or an empty value) stands in for what is missing."""
        self._taken.add(key)
        empty = default if default is not None else wanted()
        if key not in self.values:
            if required and default is None:
                self.complain(key, "is missing")
            return empty
        value = self.values[key]
        if wanted is float and type(value) is int:
            value = _as_float(value)
        if type(value) is not wanted:
            self.complain(key, f"wants {_TYPES[wanted]}, got {show(value)}")
            return empty
        return cast("T", value)

    def name(self, key: str, allowed: Iterable[str] = (), default: str | None = None) -> str:
        """A text; one of `allowed` if there are any."""
        text = self.take(key, str, default)
        return self._one_of(key, text, tuple(allowed)) if self.has(key) else text

    def names(self, key: str, allowed: Iterable[str] = (), *, required: bool = True) -> tuple[str, ...]:
        """A list of different texts."""
        known = tuple(allowed)
        found = self.take(key, list, required=required)
        for i, item in enumerate(found):
            if type(item) is not str:
                self.complain(f"{key}[{i}]", f"wants a text, got {show(item)}")
            else:
                self._one_of(f"{key}[{i}]", item, known)
        texts = [t for t in found if type(t) is str]
        for text in sorted({t for t in texts if texts.count(t) > 1}):
            self.complain(key, f"names {show(text)} twice")
        return tuple(texts)

    def names_of_two(self, key: str) -> tuple[str, str]:
        """A list of exactly two texts."""
        found = self.take(key, list)
        if len(found) == 2 and all(type(x) is str for x in found):
            return found[0], found[1]
        if self.has(key):
            self.complain(key, f"wants the names of two nodes, got {show(found)}")
        return "", ""

    def _one_of(self, key: str, text: str, known: tuple[str, ...]) -> str:
        if known and text not in known:
            self.complain(key, f"{show(text)} is not one of {', '.join(known)}")
        return text

    def year(self, key: str = "year") -> int:
        year = self.take(key, int)
        if self.has(key) and type(self.values[key]) is int and year not in YEARS:
            self.complain(key, f"{show(year)} is not a year from {YEARS[0]} to {YEARS[-1]}")
        return year

    def section(self, key: str, *, required: bool = True) -> Section:
        """The table of that name; an empty one for a table that is missing."""
        return Section(self.report, self.take(key, dict, required=required), self.where(key))

    def each(self, key: str, read: Callable[[Section], T], *, required: bool = False) -> tuple[T, ...]:
        """What `read` makes of each table of an array of tables."""
        out: list[T] = []
        for i, item in enumerate(self.take(key, list, required=required)):
            if type(item) is not dict:
                self.complain(f"{key}[{i}]", f"wants a table, got {show(item)}")
                continue
            out.append(read(Section(self.report, item, self.where(f"{key}[{i}]"))))
        return tuple(out)

    def quantity(self, key: str, field: Field, *, required: bool = False) -> Quantity | None:
        """The quantity of that key in its base unit, or None when it is not there."""
        table = self.section(key, required=required)
        return _quantity(table, field) if type(self.values.get(key)) is dict else None

    def quantities(self, fields: dict[str, Field]) -> dict[str, Quantity | None]:
        """Every optional field of a table of fields."""
        return {key: self.quantity(key, field) for key, field in fields.items()}

    def close(self) -> None:
        for key in self.values.keys() - self._taken:
            near = get_close_matches(key[:40], sorted(self._taken), 1)
            self.complain(show_key(key), "is not a known key" + (f"; did you mean {near[0]}?" if near else ""))


def _quantity(s: Section, field: Field) -> Quantity:
    value, unit = s.take("value", float), s.take("unit", str)
    worth = to_base(value, unit, field.unit) if math.isfinite(value) else None
    if s.has("value") and type(s.values["value"]) in (int, float):
        _check_value(s, value if worth is None else worth, field)
    if "unit" in s.values and type(s.values["unit"]) is str and unit not in accepted(field.unit):
        s.complain("unit", f"wants {field.unit!r} or that with a prefix, got {show(unit)}")
    source = s.take("source", str)
    if s.has("source") and source not in s.report.sources:
        s.complain("source", f"{show(source)} is not in [sources]")
    made = Quantity(
        value=0.0 if worth is None else worth,
        unit=field.unit,
        source=source,
        year=s.year(),
        status=cast("Any", s.name("status", STATUSES)),
        uncertainty=_uncertainty(s, field),
        note=s.take("note", str, ""),
        scope=cast("Any", s.name("scope", SCOPES[1:], None if field.power else "")),
    )
    s.close()
    return made


def _check_value(s: Section, value: float, field: Field) -> None:
    """`value` in the base unit, in which it may have become infinite or zero."""
    if not math.isfinite(value):
        s.complain("value", f"wants a finite number, got {value}")
    elif value < 0:
        s.complain("value", f"wants a number that is not negative, got {value}")
    elif value == 0 and field.positive:
        s.complain("value", "wants more than zero")


def _uncertainty(s: Section, field: Field) -> float:
    u = s.take("uncertainty", float)
    if not 0 <= u <= 10:  # NaN too
        s.complain("uncertainty", f"wants a number from 0 to 10, got {u}")
    elif field.positive and u >= 1:
        s.complain("uncertainty", f"wants less than 1 (the value could be zero), got {u}")
    return u


_TYPES: dict[type, str] = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    list: "a list",
    dict: "a table",
}


def _as_float(value: int) -> float:
    try:
        return float(value)
    except OverflowError:
        return math.inf


def show(value: object) -> str:
    """A value of a file for a message, cut and without control characters."""
    if isinstance(value, dict | list):
        return "a table" if isinstance(value, dict) else "a list"
    if isinstance(value, int) and value.bit_length() > 200:
        return "a huge number"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def show_key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and len(key) <= 60 else show(key)
