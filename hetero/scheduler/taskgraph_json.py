"""The JSON form of a task graph, in and out: docs/taskgraph.md describes it. Whatever is wrong is told at once."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np

from hetero.errors import ProfileError
from hetero.scheduler.taskgraph import (
    INF,
    DeviceSpec,
    Floats,
    Limits,
    LinkSpec,
    TaskGraph,
    raise_problems,
)  # fmt: skip

MAX_BYTES = 1 << 30  # of a file
TIERS = ("central", "edge")
DUPLEX = ("full", "half", "simplex")
MATRICES = {"seconds": "seconds", "joules": "joules", "money": "money", "bytes": "resident_byte"}  # JSON -> field

TOP = {"tasks", "devices"}, {"name", "links", "edges", "pins", "colocate", "private", "limits"}
DEVICE = {"name"}, {"tier", "memory_byte", "static_w", "peak_w", "average_w"}
LINK = {"between", "byte_per_s"}, {"name", "latency_s", "joule_per_byte", "money_per_byte", "shared", "duplex"}
TASK = {"name", "seconds"}, {"joules", "money", "bytes", "release", "refused"}
EDGE = {"from", "to", "bytes"}, {"name"}
LIMIT = set[str](), {"deadline_s", "peak_w", "average_w"}


def load(path: str | Path) -> TaskGraph:
    """The task graph in a file; a ProfileError for anything else."""
    try:
        if Path(path).stat().st_size > MAX_BYTES:
            raise ProfileError(f"{path} is larger than {MAX_BYTES} bytes")
        data = json.loads(Path(path).read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as e:
        raise ProfileError(f"cannot read a task graph from {path}: {e}", hint="docs/taskgraph.md shows one") from e
    return from_dict(data, Path(path).stem)


def from_dict(data: Any, name: str = "tasks") -> TaskGraph:
    """The task graph that `data` describes."""
    reader = _Reader()
    graph = reader.read(data, name)
    if graph is None or reader.problems:
        raise_problems(f"task graph {reader.name!r}", reader.problems)
        raise AssertionError
    return graph.check()


class _Reader:
    """Reads on after a mistake, so that one error can tell all of them."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.name = "tasks"

    def read(self, data: Any, name: str) -> TaskGraph | None:
        self.name = name
        if not self.has_keys("the file", data, TOP):
            return None
        if isinstance(data.get("name", name), str):
            self.name = data.get("name", name)
        devices = self.devices(data["devices"])
        tasks = self.items("tasks", data["tasks"], TASK)
        names = [self.text(f"tasks[{i}].name", t["name"]) for i, t in enumerate(tasks)]
        if not devices or not tasks:
            self.problems += [f"{k} is empty" for k, v in (("devices", devices), ("tasks", tasks)) if not v]
            return None
        where = {d.name: p for p, d in enumerate(devices)}
        number = {n: i for i, n in enumerate(names)}
        if len(number) < len(names) or len(where) < len(devices):
            self.problems.append("names are used twice: " + ", ".join(_twice(names) + _twice(d.name for d in devices)))
            return None
        links = self.links(data.get("links", []), where)
        edges = self.edges(data.get("edges", []), number)
        zone = _Zones(self, devices, where)
        groups = self.groups(data.get("colocate", []), number)
        graph: dict[str, Any] = dict(
            tasks=tuple(names),
            devices=tuple(devices),
            links=tuple(links),
            **{f: self.matrix(k, tasks, where) for k, f in MATRICES.items()},
            **edges,
            release=self.releases(tasks),
            pins=self.by_task("pins", data.get("pins", {}), number, zone),
            private=self.by_task("private", data.get("private", {}), number, zone),
            colocate=groups,
            barred=self.refusals(tasks, where),
            limits=self.limits(data.get("limits", {})),
            name=self.name,
        )
        return None if self.problems else TaskGraph(**graph)

    # -- pieces -------------------------------------------------------------------------------------------

    def devices(self, value: Any) -> list[DeviceSpec]:
        found: list[DeviceSpec] = []
        for i, d in enumerate(self.items("devices", value, DEVICE)):
            at = f"devices[{i}]"
            tier = d.get("tier", "edge")
            if tier not in TIERS:
                self.problems.append(f"{at}.tier is {tier!r}, not one of {', '.join(TIERS)}")
                tier = "edge"
            numbers = {
                k: self.number(f"{at}.{k}", d[k]) for k in ("memory_byte", "static_w", "peak_w", "average_w") if k in d
            }
            found.append(DeviceSpec(self.text(f"{at}.name", d["name"]), tier, **numbers))
        return found

    def links(self, value: Any, where: Mapping[str, int]) -> list[LinkSpec]:
        found: list[LinkSpec] = []
        queue = 0
        for i, d in enumerate(self.items("links", value, LINK)):
            at = f"links[{i}]"
            duplex, shared = d.get("duplex", "full"), d.get("shared", True)
            if duplex not in DUPLEX or not isinstance(shared, bool):
                self.problems.append(f"{at}: duplex is one of {', '.join(DUPLEX)} and shared is true or false")
                continue
            for a, b in self.ends(at, d["between"], where):
                names = list(where)
                label = d.get("name", f"{names[a]}-{names[b]}")
                numbers = {
                    k: self.number(f"{at}.{k}", d[k])
                    for k in ("byte_per_s", "latency_s", "joule_per_byte", "money_per_byte")
                    if k in d
                }
                ways = [(a, b)] if duplex == "simplex" else [(a, b), (b, a)]
                for source, target in ways:
                    own = queue if shared else -1
                    found.append(LinkSpec(self.text(f"{at}.name", label), source, target, queue=own, **numbers))
                    queue += shared and duplex == "full"
                queue += shared and duplex != "full"
        return found

    def ends(self, at: str, value: Any, where: Mapping[str, int]) -> list[tuple[int, int]]:
        """Pairs of devices that a link joins: two names, or "all" for every two."""
        if value == "all":
            return list(combinations(range(len(where)), 2))
        if not isinstance(value, list) or len(value) != 2 or value[0] == value[1]:  # pyright: ignore[reportUnknownArgumentType]
            self.problems.append(f'{at}.between wants two different devices, or "all", got {value!r:.60}')
            return []
        a, b = (self.known(f"{at}.between", v, where, "device") for v in value)  # pyright: ignore[reportUnknownVariableType]
        return [] if a is None or b is None else [(a, b)]

    def edges(self, value: Any, number: Mapping[str, int]) -> dict[str, Any]:
        """The tensors: each with its producer, its size, and its readers in one row."""
        producer: list[int] = []
        size: list[float] = []
        names: list[str] = []
        readers: list[list[int]] = []
        for i, d in enumerate(self.items("edges", value, EDGE)):
            at = f"edges[{i}]"
            source = self.known(f"{at}.from", d["from"], number, "task")
            to: Any = d["to"] if isinstance(d["to"], list) else [d["to"]]
            targets = [self.known(f"{at}.to", t, number, "task") for t in to]
            bytes_ = self.number(f"{at}.bytes", d["bytes"])
            if source is None or None in targets:
                continue
            producer.append(source)
            size.append(bytes_)
            names.append(self.text(f"{at}.name", d.get("name", d["from"])))
            readers.append(list(dict.fromkeys(t for t in targets if t is not None)))
        start = np.cumsum([0, *(len(r) for r in readers)])
        return {
            "producer": np.array(producer, np.int64),
            "tensor_byte": np.array(size, np.float64),
            "consumer": np.array([t for r in readers for t in r], np.int64),
            "consumer_start": np.asarray(start, np.int64),
            "tensors": tuple(names),
        }

    def matrix(self, key: str, tasks: Sequence[Mapping[str, Any]], where: Mapping[str, int]) -> Floats:
        """(n, P) numbers of each task: one for all devices, or one for each; null seconds: it cannot run there."""
        out = np.zeros((len(tasks), len(where)))
        for i, task in enumerate(tasks):
            given = task.get(key, 0.0)
            at = f"task {task['name']!r}: {key}"
            if not isinstance(given, dict):
                out[i] = self.number(at, given)
                continue
            unknown = [k for k in given if k not in where]  # pyright: ignore[reportUnknownVariableType]
            missing = [k for k in where if k not in given] if key == "seconds" else []
            self.problems += [f"{at} names {k!r}, which is no device" for k in unknown]
            self.problems += [f"{at} lacks device {k!r} (null: it cannot run there)" for k in missing]
            for device, p in where.items():
                v: Any = given.get(device, 0.0)  # pyright: ignore[reportUnknownMemberType]
                nothing = INF if key == "seconds" else 0.0
                out[i, p] = nothing if v is None else self.number(f"{at} on {device!r}", v)
        return out

    def releases(self, tasks: Sequence[Mapping[str, Any]]) -> dict[int, str]:
        said = {i: t["release"] for i, t in enumerate(tasks) if t.get("release") is not None}
        return {i: self.text(f"task {tasks[i]['name']!r}: release", how) for i, how in said.items()}

    def refusals(self, tasks: Sequence[Mapping[str, Any]], where: Mapping[str, int]) -> dict[tuple[int, int], str]:
        """Why a task cannot run on a device: told to people, decides nothing."""
        out: dict[tuple[int, int], str] = {}
        for i, task in enumerate(tasks):
            said = task.get("refused", {})
            if not isinstance(said, dict):
                self.problems.append(f"task {task['name']!r}: refused wants an object, device to reason")
                continue
            for device, why in said.items():  # pyright: ignore[reportUnknownVariableType]
                p = self.known(f"task {task['name']!r}: refused", device, where, "device")
                if p is not None:
                    out[i, p] = self.text(f"task {task['name']!r}: refused", why)
        return out

    def by_task(self, what: str, value: Any, number: Mapping[str, int], zone: _Zones) -> dict[int, tuple[int, ...]]:
        """Task -> devices."""
        if not isinstance(value, dict):
            self.problems.append(f"{what} wants an object, task to devices, got {value!r:.60}")
            return {}
        out: dict[int, tuple[int, ...]] = {}
        for task, devices in value.items():  # pyright: ignore[reportUnknownVariableType]
            i = self.known(what, task, number, "task")
            places = zone.of(f"{what} of {task!r}", devices)
            if i is not None and places:
                out[i] = places
        return out

    def groups(self, value: Any, number: Mapping[str, int]) -> tuple[tuple[int, ...], ...]:
        if not isinstance(value, list) or not all(isinstance(g, list) for g in value):  # pyright: ignore[reportUnknownVariableType]
            self.problems.append("colocate wants a list of lists of tasks")
            return ()
        found = [[self.known("colocate", t, number, "task") for t in group] for group in value]  # pyright: ignore[reportUnknownVariableType]
        return tuple(tuple(t for t in group if t is not None) for group in found)

    def limits(self, value: Any) -> Limits:
        if not self.has_keys("limits", value, LIMIT):
            return Limits()
        return Limits(**{k: self.number(f"limits.{k}", v) for k, v in value.items()})

    # -- values -------------------------------------------------------------------------------------------

    def items(self, what: str, value: Any, keys: tuple[set[str], set[str]]) -> list[dict[str, Any]]:
        if not isinstance(value, list):
            self.problems.append(f"{what} wants a list, got {value!r:.60}")
            return []
        return [d for i, d in enumerate(value) if self.has_keys(f"{what}[{i}]", d, keys)]  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]

    def has_keys(self, what: str, value: Any, keys: tuple[set[str], set[str]]) -> bool:
        must, may = keys
        if not isinstance(value, dict):
            self.problems.append(f"{what} wants an object, got {value!r:.60}")
            return False
        unknown = sorted(str(k) for k in value if k not in must | may)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        missing = sorted(k for k in must if k not in value)
        self.problems += [f"{what} has an unknown key {k!r}; it takes {', '.join(sorted(must | may))}" for k in unknown]
        self.problems += [f"{what} lacks {k!r}" for k in missing]
        return not missing

    def number(self, what: str, value: Any) -> float:
        """A number, 0 or more and finite; 1 stands in for what is not, so that reading can go on."""
        try:
            good = not isinstance(value, bool) and isinstance(value, int | float) and 0 <= float(value) < INF
        except OverflowError:
            good = False
        if not good:
            self.problems.append(f"{what} is {value!r:.40}, not a finite number of 0 or more")
            return 1.0
        return float(value)

    def text(self, what: str, value: Any) -> str:
        if not isinstance(value, str) or not value:
            self.problems.append(f"{what} is {value!r:.40}, not a text")
            return "?"
        return value

    def known(self, what: str, value: Any, among: Mapping[str, int], kind: str) -> int | None:
        if isinstance(value, str) and value in among:
            return among[value]
        self.problems.append(f"{what} names {value!r:.60}, which is no {kind}")
        return None


