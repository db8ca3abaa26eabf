"""HETERO_BACKEND=auto: graphs go to the candidate that was measured to be the quickest."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import hetero as ht
from hetero import registry
from hetero.auto.choice import MOST, SHARE, TRIALS, Auto, Candidate
from hetero.auto.kept import Kept
from hetero.auto.tune import tune
from hetero.errors import BackendError, DeviceError, DTypeError, GraphError
from hetero.graph.ir import Graph
from hetero.spi import Device, Executable
from hetero.testing.pretend import BreakingBackend, plugged


@pytest.fixture(autouse=True)
def only_pretend_devices(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The host and what a test plugs in, and nothing remembered: else the choice would depend on the machine."""
    monkeypatch.setattr("hetero.registry.available", lambda: ["numpy", *registry._added])
    monkeypatch.setenv("HETERO_CACHE_DIR", str(tmp_path))


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


def test_every_candidate_is_tried_and_all_give_the_result(graph: Graph) -> None:
    with plugged(Slow(0.001)):
        ht.reset_stats()
        for _ in range(50):
            np.testing.assert_allclose(
                graph.run(feed(), device="auto")["out"], graph.evaluate(*feed().values())[0], 1e-5
            )
        did = ht.stats()
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
    for _ in range(20 * MOST):
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


# -- how trials are spread, on a clock of our own ---------------------------------------------------------------------


class Clock:
    """Seconds that pass only when a candidate runs or is made."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("hetero.auto.choice.time", SimpleNamespace(perf_counter=lambda: self.now))

    def candidate(self, name: str, seconds: float, making: float = 0.0, dies_at: int = -1) -> Candidate:
        runs = 0

        def run(x: Any) -> tuple[Any, ...]:
            nonlocal runs
            runs += 1
            if runs == dies_at:
                raise DeviceError(f"{name} has no memory left")
            self.now += seconds
            return (x + 1,)

        def make() -> Any:
            self.now += making
            return run

        return Candidate(name, make)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def one() -> Graph:
    return ht.trace(lambda x: x + 1, ht.spec((2,), "float32"))


@given(data=st.data())
@settings(max_examples=30, deadline=None, derandomize=True)
def test_trials_never_slow_a_graph_by_more_than_their_share_and_one_of_them(data: st.DataObject) -> None:
    """Against the leader alone, at every moment; and the quickest wins in the end."""
    times = data.draw(st.lists(st.sampled_from([0.01, 0.02, 0.05, 0.3]), min_size=2, max_size=4, unique=True))
    makings = [data.draw(st.sampled_from([0.0, 0.05, 0.5])) for _ in times]
    with pytest.MonkeyPatch.context() as patch:
        clock = Clock(patch)
        auto = Auto(
            one(), [clock.candidate(f"c{k}", t, m) for k, (t, m) in enumerate(zip(times, makings, strict=True))]
        )
        dearest = max(times) + max(makings)
        for runs in range(1, 30_000):
            auto(np.zeros(2, "f4"))
            alone = makings[0] + runs * times[0]
            assert clock.now <= alone * (1 + 2 * SHARE) + 2 * dearest
            if auto.chosen is not None:
                break
    assert auto.chosen is not None
    assert auto.chosen.name == f"c{times.index(min(times))}"


def test_the_first_run_makes_nothing_but_the_likeliest(clock: Clock) -> None:
    auto = Auto(one(), [clock.candidate("likely", 0.1), clock.candidate("other", 0.1, making=60.0)])
    auto(np.zeros(2, "f4"))
    auto(np.zeros(2, "f4"))
    assert clock.now == pytest.approx(0.2)


def test_a_chosen_device_that_runs_out_of_memory_is_out_and_the_next_one_runs(clock: Clock) -> None:
    ht.reset_stats()
    auto = Auto(one(), [clock.candidate("quick", 0.001, dies_at=50), clock.candidate("slow", 0.002)])
    for _ in range(100):
        np.testing.assert_array_equal(auto(np.zeros(2, "f4"))[0], [1, 1])
    assert auto.chosen is not None
    assert auto.chosen.name == "slow"
    assert "quick quick has no memory left" in auto.summary()
    assert ht.stats().events["auto lost quick"] == 1


def test_an_input_at_fault_puts_no_device_out(clock: Clock) -> None:
    def refuses(x: Any) -> Any:
        raise GraphError("index 9 is out of bounds")

    auto = Auto(one(), [Candidate("other", lambda: refuses), Candidate("numpy:0", lambda: refuses)])
    with pytest.raises(GraphError, match="index 9"):
        auto(np.zeros(2, "f4"))
    assert not any(c.refused for c in auto.candidates)


# -- what another process measured ------------------------------------------------------------------------------------


def test_tuning_tries_all_at_once_and_is_remembered(graph: Graph) -> None:
    with plugged(Slow(0.003)):
        (found,) = tune(graph, feed())
        assert (found.chosen, found.settled) == ("numpy:0", True)
        assert {t.name for t in found.trials} == {"numpy:0", "slow:0", "plan"}
        assert next(t.seconds for t in found.trials if t.name == "slow:0") > 0.003
        ht.reset_stats()
        again = ht.trace(lambda x: ht.exp(x) + ht.matmul(x, x), ht.spec((8, 8), "float32"))
        for _ in range(3):
            again.run(feed(), device="auto")
        assert ht.stats().events["auto cache hit"] == 1
        assert ht.stats().ops_on("slow:0") == 0


def test_what_is_remembered_follows_the_devices_and_the_form_and_not_the_weights(graph: Graph) -> None:
    def layer(weights: float, size: int) -> Graph:
        w = np.full((size, size), weights, "f4")
        return ht.trace(lambda x: ht.matmul(x, ht.asarray(w)), ht.spec((size, size), "float32"))

    def misses(g: Graph, n: int) -> int:
        ht.reset_stats()
        g.run({"x": np.zeros((n, n), "f4")}, device="auto")
        return ht.stats().events.get("auto cache miss", 0)

    tune(layer(1, 8), {"x": np.zeros((8, 8), "f4")})
    assert misses(layer(2, 8), 8) == 0
    assert misses(layer(1, 9), 9) == 1
    with plugged(Slow(0)):
        assert misses(layer(1, 8), 8) == 1


@pytest.mark.parametrize("text", ["", "[]", '{"numpy:0": "fast"}', '{"numpy:0": -1}', '{"gone:0": 1.0}'])
def test_a_damaged_memory_is_measured_anew(graph: Graph, text: str) -> None:
    kept = Kept(graph, [registry.find("numpy")])
    kept._cache().put(text.encode(), *kept._key)
    auto = Auto(graph, [Candidate("numpy:0", lambda: lambda x: (x,))], kept)
    assert not auto.settled()


def test_what_came_near_elsewhere_is_tried_again_here(clock: Clock, graph: Graph) -> None:
    """The other process may have been disturbed."""
    kept = Kept(graph, [])
    kept.write({"a": 0.001, "b": 0.0015, "far": 0.1})
    assert json.loads(kept._cache().get(*kept._key) or b"") == {"a": 0.001, "b": 0.0015, "far": 0.1}
    candidates = [clock.candidate("a", 0.002), clock.candidate("b", 0.0005), clock.candidate("far", 0.0001)]
    auto = Auto(one(), candidates, kept)
    assert auto.settled()
    for _ in range(400):
        auto(np.zeros(2, "f4"))
    assert auto.chosen is candidates[1]
    assert len(candidates[2].seconds) == TRIALS, "what was far away is not tried"
