"""What the backend `cupy` computes on a pretended CUDA (see pretend_cuda), against the reference of each op.

In each run a sample of hetero's conformance suite and of what OpenCL is asked; HETERO_PRETEND_CUDA=full runs all of
both. No GPU has run any of it: see docs/backends/cupy.md.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator
from itertools import product
from typing import Any

import pytest

import test_opencl
import test_opencl_control
import test_opencl_spiking
from hetero import registry
from hetero.op import Op, Sample
from hetero.spi import Backend, Device
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


# -- the conformance suite ------------------------------------------------------------------------------------

CASES = suite.CASES if FULL else suite.CASES[::41]
ONES = [
    suite.test_a_buffer_is_a_copy, suite.test_the_same_run_twice_gives_the_same_bits,
    suite.test_special_values_go_through, suite.test_zeros_keep_their_signs,
    suite.test_an_output_may_be_an_input_a_constant_or_twice_the_same, suite.test_a_loop_carries_its_state,
    suite.test_a_branch_is_taken, suite.test_the_backend_is_what_it_must_be,
    suite.test_an_executable_knows_its_peak_before_it_runs, suite.test_a_refusal_has_a_reason,
]  # fmt: skip
MANY = [suite.test_a_random_graph_gives_what_its_references_give, suite.test_a_matrix_product_of_any_size,
        suite.test_a_reduction_over_any_axis]  # fmt: skip


@pytest.mark.parametrize(("op", "sample", "name"), CASES)
def test_an_op_gives_what_its_reference_gives(gpu: Device, op: Op, sample: Sample, name: str) -> None:
    suite.test_an_op_gives_what_its_reference_gives(gpu, op, sample, name)


def without_many_kernels(calls: list[Any]) -> list[Any]:
    """Unless all are wanted: some of these have dozens of kernels to compile."""
    slow = ("test_special_values_go_through", "test_zeros_keep_their_signs")
    return [c for c in calls if FULL or c.__name__ not in slow]


@pytest.mark.parametrize("call", without_many_kernels(ONES), ids=lambda c: c.__name__)
def test_what_every_backend_must_do(gpu: Device, call: Callable[[Device], None]) -> None:
    call(gpu)


@pytest.mark.skipif(not FULL, reason="HETERO_PRETEND_CUDA=full compiles hundreds of kernels")
@pytest.mark.parametrize("call", MANY, ids=lambda c: c.__name__)
def test_what_every_backend_must_do_in_many_cases(gpu: Device, call: Callable[..., None]) -> None:
    call(device=gpu)


@pytest.mark.parametrize("dtype", ["bool", "int64", "float16", "complex64"])
@pytest.mark.parametrize("shape", [(), (0,), (7, 3)])
def test_a_buffer_comes_back_as_it_went(gpu: Device, dtype: str, shape: tuple[int, ...]) -> None:
    suite.test_a_buffer_comes_back_as_it_went(gpu, dtype, shape)


# -- what OpenCL is asked -------------------------------------------------------------------------------------


@pytest.fixture
def asked(gpu: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    turn_to(registry.load("cupy"), gpu, monkeypatch)


def turn_to(backend: Backend, gpu: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests of test_opencl.py ask this backend from now on."""
    monkeypatch.setattr(test_opencl, "BACKEND", backend)
    monkeypatch.setattr(test_opencl, "OpenCLBackend", lambda style: backend)
    monkeypatch.setattr(test_opencl, "DEVICE", gpu)
    monkeypatch.setattr(test_opencl_control, "DEVICE", gpu)
    for call in (test_opencl.run, test_opencl.agree, test_opencl.agree_on_sample):
        monkeypatch.setattr(call, "__defaults__", (backend,))


def ask(call: Callable[..., None], **given: Any) -> Any:
    return pytest.param(call, given, id="-".join([call.__name__[5:], *map(str, given.values())]))


