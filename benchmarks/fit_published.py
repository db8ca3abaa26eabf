"""How well the roofline predicts published measurements on a device that it was not fitted on.

    python benchmarks/fit_published.py [--json] [--sensitivity]

Each device is left out in turn. On the others are fitted: the part of the peak that a kind of device reaches, and what
each software stack adds (a time a run, a time a kernel, a factor). The device left out is then predicted from its
profile alone: peak, bandwidth, launch time and kind.

    seconds = stack_s + kernels * (kernel_s of the stack + launch_s) + max(op / (peak * a), byte / (bandwidth * b)) / c
    a, b: efficiencies of the kind of device for compute and memory;  c: how good the stack is, 1 when not known

A *pair* is one workload (network, batch, dtype) that the device left out and another device both ran with the same
software stack; several submissions of the same thing count once, as their median. It is right when the predicted times
stand in the measured order. Both members of a pair are left out in their turn, so each pair is judged twice.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table
from scipy.optimize import least_squares

from hetero.profile import Profile, Quantity, load

DATA = Path(__file__).parent / "data" / "published-fit.json"
ITEM_BYTE = {"float32": 4, "float16": 2, "int8": 1}
FAMILY = {
    "gpu": "gpu",
    "soc": "gpu",
    "cpu": "cpu",
    "mcu": "mcu",
    "npu": "gpu",
}  # what is alike enough to share efficiencies


@dataclass(frozen=True, slots=True)
class Row:
    """One measured time and the work that was done in it."""

    dataset: str
    device: str
    stack: str
    workload: tuple[str, str, str]  # network, batch, dtype
    seconds: float
    op: float
    byte: float
    kernels: float
    runs: float  # 1, or the part of a run that one sample of an offline batch is


@dataclass(frozen=True, slots=True)
class Prior:
    """What a parameter is taken to be where no row says anything: exp(mean), give or take a factor of exp(spread)."""

    mean: float
    spread: float


# One for each sort of parameter; the same for every device, chosen before looking at any error.
PRIORS = {
    "compute": Prior(math.log(0.4), 0.7),  # part of the peak
    "memory": Prior(math.log(0.7), 0.3),  # part of the bandwidth
    "factor": Prior(0.0, 0.4),
    "run_s": Prior(math.log(20e-6), 2.0),
    "kernel_s": Prior(math.log(2e-6), 2.0),
}
NOISE = 0.15  # relative spread of published times around the model, as the cost model's own target
VOTE = 8  # every device weighs as much as so many rows, however many it has

Key = tuple[str, str]
Column = NDArray[np.float64]


def rows_of(data: dict[str, Any], which: str = "rows") -> list[Row]:
    """One row for each device, stack and workload: the median of its submissions."""
    seconds: dict[tuple[str, str, str, tuple[str, str, str]], list[float]] = defaultdict(list)
    for r in data[which]:
        seconds[r["dataset"], r["device"], r["stack"], (r["workload"], str(r["batch"]), r["dtype"])].append(
            r["seconds"]
        )
    return [_row(*key, statistics.median(times), data) for key, times in seconds.items()]


def _row(dataset: str, device: str, stack: str, workload: tuple[str, str, str], seconds: float, data: Any) -> Row:
    work = data["workloads"][workload[0]]
    offline = workload[1] == "offline"
    batch = data["offline_batch"] if offline else int(workload[1])
    share = 1 / batch if offline else 1.0  # an offline row is the time of one sample out of a batch
    byte = ITEM_BYTE[workload[2]] * (work["weights"] + 2 * batch * work["activations"])
    op, kernels = batch * share * work["op"], share * work["kernels"]
    return Row(dataset, device, stack, workload, seconds, op, share * byte, kernels, share)


SORTS = {"compute": "device", "memory": "device", "factor": "stack", "run_s": "stack", "kernel_s": "stack"}


def key_of(sort: str, row: Row, profile: Profile) -> Key:
    """The parameter of that sort in a row's prediction: efficiencies are the family's, the rest is the stack's."""
    return sort, FAMILY[profile.kind] if SORTS[sort] == "device" else row.stack


