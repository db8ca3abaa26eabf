"""From TOML to a Topology."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from hetero.errors import ProfileError
from hetero.profile.fields import DTYPES, DUPLEX, LINK, STATIC, TIERS, Field
from hetero.profile.link import load_link
from hetero.profile.profile import Profile, Source
from hetero.profile.quantity import given
from hetero.profile.read import plain_name, read_sources
from hetero.profile.section import Report, Section, parse, parse_bytes
from hetero.profile.store import find, load, names
from hetero.profile.topology import Node, Topology, TopologyLink, structure


def topologies() -> list[str]:
    """The names that `Topology.load` takes."""
    return names("topologies")


def load_topology(name_or_path: str | Path) -> Topology:
    path = find(name_or_path, "topologies")
    return from_table(parse(path, "topology"), str(path), path.parent)


def read_topology_text(text: str, file: str = "text") -> Topology:
    """The topology in a TOML text; its profiles are names, or paths from the working directory."""
    return from_table(parse_bytes(text.encode("utf-8", "replace"), file, "topology"), file, Path())


def from_table(table: dict[str, Any], file: str, folder: Path) -> Topology:
    report = Report(file)
    top = Section(report, table)
    sources = read_sources(top) if top.has("sources") else {}
    name, title, currency = plain_name(top), top.take("title", str), top.take("currency", str, "")
    names_and_counts: list[tuple[str, int]] = []
    ends: list[tuple[str, tuple[str, str]]] = []
    nodes: list[Node] = []
    links: list[TopologyLink] = []

    def one_node(s: Section) -> None:
        node = _node(s, folder, currency)
        names_and_counts.append((node[0], node[1]))
        if node[2] is not None:
            nodes.append(node[2])

    def one_link(s: Section) -> None:
        link, more = _link(s, currency)
        sources.update(more)
        ends.append((link.name, link.between))
        links.append(link)

    top.each("node", one_node, required=True)
    top.each("link", one_link)
    top.close()
    report.problems += structure(names_and_counts, ends)
    report.finish("topology")
    return Topology(name, tuple(nodes), tuple(links), title, currency, sources)


def _node(s: Section, folder: Path, currency: str) -> tuple[str, int, Node | None]:
    """The name, the count and the node itself, which is None when its profile cannot be had."""
    name = plain_name(s)
    profile = _profile(s, folder)
    count = s.take("count", int, 1)
    values: dict[str, Any] = {
        "tier": s.name("tier", TIERS),
        "device": s.take("device", str, "") or None,
        "dtype": s.name("dtype", DTYPES, "") or None,
        "static": s.name("static", STATIC, "always"),
        "money_per_hour": s.quantity("money_per_hour", _money(s, currency, "money_per_hour", "h")),
        "money_per_kwh": s.quantity("money_per_kwh", _money(s, currency, "money_per_kwh", "kWh")),
    }
    s.close()
    if profile is not None and values["dtype"] and values["dtype"] not in profile.dtypes:
        s.complain("dtype", f"{profile.name} does not compute in {values['dtype']}: {', '.join(profile.dtypes)}")
    return name, count, None if profile is None else Node(name, profile, count=count, **values)


def _profile(s: Section, folder: Path) -> Profile | None:
    told = s.take("profile", str)
    if not s.has("profile") or type(s.values["profile"]) is not str:
        return None
    try:
        return load(folder / told if told.endswith(".toml") else told)
    except ProfileError as e:
        s.complain("profile", e.problem.replace("\n", "\n    ") + (f" ({e.hint})" if e.hint else ""))
        return None


def _link(s: Section, currency: str) -> tuple[TopologyLink, dict[str, Source]]:
    """The link, and the sources of its kind under `kind/key`."""
    name, between = plain_name(s), s.names_of_two("between")
    kind = s.take("kind", str, "")
    sources: dict[str, Source] = {}
    base: dict[str, Any] = {}
    if kind:
        base, sources = _kind(s, kind)
    values: dict[str, Any] = {key: q for key, q in s.quantities(LINK).items() if q is not None}
    if not kind:
        for key in ("byte_per_s", "latency_s", "shared", "duplex"):
            if not s.has(key):
                s.complain(key, "is missing; give it, or a kind of link that has it")
    if s.has("shared"):
        base["shared"] = s.take("shared", bool)
    if s.has("duplex"):
        base["duplex"] = cast("Any", s.name("duplex", DUPLEX))
    money = s.quantity("money_per_gb", _money(s, currency, "money_per_gb", "GB"))
    s.close()
    blank: dict[str, Any] = {"byte_per_s": given(1, "B/s"), "latency_s": given(0, "s")}  # the report has the problem
    return TopologyLink(name, between, kind=kind, money_per_gb=money, **(blank | base | values)), sources


def _kind(s: Section, kind: str) -> tuple[dict[str, Any], dict[str, Source]]:
    try:
        link = load_link(kind)
    except ProfileError as e:
        s.complain("kind", e.problem.replace("\n", "\n    ") + (f" ({e.hint})" if e.hint else ""))
        return {}, {}
    values: dict[str, Any] = {"shared": link.shared, "duplex": link.duplex}
    for key in LINK:
        quantity = getattr(link, key)
        if quantity is not None:
            values[key] = replace(quantity, source=f"{link.name}/{quantity.source}")
    return values, {f"{link.name}/{key}": source for key, source in link.sources.items()}


def _money(s: Section, currency: str, key: str, per: str) -> Field:
    """The field of a price; its unit names the currency of the file."""
    if s.has(key) and not currency:
        s.complain(key, 'is a price, but the file has no currency = "..."')
    return Field(f"{currency}/{per}")
