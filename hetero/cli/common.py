"""What the commands share: options, models from files, and how results are shown."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from rich.console import Console

from hetero import dtype as dt
from hetero.dim import Dim, show
from hetero.errors import GraphError, ModelError
from hetero.graph.ir import Graph
from hetero.op import Array, TensorType

Json = Annotated[bool, typer.Option("--json", help="Print one JSON object and nothing else.")]
Model = Annotated[
    Path, typer.Argument(help="An .onnx or .nir model, or a graph that graph.save wrote.", metavar="MODEL")
]
Dt = Annotated[float | None, typer.Option("--dt", metavar="SECONDS", help="Of a .nir model: how long one step is.")]
Rule = Annotated[str | None, typer.Option("--rule", metavar="RULE", help="Of a .nir model: euler or exact.")]
Inputs = Annotated[
    list[str] | None, typer.Option("--input", metavar="NAME=FILE.npy", help="An input; may stand more than once.")
]
Seed = Annotated[int | None, typer.Option("--random", metavar="SEED", help="Random values for inputs not given.")]
Sizes = Annotated[
    list[str] | None, typer.Option("--size", metavar="NAME=N", help="Value of a named dimension (default 1).")
]


def load_model(path: Path, dt: float | None = None, rule: str | None = None) -> Graph:
    """The graph in a file, by its suffix; `dt` and `rule` are for .nir files, which want both."""
    if not path.is_file():
        raise ModelError(f"there is no file {path}", hint="give the path of an .onnx, .nir or .hetero file")
    if path.suffix == ".nir":
        from hetero.convert.nir_in import from_nir

        if dt is None or rule is None:
            missing = " and ".join(o for o, v in (("--dt", dt), ("--rule", rule)) if v is None)
            raise ModelError(
                f"{path} says equations in continuous time, not how they are stepped: {missing} is missing",
                hint="hetero run NET.nir --dt 1e-4 --rule euler, as the network was trained (or --rule exact)",
            )
        return from_nir(path, dt=dt, rule=rule)
    if dt is not None or rule is not None:
        raise ModelError(f"--dt and --rule are for .nir files, not {path}")
    if path.suffix == ".onnx":
        from hetero.convert.onnx_in import from_onnx

        return from_onnx(path)
    from hetero.graph.store import load

    return load(path)


def save_graph(graph: Graph, path: Path) -> None:
    """`graph.save`, its refusal by the system as a GraphError."""
    try:
        graph.save(str(path))
    except OSError as e:
        raise GraphError(f"cannot write {path}: {e}", hint="choose a folder that can be written to") from e


def gather_inputs(graph: Graph, given: list[str] | None, seed: int | None, sizes: list[str] | None) -> dict[str, Array]:
    """Arrays from files, and random ones for the rest when there is a seed."""
    arrays = dict(_from_file(graph, text) for text in given or [])
    missing = [name for name in graph.input_types if name not in arrays]
    if missing and seed is None:
        raise GraphError(
            f"inputs without a value: {', '.join(missing)}", hint=f"--input {missing[0]}=FILE.npy, or --random 0"
        )
    rng = np.random.default_rng(seed)
    known = parse_sizes(sizes)
    return arrays | {name: _random(rng, graph.input_types[name], known) for name in missing}


def _from_file(graph: Graph, text: str) -> tuple[str, Array]:
    name, equals, path = text.partition("=")
    if not equals:
        name, path = next(iter(graph.input_types)), text  # one input: its name may be left out
        if len(graph.input_types) != 1:
            raise GraphError(
                f"--input {text} has no name", hint=f"NAME=FILE, NAME one of {', '.join(graph.input_types)}"
            )
    if name not in graph.input_types:
        raise GraphError(f"no input is called {name!r}", hint=f"one of {', '.join(graph.input_types)}")
    try:
        return name, np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as e:
        raise GraphError(f"cannot read an array from {path}: {e}", hint="save it with numpy.save") from e


def parse_sizes(texts: list[str] | None) -> dict[str, int]:
    sizes: dict[str, int] = {}
    for text in texts or []:
        name, _, number = text.partition("=")
        if not number.isdigit():
            raise GraphError(f"--size {text} is not NAME=N with a whole number N")
        sizes[name] = int(number)
    return sizes


def _random(rng: np.random.Generator, type: TensorType, sizes: Mapping[str, int]) -> Array:
    """Normal floats, small integers, coin flips; an open dimension not in `sizes` is 1."""
    shape: list[int] = []
    for n in type.known:
        bound = n.bind({s: sizes.get(s, 1) for s in n.symbols}) if isinstance(n, Dim) else n
        assert isinstance(bound, int)
        shape.append(bound)
    kind = dt.kind(type.dtype)
    if kind in "biu":
        return rng.integers(0, 2 if kind == "b" else 10, shape).astype(type.dtype)
    return np.asarray(rng.standard_normal(shape)).astype(type.dtype)


def file_names(names: list[str]) -> dict[str, str]:
    """A safe and different file name for each tensor name."""
    out: dict[str, str] = {}
    for name in names:
        stem = re.sub(r"[^\w.-]+", "_", name).strip("._") or "output"
        unique, k = stem, 1
        while unique in out.values():
            unique, k = f"{stem}.{k}", k + 1
        out[name] = unique
    return out


def console() -> Console:
    return Console(highlight=False, soft_wrap=False)


def print_json(value: Any) -> None:
    """Strict JSON: what it has no number for, inf and nan, is null."""
    print(json.dumps(_finite(value), indent=2, default=_plain, allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {k: _finite(v) for k, v in value.items()}
    return [_finite(v) for v in value] if isinstance(value, list | tuple) else value


def _plain(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, np.ndarray):
        return value.tolist()
    return str(value)


def describe_ports(types: Mapping[str, TensorType]) -> dict[str, dict[str, str]]:
    return {name: {"dtype": t.dtype.name, "shape": show(t.shape)} for name, t in types.items()}


def bytes_text(n: int) -> str:
    """`1.5 MiB`"""
    size = float(n)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024 or unit == "GiB":
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    raise AssertionError


def seconds_text(s: float) -> str:
    """`3.2 ms`"""
    for factor, unit in ((1, "s"), (1e3, "ms"), (1e6, "us")):
        if s * factor >= 1:
            return f"{s * factor:.3g} {unit}"
    return f"{s * 1e9:.3g} ns"
