"""The topology: which devices there are, how they are linked, and what they cost."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import combinations
from pathlib import Path
from typing import Any, Literal

from hetero.errors import ProfileError
from hetero.profile.link import Duplex, Link
from hetero.profile.profile import Profile, Source
from hetero.profile.quantity import Quantity, given

MAX_COUNT = 256  # copies of one node

Tier = Literal["central", "edge"]


@dataclass(frozen=True, slots=True)
class Node:
    """One device, or `count` equal ones, which a Topology names `name.0`, `name.1` ...

    `device` is the real device it stands for (`opencl:0`), if there is one here. `dtype` says that it runs the graph
    quantised. `static`: whether its static power counts for the whole makespan or only while it works.
    `money_per_kwh` is for energy that is paid for beside `money_per_hour`.
    """

    name: str
    profile: Profile
    tier: Tier = "edge"
    device: str | None = None
    count: int = 1
    dtype: str | None = None
    static: Literal["always", "busy"] = "always"
    money_per_hour: Quantity | None = None
    money_per_kwh: Quantity | None = None


@dataclass(frozen=True, slots=True)
class TopologyLink:
    """A link between two nodes; `simplex` goes from the first to the second only. The fields are those of Link."""

    name: str
    between: tuple[str, str]
    byte_per_s: Quantity
    latency_s: Quantity
    joule_per_byte: Quantity | None = None
    shared: bool = True
    duplex: Duplex = "full"
    kind: str = ""
    money_per_gb: Quantity | None = None

    @classmethod
    def of(cls, name: str, between: tuple[str, str], kind: Link, **changes: Any) -> TopologyLink:
        """A link of a kind; `changes` replace its values."""
        whole = cls(
            name, between, kind.byte_per_s, kind.latency_s, kind.joule_per_byte, kind.shared, kind.duplex, kind.name
        )
        return replace(whole, **changes)


@dataclass(frozen=True, slots=True)
class Topology:
    """Nodes and links, checked when made: names differ, links join known nodes, every node can be reached."""

    name: str
    nodes: tuple[Node, ...]
    links: tuple[TopologyLink, ...] = ()
    title: str = ""
    currency: str = ""
    sources: Mapping[str, Source] = field(default_factory=dict[str, Source], hash=False)

    def __post_init__(self) -> None:
        problems = _values(self.nodes, self.links) + structure(
            [(n.name, n.count) for n in self.nodes], [(k.name, k.between) for k in self.links]
        )
        if problems:
            lines = "".join(f"\n  {p}" for p in problems)
            raise ProfileError(f"topology {self.name} cannot be:{lines}", hint="docs/profiles.md shows a whole one")
        nodes, links = expand(self.nodes, self.links)
        object.__setattr__(self, "nodes", nodes)
        object.__setattr__(self, "links", links)

    @staticmethod
    def load(name_or_path: str | Path) -> Topology:
        """The topology of that name, or in that file."""
        from hetero.profile.read_topology import load_topology

        return load_topology(name_or_path)

    def node(self, name: str) -> Node:
        return _named(name, self.nodes, "node", self.name)

    def link(self, name: str) -> TopologyLink:
        return _named(name, self.links, "link", self.name)

    def links_of(self, node: str) -> tuple[TopologyLink, ...]:
        return tuple(k for k in self.links if node in k.between)

    def replace_link(self, name: str, **changes: Any) -> Topology:
        """The same with other values for one link. A plain number keeps the unit: `byte_per_s=1e6`."""
        link = self.link(name)
        ready = {key: _in_place_of(getattr(link, key), key, value) for key, value in changes.items()}
        links = tuple(replace(k, **ready) if k.name == name else k for k in self.links)
        return replace(self, links=links)

    def without(self, name: str) -> Topology:
        """What is left when a link or node is lost: the nodes that the first edge node still reaches."""
        if name not in [x.name for x in (*self.nodes, *self.links)]:
            _named(name, (*self.nodes, *self.links), "node or link", self.name)
        nodes = [n for n in self.nodes if n.name != name]
        links = [k for k in self.links if k.name != name and name not in k.between]
        if not nodes:
            raise ProfileError(f"topology {self.name} has no node left without {name!r}")
        home = next((n.name for n in nodes if n.tier == "edge"), nodes[0].name)
        left = next(c for c in components([n.name for n in nodes], [k.between for k in links]) if home in c)
        return replace(
            self,
            nodes=tuple(n for n in nodes if n.name in left),
            links=tuple(k for k in links if k.between[0] in left),
        )


def structure(nodes: Sequence[tuple[str, int]], links: Sequence[tuple[str, tuple[str, str]]]) -> list[str]:
    """What is wrong with the shape of a topology, given the names and counts of its nodes and the ends of its links."""
    names = [name for name, _ in nodes]
    problems = [] if nodes else ["it has no node"]
    both = names + [name for name, _ in links]
    problems += [f"the name {n!r} stands for two things" for n in sorted({n for n in both if both.count(n) > 1})]
    problems += [
        f"{name} wants a count from 1 to {MAX_COUNT}, got {count}"
        for name, count in nodes
        if not 1 <= count <= MAX_COUNT
    ]
    copies = dict(nodes)
    for name, ends in links:
        problems += [
            f"link {name} ends at {end!r}, which is not a node; nodes are {', '.join(names)}"
            for end in dict.fromkeys(ends)
            if end not in copies
        ]
        if ends[0] == ends[1] and copies.get(ends[0]) == 1:
            problems.append(f"link {name} joins {ends[0]} to itself")
    return problems + _unreachable(copies, links)


def _unreachable(copies: Mapping[str, int], links: Sequence[tuple[str, tuple[str, str]]]) -> list[str]:
    """The nodes that no chain of links joins to the rest."""
    known = [ends for _, ends in links if ends[0] in copies and ends[1] in copies]
    parts = components(list(copies), known)
    main = max(parts, key=len, default=[])
    problems = [
        f"no link joins {', '.join(part)} to the rest ({', '.join(main)})" for part in parts if part is not main
    ]
    for name, count in copies.items():
        ends = [e for e in known if name in e]
        if count > 1 and len(copies) == 1 and not ends:
            problems.append(f"no link joins the {count} copies of {name} to each other")
    return problems


def components(names: Sequence[str], ends: Iterable[tuple[str, str]]) -> list[list[str]]:
    """The parts of a graph that hang together, directions ignored, in the order of `names`."""
    group = {name: name for name in names}

    def root(name: str) -> str:
        while group[name] != name:
            group[name] = group[group[name]]
            name = group[name]
        return name

    for a, b in ends:
        group[root(b)] = root(a)
    parts: dict[str, list[str]] = {}
    for name in names:
        parts.setdefault(root(name), []).append(name)
    return list(parts.values())


def expand(nodes: Sequence[Node], links: Sequence[TopologyLink]) -> tuple[tuple[Node, ...], tuple[TopologyLink, ...]]:
    """Nodes with a count become that many, and each copy gets its own link; a link from such a node to itself
    joins every two of its copies."""
    copies = {n.name: [n.name] if n.count == 1 else [f"{n.name}.{i}" for i in range(n.count)] for n in nodes}
    out_nodes = tuple(replace(n, name=name, count=1) for n in nodes for name in copies[n.name])
    out_links: list[TopologyLink] = []
    for link in links:
        a, b = link.between
        pairs = list(combinations(copies[a], 2)) if a == b else [(x, y) for x in copies[a] for y in copies[b]]
        one = len(pairs) == 1
        out_links += [
            replace(link, name=link.name if one else f"{link.name}.{i}", between=pair) for i, pair in enumerate(pairs)
        ]
    return out_nodes, tuple(out_links)


def _values(nodes: Iterable[Node], links: Iterable[TopologyLink]) -> list[str]:
    """Values that code, not a file, can have got wrong."""
    problems: list[str] = []
    for link in links:
        if not (link.byte_per_s.low > 0 and link.byte_per_s.high < float("inf")):
            problems.append(f"link {link.name}: byte_per_s wants more than zero, got {link.byte_per_s.value}")
        for key, quantity in (("latency_s", link.latency_s), ("joule_per_byte", link.joule_per_byte)):
            if quantity is not None and not 0 <= quantity.value < float("inf"):
                problems.append(f"link {link.name}: {key} wants a number that is not negative, got {quantity.value}")
    return problems


def _in_place_of(old: Quantity | Any, key: str, new: Any) -> Any:
    """`new` as what stands in that place: a number becomes a quantity."""
    units = {"byte_per_s": "B/s", "latency_s": "s", "joule_per_byte": "J/B"}
    return given(new, units[key]) if key in units and isinstance(new, int | float) else new


def _named(name: str, found: Iterable[Any], what: str, topology: str) -> Any:
    things = {x.name: x for x in found}
    if name not in things:
        raise ProfileError(f"topology {topology} has no {what} {name!r}", hint=f"one of {', '.join(things)}")
    return things[name]