class Predictor:
    """The model on some rows, as arrays: what their profiles and their work say, and which parameters they take."""

    def __init__(self, rows: Sequence[Row], profiles: dict[str, Profile]) -> None:
        told = [profiles[r.device] for r in rows]
        self.of = {sort: [key_of(sort, r, p) for r, p in zip(rows, told, strict=True)] for sort in SORTS}
        self.runs, self.kernels = _array(r.runs for r in rows), _array(r.kernels for r in rows)
        self.launch_s = _array(_value(p.launch_s) for p in told)
        at_peak = (r.op / p.peak_op_per_s[r.workload[2]].value for r, p in zip(rows, told, strict=True))
        self.compute_s = _array(at_peak)
        self.memory_s = _array(r.byte / _value(p.memory_byte_per_s) for r, p in zip(rows, told, strict=True))

    def seconds(self, parameters: dict[Key, float]) -> Column:
        """The time of each row; a parameter that is not given is its prior."""
        take = {
            sort: np.exp(_array(parameters.get(key, PRIORS[sort].mean) for key in keys))
            for sort, keys in self.of.items()
        }
        work = np.maximum(self.compute_s / take["compute"], self.memory_s / take["memory"]) / take["factor"]
        return self.runs * take["run_s"] + self.kernels * (take["kernel_s"] + self.launch_s) + work


def _array(values: Iterable[float]) -> Column:
    return np.fromiter(values, np.float64)


def _value(q: Quantity | None) -> float:
    assert q is not None, "the profiles of this benchmark have a bandwidth and a launch time"
    return q.value


def fit(rows: Sequence[Row], profiles: dict[str, Profile]) -> dict[Key, float]:
    """The parameters that explain the rows best, each device having one vote, held by their priors."""
    model = Predictor(rows, profiles)
    keys = sorted({key for of in model.of.values() for key in of})
    count = Counter(r.device for r in rows)
    weights = _array(math.sqrt(VOTE / count[r.device]) for r in rows) / NOISE
    measured = np.log(_array(r.seconds for r in rows))
    means, spreads = _array(PRIORS[k[0]].mean for k in keys), _array(PRIORS[k[0]].spread for k in keys)

    def residuals(x: Column) -> Column:
        found = np.log(model.seconds(dict(zip(keys, x.tolist(), strict=True))))
        return np.concatenate([weights * (found - measured), (x - means) / spreads])

    return dict(zip(keys, least_squares(residuals, means, loss="soft_l1").x.tolist(), strict=True))


@dataclass(frozen=True, slots=True)
class Pair:
    """A workload that two devices ran with one stack. `left_out` was predicted without having been fitted on."""

    dataset: str
    workload: tuple[str, str, str]
    left_out: str
    other: str
    measured: float  # seconds of left_out / seconds of other
    predicted: float

    @property
    def right(self) -> bool:
        return (self.measured < 1) == (self.predicted < 1)


@dataclass(frozen=True, slots=True)
class Result:
    errors: dict[tuple[str, str], list[float]]  # (dataset, device) -> relative errors of the rows when left out
    pairs: list[Pair]


def leave_one_out(rows: Sequence[Row], profiles: dict[str, Profile], across: bool = False) -> Result:
    """Errors and pairs. `across`: pairs of the fastest time of each device, whatever the stacks."""
    errors: dict[tuple[str, str], list[float]] = defaultdict(list)
    pairs: list[Pair] = []
    judged = set(_fastest(rows) if across else rows)
    for device in dict.fromkeys(r.device for r in rows):
        fitted = fit([r for r in rows if r.device != device], profiles)
        found = dict(zip(rows, Predictor(rows, profiles).seconds(fitted).tolist(), strict=True))
        for row in (r for r in rows if r.device == device):
            errors[row.dataset, device].append(abs(found[row] - row.seconds) / row.seconds)
            pairs += [
                Pair(row.dataset, row.workload, device, o.device, row.seconds / o.seconds, found[row] / found[o])
                for o in rows
                if o.device != device and {row, o} <= judged and _same_work(row, o) and (across or row.stack == o.stack)
            ]
    return Result(dict(errors), pairs)


def _same_work(a: Row, b: Row) -> bool:
    return (a.dataset, a.workload) == (b.dataset, b.workload)


def _fastest(rows: Sequence[Row]) -> list[Row]:
    best: dict[tuple[str, str, tuple[str, str, str]], Row] = {}
    for r in sorted(rows, key=lambda r: r.seconds):
        best.setdefault((r.dataset, r.device, r.workload), r)
    return list(best.values())


