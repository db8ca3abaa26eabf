"""What a person asks of a plan, checked against the graph and the topology: every mistake is told at once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

from hetero.errors import PlanError
from hetero.profile.topology import Topology
from hetero.scheduler.solution import Objective
from hetero.scheduler.taskgraph import SHOWN, Limits

Places: TypeAlias = "str | Sequence[str]"  # names of nodes or tiers
TIERS = ("central", "edge")
NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """Everything asked; ops are named as `plan` prints them, by the model's names, by file:line, or by a pattern."""

    objective: Objective
    limits: Limits = NO_LIMITS
    pins: Mapping[str, Places] = field(default_factory=dict[str, Places])  # op -> nodes
    colocate: tuple[tuple[str, ...], ...] = ()  # ops that stay together
    private: Mapping[str, Places] = field(default_factory=dict[str, Places])  # input or op -> its zone
    inputs: Mapping[str, Places] = field(default_factory=dict[str, Places])  # input -> where it is at the start
    outputs: Mapping[str, Places] = field(default_factory=dict[str, Places])  # output -> where it must arrive
    refused: Mapping[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])  # (op, node) -> why
    activity: Mapping[str, float] = field(default_factory=dict[str, float])  # spiking network -> share that spikes
    measured: Mapping[str, float] = field(default_factory=dict[str, float])  # the same, by a run; counts before it

    def to_dict(self) -> dict[str, Any]:
        """What `from_dict` reads."""
        limits = {k: getattr(self.limits, k) for k in Limits.__slots__ if getattr(self.limits, k) < float("inf")}
        return {
            "objective": dict(self.objective.weights),
            "limits": limits,
            **{k: {n: _list(p) for n, p in getattr(self, k).items()} for k in ("pins", "private", "inputs", "outputs")},
            "colocate": [list(group) for group in self.colocate],
            "refused": [[op, node, why] for (op, node), why in self.refused.items()],
            "activity": dict(self.activity),
            "measured": dict(self.measured),
        }

    @staticmethod
    def from_dict(data: Mapping[str, Any]) -> Request:
        return Request(
            objective=Objective.of(data["objective"]),
            limits=Limits(**data["limits"]),
            **{k: data[k] for k in ("pins", "private", "inputs", "outputs")},
            colocate=tuple(map(tuple, data["colocate"])),
            refused={(op, node): why for op, node, why in data["refused"]},
            activity=_shares(data.get("activity", {})),
            measured=_shares(data.get("measured", {})),
        )


def _shares(data: Mapping[str, Any]) -> dict[str, float]:
    return {str(name): float(share) for name, share in data.items()}


def _list(places: Places) -> list[str]:
    return [places] if isinstance(places, str) else list(places)


class Resolver:
    """Turns names into numbers and keeps the problems until all are found."""

    def __init__(self, topology: Topology, known_as: Mapping[str, Iterable[str]]) -> None:
        """`known_as`: task -> the names that a person may use for it."""
        self.problems: list[str] = []
        self._nodes = {node.name: p for p, node in enumerate(topology.nodes)}
        self._tiers = {t: tuple(p for p, n in enumerate(topology.nodes) if n.tier == t) for t in TIERS}
        self._tasks = {task: i for i, task in enumerate(known_as)}
        self._called: dict[str, list[int]] = {}
        for i, names in enumerate(known_as.values()):
            for name in dict.fromkeys(names):
                self._called.setdefault(name, []).append(i)

    def places(self, what: str, places: Places) -> tuple[int, ...]:
        """The nodes of names and tiers."""
        found: set[int] = set()
        for name in _list(places):
            if name in self._nodes:
                found.add(self._nodes[name])
            elif name in self._tiers:
                found.update(self._tiers[name])
                if not self._tiers[name]:
                    self.problems.append(f"{what}: the topology has no {name} node")
            else:
                self.problems.append(f"{what}: no node is called {name!r}{_near(name, self._nodes)}")
        return tuple(sorted(found))

    def tasks(self, what: str, name: str) -> list[int]:
        """The tasks that a name or a pattern like `conv*` stands for."""
        if name in self._tasks:
            return [self._tasks[name]]
        found = self._called.get(name) or sorted(
            {i for n, each in self._called.items() if fnmatchcase(n, name) for i in each}
        )
        if not found:
            self.problems.append(f"{what}: nothing is called {name!r}{_near(name, self._called)}")
        return found

    def names(self, what: str, given: Iterable[str], among: Iterable[str]) -> None:
        """Complains of names that are not there."""
        known = list(among)
        for name in given:
            if name not in known:
                self.problems.append(f"{what}: nothing is called {name!r}{_near(name, known)}")

    def done(self, what: str) -> None:
        """A PlanError with everything found wrong, if anything was."""
        if self.problems:
            more = [f"and {len(self.problems) - SHOWN} more"] if len(self.problems) > SHOWN else []
            raise PlanError(f"{what}\n" + "\n".join(f"  - {p}" for p in [*self.problems[:SHOWN], *more]))


def _near(name: str, among: Iterable[str]) -> str:
    near = get_close_matches(name, list(among), 3, 0.5)
    return f" (near: {', '.join(near)})" if near else ""
