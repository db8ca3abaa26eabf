"""Calibrating a device: measure cases, fit rates, judge them on cases that were not fitted, write what was found."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from itertools import chain
from time import perf_counter

import numpy as np

from hetero.calibration.fit import BUCKET, Observation, Rates, by_byte, fit
from hetero.calibration.measure import FULL, QUICK, Bench, Clock, Copying, Progress, Timed
from hetero.calibration.samples import Case, cases
from hetero.errors import BackendError
from hetero.profile.profile import Efficiency, Profile, Source
from hetero.profile.quantity import Quantity
from hetero.scheduler.cost import Pass, Work, estimate, model_of, work_of
from hetero.select import device_of
from hetero.spi import Device

SOURCE = "calibrate"
HELD_OUT = 0.35  # cases to judge by, for each case to fit on
AGAIN = 1.25  # times slower than predicted: measured again, since noise only ever adds
CLASSES_BY_PARTS = (("conv",), ("conv_pointwise",), ("conv_depthwise",), ("elementwise", "transcendental", "normalise"))
DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "bfloat16", "float32",
    "float64", "complex64", "complex128",
)  # fmt: skip
# Other dtypes whose speed is not that of float32 in the ratio of the peaks.
EXTRA: Mapping[str, tuple[str, ...]] = {
    "float64": ("matmul", "cheap elementwise", "function", "conv"),
    "int32": ("matmul",),
    "int64": ("matmul",),
}
EXTRA_SHARE = 0.3
LEAST_SPREAD, MOST_SPREAD = 0.03, 0.9
MOST_EFFICIENCY = 1e3  # of a class that costs next to nothing


@dataclass(frozen=True, slots=True)
class Error:
    """How far predictions for a family of cases were from what was measured, relative."""

    family: str
    cases: int
    median: float
    p90: float
    bias: float  # the median with its sign: above zero, predictions are too slow


@dataclass(frozen=True)
class Calibration:
    """A device as it was measured, and how well its profile predicts cases that it was not fitted on."""

    profile: Profile
    errors: tuple[Error, ...]
    overall: Error
    copying: Copying | None  # with the host; None where the device is the host
    fitted: int
    seconds: float  # that it took


@dataclass(frozen=True, slots=True)
class Measured:
    """A case with its time."""

    family: str
    works: tuple[Work, ...]
    seconds: float


def calibrate(device: str | Device | None = None, *, quick: bool = False, progress: Progress | None = None) -> Profile:
    """The profile of a device of this machine, every value measured; `device` as for `hetero.use`."""
    return measure_device(device, quick=quick, progress=progress).profile


def profile_name(device: Device) -> str:
    """The name under which a device's profile is kept: `opencl-0`."""
    return f"{device.backend}-{device.index}"


def measure_device(
    device: str | Device | None = None,
    *,
    quick: bool = False,
    seed: int = 0,
    share: float = 1.0,
    progress: Progress | None = None,
    clock: Clock = perf_counter,
) -> Calibration:
    """Calibrate and judge. Cases to fit on and cases to judge by are drawn apart, and timed in the same rounds."""
    start = perf_counter()
    bench = Bench(device_of(device), clock)
    effort = QUICK if quick else FULL
    drawn = {d: list(_drawn(seed, quick, d, share)) for d in ("float32", *(() if quick else EXTRA)) if _has(bench, d)}
    judged = list(cases(seed + 1000, quick=quick, share=share * HELD_OUT))
    to_time = [c.graph for c in chain(*drawn.values(), judged)]
    timed = bench.measure(to_time, effort, progress)
    rest = iter(timed)
    fitted = {d: [next(rest) for _ in of_dtype] for d, of_dtype in drawn.items()}
    again = _outliers(drawn["float32"], fitted["float32"])
    bench.more(again, effort, progress)
    measured = {d: _measured(drawn[d], fitted[d]) for d in drawn}
    profile = _profile(bench.device, measured)
    held = list(rest)
    slow = [t for t in held if t.best > AGAIN * predict(_works(t), profile)]
    bench.more(slow, effort, progress)
    errors = judge(_measured(judged, held), profile)
    overall = errors[-1]
    copying = None if bench.device.host else bench.copying()
    return Calibration(profile, errors[:-1], overall, copying, len(fitted["float32"]), perf_counter() - start)


def _drawn(seed: int, quick: bool, dtype: str, share: float) -> Iterable[Case]:
    if dtype == "float32":
        return cases(seed, quick=quick, share=share)
    return cases(seed, quick=quick, dtype=dtype, share=share * EXTRA_SHARE, families=EXTRA[dtype])


def _has(bench: Bench, dtype: str) -> bool:
    return dtype not in bench.device.missing_dtypes


def _works(timed: Timed) -> tuple[Work, ...]:
    works = (work_of(timed.graph, node) for node in timed.graph.nodes)
    return tuple(replace(w, label="") for w in works if w.op_class != "view")


def _measured(drawn: Sequence[Case], timed: Sequence[Timed]) -> list[Measured]:
    return [Measured(c.family, _works(t), t.best) for c, t in zip(drawn, timed, strict=True)]


def predict(works: Iterable[Work], profile: Profile) -> float:
    """Seconds of all of them, one after the other."""
    return sum(estimate(w, profile).seconds.mid for w in works)


def judge(measured: Sequence[Measured], profile: Profile) -> tuple[Error, ...]:
    """Errors by family, and last of all cases."""
    off: dict[str, list[float]] = {}
    for m in measured:
        off.setdefault(m.family, []).append(predict(m.works, profile) / m.seconds - 1)
    off["all"] = [x for values in off.values() for x in values]
    return tuple(error(family, values) for family, values in off.items())


