"""A topology is checked whole; a lost link or node leaves what can still be reached."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from hetero.errors import ProfileError
from hetero.profile import Node, Topology, TopologyLink, given, load, read_topology_text, topologies
from hetero.profile.topology import components

GOOD = """
name = "toy"
title = "A toy"
currency = "EUR"

[[node]]
name = "here"
profile = "raspberry-pi-5"
tier = "edge"
device = "numpy:0"
dtype = "int8"
static = "always"
money_per_kwh = { value = 0.3, unit = "EUR/kWh", source = "s", year = 2024, status = "estimated", uncertainty = 0.1 }

[[node]]
name = "there"
profile = "h100"
tier = "central"
count = 2
money_per_hour = { value = 3, unit = "EUR/h", source = "s", year = 2024, status = "estimated", uncertainty = 0.1 }

[[link]]
name = "up"
between = ["here", "there"]
kind = "wifi6"
latency_s = { value = 12, unit = "ms", source = "s", year = 2024, status = "estimated", uncertainty = 0.1 }
money_per_gb = { value = 2, unit = "EUR/GB", source = "s", year = 2024, status = "estimated", uncertainty = 0.1 }

[[link]]
name = "across"
between = ["there", "there"]
byte_per_s = { value = 10, unit = "GB/s", source = "s", year = 2024, status = "estimated", uncertainty = 0.1 }
latency_s = { value = 1, unit = "us", source = "s", year = 2024, status = "estimated", uncertainty = 0.1 }
shared = false
duplex = "full"

