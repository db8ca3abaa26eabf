"""Which ops have kernels and how they are lowered: one line an op."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from hetero import dtype as dt
from hetero.graph.ir import Graph, Node
from hetero.op import Types
from hetero.spi import YES, Device, Support
from hetero_kernels.templates import STORED
from hetero_launch import (
    control,
    conv_panels,
    indexing,
    matmul,
    matmul_int8,
    movement,
    reduction,
    regions,
    sorting,
    spiking,
    windows,
)
from hetero_launch.follow import Head
from hetero_launch.plan import Plan


@dataclass(frozen=True, slots=True)
class Rule:
    """`lower` writes the steps of a node; `refuse` says why it will not for some types, or nothing."""

    lower: Callable[[Plan, Node], None]
    refuse: Callable[[Node, Types, Types], str] | None = None
    dtypes: frozenset[str] = frozenset(STORED)


ANY = frozenset({*STORED, "complex64", "complex128"})  # for ops that only move elements
_ELEMENTWISE = Rule(regions.lower, regions.refusal)


def _scan(plan: Plan, node: Node) -> None:
    """By event-driven kernels where the loop has such a form."""
    (control.scan if spiking.refusal(node) else spiking.lower)(plan, node)


def _conv(plan: Plan, node: Node) -> None:
    """By panels where a processor knows the weights."""
    (conv_panels.lower if conv_panels.fits(plan, node) else windows.conv)(plan, node)


RULES: Mapping[str, Rule] = {
    "fused": _ELEMENTWISE,
    "scan": Rule(_scan, dtypes=ANY),
    "cond": Rule(control.cond, dtypes=ANY),
    **dict.fromkeys(("sum", "prod", "max", "min", "any", "all"), Rule(reduction.lower, reduction.refuse)),
    **dict.fromkeys(reduction.BETTER, Rule(reduction.arg)),
    **dict.fromkeys(reduction.CUMULATIVE, Rule(reduction.cumulative)),
    "reshape": Rule(movement.alias, dtypes=ANY),
    "permute": Rule(movement.permute, dtypes=ANY),
    "broadcast_to": Rule(movement.broadcast_to, dtypes=ANY),
    "slice": Rule(movement.slice_, dtypes=ANY),
    "concat": Rule(movement.concat, dtypes=ANY),
    "pad": Rule(movement.pad),
    "philox": Rule(movement.philox),
    "take": Rule(indexing.take, dtypes=ANY),
    "take_along_axis": Rule(indexing.take_along, dtypes=ANY),
    "gather_nd": Rule(indexing.gather_nd, indexing.refuse_gather, ANY),
    "put_along_axis": Rule(indexing.put_along),
    "scatter_nd": Rule(indexing.scatter_nd, indexing.refuse_gather),
    "sort": Rule(sorting.sort),
    "argsort": Rule(sorting.sort),
    "searchsorted": Rule(sorting.searchsorted),
    "matmul": Rule(matmul.lower),
    "matmul_integer": Rule(matmul_int8.lower),
    "conv": Rule(_conv, windows.refuse),
    "max_pool": Rule(windows.pool, windows.refuse),
    "avg_pool": Rule(windows.pool, windows.refuse),
}  # fmt: skip


HEADS: Mapping[str, Head] = {"conv": conv_panels.HEAD, "matmul": matmul.HEAD}  # what does its followers too


def rule_of(node: Node) -> Rule | None:
    """The op's own rule, or that of all elementwise ops."""
    rule = RULES.get(node.op.name)
    return _ELEMENTWISE if rule is None and node.op.elementwise else rule


def _in_bodies(node: Node, device: Device) -> str:
    """What the device refuses inside a loop or a branch."""
    for body in (v for v in node.attrs.values() if isinstance(v, Graph) and node.op.name != "fused"):
        for inner in body.nodes:
            said = support(inner, body.in_types(inner), body.out_types(inner), device)
            if not said:
                return f"the body of {node.op.name} cannot run: {said.reason}"
    return ""


def support(node: Node, types: Types, outs: Types, device: Device) -> Support:
    """By the tables above, and by what the device can hold."""
    if node.op.kind == "late":
        return Support(False, "a late node has no meaning before the graph is specialised")
    rule = rule_of(node)
    if rule is None:
        said = "is run as its parts" if node.op.composite else "has no kernel"
        return Support(False, f"{node.op.name} {said}")
    names = dict.fromkeys(dt.name_of(t.dtype) for t in (*types, *outs))
    absent = [n for n in names if n in device.missing_dtypes]
    if absent:
        return Support(False, f"{device.name} has no {' and no '.join(absent)}")
    foreign = [n for n in names if n not in rule.dtypes]
    if foreign:
        return Support(False, f"{node.op.name} has no kernel for {' and '.join(foreign)}")
    if node.op.name == "scan" and not spiking.refusal(node):
        return Support(True, whole=True)
    reason = (rule.refuse(node, types, outs) if rule.refuse else "") or _in_bodies(node, device)
    return Support(False, reason) if reason else YES
