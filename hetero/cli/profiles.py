"""`hetero profiles`: the devices that plans can be made for, and who says what about them."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Annotated, Any

import typer
from rich.table import Table
from rich.text import Text

from hetero.cli.common import Json, console, print_json
from hetero.errors import ProfileError
from hetero.profile import Profile, Quantity, Source, Topology, links, load, load_link, topologies
from hetero.profile import profiles as names
from hetero.profile.quantity import STATUSES

Name = Annotated[str | None, typer.Argument(help="A profile to show: its name, or a .toml file.", metavar="NAME")]
Topologies = Annotated[bool, typer.Option("--topologies", help="List the topologies; with NAME, show that one.")]
Links = Annotated[bool, typer.Option("--links", help="List the kinds of links.")]

_PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1, ""), (1e-3, "m"),
             (1e-6, "u"), (1e-9, "n"), (1e-12, "p"))  # fmt: skip
_STYLES = {"datasheet": "green", "measured": "cyan", "estimated": "yellow"}


def profiles(name: Name = None, topologies: Topologies = False, links: Links = False, json: Json = False) -> None:
    """List the device profiles, or show one with the source of each value.

    Example: hetero profiles jetson-orin-nano
    """
    if topologies and links:
        raise ProfileError("--topologies and --links are two lists", hint="ask for one at a time")
    if links:
        _list_links(json)
    elif topologies:
        _topologies(name, json)
    elif name is None:
        _list(json)
    else:
        _show(load(name), json)


def _list(json: bool) -> None:
    found, broken = _load_all()
    if json:
        print_json({"profiles": [_row(p) for p in found], "broken": broken})
        return
    table = Table(
        "name", "kind", "year", "peak, dense", "memory", "bandwidth", "power", "values", box=None, pad_edge=False
    )
    for p in found:
        peak = p.best_dtype
        table.add_row(
            p.name, p.kind, str(p.year), f"{text(p.peak_op_per_s[peak])} {_short(peak)}" if peak else "-",
            text(p.memory_byte), text(p.memory_byte_per_s), text(p.active_w), _counts_text(p),
        )  # fmt: skip
    console().print(table)
    legend = [Text(status, _STYLES[status]) for status in STATUSES]
    console().print(Text("values: ").append_text(Text(" + ").join(legend)).append("; - is what nobody published"))
    for problem in broken.values():
        console().print(Text(problem, "red"))


def _load_all() -> tuple[list[Profile], dict[str, str]]:
    """Every profile that can be read, and what is wrong with the others (a calibrated one can be damaged)."""
    found: list[Profile] = []
    broken: dict[str, str] = {}
    for name in names():
        try:
            found.append(load(name))
        except ProfileError as e:
            broken[name] = str(e)
    return found, broken


def _row(p: Profile) -> dict[str, Any]:
    best = p.best_dtype
    return {
        "name": p.name,
        "title": p.title,
        "kind": p.kind,
        "year": p.year,
        "best_dtype": best,
        "peak_op_per_s": p.peak_op_per_s[best].value if best else None,
        "memory_byte": p.memory_byte.value if p.memory_byte else None,
        "memory_byte_per_s": p.memory_byte_per_s.value if p.memory_byte_per_s else None,
        "static_w": p.static_w.value if p.static_w else None,
        "active_w": p.active_w.value if p.active_w else None,
        "values": _counts(p),
    }


def _counts(p: Profile) -> dict[str, int]:
    counted = Counter(q.status for _, q in p.quantities())
    return {status: counted[status] for status in STATUSES}


def _counts_text(p: Profile) -> Text:
    return Text(" + ").join(Text(str(n), _STYLES[status]) for status, n in _counts(p).items())


def _show(p: Profile, json: bool) -> None:
    if json:
        print_json(asdict(p))
        return
    out = console()
    out.print(Text(f"{p.title}", "bold").append(f"  ({p.name}, {p.kind}, {p.year})"))
    out.print(f"dtypes: {', '.join(p.dtypes)}")
    out.print(f"ops: {_support(p)}")
    if p.remarks:
        out.print(p.remarks, markup=False)
    _show_values(list(p.quantities()))
    missing = [
        key
        for key in ("memory_byte", "memory_byte_per_s", "launch_s", "static_w", "active_w")
        if getattr(p, key) is None
    ]
    if missing:
        out.print(f"nobody published: {', '.join(missing)}")
    _show_sources(p.sources)


def _support(p: Profile) -> str:
    run = "all" if p.support.run is None else ", ".join(p.support.run) or "none"
    return run + (f"; not {', '.join(p.support.refuse)}" if p.support.refuse else "")


def _show_values(values: list[tuple[str, Quantity]]) -> None:
    table = Table("key", "value", "", "status", "year", "source", "note", box=None, pad_edge=False)
    for key, q in values:
        note = ", ".join(t for t in (f"of the {q.scope}" if q.scope else "", q.note) if t)
        table.add_row(
            key, text(q), f"+-{q.uncertainty * 100:.0f} %", Text(q.status, _STYLES[q.status]), str(q.year), q.source,
            Text(note),
        )  # fmt: skip
    console().print(table)


def _show_sources(sources: Any) -> None:
    known: dict[str, Source] = dict(sources)
    console().print("sources")
    for key, source in known.items():
        console().print(Text(f"  {key}: {source.title}").append(f"  {source.url}" if source.url else "", "dim"))


def _topologies(name: str | None, json: bool) -> None:
    if name is not None:
        _show_topology(Topology.load(name), json)
        return
    found = [Topology.load(n) for n in topologies()]
    if json:
        print_json({"topologies": [_topology_row(t) for t in found]})
        return
    table = Table("name", "nodes", "links", "what it is", box=None, pad_edge=False)
    for t in found:
        table.add_row(t.name, str(len(t.nodes)), str(len(t.links)), t.title)
    console().print(table)


def _topology_row(t: Topology) -> dict[str, Any]:
    return {
        "name": t.name,
        "title": t.title,
        "nodes": [{"name": n.name, "profile": n.profile.name, "tier": n.tier, "device": n.device} for n in t.nodes],
        "links": [
            {
                "name": k.name,
                "between": k.between,
                "kind": k.kind,
                "byte_per_s": k.byte_per_s.value,
                "latency_s": k.latency_s.value,
                "joule_per_byte": k.joule_per_byte.value if k.joule_per_byte else None,
                "shared": k.shared,
                "duplex": k.duplex,
            }
            for k in t.links
        ],
    }


def _show_topology(t: Topology, json: bool) -> None:
    if json:
        print_json(_topology_row(t))
        return
    console().print(Text(t.title, "bold").append(f"  ({t.name})"))
    nodes = Table("node", "profile", "tier", "device", "money", box=None, pad_edge=False)
    for n in t.nodes:
        prices = [q for q in (n.money_per_hour, n.money_per_kwh) if q]
        nodes.add_row(
            n.name, n.profile.name, n.tier, n.device or "simulated", ", ".join(f"{q.value:g} {q.unit}" for q in prices)
        )
    console().print(nodes)
    joined = Table("link", "between", "kind", "bandwidth", "latency", "energy", "duplex", box=None, pad_edge=False)
    for k in t.links:
        arrow = " -> " if k.duplex == "simplex" else " - "
        joined.add_row(
            k.name, arrow.join(k.between), k.kind or "own", text(k.byte_per_s), text(k.latency_s),
            text(k.joule_per_byte), k.duplex,
        )  # fmt: skip
    console().print(joined)


def _list_links(json: bool) -> None:
    found = [load_link(name) for name in links()]
    if json:
        print_json({"links": [asdict(k) for k in found]})
        return
    table = Table("name", "bandwidth", "latency", "energy", "duplex", "what it is", box=None, pad_edge=False)
    for k in found:
        table.add_row(k.name, text(k.byte_per_s), text(k.latency_s), text(k.joule_per_byte), k.duplex, k.title)
    console().print(table)


def text(q: Quantity | None) -> str:
    """`3.35 TB/s`; a dash for what nobody published."""
    if q is None:
        return "-"
    if q.unit == "1":
        return f"{q.value:,.0f}" if q.value >= 10 else f"{q.value:g}"
    if not q.value or "/h" in q.unit or "/kWh" in q.unit or "/GB" in q.unit:
        return f"{q.value:g} {q.unit}"
    worth, prefix = next(((w, p) for w, p in _PREFIXES if q.value >= w * 0.9995), _PREFIXES[-1])
    return (
        f"{q.value / worth:.3g} {prefix}{q.unit}"
        if q.value / worth < 1000
        else f"{q.value / worth:.0f} {prefix}{q.unit}"
    )


def _short(dtype: str) -> str:
    return dtype.replace("float8_e4m3fnuz", "float8").replace("float8_e4m3fn", "float8").replace("_e2m1fn", "")
