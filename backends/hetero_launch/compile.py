"""A graph for a device: fused, lowered node by node, every kernel built."""

from __future__ import annotations

from hetero.errors import BackendError
from hetero.graph.ir import Graph
from hetero.graph.passes.fuse import fuse
from hetero.spi import Device
from hetero_launch import follow, rules
from hetero_launch.executable import LaunchExecutable
from hetero_launch.plan import Plan
from hetero_launch.runtime import Runtime


def compile_graph(runtime: Runtime, graph: Graph, device: Device) -> LaunchExecutable:
    fused = fuse(graph)
    plan = Plan(runtime, fused, lambda body: compile_graph(runtime, body, device))
    for port in fused.inputs:
        plan.output(port.value)
    rest = [node for node in fused.nodes if not plan.postpone(node)]
    after = follow.followers(plan, rules.HEADS)
    held = {id(head) for head in after.values()}  # done where what follows them is
    for node in rest:
        if id(node) in held:
            continue
        if id(node) in after:
            head = after[id(node)]
            rules.HEADS[head.op.name].lower(plan, head, node)
            continue
        rule = rules.rule_of(node)
        if rule is None:
            raise BackendError(f"{node.label} does not run on {device}", hint="ask support() before compile()")
        rule.lower(plan, node)
    return LaunchExecutable(plan, fused)
