"""Damaged and hostile ONNX files: each gives a Graph or a HeteroError; no other exception, no warning, no hang.

HETERO_FUZZ_EXAMPLES (800 unless told otherwise) files, the same ones for the same number: half have bytes changed,
half have a field changed so that the file still parses. As many again are cases of ONNX's node suite.
"""

from __future__ import annotations

import os
import random
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.backend.test.loader import load_model_tests

from hetero import from_onnx
from hetero.errors import HeteroError
from hetero.graph.ir import Graph
from hetero.testing.hostile import runs_or_is_refused

EXAMPLES = int(os.environ.get("HETERO_FUZZ_EXAMPLES", "800"))
PARTS = 8
LIMIT_S = 20.0  # for one file; the slowest takes far less than one second
LIGHT = Path(onnx.__file__).parent / "backend/test/data/light"

# -- what is damaged ----------------------------------------------------------------------------------------


def _value(name: str, kind: int, shape: Any) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def _model(nodes: list[Any], inputs: list[Any], outputs: list[Any], stored: list[Any], **more: Any) -> bytes:
    graph = helper.make_graph(nodes, "fuzzed", inputs, outputs, stored)
    imports = [helper.make_opsetid("", 20), helper.make_opsetid("ours", 1)]
    return helper.make_model(graph, opset_imports=imports, **more).SerializeToString()


def _stored(name: str, values: Any, dtype: Any = np.float32) -> Any:
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def network() -> bytes:
    """A small net with the shape arithmetic that exporters write."""
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node(
            "Conv", ["x", "w", "b"], ["c"], "conv", kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2]
        ),
        helper.make_node("Relu", ["c"], ["r"], "relu"),
        helper.make_node("MaxPool", ["r"], ["p"], "pool", kernel_shape=[2, 2], ceil_mode=1),
        helper.make_node("Shape", ["p"], ["s"], "shape"),
        helper.make_node("Gather", ["s", "zero"], ["n"], "batch"),
        helper.make_node("Concat", ["n", "rest"], ["t"], "target", axis=0),
        helper.make_node("Reshape", ["p", "t"], ["f"], "flat"),
        helper.make_node("Gemm", ["f", "v"], ["g"], "dense", transB=1, alpha=0.5),
        helper.make_node("Softmax", ["g"], ["y"], "scores", axis=-1),
        helper.make_node("TopK", ["y", "k"], ["top", "where"], "best", largest=1),
    ]
    stored = [
        _stored("w", rng.normal(size=(4, 3, 3, 3))), _stored("b", rng.normal(size=4)), _stored("zero", [0], np.int64),
        _stored("rest", [-1], np.int64), _stored("v", rng.normal(size=(5, 36))), _stored("k", [2], np.int64),
    ]  # fmt: skip
    inputs = [_value("x", TensorProto.FLOAT, ["batch", 3, 8, 8])]
    outputs = [_value("top", TensorProto.FLOAT, None), _value("where", TensorProto.INT64, None)]
    return _model(nodes, inputs, outputs, stored)


