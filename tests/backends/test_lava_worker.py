"""Lava's worker: it neither hangs nor stays behind, whatever fails, and the next call works."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from threading import Timer

import numpy as np
import pytest

from hetero.errors import ConfigError, DeviceError
from hetero.execute import run
from hetero.graph.ir import Graph
from hetero.spi import Device
from hetero.spiking.build import build
from hetero.testing.plugin import required
from hetero.testing.spiking import random_loihi
from hetero_lava import LavaBackend
from hetero_lava.client import Client

FOUND = LavaBackend().probe()
DEVICE = FOUND.devices[0] if FOUND.devices else Device("lava", host=True)
NETWORK, INPUTS = random_loihi(0)
SPIKES = INPUTS["spikes"]

needs_lava = pytest.mark.skipif(
    not FOUND.devices and "lava" not in required(), reason=f"no Lava: {FOUND.reason}; try: {FOUND.fix}"
)


def graph_of(steps: int = len(SPIKES)) -> Graph:
    return build(NETWORK, steps=steps)


@pytest.fixture
def backend(monkeypatch: pytest.MonkeyPatch) -> Iterator[LavaBackend]:
    """One with workers of its own, of which nothing is left behind."""
    ended: list[tuple[int, set[Path]]] = []
    kill, close = Client.kill, Client.close

    def note(client: Client) -> None:
        if client.process is not None:
            ended.append((client.process.pid, shared_memory(client.process.pid)))

    monkeypatch.setattr(Client, "kill", lambda self: (note(self), kill(self))[1])
    monkeypatch.setattr(Client, "close", lambda self: (note(self), close(self))[1])
    made = LavaBackend()
    yield made
    worker_of(made).close()
    for pid, held in ended:
        left_nothing(pid, held)


def left_nothing(group: int, held: set[Path]) -> None:
    """Neither processes nor shared memory."""
    assert gone(group), "processes are left"
    assert not [p for p in held if p.exists()], "shared memory is left"


def shared_memory(group: int) -> set[Path]:
    """The segments that the processes of a group hold."""
    found: set[Path] = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if int((folder / "stat").read_text().rpartition(")")[2].split()[2]) == group:
                found |= {Path(m) for m in re.findall(r"/dev/shm/\S+", (folder / "maps").read_text())}
    return found


def worker_of(backend: LavaBackend) -> Client:
    client = backend.client()
    assert isinstance(client, Client)
    return client


def gone(group: int, seconds: float = 10.0) -> bool:
    """Whether the group of processes ends by itself."""
    until = time.monotonic() + seconds
    while group and time.monotonic() < until:
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return True
        time.sleep(0.05)
    return not group


def works(backend: LavaBackend) -> None:
    graph = graph_of()
    wanted = run(graph, INPUTS, "numpy").values()
    for made, value in zip(backend.compile(graph, DEVICE)(SPIKES), wanted, strict=True):
        np.testing.assert_array_equal(made, value)


@needs_lava
@pytest.mark.parametrize(
    ("fault", "words"),
    [("raise", "a model that raises, as the test wants it"), ("exit", "ended with 3"), ("sleep", "no answer in time")],
)
def test_a_model_that_fails_ends_the_call_and_not_the_next(
    backend: LavaBackend, monkeypatch: pytest.MonkeyPatch, fault: str, words: str
) -> None:
    monkeypatch.setenv("HETERO_LAVA_TESTING", fault)
    monkeypatch.setenv("HETERO_LAVA_DEADLINE_S", "8" if fault == "sleep" else "60")
    began = time.monotonic()
    with pytest.raises(DeviceError, match=words):
        works(backend)
    assert time.monotonic() - began < 25
    monkeypatch.delenv("HETERO_LAVA_TESTING")
    monkeypatch.delenv("HETERO_LAVA_DEADLINE_S")
    works(backend)


@needs_lava
def test_a_worker_that_is_killed_is_replaced(backend: LavaBackend) -> None:
    works(backend)
    process = worker_of(backend).process
    assert process is not None
    held = shared_memory(process.pid)
    assert held
    long = backend.compile(graph_of(100_000), DEVICE)
    Timer(1.0, os.kill, (process.pid, signal.SIGKILL)).start()
    with pytest.raises(DeviceError, match="lava's worker ended with -9"):
        long(np.resize(SPIKES, (100_000, *SPIKES.shape[1:])))
    works(backend)
    left_nothing(process.pid, held)


@needs_lava
def test_networks_beyond_those_that_stay_open(backend: LavaBackend) -> None:
    """The worker keeps a few; what it has closed is built again."""
    made = [backend.compile(graph_of(), DEVICE) for _ in range(6)]
    first = [m(SPIKES)[0] for m in made]
    for again, before in zip([m(SPIKES)[0] for m in made], first, strict=True):
        np.testing.assert_array_equal(again, before)


ORPHAN = """
import sys, time
sys.path[:0] = {path!r}
from test_lava_worker import DEVICE, SPIKES, graph_of, worker_of
from hetero_lava import LavaBackend
backend = LavaBackend()
backend.compile(graph_of(), DEVICE)(SPIKES)
print(worker_of(backend).process.pid, flush=True)
input()
{end}
"""


@needs_lava
@pytest.mark.parametrize("end", ["time.sleep(600)", "", "raise SystemExit(1)"])
def test_the_worker_ends_with_its_caller(end: str) -> None:
    """Whether the caller is killed or ends by itself."""
    code = ORPHAN.format(path=[str(Path(__file__).parent)], end=end)
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as caller:
        assert caller.stdout is not None
        assert caller.stdin is not None
        group = int(caller.stdout.readline())
        held = shared_memory(group)
        if "sleep" in end:
            caller.kill()
        else:
            caller.stdin.write("\n")
            caller.stdin.flush()
        caller.wait(60)
    assert held
    left_nothing(group, held)


@needs_lava
@pytest.mark.parametrize("name", ["HETERO_LAVA_DEADLINE_S", "HETERO_LAVA_INPROCESS"])
def test_settings_that_mean_nothing_are_told(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv(name, "-3")
    with pytest.raises(ConfigError, match=name):
        works(LavaBackend())
