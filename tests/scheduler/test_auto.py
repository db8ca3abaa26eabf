"""HETERO_BACKEND=auto: graphs go to the candidate that was measured to be the quickest."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import hetero as ht
from hetero import registry
from hetero.auto import MOST, TRIALS, Auto, Candidate
from hetero.errors import BackendError, DTypeError
from hetero.graph.ir import Graph
from hetero.spi import Device, Executable
from hetero.testing.pretend import BreakingBackend, plugged


@pytest.fixture(autouse=True)
def only_pretend_devices(monkeypatch: pytest.MonkeyPatch) -> None:
    """The host and what a test plugs in: real devices would make the choice depend on the machine."""
    monkeypatch.setattr("hetero.registry.available", lambda: ["numpy", *registry._added])


@pytest.fixture
def graph() -> Graph:
    return ht.trace(lambda x: ht.exp(x) + ht.matmul(x, x), ht.spec((8, 8), "float32"))


class Slow(BreakingBackend):
    """Right, and late."""

    name = "slow"

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._seconds = seconds

    def compile(self, graph: Graph, device: Device) -> Executable:
        return Waits(super().compile(graph, device), self._seconds)


class Waits:
    """Another executable, after a while."""

    def __init__(self, inner: Executable, seconds: float) -> None:
        self._inner, self._seconds = inner, seconds
        self.graph, self.peak_bytes = inner.graph, inner.peak_bytes

    def __call__(self, *inputs: Any) -> Any:
        time.sleep(self._seconds)
        return self._inner(*inputs)


def feed() -> dict[str, Any]:
    return {"x": np.random.default_rng(0).standard_normal((8, 8)).astype("f4")}


def test_the_quickest_is_chosen_after_a_few_runs_and_all_give_the_result(graph: Graph) -> None:
    with plugged(Slow(0.01)):
        ht.reset_stats()
        for _ in range(2 * MOST + TRIALS):
            np.testing.assert_allclose(
                graph.run(feed(), device="auto")["out"], graph.evaluate(*feed().values())[0], 1e-5
            )
        did = ht.stats()
    assert did.events["auto chose numpy:0"] == 1
    assert did.ops_on("slow:0") > 0  # it was tried
    assert did.ops_on("auto:0") == 0  # ops are counted where they ran


def test_a_device_that_refuses_is_out_with_its_reason(graph: Graph) -> None:
    with plugged(BreakingBackend(dies_after=0)):
        auto = registry.load("auto").compile(graph, registry.find("auto"))
        assert isinstance(auto, Auto)
        for _ in range(2 * TRIALS):
            np.testing.assert_allclose(auto(*feed().values())[0], graph.evaluate(*feed().values())[0], 1e-5)
    assert auto.chosen is not None
    assert auto.chosen.name == "numpy:0"
    assert "breaking:0 RuntimeError: the pretend device is gone" in auto.summary()


def test_nothing_left_names_every_reason() -> None:
    def refuse() -> Any:
        raise BackendError("no such op")

    auto = Auto(ht.trace(lambda x: x + 1, ht.spec((2,), "float32")), [Candidate("a", refuse), Candidate("b", refuse)])
    with pytest.raises(BackendError, match=r"no device here runs .*: a: no such op; b: no such op"):
        auto(np.zeros(2, "f4"))


def test_what_was_disturbed_at_first_is_tried_again_and_can_still_win() -> None:
    graph = ht.trace(lambda x: x + 1, ht.spec((2,), "float32"))
    calls = {"steady": 0, "disturbed": 0, "slow": 0}

    def waiting(name: str, seconds: Callable[[int], float]) -> Candidate:
        def run(x: Any) -> tuple[Any, ...]:
            calls[name] += 1
            time.sleep(seconds(calls[name]))
            return (x + 1,)

        return Candidate(name, lambda: run)

    candidates = [
        waiting("steady", lambda k: 0.004),
        waiting("disturbed", lambda k: 0.006 if k <= TRIALS else 0.001),
        waiting("slow", lambda k: 0.02),
    ]
    auto = Auto(graph, candidates)
    x = np.zeros(2, "f4")
    while auto.chosen is None:
        auto(x)
    assert auto.chosen.name == "steady"
    tried = calls["slow"]
    for _ in range(4 * MOST + 3 * TRIALS):
        np.testing.assert_array_equal(auto(x)[0], x + 1)
    assert auto.chosen.name == "disturbed"
    assert calls["slow"] == tried  # given up: it is not near


def test_tensors_live_on_the_host_and_jit_is_planned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HETERO_BACKEND", "auto")
    x = ht.asarray([1.0, 2.0])
    assert x.device.name == "numpy:0"
    assert ht.current_device().name == "auto:0"
    ht.reset_stats()
    fast = ht.jit(lambda x: ht.exp(x) * 2)
    y = fast(x)
    for _ in range(TRIALS + MOST):
        y = fast(x)
    assert y.device == x.device
    np.testing.assert_allclose(np.asarray(y), 2 * np.exp([1.0, 2.0]))
    assert ht.stats().events["auto chose numpy:0"] == 1


def test_errors_of_the_input_are_those_of_the_host(graph: Graph) -> None:
    with pytest.raises(DTypeError, match="wants float32"):
        graph.run({"x": np.zeros((8, 8))}, device="auto")


def test_with_one_device_there_is_nothing_to_try(graph: Graph) -> None:
    ht.reset_stats()
    for _ in range(TRIALS + 1):
        graph.run(feed(), device="auto")
    assert ht.stats().events["auto chose numpy:0"] == 1