def summary(result: Result) -> dict[str, Any]:
    """The table as plain data."""
    table = []
    for (dataset, device), errors in result.errors.items():
        mine = [p for p in result.pairs if p.dataset == dataset and p.left_out == device]
        table.append(
            {
                "dataset": dataset,
                "device": device,
                "rows": len(errors),
                "median_error": statistics.median(errors),
                "pairs_right": sum(p.right for p in mine),
                "pairs": len(mine),
            }
        )
    right, total = sum(p.right for p in result.pairs), len(result.pairs)
    return {
        "rows": table,
        "median_error": statistics.median(e for errors in result.errors.values() for e in errors),
        "pairs_right": right,
        "pairs": total,
        "share_right": right / total,
        "wrong": [
            {"left_out": p.left_out, "other": p.other, "workload": list(p.workload), "measured_ratio": p.measured,
             "predicted_ratio": p.predicted}
            for p in result.pairs if not p.right
        ],
    }  # fmt: skip


def run() -> dict[str, Any]:
    """The summary on published-fit.json, and on that with the measurements that the device list quotes."""
    data = json.loads(DATA.read_text())
    rows = rows_of(data)
    more = rows + rows_of(data, "more")
    profiles = {name: load(name) for name in {r.device for r in more}}
    return {
        "published": summary(leave_one_out(rows, profiles)),
        "published_across_stacks": summary(leave_one_out(rows, profiles, across=True)),
        "with_more": summary(leave_one_out(more, profiles)),
    }


def sensitivity() -> list[dict[str, Any]]:
    """The pairs that are right when one fact of one profile is at an end of its own uncertainty."""
    rows = rows_of(json.loads(DATA.read_text()))
    profiles = {name: load(name) for name in {r.device for r in rows}}
    found: list[dict[str, Any]] = []
    for name in sorted(profiles):
        for fact, changed in _variants(profiles[name]):
            result = summary(leave_one_out(rows, profiles | {name: changed}))
            found.append({"device": name, "fact": fact, "pairs_right": result["pairs_right"], "pairs": result["pairs"]})
    return found


def _variants(p: Profile) -> Iterable[tuple[str, Profile]]:
    for end in ("low", "high"):
        for fact in ("launch_s", "memory_byte_per_s"):
            yield f"{fact} {end}", replace(p, **{fact: _at(getattr(p, fact), end)})
        yield f"peak {end}", replace(p, peak_op_per_s={d: _at(q, end) for d, q in p.peak_op_per_s.items()})


def _at(q: Quantity, end: str) -> Quantity:
    return replace(q, value=q.low if end == "low" else q.high)


def show_sensitivity(found: list[dict[str, Any]]) -> None:
    table = Table("device", "fact at an end of its uncertainty", "pairs right", box=None, pad_edge=False)
    for f in found:
        table.add_row(f["device"], f["fact"], f"{f['pairs_right']} of {f['pairs']}")
    Console(highlight=False).print(table)


def show(result: dict[str, Any], title: str) -> None:
    columns = ("dataset", "device left out", "rows", "median error", "pairs right")
    table = Table(*columns, title=title, title_justify="left", box=None, pad_edge=False)
    for r in result["rows"]:
        pairs = f"{r['pairs_right']} of {r['pairs']}" if r["pairs"] else "-"
        table.add_row(r["dataset"], r["device"], str(r["rows"]), f"{r['median_error']:.0%}", pairs)
    share = f"{result['pairs_right']} of {result['pairs']} ({result['share_right']:.0%})"
    table.add_row("all", "", str(sum(r["rows"] for r in result["rows"])), f"{result['median_error']:.0%}", share)
    console = Console(highlight=False)
    console.print(table)
    for w in result["wrong"]:
        console.print(
            f"  wrong: {w['left_out']} against {w['other']} on {' '.join(w['workload'])}: "
            f"measured {w['measured_ratio']:.2f} times its time, predicted {w['predicted_ratio']:.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description="Fit the roofline on published measurements, one device left out.")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--sensitivity", action="store_true", help="move each fact of each profile to its ends")
    if parser.parse_args().sensitivity:
        found = sensitivity()
        print(json.dumps(found, indent=2)) if parser.parse_args().json else show_sensitivity(found)
        return
    result = run()
    if parser.parse_args().json:
        print(json.dumps(result, indent=2))
        return
    show(result["published"], "published-fit.json")
    show(result["published_across_stacks"], "the same, fastest time of each device whatever its software")
    show(result["with_more"], "with the measurements that the device list quotes")


if __name__ == "__main__":
    main()