[sources]
s = { title = "a source" }
"""


def link(name: str, a: str, b: str) -> TopologyLink:
    return TopologyLink(name, (a, b), given(1e6, "B/s"), given(0.01, "s"))


def nodes(*names: str) -> tuple[Node, ...]:
    profile = load("h100")
    return tuple(Node(n, profile, "central" if n.startswith("c") else "edge") for n in names)


def test_the_good_one_is_read() -> None:
    t = read_topology_text(GOOD)
    assert [n.name for n in t.nodes] == ["here", "there.0", "there.1"]
    assert [(k.name, k.between) for k in t.links] == [
        ("up.0", ("here", "there.0")),
        ("up.1", ("here", "there.1")),
        ("across", ("there.0", "there.1")),
    ]
    here, up, across = t.node("here"), t.link("up.0"), t.link("across")
    assert (here.device, here.dtype, here.tier, here.count) == ("numpy:0", "int8", "edge", 1)
    assert (up.latency_s.value, up.duplex, up.shared, up.kind) == (0.012, "half", True, "wifi6")
    assert up.byte_per_s.source == "wifi6/recalled"
    assert "wifi6/recalled" in t.sources
    assert (across.byte_per_s.value, across.shared, across.joule_per_byte) == (10e9, False, None)


LIES: dict[str, tuple[str, str, str]] = {
    "unknown profile": ('"raspberry-pi-5"', '"raspberry-pie"', "node[0].profile: no profile is called 'raspberry-pie'"),
    "unknown node": ('["here", "there"]', '["here", "hell"]', "link up ends at 'hell', which is not a node"),
    "unknown kind": ('"wifi6"', '"wifi7"', "link[0].kind: no link is called 'wifi7'"),
    "same name twice": ('name = "here"', 'name = "there"', "the name 'there' stands for two things"),
    "link named as a node": ('name = "up"', 'name = "here"', "the name 'here' stands for two things"),
    "missing link": ('between = ["here", ', 'between = ["there", ', "no link joins there to the rest (here)"),
    "zero bandwidth": ("value = 10,", "value = 0,", "link[1].byte_per_s.value: wants more than zero"),
    "negative latency": ("value = 12,", "value = -12,", "link[0].latency_s.value: wants a number that is not negative"),
    "nan price": ("value = 3,", "value = nan,", "node[1].money_per_hour.value: wants a finite number"),
    "other currency": ('"EUR/h"', '"USD/h"', "node[1].money_per_hour.unit: wants 'EUR/h'"),
    "no currency": ('currency = "EUR"\n', "", "is a price, but the file has no currency"),
    "own link without latency": ('latency_s = { value = 1,', '# ', "link[1].latency_s: is missing"),
    "unknown tier": ('"central"', '"middle"', "node[1].tier: 'middle' is not one of central, edge"),
    "count of none": ("count = 2", "count = 0", "there wants a count from 1 to 256, got 0"),
    "count of too many": ("count = 2", "count = 100000", "there wants a count from 1 to 256"),
    "count that is a text": ("count = 2", 'count = "2"', "node[1].count: wants a whole number"),
    "dtype that the device lacks": ('dtype = "int8"', 'dtype = "int4"', "node[0].dtype: raspberry-pi-5 does not"),
    "unknown key": ("count = 2", "cuont = 2", "node[1].cuont: is not a known key"),
    "one end": ('["here", "there"]', '["here"]', "link[0].between: wants the names of two nodes"),
    "unknown duplex": ('duplex = "full"', 'duplex = "double"', "'double' is not one of full, half, simplex"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_refused_with_its_place(lie: str) -> None:
    old, new, message = LIES[lie]
    assert old in GOOD
    with pytest.raises(ProfileError) as e:
        read_topology_text(GOOD.replace(old, new, 1), "toy.toml")
    assert message in e.value.problem


def test_all_lies_are_told_at_once() -> None:
    text = GOOD
    lies = ("unknown profile", "unknown node", "zero bandwidth", "nan price", "unknown tier", "unknown key")
    for lie in lies:
        text = text.replace(*LIES[lie][:2], 1)
    with pytest.raises(ProfileError) as e:
        read_topology_text(text)
    for lie in lies:
        assert LIES[lie][2] in e.value.problem


def test_no_nodes_is_an_error_of_ours() -> None:
    with pytest.raises(ProfileError, match="no node"):
        Topology("none", ())
    with pytest.raises(ProfileError, match=r"node: is missing"):
        read_topology_text('name = "a"\ntitle = "b"')


def test_code_is_checked_as_a_file_is() -> None:
    bad = (link("k", "a", "z"), replace(link("l", "a", "a"), byte_per_s=given(0, "B/s"), latency_s=given(-1, "s")))
    with pytest.raises(ProfileError) as e:
        Topology("bad", nodes("a", "b", "b"), bad)
    for message in ("'b' stands for two", "'z', which is not", "joins a to itself", "wants more than zero",
                    "latency_s wants", "no link joins b to the rest"):  # fmt: skip
        assert message in e.value.problem
    for value in (float("nan"), float("inf")):
        with pytest.raises(ProfileError, match="byte_per_s"):
            Topology("bad", nodes("a", "b"), (replace(link("k", "a", "b"), byte_per_s=given(value, "B/s")),))


def test_one_node_needs_no_link() -> None:
    assert Topology("one", nodes("a")).links == ()


def test_a_link_can_be_given_other_values() -> None:
    t = Topology("two", nodes("a", "c"), (link("k", "a", "c"),))
    changed = t.replace_link("k", byte_per_s=5e6, shared=False)
    assert changed.link("k").byte_per_s.value == 5e6
    assert changed.link("k").byte_per_s.unit == "B/s"
    assert changed.link("k").latency_s == t.link("k").latency_s
    assert not changed.link("k").shared
    assert t.link("k").byte_per_s.value == 1e6  # the old one is as it was
    with pytest.raises(ProfileError, match="byte_per_s"):
        t.replace_link("k", byte_per_s=0)
    with pytest.raises(ProfileError, match="no link 'z'"):
        t.replace_link("z", byte_per_s=1)


def test_losing_a_link_leaves_the_part_with_the_edge() -> None:
    t = Topology(
        "t", nodes("c1", "c2", "a", "b"), (link("cc", "c1", "c2"), link("up", "c1", "a"), link("ab", "a", "b"))
    )
    assert [n.name for n in t.without("up").nodes] == ["a", "b"]
    assert [k.name for k in t.without("up").links] == ["ab"]
    assert [n.name for n in t.without("cc").nodes] == ["c1", "a", "b"]
    assert [n.name for n in t.without("c1").nodes] == ["a", "b"]
    assert [n.name for n in t.without("a").nodes] == ["b"]
    with pytest.raises(ProfileError, match="no node or link 'z'"):
        t.without("z")
    with pytest.raises(ProfileError, match="no node left"):
        Topology("one", nodes("a")).without("a")


@pytest.mark.parametrize("name", topologies())
def test_any_part_of_a_shipped_topology_can_be_lost(name: str) -> None:
    t = Topology.load(name)
    for part in (*t.nodes, *t.links):
        left = t.without(part.name)
        assert part.name not in {n.name for n in left.nodes} | {k.name for k in left.links}


def test_components_are_those_of_scipy() -> None:
    rng = np.random.default_rng(3)
    for _ in range(200):
        n, m = int(rng.integers(1, 12)), int(rng.integers(0, 12))
        ends = rng.integers(0, n, (m, 2))
        _, labels = connected_components(coo_matrix((np.ones(m), (ends[:, 0], ends[:, 1])), (n, n)), directed=False)
        expected = {frozenset(f"n{i}" for i in np.flatnonzero(labels == k)) for k in set(labels.tolist())}
        found = components([f"n{i}" for i in range(n)], [(f"n{a}", f"n{b}") for a, b in ends])
        assert {frozenset(part) for part in found} == expected
