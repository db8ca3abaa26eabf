"""Data for calibration and tests as runs of a graph: a feed each, checked before anything runs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from hetero import dtype as dt
from hetero.dim import Dim, show
from hetero.errors import GraphError
from hetero.graph.ir import Graph
from hetero.op import Array

Feed: TypeAlias = Mapping[str, Array]
Data: TypeAlias = "Array | Feed | Sequence[Array | Feed]"

CHUNK = 32  # samples in one run, where the graph leaves that open


def feeds(graph: Graph, data: Any) -> list[dict[str, Array]]:
    """Runs of the graph over `data`: samples (n, ...) of its one input, a feed by name, or a sequence of either."""
    if isinstance(data, Mapping) or hasattr(data, "shape"):
        data = [data]
    if not isinstance(data, Iterable) or isinstance(data, str | bytes):
        raise _refused(graph, [f"data is a {type(data).__name__}"])
    made: list[dict[str, Array]] = []
    wrong: list[str] = []
    for k, one in enumerate(data):  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType]
        made += _runs(graph, one, f"data[{k}]", wrong)
    if not made and not wrong:
        wrong.append("there is no sample")
    if wrong:
        raise _refused(graph, wrong)
    return made


def _refused(graph: Graph, wrong: Sequence[str]) -> GraphError:
    takes = ", ".join(f"{n}: {t}" for n, t in graph.input_types.items())
    lines = "\n".join(f"  {w}" for w in dict.fromkeys(wrong))
    return GraphError(
        f"{graph.name} takes {takes or 'nothing'}; the data is no runs of it:\n{lines}",
        hint="give an array (n, ...) for a graph of one input, {name: array}, or a list of these",
    )


def _runs(graph: Graph, one: Any, label: str, wrong: list[str]) -> list[dict[str, Array]]:
    types = graph.input_types
    if not isinstance(one, Mapping):
        if len(types) != 1:
            wrong.append(f"{label} has no name, and there are {len(types)} inputs")
            return []
        ((name, _),) = types.items()
        one = {name: one}
    given = {str(n): np.asarray(a) for n, a in one.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
    missing, extra = sorted(set(types) - set(given)), sorted(set(given) - set(types))
    if missing or extra:
        wrong.append(f"{label}: " + "; ".join([f"no {n}" for n in missing] + [f"{n} is no input" for n in extra]))
        return []
    said = [s for n, a in given.items() if (s := _misfit(graph, n, a))]
    if said:
        wrong += [f"{label}: {s}" for s in said]
        return []
    given = {n: a.astype(types[n].dtype, copy=False) for n, a in given.items()}
    return _chunks(graph, given) if len(given) == 1 else [given]


def _misfit(graph: Graph, name: str, array: Array) -> str:
    """Why an array is no value of the input; its first axis may be any number of samples."""
    t = graph.input_types[name]
    try:
        kind = dt.kind(dt.check(array.dtype))
    except Exception:
        return f"{name} is {array.dtype}"
    if kind != dt.kind(t.dtype) and not (kind in "fiub" and dt.is_float(t.dtype)):
        return f"{name} is {array.dtype.name}, not {t.dtype.name}"
    wanted = t.known
    fits = len(wanted) == array.ndim and all(
        isinstance(n, Dim) or n == m for n, m in zip(wanted[1:], array.shape[1:], strict=True)
    )
    first = wanted[0] if wanted else 1
    if not fits or (isinstance(first, int) and first and array.ndim and array.shape[0] % first):
        return f"{name} is {array.shape}, which is not {show(wanted)}, nor several of it"
    if not array.size:
        return f"{name} is empty"
    if kind == "f" and not np.isfinite(array.astype(np.float64)).all():
        return f"{name} has numbers that are not finite"
    return ""


def _chunks(graph: Graph, given: dict[str, Array]) -> list[dict[str, Array]]:
    ((name, array),) = given.items()
    if not array.ndim:
        return [given]
    first = graph.input_types[name].known[0]
    step = first if isinstance(first, int) else CHUNK
    return [{name: array[k : k + step]} for k in range(0, len(array), step)]


__all__ = ["CHUNK", "Data", "Feed", "feeds"]