class _Zones:
    """Reads sets of devices: a name, a tier, or a list of these."""

    def __init__(self, reader: _Reader, devices: Sequence[DeviceSpec], where: Mapping[str, int]) -> None:
        self._reader, self._where = reader, where
        self._tiers = {t: tuple(p for p, d in enumerate(devices) if d.tier == t) for t in TIERS}

    def of(self, what: str, value: Any) -> tuple[int, ...]:
        names: list[Any] = value if isinstance(value, list) else [value]
        found: set[int] = set()
        for name in names:
            if isinstance(name, str) and name not in self._where and name in self._tiers:
                found.update(self._tiers[name])
                continue
            place = self._reader.known(what, name, self._where, "device or tier")
            found |= {place} - {None}  # pyright: ignore[reportAssignmentType]
        return tuple(sorted(found))


def _twice(names: Iterable[str]) -> list[str]:
    seen: set[str] = set()
    return sorted({n for n in names if n in seen or seen.add(n)})


# -- out ------------------------------------------------------------------------------------------------------------


def to_dict(g: TaskGraph) -> dict[str, Any]:
    """The JSON form of `g`, which `from_dict` reads back as the same task graph."""
    names = g.device_names
    out: dict[str, Any] = {
        "name": g.name,
        "devices": [_spare({f: getattr(d, f) for f in DeviceSpec.__slots__}, DeviceSpec(d.name)) for d in g.devices],
        "links": _links(g),
        "tasks": [_task(g, i) for i in range(g.n)],
        "edges": [_edge(g, t) for t in range(len(g.producer))],
        "pins": {g.tasks[i]: [names[p] for p in ps] for i, ps in g.pins.items()},
        "colocate": [[g.tasks[i] for i in group] for group in g.colocate],
        "private": {g.tasks[i]: [names[p] for p in ps] for i, ps in g.private.items()},
        "limits": _spare({f: getattr(g.limits, f) for f in Limits.__slots__}, Limits()),
    }
    return {k: v for k, v in out.items() if v or k in TOP[0]}


