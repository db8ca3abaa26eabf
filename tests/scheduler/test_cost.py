"""The cost model's formula, with numbers worked out by hand."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetero import dtype as dt
from hetero.graph.build import Builder
from hetero.graph.ir import Graph
from hetero.graph.passes.fuse import fuse
from hetero.op import TensorType
from hetero.profile import Efficiency, Profile, Quantity, Spiking, Support, load, profiles
from hetero.scheduler.cost import (
    CLASSES,
    Pass,
    Work,
    convert,
    estimate,
    op_class,
    refusal,
    static_w,
    transfer,
    work_of,
)
from hetero.scheduler.cost_default import KINDS, PARTS

F32 = dt.float32


def q(value: float, unit: str = "1", uncertainty: float = 0.0) -> Quantity:
    return Quantity(value, unit, "test", 2026, "measured", uncertainty)


def a_profile(**changes: object) -> Profile:
    """1 Top/s, 100 GB/s, 10 us a launch, 20 W idle and 50 W busy."""
    base = Profile(
        name="test", title="a test device", kind="gpu", year=2026, dtypes=("float32", "float16", "int8"), sources={},
        peak_op_per_s={"float32": q(1e12, "op/s")}, memory_byte=q(1e9, "B"), memory_byte_per_s=q(1e11, "B/s"),
        launch_s=q(1e-5, "s"), static_w=q(20, "W"), active_w=q(50, "W"),
        efficiency=(Efficiency("*", compute=q(0.5), memory=q(0.8)),),
    )  # fmt: skip
    return replace(base, **changes)  # pyright: ignore[reportArgumentType]


def a_work(op: float = 0.0, byte: float = 0.0, name: str = "matmul", dtype: str = "float32") -> Work:
    return Work(name, dtype, Pass(name, op, byte))


def graph_of(op: str, *shapes: tuple[int, ...], dtype: str = "float32", **attrs: Any) -> Graph:
    b = Builder(op, track=False)
    refs = [b.input(f"x{i}", TensorType(s, dt.of(dtype))) for i, s in enumerate(shapes)]
    return b.build([b(op, *refs, **attrs)])


def only(graph: Graph) -> Work:
    (node,) = graph.nodes
    return work_of(graph, node)


CONV: dict[str, Any] = {"strides": (1, 1), "dilations": (1, 1), "pads_before": (1, 1), "pads_after": (1, 1)}


# -- classes and work -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("graph", "wanted"),
    [
        (graph_of("matmul", (3, 4), (4, 5)), "matmul"),
        (graph_of("conv", (1, 8, 9, 9), (8, 8, 3, 3), **CONV), "conv"),
        (graph_of("conv", (1, 8, 9, 9), (8, 1, 3, 3), **CONV, groups=8), "conv_depthwise"),
        (graph_of("conv", (1, 8, 9, 9), (4, 8, 1, 1), **CONV), "conv_pointwise"),
        (graph_of("conv", (1, 8, 9, 9), (8, 4, 3, 3), **CONV, groups=2), "conv"),
        (graph_of("add", (3,), (3,)), "elementwise"),
        (graph_of("exp", (3,)), "transcendental"),
        (graph_of("sum", (3, 4), axes=(1,), keepdims=True), "reduction"),
        (graph_of("permute", (3, 4), axes=(1, 0)), "movement"),
        (graph_of("reshape", (3, 4), shape=(12,)), "view"),
        (graph_of("argsort", (3, 4), axis=1, descending=False), "sort"),
        (graph_of("softmax", (3, 4), axis=1), "normalise"),
        (graph_of("gelu", (3,), approximate="none"), "transcendental"),
        (graph_of("fft", (8,), axis=0, dtype="complex64"), "other"),
    ],
)
def test_ops_are_of_the_class_that_decides_their_speed(graph: Graph, wanted: str) -> None:
    assert op_class(graph, graph.nodes[0]) == wanted
    assert wanted in CLASSES


def test_every_class_has_a_default_and_every_kind_of_device_too() -> None:
    assert set(PARTS) == set(CLASSES)
    from hetero.profile.fields import KINDS as KNOWN

    assert set(KINDS) == set(KNOWN)


def test_the_work_of_a_product_counts_two_ops_a_multiply_add_and_each_matrix_once() -> None:
    work = only(graph_of("matmul", (3, 4), (4, 5)))
    assert (work.op, work.read_byte, work.write_byte, work.weight_byte) == (2 * 3 * 4 * 5, 4 * (12 + 20), 4 * 15, 0)


def test_constants_are_weights_and_not_read_twice() -> None:
    b = Builder(track=False)
    x = b.input("x", TensorType((3, 4), F32))
    graph = b.build([b("matmul", x, b.constant([[1.0] * 5] * 4, F32))])
    work = only(graph)
    assert (work.read_byte, work.weight_byte) == (4 * 12, 4 * 20)


def test_a_gather_reads_what_it_takes_not_the_whole_table() -> None:
    b = Builder(track=False)
    table = b.input("table", TensorType((10_000, 8), F32))
    rows = b.input("rows", TensorType((5,), dt.int32))
    work = only(b.build([b("take", table, rows, axis=0)]))
    assert work.read_byte < 1000
    assert work.write_byte == 5 * 8 * 4


def test_a_fused_group_costs_less_than_the_sum_of_its_ops() -> None:
    b = Builder(track=False)
    x = b.input("x", TensorType((1000, 1000), F32))
    graph = b.build([b("tanh", b("multiply", b("add", x, 1.0), x))])
    fused = fuse(graph)
    (region,) = fused.nodes
    profile = load("h100")
    together = estimate(work_of(fused, region), profile).seconds
    apart = [estimate(work_of(graph, n), profile).seconds for n in graph.nodes]
    assert work_of(fused, region).op == sum(work_of(graph, n).op for n in graph.nodes)
    assert work_of(fused, region).whole.byte == 2 * 4_000_000, "read once, written once"
    assert together.mid < 0.6 * sum(s.mid for s in apart)


def test_a_convolution_by_columns_is_a_copy_and_a_product() -> None:
    work = only(graph_of("conv", (1, 8, 10, 10), (16, 8, 3, 3), (16,), **CONV))
    product, columns, bias = work.parts
    assert product.op == work.op == 2 * 16 * 8 * 9 * 100 or work.op >= product.op
    assert columns.write_byte == 4 * 8 * 9 * 100
    assert bias.byte == 2 * 4 * 16 * 100


def test_a_view_takes_nothing() -> None:
    result = estimate(only(graph_of("reshape", (3, 4), shape=(12,))), load("h100"))
    assert result.seconds.mid == 0


# -- the roofline -----------------------------------------------------------------------------------------------


def test_where_operations_decide() -> None:
    result = estimate(a_work(op=1e9, byte=1e3), a_profile())
    assert result.seconds.mid == pytest.approx(1e-5 + 1e9 / (1e12 * 0.5))
    assert result.bound == "compute"


def test_where_bytes_decide() -> None:
    result = estimate(a_work(op=1e3, byte=1e8), a_profile())
    assert result.seconds.mid == pytest.approx(1e-5 + 1e8 / (1e11 * 0.8))
    assert result.bound == "memory"


def test_where_the_launch_decides() -> None:
    result = estimate(a_work(op=10, byte=10), a_profile())
    assert result.seconds.mid == pytest.approx(1e-5, rel=1e-3)
    assert result.bound == "launch"


def test_intervals_hold_the_uncertainty_of_every_value() -> None:
    profile = a_profile(
        peak_op_per_s={"float32": q(1e12, "op/s", 0.1)}, launch_s=q(1e-5, "s", 0.5),
        efficiency=(Efficiency("*", compute=q(0.5, "1", 0.2), memory=q(0.8)),),
    )  # fmt: skip
    s = estimate(a_work(op=1e9), profile).seconds
    assert s.low == pytest.approx(0.5e-5 + 1e9 / (1.1e12 * 0.6))
    assert s.high == pytest.approx(1.5e-5 + 1e9 / (0.9e12 * 0.4))


def test_rows_are_looked_up_by_class_then_dtype_and_the_nearest_beginning_of_a_path() -> None:
    rows = (
        Efficiency("*", compute=q(0.1), memory=q(1)),
        Efficiency("matmul", compute=q(0.2), memory=q(1)),
        Efficiency("matmul", "float16", compute=q(0.4), memory=q(1)),
        Efficiency("matmul.thin", compute=q(0.05), memory=q(1)),
    )
    peaks = {"float32": q(1e12, "op/s"), "float16": q(1e12, "op/s")}
    profile = a_profile(efficiency=rows, launch_s=q(0, "s"), peak_op_per_s=peaks)

    def reached(name: str, dtype: str = "float32") -> float:
        return 1e9 / estimate(a_work(1e9, 0, name, dtype), profile).seconds.mid / 1e12

    assert reached("sort") == pytest.approx(0.1)
    assert reached("matmul") == pytest.approx(0.2)
    assert reached("matmul.wide") == pytest.approx(0.2)
    assert reached("matmul", "float16") == pytest.approx(0.4)
    assert reached("matmul.thin.t1") == pytest.approx(0.05)


def test_between_two_buckets_the_time_of_an_op_lies_on_a_line() -> None:
    rows = (
        Efficiency("matmul", size=(10, 12), compute=q(0.1), memory=q(1)),
        Efficiency("matmul", size=(20, 22), compute=q(0.5), memory=q(1)),
    )
    profile = a_profile(efficiency=rows, launch_s=q(0, "s"))

    def second_per_op(size: float) -> float:
        return estimate(a_work(2.0**size), profile).seconds.mid / 2.0**size * 1e12

    assert second_per_op(11) == pytest.approx(10)
    assert second_per_op(16) == pytest.approx((10 + 2) / 2)
    assert second_per_op(21) == pytest.approx(2)
    assert second_per_op(4) == pytest.approx(10), "outside, as at the nearest"
    assert second_per_op(30) == pytest.approx(2)


def test_a_row_for_one_side_says_that_the_other_never_decides() -> None:
    profile = a_profile(efficiency=(Efficiency("pool", compute=q(0.5)),))
    assert estimate(a_work(1e6, 1e9, "pool"), profile).seconds.mid == pytest.approx(1e-5 + 1e6 / 0.5e12)


def test_parts_count_where_the_profile_has_rows_for_each_and_else_the_whole() -> None:
    work = Work("conv", "float32", Pass("conv", 1e9, 1e3), (Pass("matmul", 1e9), Pass("conv.columns.r4", 0, 1e6)))
    whole = a_profile(efficiency=(Efficiency("*", compute=q(0.5), memory=q(0.8)), Efficiency("conv", compute=q(0.25))))
    assert estimate(work, whole).seconds.mid == pytest.approx(1e-5 + 1e9 / 0.25e12)
    both = (Efficiency("matmul", compute=q(0.5)), Efficiency("conv.columns", memory=q(0.5)))
    seconds = estimate(work, a_profile(efficiency=both)).seconds.mid
    assert seconds == pytest.approx(2e-5 + 1e9 / 0.5e12 + 1e6 / 0.5e11)


def test_what_a_profile_does_not_say_is_assumed_and_named() -> None:
    result = estimate(a_work(1e9, 1e6), a_profile(launch_s=None, active_w=None, efficiency=()))
    assert set(result.assumed) == {"launch_s", "active_w"}
    assert result.seconds.high > 1.5 * result.seconds.low, "an assumption has a wide interval"


def test_a_dtype_without_a_peak_counts_at_that_of_a_like_one() -> None:
    profile = a_profile(peak_op_per_s={"float32": q(1e12, "op/s"), "int8": q(4e12, "op/s")})
    assert estimate(a_work(1e10, dtype="uint8"), profile).seconds.mid == pytest.approx(1e-5 + 1e10 / 2e12)
    assert "peak_op_per_s.uint8" in estimate(a_work(1e10, dtype="uint8"), profile).assumed


def test_computing_in_smaller_numbers_moves_fewer_bytes() -> None:
    profile = a_profile(peak_op_per_s={"float32": q(1e12, "op/s"), "int8": q(4e12, "op/s")})
    work = a_work(1e3, 1e8)
    assert estimate(work, profile, "int8").seconds.mid == pytest.approx(1e-5 + 1e8 / 4 / 0.8e11)
    indices = a_work(1e3, 1e8, dtype="int64")
    assert indices.as_dtype("int8") is indices, "integers are never computed in another dtype"


# -- energy -----------------------------------------------------------------------------------------------------


def test_energy_is_the_power_above_idle_while_busy() -> None:
    result = estimate(a_work(1e9), a_profile())
    assert result.joules.mid == pytest.approx(30 * result.seconds.mid)
    assert static_w(a_profile()).mid == 20


def test_energy_an_operation_and_a_byte_count_where_they_are_published() -> None:
    profile = a_profile(joule_per_op={"float32": q(1e-12, "J/op")}, joule_per_byte=q(1e-11, "J/B"))
    assert estimate(a_work(1e9, 1e6), profile).joules.mid == pytest.approx(1e-3 + 1e-5)


def test_spikes_cost_events_and_updates_and_a_step_takes_its_time() -> None:
    spiking = Spiking(
        joule_per_synaptic_event=q(2e-11, "J"), joule_per_neuron_update=q(8e-11, "J"), step_s=q(1e-3, "s")
    )
    work = replace(a_work(), events=1e6, neuron_updates=2e5, steps=100.0)
    result = estimate(work, a_profile(spiking=spiking))
    assert result.seconds.mid == pytest.approx(100 * 1e-3)
    assert result.joules.mid == pytest.approx(1e6 * 2e-11 + 2e5 * 8e-11)
    assert result.bound == "events"


def test_a_step_waits_for_its_events_where_they_take_longer() -> None:
    spiking = Spiking(step_s=q(1e-3, "s"), synaptic_event_per_s=q(1e6, "op/s"))
    work = replace(a_work(), events=1e6, neuron_updates=0.0, steps=100.0)
    assert estimate(work, a_profile(spiking=spiking)).seconds.mid == pytest.approx(1.0)


# -- transfers --------------------------------------------------------------------------------------------------


class ALink:
    byte_per_s = q(1e6, "B/s", 0.5)
    latency_s = q(0.01, "s")
    joule_per_byte = q(1e-9, "J/B")


def test_a_transfer_is_latency_and_bytes_over_bandwidth() -> None:
    moved = transfer(1e6, ALink())
    assert moved.seconds.mid == pytest.approx(1.01)
    assert moved.seconds.low == pytest.approx(0.01 + 1 / 1.5)
    assert moved.seconds.high == pytest.approx(0.01 + 2)
    assert moved.joules.mid == pytest.approx(1e-3)


def test_conversion_counts_both_sides_and_gives_the_bytes_after_it() -> None:
    type = TensorType((1000, 1000), F32)
    moved, after = convert(type, "float32", "int8", a_profile(convert_byte_per_s=q(1e9, "B/s")))
    assert after == 1e6
    assert moved.seconds.mid == pytest.approx(5e6 / 1e9 + 1e-5)
    same, nbytes = convert(type, "float32", "float32", a_profile())
    assert (same.seconds.mid, nbytes) == (0, 4e6)


# -- refusals ---------------------------------------------------------------------------------------------------


def test_a_refusal_names_everything_that_stands_against_it() -> None:
    profile = a_profile(support=Support(refuse=("matmul",)), dtypes=("int8",), memory_byte=q(10, "B"))
    graph = graph_of("matmul", (3, 4), (4, 5))
    said = refusal(graph, graph.nodes[0], profile) or ""
    assert "does not run matmul" in said
    assert "has no float32" in said
    assert "bytes at once" in said


def test_a_device_of_another_dtype_takes_floats_in_that_but_never_integers() -> None:
    profile = a_profile(dtypes=("int8",))
    floats, ints = graph_of("matmul", (3, 4), (4, 5)), graph_of("matmul", (3, 4), (4, 5), dtype="int64")
    assert refusal(floats, floats.nodes[0], profile, "int8") is None
    assert "int64" in (refusal(ints, ints.nodes[0], profile, "int8") or "")


def test_a_region_runs_where_all_its_ops_run() -> None:
    b = Builder(track=False)
    x = b.input("x", TensorType((8, 8), F32))
    fused = fuse(b.build([b("tanh", b("add", x, 1.0))]))
    assert "tanh" in (refusal(fused, fused.nodes[0], a_profile(support=Support(refuse=("tanh",)))) or "")
    assert refusal(fused, fused.nodes[0], a_profile()) is None


def test_hard_limits_refuse_with_the_size_and_the_limit() -> None:
    graph = graph_of("conv", (1, 8, 9, 9), (8, 8, 3, 3), **CONV)
    said = refusal(graph, graph.nodes[0], a_profile(limits={"kernel_size": q(1), "filters": q(64)})) or ""
    assert "kernel size" in said
    assert "takes 1" in said
    assert "filters" not in said


# -- what holds always ------------------------------------------------------------------------------------------

amounts = st.floats(0, 1e13)
classes = st.sampled_from(CLASSES)


@settings(max_examples=100, deadline=None)
@given(amounts, amounts, classes, st.sampled_from(profiles()))
def test_intervals_contain_their_middle_on_every_shipped_profile(op: float, byte: float, name: str, of: str) -> None:
    result = estimate(a_work(op, byte, name), load(of))
    for i in (result.seconds, result.joules):
        assert 0 <= i.low <= i.mid <= i.high
        assert math.isfinite(i.mid)


@settings(max_examples=100, deadline=None)
@given(amounts, amounts, st.floats(1, 10), classes, st.sampled_from(profiles()))
def test_more_bytes_never_take_less_time(op: float, byte: float, more: float, name: str, of: str) -> None:
    profile = load(of)
    less, longer = (estimate(a_work(op, b, name), profile).seconds.mid for b in (byte, byte * more))
    assert longer >= less


@settings(max_examples=60, deadline=None)
@given(amounts, amounts, st.floats(1.01, 8), classes)
def test_a_quicker_device_is_never_slower(op: float, byte: float, times: float, name: str) -> None:
    slow = a_profile()
    quick = a_profile(peak_op_per_s={"float32": q(1e12 * times, "op/s")}, memory_byte_per_s=q(1e11 * times, "B/s"))
    work = a_work(op, byte, name)
    assert estimate(work, quick).seconds.mid <= estimate(work, slow).seconds.mid
