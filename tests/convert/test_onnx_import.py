"""What `from_onnx` promises: names, dimensions, late nodes, refusals, and files that are not to be trusted."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

import hetero.testing.onnx_backend as backend
from hetero import from_onnx
from hetero.convert import onnx_table
from hetero.convert.onnx_call import TABLE, Entry
from hetero.convert.onnx_schema import schema
from hetero.dim import Dim
from hetero.errors import HeteroError, ModelError, ShapeError
from hetero.graph.ir import Graph
from hetero.graph.store import load

FLOAT, INT, BOOL = TensorProto.FLOAT, TensorProto.INT64, TensorProto.BOOL


def value(name: str, kind: int, shape: Any = None) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def stored(name: str, values: Any, dtype: Any = np.int64) -> Any:
    return numpy_helper.from_array(np.asarray(values, dtype), name)


def model(
    nodes: list[Any],
    inputs: list[Any],
    outputs: list[str],
    tensors: list[Any] | None = None,
    opset: int = 20,
    **more: Any,
) -> Any:
    ports = [value(name, 0) for name in outputs]  # types of outputs may be left out
    graph = helper.make_graph(nodes, "made", inputs, ports, tensors or [])
    imports = [helper.make_opsetid("", opset), helper.make_opsetid("ours", 1)]
    return helper.make_model(graph, opset_imports=imports, **more)


def imported(*args: Any, **more: Any) -> Graph:
    return from_onnx(model(*args, **more).SerializeToString())


def refusal(*args: Any, **more: Any) -> str:
    with pytest.raises(ModelError) as e:
        imported(*args, **more)
    return str(e.value)


X = [value("x", FLOAT, [2, 3])]
RELU = helper.make_node("Relu", ["x"], ["y"], "act")

# -- what is kept -------------------------------------------------------------------------------------------


def test_nodes_keep_the_names_they_have_in_the_file() -> None:
    assert [node.name for node in imported([RELU], X, ["y"]).nodes] == ["act"]


def test_inputs_and_outputs_keep_their_names_and_order() -> None:
    nodes = [helper.make_node("Sub", ["b", "a"], ["d"]), helper.make_node("Neg", ["a"], ["n"])]
    graph = imported(nodes, [value("a", FLOAT, [2]), value("b", FLOAT, [2])], ["n", "d"])
    assert (list(graph.input_types), list(graph.output_types)) == (["a", "b"], ["n", "d"])


def test_named_dimensions_stay_and_others_get_names() -> None:
    graph = imported([RELU], [value("x", FLOAT, ["batch size", None, 3, "7th"])], ["y"])
    assert graph.output_types["y"].shape == tuple(
        Dim.symbol(n) if isinstance(n, str) else n for n in ("batch_size", "unk_0", 3, "_7th")
    )


def test_a_target_shape_that_is_computed_is_followed_while_the_batch_is_open() -> None:
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "zero"], ["n"]),
        helper.make_node("Mul", ["n", "two"], ["m"]),
        helper.make_node("Concat", ["m", "rest"], ["t"], axis=0),
        helper.make_node("Reshape", ["x", "t"], ["y"]),
    ]
    tensors = [stored("zero", [0]), stored("two", [2]), stored("rest", [-1])]
    graph = imported(nodes, [value("x", FLOAT, ["n", 4, 6])], ["y"], tensors)
    assert [node.op.name for node in graph.nodes] == ["reshape"]
    assert graph.output_types["y"].shape == (Dim.symbol("n") * 2, 12)


def test_an_attention_block_is_lowered_while_batch_and_length_are_open() -> None:
    rng = np.random.default_rng(0)
    nodes = [
        helper.make_node("LayerNormalization", ["x", "g", "g"], ["l"]),
        helper.make_node("MatMul", ["l", "w"], ["h"]),
        helper.make_node("Split", ["h"], ["q", "k", "v"], axis=2, num_outputs=3),
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Slice", ["s", "zero", "two"], ["front"]),
        helper.make_node("Concat", ["front", "heads"], ["split"], axis=0),
        *(helper.make_node("Reshape", [i, "split"], [i + "4"]) for i in "qkv"),
        *(helper.make_node("Transpose", [i + "4"], [i + "t"], perm=p) for i, p in
          (("q", [0, 2, 1, 3]), ("k", [0, 2, 3, 1]), ("v", [0, 2, 1, 3]))),
        helper.make_node("MatMul", ["qt", "kt"], ["a"]), helper.make_node("Softmax", ["a"], ["p"]),
        helper.make_node("MatMul", ["p", "vt"], ["o"]), helper.make_node("Transpose", ["o"], ["b"], perm=[0, 2, 1, 3]),
        helper.make_node("Reshape", ["b", "s"], ["c"]), helper.make_node("Add", ["c", "x"], ["y"]),
    ]  # fmt: skip
    tensors = [stored("g", rng.normal(size=8), np.float32), stored("w", rng.normal(size=(8, 24)), np.float32),
               stored("zero", [0]), stored("two", [2]), stored("heads", [2, 4])]  # fmt: skip
    made = model(nodes, [value("x", FLOAT, ["batch", "length", 8])], ["y"], tensors)
    graph = from_onnx(made.SerializeToString())
    assert not any(node.op.kind == "late" for node in graph.nodes)
    made.graph.output[0].CopyFrom(value("y", FLOAT))
    for batch, length in ((1, 5), (3, 2)):
        x = rng.normal(size=(batch, length, 8)).astype(np.float32)
        wanted: Any = ReferenceEvaluator(made).run(None, {"x": x})
        np.testing.assert_allclose(graph.run({"x": x})["y"], wanted[0], rtol=1e-4, atol=1e-5)


def test_an_initializer_that_is_an_input_too_is_a_constant() -> None:
    graph = imported([helper.make_node("Add", ["x", "w"], ["y"])], [*X, value("w", FLOAT, [3])], ["y"],
                     [stored("w", [1, 2, 3], np.float32)])  # fmt: skip
    assert list(graph.input_types) == ["x"]


def test_functions_are_put_in_place_of_their_calls_with_the_callers_name() -> None:
    body = [helper.make_node("Mul", ["u", "u"], ["v"], "square"), helper.make_node("Neg", ["v"], ["m"]),
            helper.make_node("Elu", ["m"], ["w"])]  # fmt: skip
    body[2].attribute.add(name="alpha", ref_attr_name="a", type=onnx.AttributeProto.FLOAT)
    function = helper.make_function("ours", "Odd", ["u"], ["w"], body, [helper.make_opsetid("", 20)], ["a"])
    call = helper.make_node("Odd", ["x"], ["y"], "odd", domain="ours", a=0.5)
    made = model([call], X, ["y"], functions=[function])
    graph = from_onnx(made.SerializeToString())
    assert graph.nodes[0].name == "odd/square"
    x = np.linspace(-1, 1, 6, dtype=np.float32).reshape(2, 3)
    np.testing.assert_allclose(graph.run({"x": x})["y"], np.expm1(-x * x) * np.float32(0.5), rtol=1e-6)


def test_attributes_of_a_call_reach_the_subgraphs_of_its_function() -> None:
    elu = helper.make_node("Elu", ["u"], ["z"])
    elu.attribute.add(name="alpha", ref_attr_name="a", type=onnx.AttributeProto.FLOAT)
    branch = helper.make_graph([elu], "branch", [], [value("z", FLOAT)])
    node = helper.make_node("If", ["c"], ["w"], then_branch=branch, else_branch=branch)
    function = helper.make_function("ours", "Odd", ["c", "u"], ["w"], [node], [helper.make_opsetid("", 20)], ["a"])
    call = helper.make_node("Odd", ["c", "x"], ["y"], domain="ours", a=3.0)
    graph = imported([call], [value("c", BOOL, []), *X], ["y"], functions=[function])
    made = graph.run({"c": np.asarray(True), "x": np.full((2, 3), -1, np.float32)})["y"]
    np.testing.assert_allclose(made, np.full((2, 3), 3 * np.expm1(-1.0)), rtol=1e-6)


# -- late nodes ---------------------------------------------------------------------------------------------


def test_a_shape_that_is_data_is_awaited() -> None:
    graph = imported([helper.make_node("Reshape", ["x", "s"], ["y"])], [*X, value("s", INT, [2])], ["y"])
    assert [node.op.kind for node in graph.nodes] == ["late"]
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    made = graph.run({"x": x, "s": np.asarray([3, -1])})["y"]
    np.testing.assert_array_equal(made, x.reshape(3, 2))


def test_what_follows_a_result_of_unknown_size_is_awaited() -> None:
    nodes = [helper.make_node("NonZero", ["x"], ["i"]), helper.make_node("Transpose", ["i"], ["t"]),
             helper.make_node("GatherND", ["x", "t"], ["y"])]  # fmt: skip
    x = np.asarray([[0, 1, 2], [3, 0, 4]], np.float32)
    np.testing.assert_array_equal(imported(nodes, X, ["y"]).run({"x": x})["y"], [1, 2, 3, 4])


def test_a_graph_with_late_nodes_survives_its_file(tmp_path: Path) -> None:
    graph = imported([helper.make_node("TopK", ["x", "k"], ["v", "i"], axis=1)], [*X, value("k", INT, [1])], ["v", "i"])
    path = str(tmp_path / "model.hetero")
    graph.save(path)
    feed = {"x": np.arange(6, dtype=np.float32).reshape(2, 3), "k": np.asarray([2])}
    np.testing.assert_array_equal(load(path).run(feed)["i"], graph.run(feed)["i"])


def countdown(limit: str) -> list[Any]:
    """A loop that doubles x until its sum passes 100, and yields every step."""
    body = helper.make_graph(
        [helper.make_node("Add", ["a", "a"], ["b"]), helper.make_node("ReduceSum", ["b"], ["t"], keepdims=0),
         helper.make_node("Less", ["t", "hundred"], ["on"]), helper.make_node("Identity", ["b"], ["c"])], "step",
        [value("i", INT, []), value("go", BOOL, []), value("a", FLOAT)],
        [value("on", BOOL, []), value("b", FLOAT), value("c", FLOAT)],
    )  # fmt: skip
    return [helper.make_node("Loop", [limit, "", "x"], ["y", "steps"], "double", body=body)]


@pytest.mark.parametrize("limit", ["", "three", "many"])
def test_a_loop_runs_until_its_condition_fails_or_its_steps_are_done(limit: str) -> None:
    tensors = [stored("three", 3), stored("many", 1000), stored("hundred", 100.0, np.float32)]
    made = model(countdown(limit), X, ["y", "steps"], tensors)
    feed = {"x": np.ones((2, 3), np.float32)}
    got = from_onnx(made.SerializeToString()).run(feed)
    steps = 3 if limit == "three" else 5
    np.testing.assert_array_equal(got["y"], feed["x"] * 2**steps)
    assert got["steps"].shape == (steps, 2, 3)


def test_a_long_loop_that_nothing_stops_is_one_scan() -> None:
    body = helper.make_graph(
        [helper.make_node("Add", ["a", "x"], ["b"]), helper.make_node("Identity", ["go"], ["on"])], "step",
        [value("i", INT, []), value("go", BOOL, []), value("a", FLOAT)], [value("on", BOOL, []), value("b", FLOAT)],
    )  # fmt: skip
    graph = imported([helper.make_node("Loop", ["n", "", "x"], ["y"], body=body)], X, ["y"], [stored("n", 50)])
    assert [node.op.name for node in graph.nodes] == ["scan"]
    np.testing.assert_allclose(graph.run({"x": np.ones((2, 3), np.float32)})["y"], np.full((2, 3), 51))


def test_a_branch_whose_condition_is_data_is_one_cond() -> None:
    then, other = (
        helper.make_graph([helper.make_node(op, ["x"], ["z"])], op, [], [value("z", FLOAT)]) for op in ("Neg", "Exp")
    )
    nodes = [helper.make_node("If", ["c"], ["y"], then_branch=then, else_branch=other)]
    graph = imported(nodes, [*X, value("c", BOOL, [])], ["y"])
    assert [node.op.name for node in graph.nodes] == ["cond"]
    x = np.ones((2, 3), np.float32)
    for c, wanted in ((True, -x), (False, np.exp(x))):
        np.testing.assert_allclose(graph.run({"x": x, "c": np.asarray(c)})["y"], wanted, rtol=1e-6)


# -- refusals -----------------------------------------------------------------------------------------------


def test_everything_that_is_refused_is_told_at_once_by_name() -> None:
    nodes = [
        helper.make_node("StringNormalizer", ["x"], ["a"], "tidy"),
        helper.make_node("Elu", ["x"], ["b"], "e", axis=1),
        helper.make_node("Relu", ["a"], ["c"]),
        helper.make_node("Nonsense", ["x"], ["d"], "what"),
    ]
    said = refusal(nodes, X, ["c", "b", "d"])
    assert "3 nodes" in said
    for part in ("StringNormalizer tidy", "Elu e: no attribute is called axis", "Nonsense what: the operator"):
        assert part in said


NODE = helper.make_node
WRONG: dict[str, tuple[list[Any], str]] = {
    "a cycle": ([NODE("Add", ["x", "b"], ["y"]), NODE("Neg", ["y"], ["b"])], "cycle"),
    "a node of an operator that is not there": ([NODE("Softplush", ["x"], ["y"])], "not covered"),
    "a node that reads itself": ([NODE("Add", ["x", "y"], ["y"])], "itself"),
    "a name from nowhere": ([NODE("Add", ["x", "z"], ["y"])], "nothing makes"),
    "a name given twice": ([RELU, RELU], "twice"),
    "too many inputs": ([NODE("Relu", ["x", "x"], ["y"])], "inputs wanted"),
    "an attribute of another type": ([NODE("Elu", ["x"], ["y"], alpha=[1.0])], "another type"),
    "a required attribute left out": ([NODE("Cast", ["x"], ["y"])], "attribute to is missing"),
    "a dtype that the operator does not take": ([NODE("And", ["x", "x"], ["y"])], "does not allow"),
    "an axis outside": ([NODE("Softmax", ["x"], ["y"], axis=5)], "axis 5"),
    "shapes that do not fit": ([NODE("Transpose", ["x"], ["t"]), NODE("Add", ["x", "t"], ["y"])], "broadcast"),
}


@pytest.mark.parametrize(("nodes", "said"), WRONG.values(), ids=WRONG.keys())
def test_wrong_nodes_are_refused(nodes: list[Any], said: str) -> None:
    assert said in refusal(nodes, X, ["y"])


def test_an_attribute_of_a_later_opset_is_refused() -> None:
    node = helper.make_node("ReduceSum", ["x"], ["y"], axes=[0])
    assert imported([node], X, ["y"], opset=11).nodes
    assert "no attribute is called axes" in refusal([node], X, ["y"], opset=13)


def test_an_opset_that_is_newer_than_the_package_is_refused() -> None:
    assert "pip install" in refusal([RELU], X, ["y"], opset=onnx.defs.onnx_opset_version() + 1)


def test_operators_that_changed_before_opset_7_are_refused() -> None:
    assert imported([helper.make_node("Not", ["c"], ["y"])], [value("c", BOOL, [2])], ["y"], opset=1).nodes
    assert "opset 7" in refusal([helper.make_node("Add", ["x", "x"], ["y"])], X, ["y"], opset=6)


def test_a_wrong_feed_names_the_input() -> None:
    with pytest.raises(ShapeError, match="'x' wants shape"):
        imported([RELU], X, ["y"]).run({"x": np.ones((3, 3), np.float32)})


# -- files that are not to be trusted -----------------------------------------------------------------------


def external(folder: Path, location: str, **entries: str) -> bytes:
    """A model whose weights are said to lie at `location`."""
    made = model([helper.make_node("Add", ["x", "w"], ["y"])], X, ["y"], [stored("w", [1, 2, 3], np.float32)])
    tensor = made.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    for key, text in {"location": location, **entries}.items():
        tensor.external_data.add(key=key, value=text)
    return made.SerializeToString()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """model/data.bin, and outside.bin beside the folder with links to it."""
    inside = tmp_path / "model"
    (inside / "deep").mkdir(parents=True)
    raw = np.asarray([1, 2, 3], np.float32).tobytes()
    (inside / "data.bin").write_bytes(b"\0" * 4 + raw)
    (inside / "deep/data.bin").write_bytes(raw)
    (tmp_path / "outside.bin").write_bytes(raw)
    (inside / "link.bin").symlink_to(tmp_path / "outside.bin")
    (inside / "up").symlink_to(tmp_path)
    return inside


def test_external_data_is_read_from_the_models_folder(folder: Path) -> None:
    path = folder / "model.onnx"
    for location, entries in (("data.bin", {"offset": "4", "length": "12"}), ("deep/data.bin", {})):
        path.write_bytes(external(folder, location, **entries))
        np.testing.assert_array_equal(from_onnx(path).run({"x": np.zeros((2, 3), np.float32)})["y"][0], [1, 2, 3])


@pytest.mark.parametrize(
    "location",
    ["../outside.bin", "/etc/hostname", "link.bin", "up/outside.bin", "deep/../../outside.bin", "nothing.bin",
                 ".", "", "C:\\data.bin", "a\0b"],
)  # fmt: skip
def test_external_data_outside_the_folder_is_refused(folder: Path, location: str) -> None:
    with pytest.raises(ModelError, match="folder"):
        from_onnx(external(folder, location), folder=folder)


@pytest.mark.parametrize(
    "entries", [{"offset": "5"}, {"offset": "-4"}, {"length": "4"}, {"length": "9" * 30}, {"offset": "x"}]
)
def test_external_data_that_does_not_fit_is_refused(folder: Path, entries: dict[str, str]) -> None:
    with pytest.raises(ModelError, match="'w'"):
        from_onnx(external(folder, "data.bin", **entries), folder=folder)


def test_a_model_given_as_bytes_has_no_folder(folder: Path) -> None:
    with pytest.raises(ModelError, match="no folder"):
        from_onnx(external(folder, "data.bin"))


def test_a_truncated_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "cut.onnx"
    path.write_bytes(model([RELU], X, ["y"]).SerializeToString()[:-9])
    with pytest.raises(ModelError, match="cut"):
        from_onnx(path)


@pytest.mark.parametrize("source", [b"", b"not a model", "nowhere.onnx", ".", "a\0b"])
def test_what_is_no_model_is_refused(source: Any) -> None:
    with pytest.raises(ModelError):
        from_onnx(source)


@pytest.mark.parametrize("dims", [[2**62], [-1], [2**40, 2**40], [4]])
def test_sizes_that_do_not_fit_the_data_are_refused(dims: list[int]) -> None:
    made = model([helper.make_node("Add", ["x", "w"], ["y"])], X, ["y"], [stored("w", [1, 2, 3], np.float32)])
    made.graph.initializer[0].dims[:] = dims
    with pytest.raises(ModelError, match="'w'"):
        from_onnx(made.SerializeToString())


def test_a_huge_constant_is_not_made_while_importing() -> None:
    node = helper.make_node("ConstantOfShape", ["s"], ["y"])
    assert imported([node], [], ["y"], [stored("s", [2**20, 2**20])]).output_types["y"].shape == (2**20, 2**20)
    assert "absurd" in refusal([node], [], ["y"], [stored("s", [2**30, 2**30])])
    spread = helper.make_node("Range", ["zero", "much", "one"], ["y"])
    assert "limit" in refusal([spread], [], ["y"], [stored("zero", 0), stored("much", 2**40), stored("one", 1)])


def test_functions_that_multiply_are_refused() -> None:
    functions: list[Any] = []
    for i in range(20):
        inner, domain = ("Neg", "") if i == 0 else (f"F{i - 1}", "ours")
        body = [
            helper.make_node(inner, ["u"], ["v"], domain=domain),
            helper.make_node(inner, ["v"], ["w"], domain=domain),
        ]
        imports = [helper.make_opsetid("", 20), helper.make_opsetid("ours", 1)]
        functions.append(helper.make_function("ours", f"F{i}", ["u"], ["w"], body, imports))
    call = helper.make_node("F19", ["x"], ["y"], domain="ours")
    assert "become more than" in refusal([call], X, ["y"], functions=functions)


def test_a_function_that_calls_itself_is_refused() -> None:
    body = [helper.make_node("F", ["u"], ["w"], domain="ours")]
    function = helper.make_function("ours", "F", ["u"], ["w"], body, [helper.make_opsetid("ours", 1)])
    assert "deep" in refusal([helper.make_node("F", ["x"], ["y"], domain="ours")], X, ["y"], functions=[function])


# -- the table ----------------------------------------------------------------------------------------------


def entries() -> list[Entry]:
    return [e for found in TABLE.values() for e in found if e.function is not None and e.domain != "hetero"]


@pytest.mark.parametrize("entry", entries(), ids=lambda e: f"{e.op}-{e.since}")
def test_the_defaults_of_a_lowering_are_those_of_the_standard(entry: Entry) -> None:
    import inspect

    newest = [e for e in TABLE[entry.domain, entry.op] if e.since > entry.since]
    opset = newest[0].since - 1 if newest else onnx.defs.onnx_opset_version()
    wanted = schema(entry.op, entry.domain, opset)
    if wanted is None:
        pytest.skip(f"onnx {onnx.__version__} has no {entry.op}")
    function: Callable[..., Any] = entry.function  # pyright: ignore[reportAssignmentType]
    parameters = inspect.signature(function).parameters
    for name, attribute in wanted.attributes.items():
        if name not in parameters or not attribute.default_value.type or name == "activations":  # one a direction
            continue
        default = helper.get_attribute_value(attribute.default_value)
        default = default.decode() if isinstance(default, bytes) else default
        default = tuple(default) if isinstance(default, list) else default
        assert parameters[name].default == pytest.approx(default), name


def test_the_documents_table_is_current() -> None:
    page = onnx_table.PAGE.read_text(encoding="utf-8")
    assert onnx_table.filled(page) == page, "python -m hetero.convert.onnx_table"


def test_every_operator_of_the_standard_is_covered_or_refused_with_a_reason() -> None:
    names = {s.name for s in onnx.defs.get_all_schemas() if s.domain == "" and not s.deprecated}
    assert not names - {op for domain, op in TABLE if domain == ""}


# -- ONNX's backend interface ---------------------------------------------------------------------------------


def test_the_backend_interface_runs_a_node() -> None:
    x = np.asarray([[1, -2, 3]], np.float32)
    (made,) = backend.run_node(helper.make_node("Relu", ["x"], ["y"]), [x])
    np.testing.assert_array_equal(made, [[1, 0, 3]])


def test_the_backend_interface_runs_a_model_and_knows_its_devices() -> None:
    x = np.ones((2, 3), np.float32)
    (made,) = backend.run_model(model([RELU], X, ["y"]), [x])
    np.testing.assert_array_equal(made, x)
    assert backend.supports_device("CPU")
    assert backend.supports_device("numpy")
    assert not backend.supports_device("tpu:7")


def test_a_refusal_is_a_hetero_error_through_the_backend_interface() -> None:
    with pytest.raises(HeteroError):
        backend.prepare(model([helper.make_node("Nonsense", ["x"], ["y"])], X, ["y"]))
