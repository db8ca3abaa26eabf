"""`hetero calibrate`: measure the devices of this machine, and say how far predictions are off."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from hetero import registry
from hetero.calibration import Calibration, Error, Network, judge_apart, measure_device, save
from hetero.calibration.measure import Progress as Tell
from hetero.cli.common import Json, console, print_json, seconds_text
from hetero.errors import BackendError
from hetero.select import device_of
from hetero.spi import Device

Backend = Annotated[
    str | None, typer.Option("--backend", help="A device, or a backend for its first (default: all that are here).")
]
Quick = Annotated[bool, typer.Option("--quick", help="Fewer and smaller cases: half a minute, and a coarser profile.")]
Output = Annotated[
    Path | None, typer.Option("--output", help="File for the profile (default: the user's folder of profiles).")
]
Networks = Annotated[
    bool, typer.Option("--networks", help="Judge by whole networks too: onnx's nine light ones, and magika's.")
]


def calibrate(
    backend: Backend = None, quick: Quick = False, output: Output = None, networks: Networks = False, json: Json = False
) -> None:
    """Measure what the devices here can do, write their profiles, and show the error on ops that were not fitted.

    Example: hetero calibrate --backend numpy --quick
    """
    devices = _devices(backend)
    if output is not None and len(devices) > 1:
        raise BackendError(
            f"--output takes one profile, here are {len(devices)} devices",
            hint=f"name one: --backend {devices[0].name}",
        )
    shown: list[dict[str, Any]] = []
    for device in devices:
        with _progress(str(device), json) as tell:
            made = measure_device(device, quick=quick, progress=tell)
            path = save(made, output)
            if networks and tell:
                tell("networks, in a process of their own", 1.0)
            judged, over = judge_apart(made.profile, device) if networks else ((), None)
        if json:
            shown.append(_plain(made, path, judged, over))
        else:
            _show(device, made, path, judged, over)
    if json:
        print_json({"devices": shown})


def _devices(name: str | None) -> list[Device]:
    """The one asked for, else the first of every backend that has one; a simulated one has no speed."""
    if name is not None:
        return [device_of(name)]
    firsts = [found.devices[0] for found in map(registry.probe, registry.available()) if found.devices]
    return [d for d in firsts if not d.simulated]


@contextmanager
def _progress(name: str, quiet: bool) -> Generator[Tell | None, None, None]:
    if quiet:
        yield None
        return
    columns = (TextColumn("{task.fields[device]}  {task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("compile", total=1.0, device=name)

        def tell(what: str, done: float) -> None:
            bar.update(task, description=what, completed=done)

        yield tell


def _show(device: Device, made: Calibration, path: Path, judged: Sequence[Network], over: Error | None) -> None:
    out, p = console(), made.profile
    out.print(f"{device}  {device.description}")
    for dtype, peak in p.peak_op_per_s.items():
        out.print(f"  peak {dtype:12} {peak.value / 1e9:9.1f} Gop/s")
    if p.memory_byte_per_s is not None:
        out.print(f"  memory bandwidth  {p.memory_byte_per_s.value / 1e9:9.1f} GB/s")
    if made.copying is not None:
        rate, latency = made.copying.byte_per_s / 1e9, seconds_text(made.copying.latency_s)
        out.print(f"  copies            {rate:9.1f} GB/s to and from the host, {latency} latency")
    out.print(f"  fitted on {made.fitted} cases in {made.seconds:.0f} s, written to {path}\n", soft_wrap=True)
    table = Table("not fitted on", "cases", "median error", "90 % within", "bias", box=None, pad_edge=False)
    for e in (*made.errors, made.overall):
        style = "bold" if e is made.overall else None
        table.add_row(e.family, str(e.cases), _percent(e.median), _percent(e.p90), f"{e.bias:+.0%}", style=style)
    out.print(table)
    if over is not None:
        out.print()
        out.print(_networks_table(judged, over))
    out.print()


def _networks_table(judged: Sequence[Network], over: Error) -> Table:
    table = Table("network", "predicted", "from", "to", "measured", "error", box=None, pad_edge=False)
    for n in judged:
        times = (n.predicted.mid, n.predicted.low, n.predicted.high, n.seconds)
        table.add_row(n.name, *map(seconds_text, times), f"{n.off:+.0%}")
    table.add_row("median", "", "", "", "", _percent(over.median), style="bold")
    return table


def _percent(x: float) -> str:
    return f"{x:.1%}"


def _plain(made: Calibration, path: Path, judged: Sequence[Network], over: Error | None) -> dict[str, Any]:
    p = made.profile
    out: dict[str, Any] = {
        "name": p.name,
        "title": p.title,
        "path": str(path),
        "peak_op_per_s": {d: q.value for d, q in p.peak_op_per_s.items()},
        "memory_byte_per_s": p.memory_byte_per_s.value if p.memory_byte_per_s else None,
        "copy": asdict(made.copying) if made.copying else None,
        "fitted": made.fitted,
        "seconds": made.seconds,
        "errors": [asdict(e) for e in made.errors],
        "overall": asdict(made.overall),
    }
    if over is not None:
        out["networks"] = [
            {"name": n.name, "predicted_s": asdict(n.predicted), "measured_s": n.seconds, "error": n.off}
            for n in judged
        ]
        out["networks_overall"] = asdict(over)
    return out