def control() -> bytes:
    """A loop, a branch and a scan, one in another, and a function."""
    inner = helper.make_graph(
        [helper.make_node("Add", ["a", "x"], ["b"]), helper.make_node("Identity", ["go"], ["on"])], "step",
        [_value("i", TensorProto.INT64, []), _value("go", TensorProto.BOOL, []), _value("a", TensorProto.FLOAT, None)],
        [_value("on", TensorProto.BOOL, []), _value("b", TensorProto.FLOAT, None)],
    )  # fmt: skip
    then = helper.make_graph(
        [helper.make_node("Loop", ["trips", "", "x"], ["l"], body=inner)],
        "then",
        [],
        [_value("l", TensorProto.FLOAT, None)],
    )
    other = helper.make_graph([helper.make_node("Twice", ["x"], ["m"], domain="ours")], "else", [],
                              [_value("m", TensorProto.FLOAT, None)])  # fmt: skip
    scanned = helper.make_graph(
        [helper.make_node("Add", ["h", "e"], ["k"]), helper.make_node("Tanh", ["k"], ["o"])], "scanned",
        [_value("h", TensorProto.FLOAT, [3]), _value("e", TensorProto.FLOAT, [3])],
        [_value("k", TensorProto.FLOAT, [3]), _value("o", TensorProto.FLOAT, [3])],
    )  # fmt: skip
    nodes = [
        helper.make_node("ReduceSum", ["x"], ["total"], keepdims=0),
        helper.make_node("Greater", ["total", "zero"], ["positive"]),
        helper.make_node("If", ["positive"], ["y"], "choose", then_branch=then, else_branch=other),
        helper.make_node("Scan", ["start", "x"], ["last", "z"], "over", body=scanned, num_scan_inputs=1),
        helper.make_node("ConstantOfShape", ["big"], ["c"], "fill", value=_stored("", [1.0])),
    ]
    stored = [_stored("zero", 0.0), _stored("trips", 6, np.int64), _stored("start", np.zeros(3)),
              _stored("big", [2, 3], np.int64)]  # fmt: skip
    twice = helper.make_function(
        "ours", "Twice", ["u"], ["w"], [helper.make_node("Add", ["u", "u"], ["w"])], [helper.make_opsetid("", 20)]
    )
    outputs = [_value(name, TensorProto.FLOAT, None) for name in ("y", "last", "z", "c")]
    return _model(nodes, [_value("x", TensorProto.FLOAT, [4, 3])], outputs, stored, functions=[twice])


def squeezenet() -> bytes:
    return (LIGHT / "light_squeezenet.onnx").read_bytes()


SOURCES = [network, control, squeezenet]

# -- damage by bytes ----------------------------------------------------------------------------------------


def changed_bytes(data: bytes, rng: random.Random) -> bytes:
    """Cut off, with bytes flipped, repeated, removed or put in."""
    raw = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 8])):
        at = rng.randrange(max(len(raw), 1))
        kind = rng.randrange(6)
        if kind == 0:
            del raw[at:]
        elif kind == 1 and raw:
            raw[min(at, len(raw) - 1)] ^= 1 << rng.randrange(8)
        elif kind == 2:
            raw[at : at + rng.randrange(1, 9)] = rng.randbytes(rng.randrange(9))
        elif kind == 3:
            raw[at:at] = raw[at : at + rng.randrange(1, 200)]
        elif kind == 4:
            del raw[at : at + rng.randrange(1, 40)]
        else:
            raw[at : at + 1] = b"\xff" * rng.randrange(1, 11)
    return bytes(raw)


# -- damage by fields ---------------------------------------------------------------------------------------

SIZES = [0, -1, 1, 7, 2**31, 2**48, 2**62, 2**63 - 1, -(2**63), 1_000_003]
NAMES = ["", "x", "y", "nothing", "x" * 4000, "a/../b", "\0", "ß", "w", "total"]


def graphs(model: Any) -> list[Any]:
    """The graph and every one inside it."""
    found = [model.graph]
    for graph in found:
        found += [a.g for node in graph.node for a in node.attribute if a.type == onnx.AttributeProto.GRAPH]
    return found


def _node(model: Any, rng: random.Random) -> Any:
    nodes = [node for graph in graphs(model) for node in graph.node]
    return rng.choice(nodes) if nodes else model.graph.node.add()


def rename_input(model: Any, rng: random.Random) -> None:
    node = _node(model, rng)
    everything = [name for graph in graphs(model) for other in graph.node for name in other.output]
    if node.input:
        node.input[rng.randrange(len(node.input))] = rng.choice(NAMES + everything)


def rename_output(model: Any, rng: random.Random) -> None:
    node = _node(model, rng)
    if node.output:
        node.output[rng.randrange(len(node.output))] = rng.choice(NAMES)


def change_inputs(model: Any, rng: random.Random) -> None:
    node = _node(model, rng)
    if rng.random() < 0.5 and node.input:
        node.input.pop()
    else:
        node.input.extend(rng.choices([*NAMES, *node.input], k=rng.choice([1, 2, 50])))


def change_operator(model: Any, rng: random.Random) -> None:
    node = _node(model, rng)
    node.op_type = rng.choice(sorted(OPERATORS))
    if rng.random() < 0.5:
        del node.attribute[:]


