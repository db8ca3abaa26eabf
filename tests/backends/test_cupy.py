"""The backend `cupy` on a pretended CUDA (see pretend_cuda): what it computes, against the reference of each op.

In each run a sample of hetero's conformance suite; HETERO_PRETEND_CUDA=full runs all of it.
"""

from __future__ import annotations

import os
from collections.abc import Generator

import pytest

from hetero import registry
from hetero.op import Op, Sample
from hetero.spi import Device
from hetero.testing import test_conformance as suite
from hetero_cupy import CupyBackend
from pretend_cuda import Machine, pretended
from pretend_cuda.build import COMPILER

FULL = os.environ.get("HETERO_PRETEND_CUDA", "") == "full"
pytestmark = pytest.mark.skipif(COMPILER is None, reason="no g++ on this machine")


@pytest.fixture(scope="module")
def machine() -> Generator[Machine]:
    """With the backend as the registry gives it."""
    with pretended() as machine:
        registry._added["cupy"] = CupyBackend()
        registry.probe.cache_clear()
        yield machine
        machine.check()
        registry.remove("cupy")


@pytest.fixture(scope="module")
def gpu(machine: Machine) -> Device:
    return registry.find("cupy")


CASES = suite.CASES if FULL else suite.CASES[::37]


@pytest.mark.parametrize(("op", "sample", "name"), CASES)
def test_an_op_gives_what_its_reference_gives(gpu: Device, op: Op, sample: Sample, name: str) -> None:
    suite.test_an_op_gives_what_its_reference_gives(gpu, op, sample, name)
