"""Outputs of a run: written to files, and shown."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from rich.table import Table

from hetero.cli.common import file_names
from hetero.dim import show
from hetero.errors import GraphError
from hetero.op import Array


def write_outputs(outs: dict[str, Array], folder: Path) -> dict[str, str]:
    names = file_names(list(outs))
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, array in outs.items():
            np.save(folder / f"{names[name]}.npy", array, allow_pickle=False)
    except (OSError, ValueError) as e:
        raise GraphError(f"cannot write outputs to {folder}: {e}", hint="choose a folder that can be written to") from e
    return {name: str(folder / f"{stem}.npy") for name, stem in names.items()}


def _edge(array: Array, of: Any) -> float | None:
    """Smallest or largest value; None where there is none, or none that JSON has."""
    if not array.size or array.dtype.kind in "cV":
        return None
    value = float(of(array))
    return value if np.isfinite(value) else None


def describe_outputs(outs: Mapping[str, Array], written: Mapping[str, str]) -> dict[str, Any]:
    """For --json."""
    return {
        n: {"dtype": a.dtype.name, "shape": list(a.shape), "file": written.get(n), "min": _edge(a, np.min),
            "max": _edge(a, np.max)}
        for n, a in outs.items()
    }  # fmt: skip


def outputs_table(outs: Mapping[str, Array], written: Mapping[str, str]) -> Table:
    """A row for each output."""
    table = Table("output", "dtype", "shape", "min", "max", "file", box=None, pad_edge=False)
    for name, a in outs.items():
        low, high = _edge(a, np.min), _edge(a, np.max)
        numbers = ["-" if v is None else f"{v:.6g}" for v in (low, high)]
        table.add_row(name, a.dtype.name, show(a.shape), *numbers, written.get(name, ""))
    return table