def _spare(values: dict[str, Any], default: Any) -> dict[str, Any]:
    """Without what is as by default: infinity has no place in JSON."""
    return {k: v for k, v in values.items() if k == "name" or v != getattr(default, k)}


def _links(g: TaskGraph) -> list[dict[str, Any]]:
    """Two directions of one link become one entry again."""
    out: list[dict[str, Any]] = []
    done: set[int] = set()
    for i, link in enumerate(g.links):
        if i in done:
            continue
        back = next((j for j in range(i + 1, len(g.links)) if j not in done and _is_back(g.links[j], link)), None)
        done |= {i} if back is None else {i, back}
        half = back is not None and link.queue >= 0 and g.links[back].queue == link.queue
        names = g.device_names
        out.append(
            {
                "name": link.name,
                "between": [names[link.source], names[link.target]],
                **{f: getattr(link, f) for f in ("byte_per_s", "latency_s", "joule_per_byte", "money_per_byte")},
                "shared": link.queue >= 0,
                "duplex": "simplex" if back is None else "half" if half else "full",
            }
        )
    return out


def _is_back(other: LinkSpec, link: LinkSpec) -> bool:
    same = ("name", "byte_per_s", "latency_s", "joule_per_byte", "money_per_byte")
    return (other.source, other.target) == (link.target, link.source) and all(
        getattr(other, f) == getattr(link, f) for f in same
    )


def _task(g: TaskGraph, i: int) -> dict[str, Any]:
    rows = {k: getattr(g, f)[i] for k, f in MATRICES.items()}
    out: dict[str, Any] = {"name": g.tasks[i]}
    for key, row in rows.items():
        if key == "seconds" or row.any():
            each = zip(g.device_names, row.tolist(), strict=True)
            out[key] = {d: None if math.isinf(v) else v for d, v in each}
    if i in g.release:
        out["release"] = g.release[i]
    refused = {g.device_names[p]: why for (task, p), why in g.barred.items() if task == i}
    return out | ({"refused": refused} if refused else {})


def _edge(g: TaskGraph, t: int) -> dict[str, Any]:
    readers = g.consumer[g.consumer_start[t] : g.consumer_start[t + 1]].tolist()
    source = g.tasks[int(g.producer[t])]
    out = {"from": source, "to": [g.tasks[i] for i in readers], "bytes": float(g.tensor_byte[t])}
    return out | ({"name": g.tensors[t]} if g.tensors and g.tensors[t] != source else {})