def change_attribute(model: Any, rng: random.Random) -> None:
    node = _node(model, rng)
    if not node.attribute or rng.random() < 0.2:
        node.attribute.append(
            helper.make_attribute(rng.choice(["axis", "to", "mode", "value", "pads"]), rng.choice(SIZES))
        )
        return
    a = rng.choice(node.attribute)
    kind = rng.randrange(6)
    if kind == 0:
        a.i = rng.choice(SIZES)
    elif kind == 1:
        a.ints[:] = rng.choices(SIZES, k=rng.choice([0, 1, 2, 3, 4, 70]))
    elif kind == 2:
        a.type = rng.randrange(15)
    elif kind == 3:
        a.f = rng.choice([float("nan"), float("inf"), -1e38, 0.0])
    elif kind == 4:
        a.s = rng.choice([b"\xff\xfe", b"SAME_UPPER", b"", b"x" * 100])
    else:
        a.name = rng.choice([*NAMES, "axes", "kernel_shape"])


def change_tensor(model: Any, rng: random.Random) -> None:
    tensors = [t for graph in graphs(model) for t in graph.initializer]
    tensors += [a.t for graph in graphs(model) for n in graph.node for a in n.attribute if a.type == 4]
    if not tensors:
        return
    t = rng.choice(tensors)
    kind = rng.randrange(7)
    if kind == 0:
        t.dims[:] = rng.choices(SIZES, k=rng.choice([0, 1, 2, 4, 70]))
    elif kind == 1:
        t.data_type = rng.randrange(-1, 30)
    elif kind == 2:
        t.raw_data = rng.randbytes(rng.choice([0, 1, 8, 24, 1000]))
    elif kind == 3:
        t.ClearField("raw_data")
        t.int64_data[:] = rng.choices(SIZES[:-1], k=rng.choice([0, 1, 2, 3]))
    elif kind == 4:
        t.data_location = 1
        place = rng.choice(["/etc/passwd", "../secret", "data.bin", "", "C:\\x", "a\0b", "."])
        t.external_data.add(key="location", value=place)
        t.external_data.add(key="length", value=rng.choice(["-1", "8", "9" * 30, "x"]))
    elif kind == 5:
        t.name = rng.choice(NAMES)
    else:
        values = rng.choices(SIZES, k=rng.choice([1, 2, 3, 4]))
        t.CopyFrom(numpy_helper.from_array(np.asarray(values, np.int64), t.name))


def change_port(model: Any, rng: random.Random) -> None:
    graph = rng.choice(graphs(model))
    ports = [*graph.input, *graph.output]
    if not ports:
        return
    port = rng.choice(ports)
    kind = rng.randrange(6)
    tensor = port.type.tensor_type
    if kind == 0:
        tensor.elem_type = rng.randrange(30)
    elif kind == 1:
        del tensor.shape.dim[:]
        for size in rng.choices(SIZES, k=rng.choice([0, 1, 3, 5, 70])):
            tensor.shape.dim.add(dim_value=size)
    elif kind == 2:
        tensor.shape.dim.add(dim_param=rng.choice(["batch", "", "2*n", "x y", "n" * 5000, "\0"]))
    elif kind == 3:
        port.name = rng.choice(NAMES)
    elif kind == 4:
        port.type.ClearField("tensor_type")
    else:
        port.type.sequence_type.elem_type.tensor_type.elem_type = 1


def shuffle_nodes(model: Any, rng: random.Random) -> None:
    graph = rng.choice(graphs(model))
    nodes = list(graph.node)
    rng.shuffle(nodes)
    del graph.node[:]
    graph.node.extend(nodes)


def close_a_cycle(model: Any, rng: random.Random) -> None:
    graph = rng.choice(graphs(model))
    if graph.node and graph.node[-1].output and graph.node[0].input:
        graph.node[0].input[0] = graph.node[-1].output[0]


def change_model(model: Any, rng: random.Random) -> None:
    kind = rng.randrange(5)
    if kind == 0 and model.opset_import:
        rng.choice(model.opset_import).version = rng.choice([*SIZES, 6, 13, 28])
    elif kind == 1:
        del model.opset_import[:]
    elif kind == 2:
        model.ir_version = rng.choice(SIZES)
    elif kind == 3 and model.functions:
        model.functions[0].node[0].op_type = model.functions[0].name  # it calls itself
        model.functions[0].node[0].domain = model.functions[0].domain
    else:
        model.graph.output.add(name=rng.choice(NAMES))


