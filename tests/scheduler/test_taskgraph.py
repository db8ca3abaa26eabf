"""Task graphs: the JSON form, its mistakes told at once, and what constraints forbid."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetero.errors import HeteroError, PlanError, ProfileError
from hetero.scheduler.constraints import why_not
from hetero.scheduler.taskgraph import DeviceSpec, LinkSpec, TaskGraph, connect_all

BASE: dict[str, Any] = {
    "name": "two",
    "devices": [
        {"name": "gpu", "tier": "central", "static_w": 5.0},
        {"name": "cam", "memory_byte": 1000},
        {"name": "jet", "tier": "edge"},
    ],
    "links": [
        {"name": "csi", "between": ["cam", "jet"], "byte_per_s": 1e6, "latency_s": 0.001},
        {"name": "up", "between": ["jet", "gpu"], "byte_per_s": 1e5, "latency_s": 0.01, "duplex": "half"},
    ],
    "tasks": [
        {"name": "read", "seconds": {"gpu": None, "cam": 0.1, "jet": None}, "refused": {"gpu": "no sensor"}},
        {"name": "net", "seconds": {"gpu": 0.01, "cam": None, "jet": 0.5}, "joules": 2, "bytes": {"jet": 10}},
        {"name": "act", "seconds": 0.001},
    ],
    "edges": [
        {"from": "read", "to": ["net", "act"], "bytes": 100},
        {"from": "net", "to": "act", "bytes": 1, "name": "scores"},
    ],
}


def changed(**changes: Any) -> dict[str, Any]:
    return deepcopy(BASE) | changes


def test_the_json_form_reads_back_as_the_same_task_graph() -> None:
    data = changed(pins={"act": "edge"}, colocate=[["net", "act"]], private={"read": "edge"}, limits={"deadline_s": 3})
    g = TaskGraph.from_dict(data)
    again = TaskGraph.from_dict(json.loads(json.dumps(g.to_dict())))
    for field in ("seconds", "joules", "money", "resident_byte", "producer", "tensor_byte", "consumer"):
        assert np.array_equal(getattr(g, field), getattr(again, field)), field
    for field in ("tasks", "devices", "links", "tensors", "release", "pins", "colocate", "private", "barred", "limits"):
        assert getattr(g, field) == getattr(again, field), field


def test_an_entry_of_edges_is_one_tensor_with_all_its_readers() -> None:
    g = TaskGraph.from_dict(BASE)
    assert g.tensors == ("read", "scores")
    source, target, tensor = g.edges
    assert list(zip(source, target, tensor, strict=True)) == [(0, 1, 0), (0, 2, 0), (1, 2, 1)]


def test_links_have_a_queue_each_way_one_for_both_or_none() -> None:
    full, back, half, half_back = TaskGraph.from_dict(BASE).links
    assert (full.source, full.target) == (back.target, back.source)
    assert full.queue != back.queue
    assert half.queue == half_back.queue not in (full.queue, back.queue)
    free = TaskGraph.from_dict(changed(links=[{"between": "all", "byte_per_s": 1, "shared": False}])).links
    assert len(free) == 6
    assert {link.queue for link in free} == {-1}


def test_every_mistake_in_a_file_is_told_at_once() -> None:
    data = changed(
        devices=[{"name": "gpu", "tier": "middle"}, {"name": "cam", "memory": 3}],
        tasks=[{"name": "a", "seconds": {"gpu": -1}}, {"name": "b", "seconds": float("nan")}],
        edges=[{"from": "a", "to": "c", "bytes": "many"}, {"from": "a"}],
        links=[{"between": ["gpu", "gpu"], "byte_per_s": 0}],
        pins={"a": "moon"},
    )
    with pytest.raises(ProfileError) as caught:
        TaskGraph.from_dict(data)
    text = str(caught.value)
    for part in (
        "tier is 'middle'", "unknown key 'memory'", "lacks device 'cam'", "on 'gpu' is -1", "is nan",
        "names 'c', which is no task", "is 'many'", "lacks 'to'", "two different devices", "names 'moon'",
    ):  # fmt: skip
        assert part in text, part


@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        ("byte_per_s", 0, "byte_per_s of link 'csi' is 0"),
        ("byte_per_s", float("inf"), "byte_per_s is inf"),
        ("latency_s", -1, "latency_s is -1"),
    ],
)
def test_links_that_lie_are_refused(field: str, value: float, said: str) -> None:
    data = changed()
    data["links"][0][field] = value
    with pytest.raises(ProfileError, match=said):
        TaskGraph.from_dict(data)


def test_a_cycle_is_told_by_its_tasks() -> None:
    data = changed(edges=[*BASE["edges"], {"from": "act", "to": "net", "bytes": 1}])
    with pytest.raises(ProfileError, match=r"cycle among or before net, act"):
        TaskGraph.from_dict(data)


@pytest.mark.parametrize("text", ["", "[", "[" * 5000, "null", "3", '{"tasks": 1, "devices": 2}', "\x00\xff"])
def test_files_that_hold_no_task_graph_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "x.json"
    path.write_text(text, "latin-1")
    with pytest.raises(ProfileError):
        TaskGraph.load(str(path))


def _paths(value: Any, at: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [at, *(p for k, v in items for p in _paths(v, (*at, k)))]


JUNK = [None, -1, 0, "", "x", [], {}, [[]], True, float("nan"), float("inf"), 10**400, {"x": 1}, ["net"], "gpu"]


@given(where=st.sampled_from(_paths(BASE)[1:]), junk=st.sampled_from(JUNK), drop=st.booleans())
@settings(max_examples=300, deadline=None)
def test_fuzz_damaged_task_graphs_are_read_or_refused(where: tuple[Any, ...], junk: Any, drop: bool) -> None:
    data = deepcopy(BASE)
    inside: Any = data
    for key in where[:-1]:
        inside = inside[key]
    if drop:
        del inside[where[-1]]
    else:
        inside[where[-1]] = junk
    try:
        g = TaskGraph.from_dict(data)
        assert g.allowed.mask.any(axis=1).all()
    except HeteroError:
        return


# -- constraints ------------------------------------------------------------------------------------------------------


def chain(n: int = 4, count: int = 3, **more: Any) -> TaskGraph:
    """t0 -> t1 -> ... on devices that are all joined."""
    edges = [(i, i + 1, 10.0) for i in range(n - 1)]
    return TaskGraph.of_edges(np.ones((n, count)), edges, connect_all(count, 1e3), **more)


def test_private_data_taints_all_that_follows_until_it_is_released() -> None:
    g = chain(5, private={1: (0, 2)}, release={3: "noise"})
    mask = g.allowed.mask
    assert mask[0].all()  # before
    assert mask[1].tolist() == mask[2].tolist() == mask[3].tolist() == [True, False, True]  # the release runs inside
    assert mask[4].all()  # after
    zones = [g.allowed.zones[z].tolist() for z in g.allowed.tensor_zone]
    assert zones == [[True] * 3, [True, False, True], [True, False, True], [True] * 3]


def test_what_reads_two_private_tensors_stays_where_both_may_be() -> None:
    g = TaskGraph.of_edges(
        np.ones((3, 3)), [(0, 2, 1.0), (1, 2, 1.0)], connect_all(3, 1.0), private={0: (0, 1), 1: (1, 2)}
    )
    assert g.allowed.mask[2].tolist() == [False, True, False]


def test_a_private_tensor_finds_no_way_through_a_node_outside() -> None:
    links = [LinkSpec("a", 0, 1, 1e3), LinkSpec("b", 1, 2, 1e3)]
    g = TaskGraph.of_edges(np.ones((2, 3)), [(0, 1, 1.0)], links, private={0: (0, 2)})
    zone = int(g.allowed.tensor_zone[0])
    assert g.allowed.routes[0][0][2] == (0, 1)
    assert g.allowed.routes[zone][0][2] is None


def test_routes_take_the_quicker_way() -> None:
    links = [LinkSpec("slow", 0, 2, 1e1), LinkSpec("a", 0, 1, 1e6), LinkSpec("b", 1, 2, 1e6)]
    g = TaskGraph.of_edges(np.ones((2, 3)), [(0, 1, 100.0)], links)
    assert g.allowed.routes[0][0][2] == (1, 2)


def test_a_group_may_only_run_where_each_of_its_tasks_may() -> None:
    g = chain(3, pins={0: (0, 1), 2: (1, 2)}, colocate=((0, 2),))
    assert g.allowed.mask[0].tolist() == g.allowed.mask[2].tolist() == [False, True, False]
    assert g.allowed.mask[1].all()


def test_a_task_with_nowhere_to_go_is_named_with_every_constraint() -> None:
    seconds = np.ones((2, 3))
    seconds[1, 0] = np.inf
    resident = np.zeros((2, 3))
    resident[1, 2] = 99
    g = TaskGraph.of_edges(
        seconds, [(0, 1, 1.0)], connect_all(3, 1.0), resident_byte=resident, private={0: (0, 2)},
        devices=[DeviceSpec("a"), DeviceSpec("b"), DeviceSpec("c", memory_byte=50)], barred={(1, 0): "no float32"},
    )  # fmt: skip
    with pytest.raises(PlanError) as caught:
        _ = g.allowed
    text = str(caught.value)
    assert "'t1' has nowhere to go" in text
    for part in ("support rules out a (no float32)", "memory rules out c", "residency rules out b"):
        assert part in text
    assert "'t0'" not in text
    assert why_not(g, 1, 0) == ["support: no float32"]
    assert why_not(g, 1, 1) == ["residency"]
