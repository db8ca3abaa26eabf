"""The kinds of an op's attributes: every annotation is in the table, every sample fits, what does not fit is told."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from hetero import dtype as dt
from hetero.errors import DeviceError, GraphError, HeteroError
from hetero.graph.attributes import KINDS, faults, kinds
from hetero.graph.ir import Graph, Node, Port
from hetero.op import OPS, TensorType

X = TensorType((2, 3), dt.float32)


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_every_attribute_has_a_kind_that_its_samples_are_of(op: Any) -> None:
    assert set(kinds(op).values()) <= set(KINDS)
    for sample in op.samples:
        assert list(faults(Node(op, (), (), op.complete(sample.attrs)))) == []


@pytest.mark.parametrize(
    ("op", "attrs", "said"),
    [("sum", {"axes": "0", "keepdims": False}, "axes of sum is '0', not Axes"),
     ("sum", {"axes": (0,), "keepdims": "no"}, "keepdims of sum is 'no', not bool"),
     ("argmax", {"axis": 0.0, "keepdims": False, "last": False}, "axis of argmax is 0.0, not int"),
     ("gelu", {"approximate": 3}, "approximate of gelu is 3, not str"),
     ("pad", {"before": (0, 0), "after": (0, 0), "mode": "constant", "value": (1,)}, "value of pad"),
     ("reshape", {"shape": [3, 2]}, "shape of reshape")],
)  # fmt: skip
def test_an_attribute_of_another_kind_makes_a_graph_invalid(op: str, attrs: dict[str, Any], said: str) -> None:
    graph = Graph((Node(OPS[op], (0,), (1,), attrs),), (X, X), (Port("x", 0),), (Port("y", 1),))
    with pytest.raises(GraphError, match=said):
        graph.check()


def test_numpy_numbers_are_numbers() -> None:
    node = Node(OPS["sum"], (0,), (1,), {"axes": (np.int64(0),), "keepdims": np.bool_(True)})
    assert list(faults(node)) == []


@pytest.mark.parametrize(
    ("raised", "told"),
    [(ValueError("no such axis"), GraphError), (MemoryError(), DeviceError), (IndexError("3"), GraphError),
     (ValueError("array is too big; `arr.size * arr.dtype.itemsize` is larger"), DeviceError)],
)  # fmt: skip
def test_what_numpy_raises_is_told_with_the_node_and_the_cause(raised: Exception, told: type[HeteroError]) -> None:
    def fails(x: Any) -> Any:
        raise raised

    node = Node(replace(OPS["tanh"], reference=fails), (0,), (1,), {}, "", "the_node")
    graph = Graph((node,), (X, X), (Port("x", 0),), (Port("y", 1),))
    with pytest.raises(told, match="the_node") as e:
        graph.evaluate(np.zeros((2, 3), "float32"))
    assert e.value.__cause__ is raised


def test_another_number_of_inputs_than_the_op_takes_is_refused() -> None:
    for op, types, takes in (("add", (X,), "2"), ("tanh", (X, X), "1"), ("real", (), "1"), ("concat", (), "1 or more")):
        with pytest.raises(GraphError, match=f"{op} takes {takes} inputs, got {len(types)}"):
            OPS[op].infer_types(types, {"axis": 0} if op == "concat" else {})
