"""hetero against what a person would use instead, turn by turn in one process.

python -m benchmarks.performance                      the table, from a run on this machine
python -m benchmarks.performance --only gelu --json   one of its rows
python -m benchmarks.performance --write all          docs/performance.md's table made anew
python -m benchmarks.performance --only opencl --write "PoCL 3.1"     its table of that runtime
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, TypeAlias

import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.peers_rows import ROWS, Row
from benchmarks.ratio import quiet
from hetero import registry
from hetero.errors import HeteroError

DOCS = Path(__file__).parent.parent / "docs" / "performance.md"
END = "<!-- end of table -->"
COLUMNS = ("what", "on", "against", "times its speed", "quartiles", "by CPU time", "bar", "met")
PEERS = ("jax", "torch", "onnxruntime", "openvino", "tinygrad", "numexpr", "array-api-strict", "pyopencl")
TURNS = 15
MORE = 4  # times as many turns, where the machine is noisy
NARROW = 1.15  # the upper quartile over the lower one, of a row that needs no more turns
SECONDS = 30.0  # for the turns of one row


Turn: TypeAlias = tuple[float, float]  # seconds of a call: on the clock, and of the processor
Pair: TypeAlias = tuple[Turn, Turn]  # ours, and the peer's beside it


@dataclass(frozen=True, slots=True)
class Found:
    """A row as measured. `times`: the peer's time over hetero's, the median of turns side by side; `cpu`: that of
    median CPU times."""

    what: str
    device: str
    peer: str
    bar: float
    times: float = 0.0
    cpu: float = 0.0
    spread: tuple[float, float] = (0.0, 0.0)  # quartiles of `times`
    seconds: float = 0.0  # hetero's, median
    over: float = 0.0  # seconds an op beyond the peer's
    most: float = 0.0  # the bar of these, where there is one
    missing: str = ""

    @property
    def met(self) -> bool | None:
        if self.missing or not (self.bar or self.most):
            return None
        return self.over <= self.most if self.most else self.times >= self.bar


def measured(row: Row, turns: int = TURNS) -> Found:
    """Ours and the peer's in turn, so that a noisy machine is noisy for both; none while the other's threads spin."""
    try:
        ours, theirs = row.pair(row.device)
    except (HeteroError, ImportError) as e:
        return Found(row.what, row.device, row.peer, row.bar, missing=str(e).splitlines()[0])
    bar = row.better or row.bar if on_better_runtime() else row.bar

    def turn(call: Callable[[], Any]) -> Turn:
        quiet()
        found = _turn(call, row.number)
        row.settle()
        return found

    for call in (ours, theirs) * min(2, turns):
        turn(call)
    pairs: list[Pair] = []
    until = time.perf_counter() + SECONDS
    while len(pairs) < min(3, turns) or (time.perf_counter() < until and _more(pairs, turns)):
        first = turn(theirs) if len(pairs) % 2 else None  # each begins every other time
        pairs.append((turn(ours), first or turn(theirs)))
    (own, own_cpu), (peer, peer_cpu) = (_medians([p[k] for p in pairs]) for k in (0, 1))
    times, over = statistics.median(_quotients(pairs)), (own - peer) / row.ops
    return Found(
        row.what, row.device, row.peer, bar, times, peer_cpu / own_cpu, _quartiles(pairs), own, over, row.over
    )  # fmt: skip


def _more(pairs: Sequence[Pair], turns: int) -> bool:
    """Whether a row needs more turns than it had: `turns`, and more where they differ; one by itself does not."""
    low, high = _quartiles(pairs)
    return len(pairs) < turns or (high > NARROW * low and len(pairs) < MORE * turns)


def _quotients(pairs: Sequence[Pair]) -> list[float]:
    """The time of the peer over that of hetero, of turns side by side: what drifts, drifts for both."""
    return [theirs[0] / ours[0] for ours, theirs in pairs]


def _quartiles(pairs: Sequence[Pair]) -> tuple[float, float]:
    quotients = sorted(_quotients(pairs))
    quarter = len(quotients) // 4
    return quotients[quarter], quotients[-1 - quarter]


def on_better_runtime() -> bool:
    """Whether OpenCL is driven by something else than the PoCL that pip brings."""
    devices = registry.probe("opencl").devices
    return bool(devices) and "pocl 3.0" not in devices[0].description.lower()


def _apart(k: int) -> Found:
    """A row in a process of its own: threads and memory of the one before have no part in it."""
    command = [sys.executable, "-m", "benchmarks.performance", "--row", str(k)]
    made = subprocess.run(command, capture_output=True, text=True)
    if made.returncode:
        raise SystemExit(f"{ROWS[k].what}: {made.stderr}")
    said = json.loads(made.stdout.splitlines()[-1])
    return Found(**said | {"spread": tuple(said["spread"])})


def _turn(call: Callable[[], Any], number: int) -> Turn:
    """Seconds of one call, on the clock and of the processor."""
    wall, cpu = time.perf_counter(), time.process_time()
    for _ in range(number):
        call()
    return (time.perf_counter() - wall) / number, (time.process_time() - cpu) / number


def _medians(turns: Sequence[Turn]) -> tuple[float, float]:
    return statistics.median(t[0] for t in turns), max(statistics.median(t[1] for t in turns), 1e-9)


def versions() -> str:
    """What was compared, and on what."""
    import numpy as np

    found: list[str] = []
    for name in PEERS:
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            found.append(f"{name} not installed")
    opencl = registry.probe("opencl")
    where = opencl.devices[0].description if opencl.devices else "no OpenCL device"
    machine = f"{os.cpu_count()} cores, {_processor()}, Python {platform.python_version()}, NumPy {np.__version__}"
    return f"{time.strftime('%Y-%m-%d')}, {machine}, {', '.join(found)}; OpenCL: {where}"


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def markdown(found: Sequence[Found]) -> str:
    head = [f"| {' | '.join(COLUMNS)} |", "| --- " * len(COLUMNS) + "|"]
    return "\n".join([*head, *(f"| {' | '.join(_cells(f))} |" for f in found)])


def _cells(f: Found) -> list[str]:
    bar = f"{f.bar:.2f}" if f.bar else f"{f.most * 1e6:.2g} us an op over" if f.most else "stated"
    if f.missing:
        return [f.what, f.device, f.peer, f"not measured: {f.missing}", "", "", bar, ""]
    met = {True: "yes", False: "no", None: ""}[f.met]
    spread = f"{f.spread[0]:.2f} to {f.spread[1]:.2f}"
    times = f"{f.over * 1e6:.2f} us an op over" if f.most else f"{f.times:.2f}"
    return [f.what, f.device, f.peer, times, spread, f"{f.cpu:.2f}", bar, met]


def main(
    only: Annotated[str, typer.Option(help="Rows whose text holds this.")] = "",
    write: Annotated[str, typer.Option(help="Put the table into docs/performance.md, in place of this one.")] = "",
    row: Annotated[int, typer.Option(hidden=True)] = -1,
    as_json: Annotated[bool, typer.Option("--json", help="The figures as JSON.")] = False,
) -> None:
    """Ratios to peers, measured now. Example: python -m benchmarks.performance --only "layer norm\""""
    if row >= 0:
        print(json.dumps(asdict(measured(ROWS[row]))))
        return
    chosen = [k for k, r in enumerate(ROWS) if only.lower() in f"{r.what} {r.device} {r.peer}".lower()]
    found = [_apart(k) for k in track(chosen, "measuring", console=Console(stderr=True))]
    if as_json:
        print(json.dumps({"machine": versions(), "rows": [asdict(f) | {"met": f.met} for f in found]}, indent=1))
        return
    table = Table(*COLUMNS, box=None)
    for f in found:
        table.add_row(*_cells(f))
    Console(width=160).print(table, versions())
    if write:
        text = DOCS.read_text("utf-8")
        start = f"<!-- table: {write} -->"
        before, found_it, rest = text.partition(start)
        if not found_it:
            raise SystemExit(f"{DOCS} has no line {start}")
        after = rest.partition(END)[2]
        DOCS.write_text(f"{before}{start}\n\nMeasured {versions()}.\n\n{markdown(found)}\n\n{END}{after}", "utf-8")


if __name__ == "__main__":
    typer.run(main)
