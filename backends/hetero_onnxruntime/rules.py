"""Which nodes an execution provider takes: those that ONNX has a form for, and for which a session opens."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from threading import Lock
from typing import TypeAlias

from hetero import dtype as dt
from hetero.convert.onnx_out import to_onnx
from hetero.convert.onnx_out_rules import takes
from hetero.errors import HeteroError
from hetero.graph.build import Builder
from hetero.graph.ir import Graph, Node
from hetero.op import Attrs, Types
from hetero.spi import YES, Support
from hetero_onnxruntime.device import MISSING, Provider, version
from hetero_onnxruntime.guards import guarded

OPSET = 21
Key: TypeAlias = "tuple[Hashable, ...]"

INTEGERS = frozenset(d.name for d in dt.INTEGER)
UNSIGNED = frozenset({"uint32", "uint64"})
_EPSILON = "epsilon is float32 in ONNX, which is too coarse for float64"


def _always(attrs: Attrs) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Flaw:
    """A kernel of ONNX Runtime that gives something else than the op means, for some dtypes, versions, attributes."""

    why: str
    dtypes: frozenset[str]
    before: tuple[int, int] = (1 << 30, 0)  # the version from which it is right
    when: Callable[[Attrs], bool] = _always


def _cut_windows(attrs: Attrs) -> bool:
    return bool(attrs["ceil"] and attrs["count_include_pad"])


FLAWS: Mapping[str, Flaw] = {
    "prod": Flaw("products of integers that overflow are not wrapped by onnxruntime", INTEGERS),
    "matmul": Flaw("onnxruntime's kernel of unsigned integers fails where there is nothing to sum", UNSIGNED),
    "batch_norm": Flaw(_EPSILON, frozenset({"float64"})),
    "group_norm": Flaw(_EPSILON, frozenset({"float64"})),
    "avg_pool": Flaw(
        "onnxruntime before 1.24 counts cells beyond the pads where a window is cut",
        frozenset({"float16", "float32", "float64"}), (1, 24), _cut_windows,
    ),
}  # fmt: skip

_known: dict[Key, str] = {}
_lock = Lock()


def support(node: Node, types: Types, outs: Types, provider: Provider) -> Support:
    """By the tables, then by trying: a session of one node opens or does not."""
    if node.op.kind == "late":
        return Support(False, "a late node has no meaning before the graph is specialised")
    reason = _by_tables(node, types, outs) or (_in_bodies(node, provider) or _by_trying(node, types, provider))
    return Support(False, reason) if reason else YES


def _by_tables(node: Node, types: Types, outs: Types) -> str:
    op = node.op
    flaw = FLAWS.get(op.name)
    if flaw and types[0].dtype.name in flaw.dtypes and version() < flaw.before and flaw.when(node.attrs):
        return f"{op.name}: {flaw.why}"
    if not takes(node, OPSET):
        return f"{op.name} is run as its parts" if op.composite else f"{op.name} has no form in ONNX"
    absent = dict.fromkeys(t.dtype.name for t in (*types, *outs) if t.dtype.name in MISSING)
    return f"onnxruntime has no {' and no '.join(absent)}" if absent else ""


def _in_bodies(node: Node, provider: Provider) -> str:
    """What is refused inside a loop or a branch."""
    for body in (v for v in node.attrs.values() if isinstance(v, Graph)):
        for inner in body.nodes:
            said = support(inner, body.in_types(inner), body.out_types(inner), provider)
            if not said:
                return f"the body of {node.op.name} cannot run: {said.reason}"
    return ""


def _by_trying(node: Node, types: Types, provider: Provider) -> str:
    """Why no session opens, or nothing. Kernels are chosen by dtype, rank and mode, never by size: so is the answer."""
    if any(isinstance(v, Graph) for v in node.attrs.values()):
        return ""  # a loop or branch is as good as its body
    modes = tuple((k, v) for k, v in sorted(node.attrs.items()) if isinstance(v, str | bool))
    key = (provider, node.op.name, tuple((t.dtype.name, t.rank) for t in types), modes)
    with _lock:
        known = _known.get(key)
    if known is None:
        known = _tried(node, types, provider)
        with _lock:
            _known[key] = known
    return known


def _tried(node: Node, types: Types, provider: Provider) -> str:
    builder = Builder(node.op.name, track=False)
    made = builder.emit(node.op, [builder.input(f"x{k}", t) for k, t in enumerate(types)], node.attrs)
    try:
        model = to_onnx(guarded(builder.build(made)), opset=OPSET).SerializeToString()
        provider.session(model, {}, threads=1, level="DISABLE_ALL")
    except HeteroError as e:
        return e.problem.splitlines()[-1].strip()
    except Exception as e:  # ONNX Runtime has a type of its own for each of its errors
        return (
            f"{provider.name} has no kernel for {node.op.name} of {', '.join(t.dtype.name for t in types)}: {_short(e)}"
        )
    return ""


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]
