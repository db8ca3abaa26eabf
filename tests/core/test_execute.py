"""Choosing a device, falling back, counting: never silent."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

import hetero as ht
from hetero import dtype as dt
from hetero import registry
from hetero.compile import FallbackWarning, compile
from hetero.dim import Dim
from hetero.errors import BackendError, ConfigError, DeviceError, DTypeError, GraphError
from hetero.graph.build import Builder
from hetero.graph.ir import Graph
from hetero.op import TensorType
from hetero.testing import DoNothingBackend, SmallMemoryBackend, plugged, random_graph
from hetero.testing.pretend import DoNothingBackend as Nothing

X = np.linspace(-1, 1, 12, dtype="float32").reshape(3, 4)


def chain(*ops: str) -> Graph:
    builder = Builder("chain")
    value = builder.input("x", TensorType((3, 4), dt.float32))
    for op in ops:
        value = builder(op, value)
    return builder.build({"y": value})


def test_numpy_is_used_when_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HETERO_BACKEND", raising=False)
    assert str(ht.asarray([1.0]).device) == "numpy:0"


def test_hetero_backend_is_read_at_first_use_and_use_overrides_it(monkeypatch: pytest.MonkeyPatch) -> None:
    with plugged(DoNothingBackend()):
        monkeypatch.setenv("HETERO_BACKEND", "nothing:0")
        assert str(ht.asarray([1.0]).device) == "nothing:0"
        with ht.use("numpy"):
            assert str(ht.asarray([1.0]).device) == "numpy:0"
        assert str(ht.asarray([1.0], device="numpy").device) == "numpy:0"


def test_an_ordered_list_takes_the_first_that_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HETERO_BACKEND", "tpu,numpy")
    assert str(ht.asarray([1.0]).device) == "numpy:0"


@pytest.mark.parametrize("name", ["tpu", "numpy:7", "tpu,quantum"])
def test_an_unknown_device_is_an_error_that_says_what_there_is(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("HETERO_BACKEND", name)
    with pytest.raises(BackendError) as e:
        ht.asarray([1.0])
    assert "numpy" in e.value.hint


def test_a_setting_that_means_nothing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HETERO_FALLBACK", "maybe")
    with pytest.raises(ConfigError, match="maybe"):
        chain("tanh").run({"x": X})


def test_without_fallback_every_refusal_is_reported_before_anything_runs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HETERO_FALLBACK", raising=False)
    with plugged(DoNothingBackend(frozenset({"tanh", "exp"}))), pytest.raises(BackendError) as e:
        chain("tanh", "negative", "exp").run({"x": X}, device="nothing")
    assert "2 of the ops" in str(e.value)
    assert "told to refuse tanh" in str(e.value)
    assert "told to refuse exp" in str(e.value)
    assert "HETERO_FALLBACK=allow" in e.value.hint


def test_a_fallback_is_warned_of_once_and_counted_with_its_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HETERO_FALLBACK", "warn")
    with plugged(DoNothingBackend(frozenset({"tanh"}))):
        graph = chain("negative", "tanh", "exp")
        with pytest.warns(FallbackWarning, match="tanh runs on numpy:0, not on nothing:0: told to refuse tanh"):
            graph.run({"x": X}, device="nothing")
        ht.reset_stats()
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # the second run is compiled already
            graph.run({"x": X}, device="nothing")
    found = ht.stats()
    assert {(f.op, f.wanted, f.ran_on): n for f, n in found.fallbacks.items()} == {("tanh", "nothing:0", "numpy:0"): 1}
    assert found.ops == {"nothing:0": {"negative": 1, "exp": 1}, "numpy:0": {"tanh": 1}}
    # in, out to the host for tanh, back in, and the result out: four copies of 48 bytes
    assert found.copies == {"host -> nothing:0": 2, "nothing:0 -> host": 2}
    assert found.total_copied_bytes == 4 * X.nbytes
    assert "1 fallbacks" in found.summary()


@pytest.mark.parametrize("seed", range(15))
def test_a_split_graph_gives_the_same_results(seed: int) -> None:
    """NumPy behind a device that refuses some ops: what crosses the border must be right."""

    class Picky(SmallMemoryBackend):
        name = "picky"

        def support(self, node, types, outs, device):  # type: ignore[no-untyped-def]
            said = super().support(node, types, outs, device)
            return type(said)(False, "no") if node.op.name in ("multiply", "max", "matmul") else said

    graph, arrays = random_graph(seed, nodes=20)
    with plugged(Picky(1 << 30)) as device:
        program = compile(graph, device, "allow")
        outs = program(*arrays)
    for want, got in zip(graph.evaluate(*arrays), outs, strict=True):
        assert np.allclose(want, got, rtol=1e-5, atol=1e-5)


def test_what_does_not_fit_the_memory_is_refused_before_it_runs() -> None:
    with (
        plugged(SmallMemoryBackend(100)),
        pytest.raises(DeviceError, match=r"bytes at its peak|bytes beside its inputs"),
    ):
        chain("tanh", "exp", "abs").run({"x": np.ones((3, 4), "float32")}, device="small")
    with plugged(SmallMemoryBackend(10_000)):
        assert np.allclose(chain("tanh").run({"x": X}, device="small")["y"], np.tanh(X))


def test_a_backend_name_is_taken_once() -> None:
    with plugged(DoNothingBackend()), pytest.raises(BackendError, match="already called"):
        registry.add(Nothing())


def test_a_backend_that_does_not_open_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    class Entry:
        value, name = "broken:Broken", "broken"

        def load(self) -> object:
            raise AttributeError("module 'vendor' has no attribute 'get_platforms'")

    monkeypatch.setattr(registry, "_entries", lambda: [Entry()])
    with pytest.raises(BackendError, match="does not open: AttributeError"):
        registry.load("broken")


def test_an_absurd_dimension_is_an_error_not_a_crash() -> None:
    builder = Builder("absurd")
    x = builder.input("x", TensorType((), dt.float32))
    graph = builder.build({"y": builder("exp", builder("broadcast_to", x, shape=(2**31, 2**31)))})
    with pytest.raises(ht.HeteroError):
        graph.run({"x": np.float32(1)})


def test_more_than_the_device_has_is_refused_before_it_is_compiled() -> None:
    builder = Builder("large")
    x = builder.input("x", TensorType((), dt.float32))
    graph = builder.build({"y": builder("exp", builder("broadcast_to", x, shape=(2**42,)))})
    with pytest.raises(DeviceError, match=r"large needs \d+ bytes beside its inputs, numpy:0 has \d+"):
        graph.run({"x": np.float32(1)})


def run_python(code: str, **env: str) -> str:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, env=os.environ | env, check=True
    )
    return done.stdout.strip()


def test_importing_hetero_imports_no_backend_and_no_vendor_library() -> None:
    heavy = "pyopencl cupy lava onnx onnxruntime torch scipy rich typer ml_dtypes safetensors hypothesis pytest".split()
    code = f"import hetero, sys; print([m for m in sys.modules if m in {heavy} or m.startswith('hetero_')])"
    assert run_python(code) == "[]"


@pytest.mark.parametrize("where", ["numpy", "auto"])
def test_what_runs_a_simple_graph_waits_for_no_scipy(where: str) -> None:
    """Its sparse arrays take half a second and 17 MiB, and are for spiking networks. `auto` asks every backend."""
    run = f"import hetero as ht, sys; ht.jit(lambda x: x * 2)(ht.ones(3, device={where!r}))"
    code = f"{run}; print('scipy' in sys.modules)"
    assert run_python(code) == "False"


def test_the_memory_of_a_chain_is_what_was_predicted() -> None:
    """50 layers of product and tanh, measured by tracemalloc: within 10 % of `peak_bytes`."""
    import tracemalloc

    builder = Builder("deep")
    x = builder.input("x", TensorType((512, 512), dt.float32))
    w = builder.constant(np.full((512, 512), 1 / 512, "float32"))
    value = x
    for _ in range(50):
        value = builder("tanh", builder("matmul", value, w))
    graph = builder.build({"y": value})
    program = compile(graph, registry.find("numpy"))
    given = np.ones((512, 512), "float32")
    tracemalloc.start()
    program(given)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.reset_peak()
    kept = tracemalloc.get_traced_memory()[0]
    program(given)
    again = tracemalloc.get_traced_memory()[1] - kept
    tracemalloc.stop()
    assert peak == pytest.approx(graph.peak_bytes, rel=0.1)
    assert peak < 4 * given.nbytes  # 50 layers, three buffers
    assert again == pytest.approx(given.nbytes, rel=0.1)  # the arena is there: the output alone is new


def test_where_a_graph_was_placed_is_one_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    with plugged(DoNothingBackend(frozenset({"tanh"}))) as device, caplog.at_level("INFO", "hetero"):
        compile(chain("negative", "tanh", "exp"), device, "allow")
    (line,) = caplog.messages
    assert line.startswith("chain: 2 ops on nothing:0, 1 ops on numpy:0, 1 of them as fallbacks; ")


def test_operators_on_the_host_are_counted_from_the_start() -> None:
    """Without anybody having asked before; every call that gave a result once, refused ones not at all."""
    code = """
