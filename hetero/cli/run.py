"""`hetero run`: a model on a device."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.table import Table

from hetero.cli.common import (
    Inputs,
    Json,
    Model,
    Seed,
    Sizes,
    console,
    file_names,
    gather_inputs,
    load_model,
    print_json,
    seconds_text,
)  # fmt: skip
from hetero.counters import Stats, reset_stats, stats
from hetero.dim import show
from hetero.errors import GraphError
from hetero.op import Array
from hetero.select import device_of

Backend = Annotated[
    str | None, typer.Option("--backend", help="Device to run on (default: HETERO_BACKEND, else numpy).")
]


def run(
    model: Model,
    input: Inputs = None,
    random: Seed = None,
    size: Sizes = None,
    backend: Backend = None,
    output: Annotated[Path | None, typer.Option(help="Folder for the outputs, one .npy each.")] = None,
    json: Json = False,
) -> None:
    """Run a model and show its outputs, where the ops ran and what was copied.

    Example: hetero run model.onnx --random 0 --backend opencl --output results
    """
    graph = load_model(model)
    feed = gather_inputs(graph, input, random, size)
    device = device_of(backend)
    graph.run(feed, device=device.name)  # compiles; the second run is the one that is timed
    reset_stats()
    start = time.perf_counter()
    outs = graph.run(feed, device=device.name)
    seconds = time.perf_counter() - start
    did = stats()
    written = _write(outs, output) if output else {}
    if json:
        print_json(_report(device.name, seconds, outs, did, written))
        return
    _show(device.name, seconds, outs, did, written)


def _write(outs: dict[str, Array], folder: Path) -> dict[str, str]:
    names = file_names(list(outs))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, array in outs.items():
            np.save(folder / f"{names[name]}.npy", array, allow_pickle=False)
    except (OSError, ValueError) as e:
        raise GraphError(f"cannot write outputs to {folder}: {e}", hint="choose a folder that can be written to") from e
    return {name: str(folder / f"{stem}.npy") for name, stem in names.items()}


def _report(device: str, seconds: float, outs: dict[str, Array], did: Stats, written: dict[str, str]) -> dict[str, Any]:
    return {
        "device": device,
        "seconds": seconds,
        "seconds_status": "measured, second run",
        "outputs": {
            n: {"dtype": a.dtype.name, "shape": list(a.shape), "file": written.get(n), "min": _edge(a, np.min),
                "max": _edge(a, np.max)}
            for n, a in outs.items()
        },
        "ops": did.ops,
        "fallbacks": [{"op": f.op, "wanted": f.wanted, "ran_on": f.ran_on, "reason": f.reason, "times": n}
                      for f, n in did.fallbacks.items()],
        "copies": did.copies,
        "copied_bytes": did.copied_bytes,
    }  # fmt: skip


def _edge(array: Array, of: Any) -> float | None:
    """Smallest or largest value; None where there is none, or none that JSON has."""
    if not array.size or array.dtype.kind in "cV":
        return None
    value = float(of(array))
    return value if np.isfinite(value) else None


def _show(device: str, seconds: float, outs: dict[str, Array], did: Stats, written: dict[str, str]) -> None:
    out = console()
    table = Table("output", "dtype", "shape", "min", "max", "file", box=None, pad_edge=False)
    for name, a in outs.items():
        low, high = _edge(a, np.min), _edge(a, np.max)
        numbers = ["-" if v is None else f"{v:.6g}" for v in (low, high)]
        table.add_row(name, a.dtype.name, show(a.shape), *numbers, written.get(name, ""))
    out.print(table)
    out.print(f"\n{device}: {seconds_text(seconds)} (measured, second run)")
    out.print(str(did), markup=False)
