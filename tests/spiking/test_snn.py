"""Neurons in Python loops, encoders and decoders, event lists: on every backend."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import hetero as ht
from hetero import snn
from hetero.errors import HeteroError
from hetero.select import device_of
from hetero.spi import Device

LIF: dict[str, Any] = {"tau": 0.01, "r": 2.0, "v_leak": 0.0, "v_threshold": 0.5, "v_reset": 0.0, "dt": 1e-3,
                       "rule": "euler", "reset": "value", "strict": True}  # fmt: skip


@pytest.fixture(params=["numpy", "opencl"])
def host(request: pytest.FixtureRequest) -> Device:
    """Backends that run tensors of any kind; chips and Lava take whole networks only."""
    return device_of(request.param)


def test_a_loop_of_neurons_is_the_recurrence_written_out(host: Device) -> None:
    rng = np.random.default_rng(0)
    x = rng.random((50, 7), dtype=np.float32)
    with ht.use(host.name):
        _, spikes = ht.scan(lambda v, i: snn.lif(i, v, **LIF)[::-1], ht.zeros((7,), dtype="float32"), ht.asarray(x))
    v, wanted = np.zeros(7, np.float32), []
    for i in x:
        v = v + np.float32(0.1) * (np.float32(2) * i - v)
        wanted.append(v > 0.5)
        v = np.where(v > 0.5, np.float32(0), v)
    assert np.array_equal(np.asarray(spikes), np.array(wanted))


def test_a_refractory_neuron_waits(host: Device) -> None:
    with ht.use(host.name):
        states = (ht.zeros((1,), dtype="float32"), ht.zeros((1,), dtype="int32"))

        def step(state: tuple[ht.Tensor, ht.Tensor], x: ht.Tensor) -> tuple[tuple[ht.Tensor, ht.Tensor], ht.Tensor]:
            s, v, wait = snn.lif(x, *state, **LIF, refractory=3)
            return (v, wait), s

        _, spikes = ht.scan(step, states, ht.ones((12, 1), dtype="float32") * 100.0)
    assert np.flatnonzero(np.asarray(spikes)).tolist() == [0, 4, 8]


def test_rates_are_those_that_were_asked(host: Device) -> None:
    with ht.use(host.name):
        x = ht.asarray(np.array([0.0, 0.25, 1.0], "float32"))
        spikes = np.asarray(snn.rate(ht.random.key(1), x, steps=20_000, dt=1e-3, most_hz=400.0))
    assert set(np.unique(spikes)) == {0, 1}
    assert np.allclose(spikes.mean(0), [0, 0.1, 0.4], atol=0.01)


def test_rates_are_the_same_on_every_backend(host: Device) -> None:
    x = np.linspace(0, 1, 9, dtype="float32")
    with ht.use(host.name):
        here = np.asarray(snn.rate(ht.random.key(3), ht.asarray(x), steps=50, dt=1e-3, most_hz=500.0))
    with ht.use("numpy"):
        assert np.array_equal(
            here, np.asarray(snn.rate(ht.random.key(3), ht.asarray(x), steps=50, dt=1e-3, most_hz=500.0))
        )


def test_larger_values_spike_sooner(host: Device) -> None:
    with ht.use(host.name):
        x = ht.asarray(np.array([1.0, 0.5, 0.1, 0.05, 0.0], "float32"))
        spikes = snn.latency(x, steps=10, least=0.1)
        first = np.asarray(snn.first_spike(spikes))
        assert np.asarray(snn.count(spikes)).tolist() == [1, 1, 1, 0, 0]
    assert first.tolist() == [0, 5, 9, 10, 10]


def test_changes_become_spikes_of_two_kinds(host: Device) -> None:
    with ht.use(host.name):
        x = ht.asarray(np.array([[0.0], [0.5], [0.55], [-0.2]], "float32"))
        spikes = np.asarray(snn.delta(x, level=0.1))
    assert spikes[:, :, 0].tolist() == [[0, 0], [1, 0], [0, 0], [0, 1]]


def test_events_and_grids_are_two_forms_of_one_thing() -> None:
    rng = np.random.default_rng(0)
    grid = (rng.random((20, 3, 4)) < 0.2).astype("float32")
    events = snn.to_events(grid)
    assert len(events) == grid.sum()
    assert (np.diff(events.step) >= 0).all()
    assert np.array_equal(np.asarray(snn.from_events(events)), grid)


def test_what_makes_no_sense_is_refused() -> None:
    x = ht.ones((2,), dtype="float32")
    events = snn.to_events(np.ones((2, 3)))
    bad: dict[str, Any] = {**LIF, "rule": "guess", "dt": -1.0, "reset": "no"}
    for call in (
        lambda: snn.rate(ht.random.key(0), x, steps=5, dt=1e-2, most_hz=200.0),
        lambda: snn.latency(x, steps=0),
        lambda: snn.delta(x, level=0.0),
        lambda: snn.to_events(1.0),
        lambda: snn.from_events(snn.Events(events.step + 9, events.index, events.value, events.shape)),
        lambda: snn.lif(x, x, **bad),
    ):
        with pytest.raises(HeteroError):
            call()
