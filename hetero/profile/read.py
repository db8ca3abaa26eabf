"""From TOML to a Profile: every key is asked for by name, every problem of the file is reported at once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hetero.profile.fields import (
    DTYPES,
    EFFICIENCY,
    EXTRA,
    FORMATS,
    JOULE_PER_OP,
    KINDS,
    LIMITS,
    MAIN,
    PEAK,
    SPIKING,
    Field,
)
from hetero.profile.profile import Efficiency, Profile, Source, Spiking, Support
from hetero.profile.quantity import Quantity
from hetero.profile.section import Report, Section, parse, parse_bytes, show, show_key


def read(path: Path | str) -> Profile:
    """The profile in a TOML file."""
    return from_table(parse(Path(path), "profile"), str(path))


def read_text(text: str, file: str = "text") -> Profile:
    """The profile in a TOML text."""
    return from_table(parse_bytes(text.encode("utf-8", "replace"), file, "profile"), file)


def from_table(table: dict[str, Any], file: str) -> Profile:
    """The profile that a parsed file describes, or a ProfileError with all that is wrong with it."""
    report = Report(file)
    top = Section(report, table)
    sources = read_sources(top)
    main = top.quantities(MAIN)
    _check_unknown(top, main)
    made = Profile(
        name=plain_name(top),
        title=top.take("title", str),
        kind=top.name("kind", KINDS),
        year=top.year(),
        dtypes=top.names("dtypes", DTYPES + FORMATS),
        sources=sources,
        peak_op_per_s=_by_name(top, "peak_op_per_s", dict.fromkeys(DTYPES + FORMATS, PEAK)),
        joule_per_op=_by_name(top, "joule_per_op", dict.fromkeys(DTYPES + FORMATS, JOULE_PER_OP), required=False),
        limits=_by_name(top, "limits", LIMITS, required=False),
        support=_support(top.section("ops")),
        efficiency=top.each("efficiency", _efficiency),
        spiking=_spiking(top.section("spiking")) if top.has("spiking") else None,
        remarks=top.take("remarks", str, ""),
        **main,
        **top.quantities(EXTRA),
    )
    _check_whole(top, made)
    top.close()
    report.finish("profile")
    return made


def read_sources(top: Section) -> dict[str, Source]:
    """The [sources] of a file; its values may name these keys and no others."""
    table = top.section("sources")
    sources: dict[str, Source] = {}
    for key in table.values:
        item = table.section(key)
        sources[key] = Source(title=item.take("title", str), url=item.take("url", str, ""))
        item.close()
    top.report.sources |= sources.keys()
    return sources


def plain_name(top: Section) -> str:
    name = top.take("name", str)
    if top.has("name") and not is_name(name):
        top.complain("name", f"wants lower-case letters, digits and dashes, got {show(name)}")
    return name


def is_name(text: str) -> bool:
    """A name that is also a safe file name."""
    return 0 < len(text) <= 80 and text[0] != "-" and all(c in "abcdefghijklmnopqrstuvwxyz0123456789-" for c in text)


def _by_name(top: Section, key: str, fields: dict[str, Field], *, required: bool = True) -> dict[str, Quantity]:
    """The quantities of a table whose keys are names out of `fields`."""
    table = top.section(key, required=required)
    found = {name: table.quantity(name, fields[name]) for name in table.values if name in fields}
    for name in table.values.keys() - fields.keys():
        table.complain(show_key(name), f"is not one of {', '.join(fields)}")
    return {name: q for name, q in found.items() if q is not None}


def _support(ops: Section) -> Support:
    run: tuple[str, ...] | None = None
    if ops.values.get("run") != "all":
        run = ops.names("run")
    else:
        ops.name("run")
    support = Support(run, ops.names("refuse", required=False))
    ops.close()
    return support


def _efficiency(row: Section) -> Efficiency:
    size = row.take("size", list, required=False)
    whole = len(size) == 2 and all(type(x) is int for x in size) and size[0] < size[1]
    if row.has("size") and not whole:
        row.complain("size", f"wants two whole numbers, low < high, got {show(size)}")
    op_class, dtype = row.take("op_class", str), row.name("dtype", ("*", *DTYPES, *FORMATS), "*")
    values = row.quantities(EFFICIENCY)
    if not any(values.values()):
        row.complain("", f"gives none of {', '.join(EFFICIENCY)}")
    row.close()
    return Efficiency(op_class, dtype, (size[0], size[1]) if whole else None, **values)


def _spiking(table: Section) -> Spiking:
    values = table.quantities(SPIKING)
    table.close()
    return Spiking(**values)


def _check_unknown(top: Section, main: dict[str, Quantity | None]) -> None:
    """A main value is given, or it is listed as unknown: leaving one out by mistake is not possible."""
    unknown = top.names("unknown", tuple(MAIN), required=False)
    for key in MAIN:
        if key in unknown and top.has(key):
            top.complain(key, "is given, yet listed in unknown")
        if key not in unknown and not top.has(key):
            top.complain(key, "is missing; list it in unknown if nobody published it")


def _check_whole(top: Section, p: Profile) -> None:
    """What must hold between values."""
    for dtype in p.peak_op_per_s:
        if dtype not in p.dtypes:
            top.complain(f"peak_op_per_s.{dtype}", "is a peak of a dtype that is not in dtypes")
    seen: set[tuple[str, str, tuple[int, int] | None]] = set()
    for i, row in enumerate(p.efficiency):
        key = (row.op_class, row.dtype, row.size)
        if key in seen:
            top.complain(f"efficiency[{i}]", "repeats the op_class, dtype and size of another row")
        seen.add(key)
    if p.static_w and p.active_w and p.static_w.scope == p.active_w.scope and p.static_w.low > p.active_w.high:
        top.complain("static_w", "is more than active_w, the power under full load")
