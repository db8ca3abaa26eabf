"""A profile made ready for asking: rates by class of op, dtype and size, with defaults for what it does not say."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from hetero.profile.profile import Efficiency, Profile
from hetero.profile.quantity import Interval, Quantity, interval
from hetero.scheduler.cost_default import KINDS, LADDER, NO_PEAK, PARTS, SLOWER, assumed
from hetero.scheduler.cost_work import Pass, Work

ZERO = Interval(0.0, 0.0, 0.0)
LEAST_W = 1e-6  # between idle and full load: a profile whose two powers overlap still spends something


@dataclass(frozen=True, slots=True)
class Rate:
    """What one launch, one operation and one byte take."""

    launch_s: Interval
    second_per_op: Interval
    second_per_byte: Interval


class Model:
    """One profile. Compared by identity, so that it is a cheap key of caches."""

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self._kind = KINDS[profile.kind]
        self._curves = _curves(profile)
        self._classes = {op_class for op_class, _ in self._curves}
        self._rates: dict[tuple[str, str, float], Rate] = {}

    # -- what the profile says, or what is assumed ----------------------------------------------------------

    @cached_property
    def byte_per_s(self) -> Interval:
        return self._or(self.profile.memory_byte_per_s, self._kind.memory_byte_per_s, "B/s")

    @cached_property
    def launch_s(self) -> Interval:
        return self._or(self.profile.launch_s, self._kind.launch_s, "s")

    @cached_property
    def static_w(self) -> Interval:
        return self._or(self.profile.static_w, self._kind.static_w, "W")

    @cached_property
    def dynamic_w(self) -> Interval:
        """Power under full load above that of a device that does nothing."""
        p = self.profile
        if p.active_w is not None and p.static_w is None:
            ratio = self._kind.static_w / self._kind.active_w
            return interval(p.active_w) * interval(assumed(1 - ratio, "1"))
        if p.active_w is None:
            above = self._kind.active_w - self._kind.static_w
            return interval(assumed(above, "W"))
        active, static = interval(p.active_w), self.static_w
        mid = max(active.mid - static.mid, LEAST_W)
        return Interval(min(max(active.low - static.high, 0.0), mid), mid, max(active.high - static.low, mid))

    def joule_per_op(self, dtype: str) -> Interval | None:
        q = self.profile.joule_per_op.get(dtype)
        return None if q is None else interval(q)

    @cached_property
    def joule_per_byte(self) -> Interval | None:
        q = self.profile.joule_per_byte
        return None if q is None else interval(q)

    def peak(self, dtype: str) -> Interval:
        """Operations a second in `dtype`; where the profile gives none, in the nearest dtype that it gives."""
        peaks = self.profile.peak_op_per_s
        for name in (dtype, *LADDER.get(dtype, ())):
            if name in peaks:
                return interval(peaks[name]).scale(SLOWER.get((dtype, name), 1.0))
        best = self.profile.best_dtype
        return interval(peaks[best]) if best else interval(assumed(NO_PEAK, "op/s", 0.9))

    def assumed(self, dtype: str) -> tuple[str, ...]:
        """Names of what a roofline needs and the profile does not give."""
        keys = ("memory_byte_per_s", "launch_s")
        out = [k for k in keys if getattr(self.profile, k) is None]
        if dtype not in self.profile.joule_per_op:
            out += [k for k in ("static_w", "active_w") if getattr(self.profile, k) is None]
        if dtype not in self.profile.peak_op_per_s:
            out.append(f"peak_op_per_s.{dtype}")
        return tuple(out)

    def _or(self, q: Quantity | None, value: float, unit: str) -> Interval:
        return interval(q if q is not None else assumed(value, unit))

    # -- rates ----------------------------------------------------------------------------------------------

    def passes(self, work: Work) -> tuple[Pass, ...]:
        """The parts of the work where the profile has rows for every one of them, else the work as a whole."""
        if work.parts and all(self._measured(p.op_class, work.op_class) for p in work.parts):
            return work.parts
        return (work.whole,)

    def _measured(self, op_class: str, whole: str) -> bool:
        """Whether there are rows for this pass; those of the whole work's class say nothing of its parts."""
        return any(name in self._classes for name in beginnings(op_class) if name != whole)

    def rate(self, op_class: str, dtype: str, size: float) -> Rate:
        """For one class, dtype and log2 of the size. Rows that give an efficiency for compute or for memory alone say
        that the other never decides; where no row gives either, both are assumed."""
        key = (op_class, dtype, size)
        found = self._rates.get(key)
        if found is None:
            found = self._rates[key] = self._rate(op_class, dtype, size)
        return found

    def _rate(self, op_class: str, dtype: str, size: float) -> Rate:
        curve = self._curve(op_class, dtype)
        compute, memory, launch = curve.at(size) if curve else (None, None, None)
        if compute is None and memory is None:
            part, of_bandwidth = PARTS.get(op_class.partition(".")[0], PARTS["other"])
            compute = interval(assumed(min(part * self._kind.compute, 1.0), "1"))
            memory = interval(assumed(min(of_bandwidth * self._kind.memory, 1.0), "1"))
        return Rate(
            launch if launch is not None else self.launch_s,
            1.0 / (self.peak(dtype) * compute) if compute is not None else ZERO,
            1.0 / (self.byte_per_s * memory) if memory is not None else ZERO,
        )

    def _curve(self, op_class: str, dtype: str) -> Curve | None:
        """Of the class or its nearest beginning, for the dtype or any; at last the row for everything."""
        for name in (*beginnings(op_class), "*"):
            for kind in (dtype, "*"):
                if (name, kind) in self._curves:
                    return self._curves[name, kind]
        return None