def error(family: str, off: Sequence[float]) -> Error:
    size = np.abs(off)
    return Error(family, len(off), float(np.median(size)), float(np.quantile(size, 0.9)), float(np.median(off)))


# -- from times to a profile ------------------------------------------------------------------------------------


def _passes(works: Iterable[Work], by_parts: Iterable[str]) -> tuple[Pass, ...]:
    chosen = set(by_parts)
    each = ((w.parts if w.parts and w.op_class in chosen else (w.whole,)) for w in works)
    return tuple(chain.from_iterable(each))


def _observed(measured: Iterable[Measured], by_parts: Iterable[str]) -> list[Observation]:
    return [Observation(_passes(m.works, by_parts), m.seconds) for m in measured if m.works]


def _outliers(drawn: Sequence[Case], timed: Sequence[Timed]) -> list[Timed]:
    """What took longer than a first fit says."""
    measured = _measured(drawn, timed)
    rates = fit(_observed(measured, chain(*CLASSES_BY_PARTS)))
    seconds = (rates.seconds(_passes(m.works, chain(*CLASSES_BY_PARTS))) for m in measured)
    return [t for t, s in zip(timed, seconds, strict=True) if t.best > AGAIN * s]


def by_parts(measured: Sequence[Measured]) -> tuple[str, ...]:
    """The classes that are predicted better part by part than as a whole, on cases left out of a fit in turns."""
    every = tuple(chain(*CLASSES_BY_PARTS))
    off = {way: _left_out(measured, every if way else ()) for way in (True, False)}
    chosen: list[str] = []
    for group in CLASSES_BY_PARTS:
        mine = [i for i, m in enumerate(measured) if any(w.op_class in group and w.parts for w in m.works)]
        if mine and np.median([off[True][i] for i in mine]) <= np.median([off[False][i] for i in mine]):
            chosen += group
    return tuple(chosen)


def _left_out(measured: Sequence[Measured], chosen: Sequence[str]) -> list[float]:
    """The error of each case under a fit on the other half."""
    halves = [fit(_observed(measured[k::2], chosen)) for k in (0, 1)]
    other = (halves[1 - i % 2].seconds(_passes(m.works, chosen)) for i, m in enumerate(measured))
    return [abs(s / m.seconds - 1) for s, m in zip(other, measured, strict=True)]


def _profile(device: Device, measured: Mapping[str, Sequence[Measured]]) -> Profile:
    """Peaks and bandwidth are the best that any case reached; efficiencies are parts of these."""
    main = measured["float32"]
    peaks = {d: _best(m, _op_rate) for d, m in measured.items() if d.startswith("float")}
    bandwidth = _bandwidth(main)
    chosen = by_parts(main)
    rates = fit(_observed(main, chosen))
    launch = min(rates.launch_s.values(), default=0.0)
    memory = _quantity(float(device.memory_bytes), "B", 0.0) if device.memory_bytes else None
    made = Profile(
        name=profile_name(device),
        title=f"{device.name}: {device.description}"[:200],
        kind="cpu",
        year=date.today().year,
        dtypes=tuple(d for d in DTYPES if d not in device.missing_dtypes),
        sources={SOURCE: Source("measured on this machine by `hetero calibrate`")},
        peak_op_per_s={d: _quantity(p, "op/s", LEAST_SPREAD) for d, p in peaks.items()},
        memory_byte=memory,
        memory_byte_per_s=_quantity(bandwidth, "B/s", LEAST_SPREAD),
        launch_s=_quantity(launch, "s", 0.5),
    )
    rows = list(_rows(rates, "*", made))
    for dtype, of_dtype in measured.items():
        if dtype != "float32":
            rows += _rows(fit(_observed(of_dtype, chosen)), dtype, made)
    return replace(made, efficiency=tuple(rows))


def _best(measured: Iterable[Measured], rate: Callable[[Work], float]) -> float:
    return max((rate(m.works[0]) / m.seconds for m in measured if len(m.works) == 1), default=0.0)


def _op_rate(work: Work) -> float:
    return work.op if work.op_class == "matmul" else 0.0


def _byte_rate(work: Work) -> float:
    return work.whole.byte if work.op_class == "movement" else 0.0


def _bandwidth(measured: Sequence[Measured]) -> float:
    """Of plain copies as large as there are: what fits a cache is quicker than memory."""
    for least in (1 << 25, 1 << 22, 1 << 16, 0):
        large = [m for m in measured if m.works and m.works[0].whole.byte >= least]
        best = _best(large, _byte_rate)
        if best:
            return best
    raise BackendError("nothing that only moves bytes ran: there is no bandwidth to tell", hint="report this")


def _rows(rates: Rates, dtype: str, profile: Profile) -> Iterable[Efficiency]:
    """For each class a row with its launch time, then one for each size with the part of the peak or bandwidth."""
    model = model_of(profile)
    peak, bandwidth = model.peak("float32" if dtype == "*" else dtype).mid, model.byte_per_s.mid
    for name in sorted(rates.rate):
        spread = min(max(rates.spread.get(name, MOST_SPREAD), LEAST_SPREAD), MOST_SPREAD)
        yield Efficiency(name, dtype, launch_s=_quantity(rates.launch_s[name], "s", spread))
        for bucket, rate in rates.rate[name].items():
            best = bandwidth if by_byte(name) else peak
            part = _quantity(1 / (max(rate, 1 / (MOST_EFFICIENCY * best)) * best), "1", spread)
            size = (bucket * BUCKET, (bucket + 1) * BUCKET)
            key = "memory" if by_byte(name) else "compute"
            yield Efficiency(name, dtype, size, **{key: part})


def _quantity(value: float, unit: str, uncertainty: float) -> Quantity:
    return Quantity(float(value), unit, SOURCE, date.today().year, "measured", uncertainty)