import hetero as ht
x = ht.ones((3,), dtype=ht.float32)
y = x + x
y = y + 1.0
y = 2.0 - y
y = -y
try:
    y + ht.ones((4,), dtype=ht.float32)
except ht.HeteroError:
    pass
print(ht.stats().ops["numpy:0"])
ht.reset_stats()
y * y
print(ht.stats().ops["numpy:0"])
"""
    assert run_python(code).splitlines() == ["{'add': 2, 'subtract': 1, 'negative': 1}", "{'multiply': 1}"]


def test_a_run_like_the_last_one_is_still_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    builder = Builder("sum")
    x, y = (builder.input(name, TensorType((Dim.symbol("n"),), dt.float32)) for name in "xy")
    graph = builder.build({"z": builder("add", x, y)})
    feed = {"x": np.ones(3, np.float32), "y": np.ones(3, np.float32)}
    for _ in range(2):
        assert graph.run(feed)["z"].tolist() == [2, 2, 2]
    assert graph.run({k: np.ones(2, np.float32) for k in feed})["z"].tolist() == [2, 2]
    assert graph.run({"y": feed["y"], "x": 2 * feed["x"]})["z"].tolist() == [3, 3, 3]
    with pytest.raises(DTypeError, match="'x' wants float32, got float64"):
        graph.run({"x": np.ones(3), "y": feed["y"]})
    with pytest.raises(GraphError, match="unknown 'w'"):
        graph.run(feed | {"w": feed["x"]})
    with pytest.raises(GraphError, match="missing 'y'"):
        graph.run({"x": feed["x"]})
    monkeypatch.setenv("HETERO_FALLBACK", "sometimes")
    with pytest.raises(ConfigError):
        graph.run(feed)