HANDING_ON, SUMMING = test_opencl_control.handing_on(), test_opencl_control.summing()
ASKED = [
    ask(test_opencl.test_rows_are_fused_and_agree, shape=(33, 1000), name="float32"),
    ask(test_opencl.test_rows_are_fused_and_agree, shape=(2, 3, 8), name="float64"),
    ask(test_opencl.test_transposes_of_any_size_agree, shape=(3, 64, 65)),
    ask(test_opencl.test_many_rows_times_one_matrix_agree, rows=(3, 2, 5), lead=(1,)),
    ask(test_opencl.test_many_small_products, sizes=(3, 4, 5), dtype="float32"),
    ask(test_opencl.test_an_index_outside_is_reported_when_the_host_waits),
    ask(test_opencl.test_outputs_may_be_inputs_constants_and_views),
    ask(test_opencl.test_complex_matrices_are_refused_with_the_reason),
    ask(test_opencl_control.test_a_cond_in_a_scan_gives_what_its_reference_gives),
    ask(
        test_opencl_control.test_a_scan_gives_what_its_reference_gives,
        body=test_opencl_control.handing_on(),
        reverse=True,
    ),
]
IN_FULL = [
    *(ask(test_opencl.test_every_elementwise_op_agrees_in_every_dtype, name=n) for n in test_opencl.REAL),
    *(ask(test_opencl.test_rows_are_fused_and_agree, shape=s, name=n)
      for s, n in product([(5, 3), (1, 70001), (700, 2)], ["float32", "float64"])),
    ask(test_opencl.test_rows_are_fused_and_agree, shape=(33, 1000), name="float16"),
    *(ask(test_opencl.test_long_reductions_are_split_and_agree, axes=a, name=n)
      for a, n in product([(0,), (1,), (2,), (0, 2), (1, 2), (0, 1, 2)], ["sum", "max"])),
    *(ask(test_opencl.test_integer_division_never_traps, name=n) for n in ("int8", "int32", "int64", "uint8")),
    *(ask(test_opencl.test_windows_over_axes_of_one_element_agree, sides=s, stride=t, groups=g)
      for s, t, g in product([(150, 1), (1, 150), (9, 150, 1), (1, 1)], [1, 2], [1, 4])),
    *(ask(test_opencl.test_many_rows_times_one_matrix_agree, rows=r, lead=()) for r in ((2, 0, 5), (1, 7))),
    ask(test_opencl.test_nan_wins_maxima_and_sorts_last),
    ask(test_opencl.test_random_elementwise_graphs_agree),
    ask(test_opencl.test_sorting_many_elements_is_stable),
    ask(test_opencl_control.test_a_scan_gives_what_its_reference_gives, body=SUMMING, reverse=False),
    *(ask(test_opencl_control.test_a_cond_runs_the_branch_that_the_bool_says, said=b) for b in (True, False)),
]  # fmt: skip


@pytest.mark.parametrize(("call", "given"), ASKED + IN_FULL * FULL)
def test_what_opencl_is_asked(asked: None, call: Callable[..., None], given: dict[str, Any]) -> None:
    call(**given)


# -- spiking networks -----------------------------------------------------------------------------------------

RULE = test_opencl_spiking.RULES[0]


def test_spiking_networks_run_by_events_in_one_launch(gpu: Device) -> None:
    test_opencl_spiking.same_everywhere(test_opencl_spiking.random_network(3, RULE), 9, 3, 3, _spiking())


def test_spiking_networks_run_by_events_in_slices(gpu: Device, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_opencl_spiking.event_driven, "SMALL", 0)
    test_opencl_spiking.same_everywhere(test_opencl_spiking.random_network(4, RULE), 5, None, 4, _spiking())


def _spiking() -> Any:
    return registry.load("cupy")


SPIKING = [
    ask(test_opencl_spiking.test_delays_do_the_same, seed=1, steps=14, batch=3, small=True),
    ask(test_opencl_spiking.test_delays_do_the_same, seed=2, steps=13, batch=None, small=False),
    ask(test_opencl_spiking.test_lines_that_begin_full_are_passed_on),
    ask(test_opencl_spiking.test_convolutions_and_pools_do_the_same),
    ask(test_opencl_spiking.test_integers_do_the_same_at_their_limits),
    ask(test_opencl_spiking.test_the_first_state_counts_and_the_last_is_given),
]


@pytest.mark.skipif(not FULL, reason="HETERO_PRETEND_CUDA=full runs them")
@pytest.mark.parametrize(("call", "given"), SPIKING)
def test_what_opencl_is_asked_of_spiking_networks(gpu: Device, call: Any, given: dict[str, Any]) -> None:
    call(backend=_spiking(), **given)
