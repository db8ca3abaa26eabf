"""What only the backend onnxruntime has: whole models, providers, guards, weights that are not copied, errors."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx.backend import test as backend_tests

import hetero as ht
import hetero_onnxruntime
from hetero import dtype as dt
from hetero import registry
from hetero.compile import compile
from hetero.errors import BackendError, DeviceError, GraphError
from hetero.graph.build import Builder
from hetero.graph.ir import Graph
from hetero.op import OPS, TensorType
from hetero.spi import unsupported
from hetero.testing.agree import one_op, run_graph
from hetero_onnxruntime import OnnxRuntimeBackend, device
from hetero_onnxruntime.device import CPU, OPTIONS, Provider

LIGHT = Path(backend_tests.__file__).parent / "data" / "light"
HERE = registry.find("onnxruntime")


@pytest.mark.parametrize("name", ["squeezenet", "shufflenet"])
def test_a_network_gives_what_the_runtime_gives_on_the_file_itself(name: str) -> None:
    path = LIGHT / f"light_{name}.onnx"
    graph = ht.from_onnx(str(path))
    rng = np.random.default_rng(0)
    feed = {n: rng.standard_normal(t.known).astype(t.dtype) for n, t in graph.input_types.items()}
    ht.reset_stats()
    made = graph.run(feed, device="onnxruntime")
    assert set(ht.stats().ops) == {HERE.name}, "no other device had a part in it"
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session: Any = onnxruntime.InferenceSession(str(path), options, providers=[CPU])
    for got, want in zip(made.values(), session.run(None, feed), strict=True):
        assert np.allclose(got, want, rtol=1e-4, atol=1e-6)


def test_weights_are_referred_to_and_not_copied() -> None:
    weight = np.ones((64, 64), "float32")
    weight.setflags(write=False)
    builder = Builder("layer", track=False)
    graph = builder.build({"y": builder("matmul", builder.input("x", TensorType((1, 64), dt.float32)),
                                        builder.share(weight))})  # fmt: skip
    (segment,) = compile(graph, HERE, "error").segments
    (value,) = segment.executable._weights.values()  # pyright: ignore[reportAttributeAccessIssue]
    assert value.data_ptr() == weight.ctypes.data


def test_outputs_that_no_node_makes_are_copies_of_any_dtype() -> None:
    builder = Builder("ports", track=False)
    x = builder.input("x", TensorType((3,), dt.complex64))
    y = builder.input("y", TensorType((2,), dt.float32))
    graph = builder.build({"a": x, "b": builder("tanh", y), "c": builder.constant(np.arange(4, dtype="int64"))})
    feed = (np.array([1j, 2, 3], "complex64"), np.array([0.5, -0.5], "float32"))
    a, b, c = run_graph(graph, feed, HERE)
    assert np.array_equal(a, feed[0])
    assert not np.shares_memory(a, feed[0])
    assert np.allclose(b, np.tanh(feed[1]))
    c[:] = 9
    assert np.array_equal(run_graph(graph, feed, HERE)[2], np.arange(4))


@pytest.mark.parametrize("dtype", ["int8", "int16", "int32", "int64", "uint8", "uint32", "uint64"])
@pytest.mark.parametrize("name", ["floor_divide", "remainder", "fmod", "left_shift", "right_shift"])
def test_integers_by_anything_mean_what_numpy_means(name: str, dtype: str) -> None:
    """Zero, -1 and the least integer, and shifts by more than there are bits, which the standard leaves open."""
    info = np.iinfo(dtype)
    met = [info.min, info.min + 1, -3, -1, 0, 1, 2, 7, 8, 30, 31, 32, 63, 64, 65, info.max - 1, info.max]
    some = np.array([v for v in met if info.min <= v <= info.max], dtype)
    a, b = (np.ascontiguousarray(v) for v in np.broadcast_arrays(some[:, None], some))
    graph = one_op(OPS[name], [TensorType(a.shape, a.dtype)] * 2, {})
    if refused := unsupported(registry.load("onnxruntime"), graph, HERE):  # int16 and uint64 have few kernels
        assert all("has no kernel" in m.reason for m in refused)
        return
    with np.errstate(all="ignore"):
        (want,) = graph.evaluate(a, b)
    (got,) = run_graph(graph, (a, b), HERE)
    wrong = np.argwhere(got != want)
    assert not len(wrong), [(a[tuple(k)], b[tuple(k)], got[tuple(k)], want[tuple(k)]) for k in wrong[:5]]


def test_one_executable_serves_several_threads() -> None:
    builder = Builder("threads", track=False)
    x = builder.input("x", TensorType((256, 256), dt.float32))
    graph = builder.build({"y": builder("matmul", x, builder("tanh", x))})
    program = compile(graph, HERE, "error")
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal((256, 256)).astype("float32") for _ in range(8)]
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda a: program(a)[0], arrays))
    for a, m in zip(arrays, made, strict=True):
        assert np.allclose(m, a @ np.tanh(a), atol=1e-3)


def test_what_the_runtime_refuses_at_run_time_is_our_error() -> None:
    builder = Builder("far", track=False)
    x, i = builder.input("x", TensorType((3,), dt.float32)), builder.input("i", TensorType((1,), dt.int64))
    graph = builder.build({"y": builder("take", x, i, axis=0)})
    with pytest.raises(GraphError, match=r"far cannot be computed by onnxruntime.*out of"):
        graph.run({"x": np.zeros(3, "float32"), "i": np.array([7])}, device="onnxruntime")


def test_what_has_no_form_is_refused_by_name_and_falls_back_only_when_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    graph = one_op(OPS["cumprod"], [TensorType((4,), dt.float32)], {"axis": 0, "exclusive": False, "reverse": False})
    feed = {"in0": np.arange(1, 5, dtype="float32")}
    with pytest.raises(BackendError, match="cumprod has no form in ONNX"):
        graph.run(feed, device="onnxruntime")
    monkeypatch.setenv("HETERO_FALLBACK", "allow")
    ht.reset_stats()
    assert np.array_equal(graph.run(feed, device="onnxruntime")["out0"], [1, 2, 6, 24])
    assert ht.stats().fallback_count == 1


def test_what_depends_on_values_is_a_fallback_here_too() -> None:
    with pytest.raises(BackendError, match="depends on the values"):
        ht.nonzero(ht.asarray([0.0, 1.0], device="onnxruntime"))


# -- which providers --------------------------------------------------------------------------------------------------


def pretend(monkeypatch: pytest.MonkeyPatch, providers: list[str], version: str = "1.99.0") -> list[Any]:
    """An onnxruntime with these providers; gives the list of sessions that were asked for."""
    asked: list[Any] = []

    class Options:
        def __init__(self) -> None:
            self.entries: dict[str, str] = {}

        def add_session_config_entry(self, key: str, value: str) -> None:
            self.entries[key] = value

    def session(model: bytes, options: Options, providers: list[tuple[str, dict[str, str]]]) -> Any:
        asked.append((providers, options.entries))
        if providers[0][0] == "TensorrtExecutionProvider":
            raise RuntimeError("libnvinfer.so.10 is not there")
        opened = [CPU] if providers[0][0] == "CUDAExecutionProvider" else [providers[0][0], CPU]
        return SimpleNamespace(get_providers=lambda: opened)

    fake = SimpleNamespace(
        __version__=version, get_available_providers=lambda: providers, SessionOptions=Options, InferenceSession=session
    )
    device.driver.cache_clear()
    monkeypatch.setattr(device, "import_module", lambda name: fake if name == "onnxruntime" else onnx)
    return asked


@pytest.fixture(autouse=True)
def _own_driver():
    yield
    device.driver.cache_clear()


def test_the_processor_is_first_and_what_does_not_open_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    names = [
        "TensorrtExecutionProvider",
        "CUDAExecutionProvider",
        "QNNExecutionProvider",
        "AzureExecutionProvider",
        CPU,
    ]
    asked = pretend(monkeypatch, names)
    monkeypatch.setenv(OPTIONS, json.dumps({"QNNExecutionProvider": {"backend_path": "htp.so"}, "Other": {}}))
    found = OnnxRuntimeBackend().probe()
    assert [d.name for d in found.devices] == ["onnxruntime:0", "onnxruntime:1"]
    assert found.devices[0].description.startswith(CPU)
    assert found.devices[1].description == "QNNExecutionProvider of onnxruntime 1.99.0, backend_path=htp.so"
    assert found.warnings == (
        "TensorrtExecutionProvider does not open: libnvinfer.so.10 is not there",
        f"CUDAExecutionProvider does not open: the session has {CPU}",
        f"{OPTIONS}: no provider is called 'Other'",
    )
    for providers, entries in asked:  # no vendor's session may hand nodes to the processor
        assert (providers[0][0] == CPU) != ("session.disable_cpu_ep_fallback" in entries)


@pytest.mark.parametrize("text", ["{", "[1]", '{"CPUExecutionProvider": 3}'])
def test_options_that_mean_nothing_are_told(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    pretend(monkeypatch, [CPU])
    monkeypatch.setenv(OPTIONS, text)
    (warning,) = OnnxRuntimeBackend().probe().warnings
    assert warning.startswith(f"{OPTIONS} is no JSON of the form")


def test_an_old_runtime_and_a_missing_one_say_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    pretend(monkeypatch, [CPU], "1.17.3")
    found = OnnxRuntimeBackend().probe()
    assert (found.devices, found.reason) == ((), "onnxruntime 1.17.3 is older than 1.18")
    assert found.fix == "pip install 'hetero[onnxruntime]'"

    def missing(name: str) -> Any:
        raise ModuleNotFoundError("No module named 'onnxruntime'", name="onnxruntime")

    device.driver.cache_clear()
    monkeypatch.setattr(device, "import_module", missing)
    found = OnnxRuntimeBackend().probe()
    assert found.reason == "onnxruntime does not import: No module named 'onnxruntime'"


def test_a_session_that_does_not_open_is_our_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def no(self: Provider, *args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("the driver is gone")

    monkeypatch.setattr(Provider, "session", no)
    graph: Graph = one_op(OPS["tanh"], [TensorType((2,), dt.float32)], {})
    with pytest.raises(DeviceError, match=r"CPUExecutionProvider does not take tanh: the driver is gone"):
        hetero_onnxruntime.OnnxRuntimeExecutable(graph, Provider(CPU))
