"""What a valid graph is, as a table: each rule gives its violations, `check` reports all of them at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from hetero.errors import GraphError, HeteroError
from hetero.graph import attributes
from hetero.graph.ir import Graph
from hetero.op import OPS

MAX_BYTES = 1 << 48  # no machine holds a tensor of 256 TiB: such a size is a damaged file or a slip


def check(graph: Graph) -> Graph:
    """The graph itself, or a GraphError that lists every violation."""
    wrong = list(_order(graph)) or [v for rule in RULES for v in rule(graph)]
    if wrong:
        raise GraphError(f"{graph.name} is not a valid graph: " + "; ".join(wrong))
    return graph


def _order(graph: Graph) -> Iterator[str]:
    """Every value is made once, before it is read; the other rules rest on this one."""
    known = range(len(graph.types))
    made = {p.value for p in graph.inputs} | set(graph.constants)
    if len(made) != len(graph.inputs) + len(graph.constants):
        yield "a value is an input or constant twice"
    for node in graph.nodes:
        yield from (f"{node.label} reads value {i} before it is made" for i in node.inputs if i not in made)
        yield from (f"{node.label} makes value {i} a second time" for i in node.outputs if i in made)
        made.update(node.outputs)
    yield from (
        f"output {p.name!r} is value {p.value}, which nothing makes" for p in graph.outputs if p.value not in made
    )
    yield from (f"value {i} has no type" for i in sorted(made) if i not in known)


def _names(graph: Graph) -> Iterator[str]:
    """Inputs have different names, outputs too."""
    for what, ports in (("inputs", graph.inputs), ("outputs", graph.outputs)):
        names = [p.name for p in ports]
        yield from (f"two {what} are called {n!r}" for n in dict.fromkeys(names) if names.count(n) > 1)


def _ops(graph: Graph) -> Iterator[str]:
    """Every op is the table's, with its attributes and no others, each of its kind."""
    for node in graph.nodes:
        if OPS.get(node.op.name) is not node.op:
            yield f"{node.label} uses an op that is not in the table"
        else:
            yield from attributes.faults(node)


def _types(graph: Graph) -> Iterator[str]:
    """The stated types are those that the op's own rule gives."""
    for node in graph.nodes:
        if any(attributes.faults(node)):  # told by `_ops`; the rule is not made for them
            continue
        try:
            inferred = node.op.infer_types(graph.in_types(node), node.attrs)
        except HeteroError as e:
            yield f"{node.label}: {e.problem}"
            continue
        stated = graph.out_types(node)
        if node.op.kind != "late" and inferred != stated:
            yield f"{node.label} gives {', '.join(map(str, inferred))}, not {', '.join(map(str, stated))}"


def _constants(graph: Graph) -> Iterator[str]:
    """A constant has its stated type and cannot be written to."""
    for i, array in graph.constants.items():
        if (array.shape, array.dtype) != (graph.types[i].shape, graph.types[i].dtype):
            yield f"constant {i} is {array.dtype.name}{array.shape}, not {graph.types[i]}"
        if array.flags.writeable:
            yield f"constant {i} can be written to"


def absurd_sizes(graph: Graph) -> Iterator[str]:
    """No size is negative, no tensor beyond any machine."""
    for i, t in enumerate(graph.types):
        if not t.static:
            continue
        what = graph.producer[i].label if i in graph.producer else f"value {i}"
        if any(isinstance(n, int) and n < 0 for n in t.known):
            yield f"{what} has a negative size: {t}"
        elif t.nbytes > MAX_BYTES:
            yield f"{what} would take {t.nbytes} bytes: {t}"


def _bodies(graph: Graph) -> Iterator[str]:
    """Graphs inside attributes are valid too."""
    for node in graph.nodes:
        for key, body in node.attrs.items():
            if isinstance(body, Graph):
                try:
                    check(body)
                except GraphError as e:
                    yield f"{key} of {node.label}: {e.problem}"


RULES: tuple[Callable[[Graph], Iterator[str]], ...] = (_names, _ops, _types, _constants, absurd_sizes, _bodies)