def nest(model: Any, rng: random.Random) -> None:
    """A branch inside a branch, deep; both branches alike as long as the file stays small."""
    leaf = helper.make_graph([helper.make_node("Identity", ["x"], ["q"])], "leaf", [], [_value("q", 1, None)])
    graph = leaf
    for _ in range(rng.choice([3, 12, 30])):
        other = graph if graph.ByteSize() < 1 << 14 else leaf
        node = helper.make_node("If", ["positive"], ["q"], then_branch=graph, else_branch=other)
        graph = helper.make_graph([node], "level", [], [_value("q", 1, None)])
    model.graph.node.append(graph.node[0])


OPERATORS = {s.name for s in onnx.defs.get_all_schemas() if s.domain == ""}
CHANGES: list[Callable[[Any, random.Random], None]] = [
    rename_input, rename_output, change_inputs, change_operator, change_attribute, change_attribute, change_tensor,
    change_tensor, change_port, change_port, shuffle_nodes, close_a_cycle, change_model, nest,
]  # fmt: skip


def changed_fields(data: bytes, rng: random.Random) -> bytes:
    """A file that still parses, with one to three things wrong in it."""
    model = onnx.ModelProto.FromString(data)
    for _ in range(rng.choice([1, 1, 2, 3])):
        rng.choice(CHANGES)(model, rng)
    return model.SerializeToString()


# -- the tests ----------------------------------------------------------------------------------------------


def files(part: int) -> Iterator[tuple[str, bytes]]:
    """One part of the damaged files, with a name that makes each again."""
    made = [source() for source in SOURCES]
    for number in range(part, EXAMPLES, PARTS):
        rng = random.Random(number)
        index = rng.choice([0, 0, 0, 1, 1, 1, 2]) % len(made)
        damage = changed_bytes if number // PARTS % 2 else changed_fields
        yield f"{damage.__name__} of {SOURCES[index].__name__}, number {number}", damage(made[index], rng)


def assert_a_graph_or_a_hetero_error(name: str, data: bytes) -> None:
    began = time.perf_counter()
    try:
        assert isinstance(from_onnx(data), Graph)
    except HeteroError:
        pass
    except Exception as e:
        raise AssertionError(f"{name}: {e!r}") from e
    assert time.perf_counter() - began < LIMIT_S, f"{name} took too long"


@pytest.mark.parametrize("part", range(PARTS))
def test_fuzz_damaged_files_give_a_graph_or_a_hetero_error(part: int) -> None:
    for name, data in files(part):
        assert_a_graph_or_a_hetero_error(name, data)


def test_fuzz_undamaged_files_are_imported() -> None:
    for source in SOURCES:
        assert from_onnx(source()).nodes


# -- every operator: the cases of ONNX's node suite, with inputs that are stored and things that are wrong ----------


def with_stored_inputs(case: Any, rng: random.Random) -> Any:
    """The case's model, some inputs made constants, with an odd value or too few of them: lowerings look at values."""
    model = onnx.ModelProto.FromString(case.model.SerializeToString())
    for port, value in zip(case.model.graph.input, case.data_sets[0][0], strict=False):
        usual = isinstance(value, np.ndarray) and value.dtype.kind in "iufb" and value.size < 2000
        if not usual or rng.random() < 0.5:
            continue
        array = value.copy()
        if array.size and rng.random() < 0.5:
            odd = rng.choice([0, -1, 1, 2, 3, 7, 100, 2**31 - 1, -(2**31), 2**62])
            with np.errstate(all="ignore"):
                array.flat[rng.randrange(array.size)] = np.asarray(odd).astype(array.dtype)
        if rng.random() < 0.15:
            array = array.ravel()[: rng.randrange(array.size + 1)]
        model.graph.initializer.append(numpy_helper.from_array(array, port.name))
    return model


CASE_CHANGES = [change_attribute, change_attribute, change_attribute, change_port, change_port, change_inputs,
                rename_input, change_operator, change_tensor, change_model]  # fmt: skip