def beginnings(op_class: str) -> Iterator[str]:
    """`a.b.c`, `a.b`, `a`"""
    while op_class:
        yield op_class
        op_class = op_class.rpartition(".")[0]


class Curve:
    """The rows of one class and dtype over size: at the middle of each bucket what it says, between two on a line."""

    def __init__(self, rows: list[Efficiency]) -> None:
        sized = sorted((r for r in rows if r.size is not None), key=_middle)
        self._everywhere = next((r for r in rows if r.size is None), None)
        self._at = [_middle(r) for r in sized]
        self._rows = sized

    def at(self, size: float) -> tuple[Interval | None, Interval | None, Interval | None]:
        """compute, memory, launch_s"""
        rows, base = self._rows, self._everywhere
        if not rows:
            assert base is not None
            return _of(base, "compute"), _of(base, "memory"), _of(base, "launch_s")
        k = bisect_left(self._at, size)
        a, b = rows[max(k - 1, 0)], rows[min(k, len(rows) - 1)]
        low, high = self._at[max(k - 1, 0)], self._at[min(k, len(rows) - 1)]
        t = (size - low) / (high - low) if high > low else 0.0
        return tuple(_between(a, b, base, key, t) for key in ("compute", "memory", "launch_s"))  # pyright: ignore[reportReturnType]


def _middle(row: Efficiency) -> float:
    assert row.size is not None
    return (row.size[0] + row.size[1]) / 2


def _of(row: Efficiency | None, key: str) -> Interval | None:
    q: Quantity | None = getattr(row, key) if row is not None else None
    return None if q is None else interval(q)


def _between(a: Efficiency, b: Efficiency, base: Efficiency | None, key: str, t: float) -> Interval | None:
    """Between two rows the time is on a line: an efficiency's reciprocal, a launch time itself."""
    x, y = _of(a, key) or _of(base, key), _of(b, key) or _of(base, key)
    if x is None or y is None:
        return x or y
    ends = ((x.low, y.low), (x.mid, y.mid), (x.high, y.high))
    if key == "launch_s":
        return Interval(*(p + (q - p) * t for p, q in ends))
    return Interval(*(1 / ((1 - t) / p + t / q) for p, q in ends))


def _curves(profile: Profile) -> Mapping[tuple[str, str], Curve]:
    groups: dict[tuple[str, str], list[Efficiency]] = {}
    for row in profile.efficiency:
        groups.setdefault((row.op_class, row.dtype), []).append(row)
    return {key: Curve(rows) for key, rows in groups.items()}


_models: dict[int, Model] = {}
_KEPT = 256


def model_of(profile: Profile) -> Model:
    """The model of a profile, made once: found by identity, which the model itself keeps alive."""
    found = _models.get(id(profile))
    if found is None or found.profile is not profile:
        if len(_models) >= _KEPT:
            _models.clear()
        found = _models[id(profile)] = Model(profile)
    return found


__all__ = ["Curve", "Model", "Rate", "beginnings", "model_of"]
