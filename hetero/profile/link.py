"""Kinds of links: what a byte costs on Wi-Fi, Ethernet, NVLink. A topology names one and may replace its values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, cast

from hetero.profile.fields import DUPLEX, LINK
from hetero.profile.profile import Source
from hetero.profile.quantity import Quantity, given
from hetero.profile.read import plain_name, read_sources
from hetero.profile.section import Report, Section, parse, parse_bytes
from hetero.profile.store import find, names

Duplex = Literal["full", "half", "simplex"]


@dataclass(frozen=True, slots=True)
class Link:
    """A kind of link. `latency_s` is one way; `joule_per_byte` counts both ends, and is None when nobody published it.

    A shared link sends one tensor after another; one that is not shared never makes a transfer wait. `full` duplex
    has a queue each way, `half` one for both, `simplex` goes one way only.
    """

    name: str
    title: str
    byte_per_s: Quantity
    latency_s: Quantity
    joule_per_byte: Quantity | None = None
    shared: bool = True
    duplex: Duplex = "full"
    sources: Mapping[str, Source] = field(default_factory=dict[str, Source], hash=False)


def links() -> list[str]:
    """The names that `load_link` takes."""
    return names("links")


def load_link(name_or_path: str | Path) -> Link:
    """The kind of link of that name, or in that file."""
    path = find(name_or_path, "links")
    return _from_table(parse(path, "link"), str(path))


def read_link_text(text: str, file: str = "text") -> Link:
    return _from_table(parse_bytes(text.encode("utf-8", "replace"), file, "link"), file)


def _from_table(table: dict[str, Any], file: str) -> Link:
    report = Report(file)
    top = Section(report, table)
    sources = read_sources(top)
    values = top.quantities(LINK)
    unknown = top.names("unknown", ("joule_per_byte",), required=False)
    for key in LINK:
        if key in unknown and top.has(key):
            top.complain(key, "is given, yet listed in unknown")
        if key not in unknown and not top.has(key):
            top.complain(key, "is missing")
    made = Link(
        name=plain_name(top),
        title=top.take("title", str),
        byte_per_s=values["byte_per_s"] or given(1, "B/s"),  # the report has the problem
        latency_s=values["latency_s"] or given(0, "s"),
        joule_per_byte=values["joule_per_byte"],
        shared=top.take("shared", bool),
        duplex=cast("Duplex", top.name("duplex", DUPLEX)),
        sources=sources,
    )
    top.close()
    report.finish("link")
    return made