def test_fuzz_damaged_cases_of_every_operator_give_a_graph_or_a_hetero_error() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # making some of the cases warns
        cases = [case for case in load_model_tests(kind="node") if case.model is not None]
    if not cases:
        pytest.skip(f"onnx {onnx.__version__} keeps its cases in files")
    for number in range(EXAMPLES):
        rng = random.Random(number)
        case = rng.choice(cases)
        model = with_stored_inputs(case, rng)
        for _ in range(rng.choice([0, 1, 1, 2])):
            rng.choice(CASE_CHANGES)(model, rng)
        assert_a_graph_or_a_hetero_error(f"{case.name}, number {number}", model.SerializeToString())


# -- what was accepted, run -----------------------------------------------------------------------------------------


def test_fuzz_what_is_not_damaged_runs() -> None:
    for source in (network, control):
        assert runs_or_is_refused(source.__name__, from_onnx(source()), random.Random(0))
    x, shape = np.arange(-3, 9, dtype=np.float32).reshape(2, 6), np.array([4, 3])
    out = from_onnx(staged()).run({"x": x, "shape": shape}, device="numpy:0")
    assert np.array_equal(out["found"], (x * x)[np.nonzero(x)])
    assert out["shaped"].shape == (4, 3)


def accepted(data: bytes) -> Graph | None:
    try:
        return from_onnx(data)
    except HeteroError:
        return None


def staged() -> bytes:
    """Shapes that only values give: of an input, of what is not zero, of a sum."""
    nodes = [
        helper.make_node("Mul", ["x", "x"], ["m"]),
        helper.make_node("NonZero", ["m"], ["places"]),
        helper.make_node("Transpose", ["places"], ["rows"], perm=[1, 0]),
        helper.make_node("GatherND", ["m", "rows"], ["found"]),
        helper.make_node("Reshape", ["m", "shape"], ["shaped"]),
        helper.make_node("ReduceSum", ["shape"], ["n"], keepdims=1),
        helper.make_node("Abs", ["n"], ["size"]),
        helper.make_node("Range", ["zero", "limit", "one"], ["counted"]),
        helper.make_node("Squeeze", ["size"], ["limit"]),
        helper.make_node("TopK", ["found", "k"], ["top", "at"], axis=0),
        helper.make_node("Slice", ["m", "from", "size"], ["cut"]),
    ]
    nodes[7], nodes[8] = nodes[8], nodes[7]
    stored = [_stored("zero", 0, np.int64), _stored("one", 1, np.int64), _stored("k", [0], np.int64),
              _stored("from", [0], np.int64)]  # fmt: skip
    inputs = [_value("x", TensorProto.FLOAT, ["a", 6]), _value("shape", TensorProto.INT64, [2])]
    outputs = [_value(name, TensorProto.FLOAT, None) for name in ("found", "shaped", "top", "cut")]
    return _model(nodes, inputs, [*outputs, _value("counted", TensorProto.INT64, None)], stored)


@pytest.mark.parametrize("part", range(PARTS))
def test_fuzz_damaged_files_that_are_accepted_run_or_are_refused(part: int) -> None:
    """One thing wrong in each, so that many are accepted."""
    made = [source() for source in (network, control, staged)]
    ran = 0
    for number in range(part, EXAMPLES, PARTS):
        rng = random.Random(number)
        model = onnx.ModelProto.FromString(rng.choice(made))
        rng.choice(CASE_CHANGES)(model, rng)
        graph = accepted(model.SerializeToString())
        if graph is not None:
            began = time.perf_counter()
            ran += runs_or_is_refused(f"number {number}", graph, rng)
            assert time.perf_counter() - began < LIMIT_S, f"number {number} took too long"
    assert ran >= EXAMPLES // PARTS // 20


def test_fuzz_damaged_cases_of_every_operator_that_are_accepted_run_or_are_refused() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # making some of the cases warns
        cases = [case for case in load_model_tests(kind="node") if case.model is not None]
    if not cases:
        pytest.skip(f"onnx {onnx.__version__} keeps its cases in files")
    for number in range(EXAMPLES // 2):
        rng = random.Random(number)
        case = rng.choice(cases)
        model = with_stored_inputs(case, rng)
        for _ in range(rng.choice([0, 1, 1, 2])):
            rng.choice(CASE_CHANGES)(model, rng)
        graph = accepted(model.SerializeToString())
        if graph is not None:
            runs_or_is_refused(f"{case.name}, number {number}", graph, rng)
