"""What ran where: counts of ops, fallbacks and copies since the start or the last `reset`."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from threading import Lock


@dataclass(frozen=True, slots=True)
class Fallback:
    """An op that another device ran, and why."""

    op: str
    wanted: str
    ran_on: str
    reason: str


@dataclass(frozen=True, slots=True)
class Stats:
    """A snapshot; `print` it for a table of one line a device."""

    ops: dict[str, dict[str, int]] = field(default_factory=dict[str, "dict[str, int]"])  # device -> op -> calls
    fallbacks: dict[Fallback, int] = field(default_factory=dict[Fallback, int])
    copies: dict[str, int] = field(default_factory=dict[str, int])  # "numpy:0 -> opencl:0" -> copies
    copied_bytes: dict[str, int] = field(default_factory=dict[str, int])  # the same keys -> bytes
    events: dict[str, int] = field(default_factory=dict[str, int])  # compilations, cache hits and misses, retraces

    @property
    def fallback_count(self) -> int:
        return sum(self.fallbacks.values())

    @property
    def total_copied_bytes(self) -> int:
        return sum(self.copied_bytes.values())

    def ops_on(self, device: str) -> int:
        """Ops that ran on `device`; a fused region counts as one."""
        return sum(self.ops.get(device, {}).values())

    def summary(self) -> str:
        """One line: ops per device, fallbacks, copies."""
        where = ", ".join(f"{device}: {sum(ops.values())} ops" for device, ops in self.ops.items()) or "nothing ran"
        return (
            f"{where}; {self.fallback_count} fallbacks; "
            f"{sum(self.copies.values())} copies, {self.total_copied_bytes} bytes"
        )

    def __str__(self) -> str:
        lines = [self.summary()]
        for device, ops in self.ops.items():
            lines.append(f"  {device}: " + ", ".join(f"{op} {n}" for op, n in sorted(ops.items(), key=_most)))
        lines += [f"  {f.op}: {f.wanted} -> {f.ran_on}, {n} times: {f.reason}" for f, n in self.fallbacks.items()]
        lines += [f"  {way}: {n} copies, {self.copied_bytes[way]} bytes" for way, n in self.copies.items()]
        if self.events:
            lines.append("  " + ", ".join(f"{name} {n}" for name, n in sorted(self.events.items())))
        return "\n".join(lines)


def _most(item: tuple[str, int]) -> tuple[int, str]:
    return -item[1], item[0]


# Counters are dicts that hot paths bump in place: `OPS["numpy:0"]["add"] += 1` is one bytecode's worth of work.
# Two threads may lose a count to each other there; everything else counts under the lock.
OPS: defaultdict[str, Counter[str]] = defaultdict(Counter)
_fallbacks: Counter[Fallback] = Counter()
_copies: Counter[str] = Counter()
_bytes: Counter[str] = Counter()
_events: Counter[str] = Counter()
_sources: list[tuple[str, str, Callable[[], int]]] = []
_before: Counter[tuple[str, str]] = Counter()  # what the sources had counted at the last reset
_lock = Lock()


def add_source(device: str, op: str, calls: Callable[[], int]) -> None:
    """Something that counts calls of `op` on `device` by itself, ever since it was made."""
    _sources.append((device, op, calls))


def count(op: str, device: str, calls: int = 1) -> None:
    """`op` ran on `device`."""
    OPS[device][op] += calls


def count_all(ops: Mapping[str, int], device: str) -> None:
    """Each of `ops` ran on `device`, so often."""
    OPS[device].update(ops)


def count_fallback(fallback: Fallback) -> None:
    with _lock:
        _fallbacks[fallback] += 1


def count_copy(source: str, to: str, nbytes: int) -> None:
    """`nbytes` moved from device to device."""
    with _lock:
        _copies[f"{source} -> {to}"] += 1
        _bytes[f"{source} -> {to}"] += nbytes


def count_event(name: str) -> None:
    """Something worth knowing that is no op: `compile`, `retrace`, `kernel cache hit`."""
    with _lock:
        _events[name] += 1


def stats() -> Stats:
    """What ran where since the start or the last `reset_stats`."""
    with _lock:
        ops = {device: Counter(counts) for device, counts in OPS.items()}
        for device, op, calls in _sources:
            ops.setdefault(device, Counter())[op] += calls()
        for (device, op), calls in _before.items():
            ops[device][op] -= calls
        counted = {device: {op: n for op, n in counts.items() if n} for device, counts in ops.items()}
        return Stats(
            {d: c for d, c in counted.items() if c}, dict(_fallbacks), dict(_copies), dict(_bytes), dict(_events)
        )


def reset_stats() -> None:
    """Start counting again."""
    with _lock:
        _before.clear()
        for device, op, calls in _sources:
            _before[device, op] += calls()
        for counts in OPS.values():
            for op in counts:
                counts[op] = 0
        for counter in (_fallbacks, _copies, _bytes, _events):
            counter.clear()
