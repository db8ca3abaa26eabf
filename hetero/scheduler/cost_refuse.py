"""Why a device cannot take a node: ops, dtypes, memory and hard limits of its profile."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from hetero.dim import concrete
from hetero.graph.ir import Graph, Node
from hetero.profile.profile import Profile
from hetero.scheduler.cost_class import op_class
from hetero.scheduler.cost_spiking import chip_refusal, neuromorphic
from hetero.scheduler.cost_work import BITS, exact, work_dtype
from hetero.spiking.work import spiking_loop


def refusal(graph: Graph, node: Node, profile: Profile, dtype: str | None = None) -> str | None:
    """Why a device of `profile` does not run `node`, all reasons in one text, or None where it does.

    `dtype` is what the device computes in instead of the graph's floats. A spiking network runs on a neuromorphic
    device where it fits: its neurons, its numbers, and every limit of the chip.
    """
    if neuromorphic(profile) and spiking_loop(node) is not None:
        return chip_refusal(node, profile)
    reasons = [
        *_ops(graph, node, profile),
        *_dtypes(graph, node, profile, dtype),
        *_memory(graph, node, profile, dtype),
    ]
    reasons += _limits(graph, node, profile)
    return "; ".join(dict.fromkeys(reasons)) or None


def _ops(graph: Graph, node: Node, profile: Profile) -> Iterator[str]:
    """A region, a loop and a branch run where all that is in them runs."""
    if profile.support.run is None and not profile.support.refuse:
        return
    bodies = [v for v in node.attrs.values() if isinstance(v, Graph)]
    for body in bodies:
        for inner in body.nodes:
            yield from _ops(body, inner, profile)
    if node.op.name == "fused":
        return
    if not profile.runs(node.op.name, node.op.kind, op_class(graph, node)):
        yield f"{profile.name} does not run {node.op.name}"


def _dtypes(graph: Graph, node: Node, profile: Profile, dtype: str | None) -> Iterator[str]:
    types = (*graph.in_types(node), *graph.out_types(node))
    main = work_dtype(graph.in_types(node), graph.out_types(node))
    names = {main} | {t.dtype.name for t in types if t.dtype.kind not in "biu"}
    wanted = dict.fromkeys(dtype if dtype and not exact(n) else n for n in sorted(names))
    absent = [n for n in wanted if n not in profile.dtypes]
    if absent:
        yield f"{profile.name} has no {' and no '.join(absent)}"


def _memory(graph: Graph, node: Node, profile: Profile, dtype: str | None) -> Iterator[str]:
    if profile.memory_byte is None:
        return
    values = dict.fromkeys((*node.inputs, *node.outputs))
    need = sum(_stored(graph.types[i].nbytes, graph.types[i].dtype.name, dtype) for i in values)
    if need > profile.memory_byte.value:
        yield f"{node.label} needs {need:.0f} bytes at once, {profile.name} has {profile.memory_byte.value:.0f}"


def _stored(nbytes: int, source: str, to: str | None) -> float:
    return nbytes if to is None or exact(source) else nbytes * BITS[to] / BITS[source]


# -- hard limits ------------------------------------------------------------------------------------------------


def _conv_sizes(graph: Graph, node: Node) -> Mapping[str, int]:
    outputs, _, *kernel = concrete(graph.types[node.inputs[1]].known)
    _, channels, *spatial = concrete(graph.types[node.inputs[0]].known)
    return {
        "kernel_size": max(kernel), "stride": max(node.attrs["strides"]), "filters": outputs,
        "input_width": max(spatial), "input_channels": channels,
    }  # fmt: skip


def _matmul_sizes(graph: Graph, node: Node) -> Mapping[str, int]:
    return {"dense_inputs": concrete(graph.types[node.inputs[0]].known)[-1]}


_SIZES: Mapping[str, Callable[[Graph, Node], Mapping[str, int]]] = {"conv": _conv_sizes, "matmul": _matmul_sizes}


def _limits(graph: Graph, node: Node, profile: Profile) -> Iterator[str]:
    sizes = _SIZES.get(node.op.name)
    if sizes is None or not profile.limits:
        return
    for key, size in sizes(graph, node).items():
        limit = profile.limits.get(key)
        if limit is not None and size > limit.value:
            yield f"{key.replace('_', ' ')} of {node.label} is {size}, {profile.name} takes {limit.value:g}"
