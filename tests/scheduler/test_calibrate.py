"""Calibration on a pretend device whose true rates are known: no test waits for a clock."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from hetero import registry
from hetero.calibration import judge_apart, judge_networks, measure_device, save
from hetero.calibration.fit import Observation, Rates, fit
from hetero.calibration.measure import Bench, Copying, Effort
from hetero.calibration.run import Calibration, Measured, by_parts
from hetero.calibration.samples import FAMILIES, cases
from hetero.cli.calibrate import calibrate as command
from hetero.dim import concrete
from hetero.errors import BackendError
from hetero.graph.ir import Graph, Node
from hetero.graph.passes.fuse import fuse
from hetero.op import Array, TensorType, Types
from hetero.profile import load, read
from hetero.scheduler.cost import Pass, Work, estimate, work_of
from hetero.select import device_of
from hetero.spi import YES, Buffer, Device, Executable, Probe, Support
from hetero.testing.pretend import plugged

OP_PER_S, BYTE_PER_S, LAUNCH_S = 2e11, 3e10, 4e-6  # of the pretend device
SHARE = 0.25  # of the cases of a quick calibration


@dataclass
class _Now:
    """A clock that only work moves."""

    seconds: float = 0.0

    def __call__(self) -> float:
        return self.seconds


@dataclass
class _Costly:
    """An executable that computes nothing and takes what the true rates say."""

    graph: Graph
    now: _Now
    slow: Callable[[], float]
    peak_bytes: int = 0

    def __call__(self, *inputs: Buffer) -> tuple[Buffer, ...]:
        works = (work_of(self.graph, n) for n in self.graph.nodes)
        self.now.seconds += sum(true_seconds(w) for w in works if w.op_class != "view") * self.slow()
        return tuple(np.empty(0) for _ in self.graph.outputs)


def true_seconds(work: Work) -> float:
    """A roofline of one compute rate and one bandwidth; products reach all of the peak, everything else a tenth."""
    peak = OP_PER_S if work.op_class in ("matmul", "conv", "conv_pointwise") else OP_PER_S / 10
    return LAUNCH_S + max(work.op / peak, work.whole.byte / BYTE_PER_S)


class ModelledBackend:
    """Takes every primitive; time passes by a formula."""

    name = "modelled"

    def __init__(self, noise: float = 0.0) -> None:
        self.now, self._rng, self._noise = _Now(), np.random.default_rng(3), noise

    def slow(self) -> float:
        """A part of all runs is hit by something else that runs on the machine, and takes four times as long."""
        return 4.0 if self._rng.random() < self._noise else 1.0

    def probe(self) -> Probe:
        return Probe((Device(self.name, 0, "a pretend device", 1 << 34, missing_dtypes=frozenset({"float64"})),))

    def support(self, node: Node, types: Types, outs: Types, device: Device) -> Support:
        return Support(False, "is run as its parts") if node.op.composite else YES

    def compile(self, graph: Graph, device: Device) -> Executable:
        return _Costly(fuse(graph), self.now, self.slow)

    def from_host(self, array: Array, device: Device) -> Buffer:
        self.now.seconds += 1e-6 + array.nbytes / 1e10
        return array

    def to_host(self, buffer: Buffer, type: TensorType, device: Device) -> Array:
        self.now.seconds += 1e-6 + type.nbytes / 1e10
        return np.zeros(concrete(type.known), type.dtype)

    def synchronize(self, device: Device) -> None:
        """Nothing is ever under way."""


@pytest.fixture(scope="module")
def calibrated() -> Calibration:
    backend = ModelledBackend()
    with plugged(backend) as device:
        made = measure_device(device, quick=True, share=SHARE, clock=backend.now)
    return made


# -- the whole way ----------------------------------------------------------------------------------------------


def test_cases_that_were_not_fitted_are_predicted_well_on_a_device_that_is_a_roofline(calibrated: Calibration) -> None:
    assert calibrated.overall.cases > 20
    assert calibrated.overall.median < 0.08


def test_peaks_and_bandwidth_are_found(calibrated: Calibration) -> None:
    p = calibrated.profile
    assert p.peak_op_per_s["float32"].value == pytest.approx(OP_PER_S, rel=0.1)
    assert p.memory_byte_per_s is not None
    assert 0.5 * BYTE_PER_S < p.memory_byte_per_s.value <= BYTE_PER_S * 1.001


def test_a_large_product_is_predicted_from_the_profile(calibrated: Calibration) -> None:
    graph = next(
        c.graph for c in cases(99, quick=True, families=("matmul",)) if work_of(c.graph, c.graph.nodes[0]).op > 1e7
    )
    work = work_of(graph, graph.nodes[0])
    assert estimate(work, calibrated.profile).seconds.mid == pytest.approx(true_seconds(work), rel=0.3)


def test_every_value_is_measured_and_names_its_source(calibrated: Calibration) -> None:
    found = [(path, q) for path, q in calibrated.profile.quantities()]
    assert {q.status for _, q in found} == {"measured"}
    assert {q.source for _, q in found} == set(calibrated.profile.sources)


def test_what_the_device_lacks_is_not_in_its_profile(calibrated: Calibration) -> None:
    assert "float64" not in calibrated.profile.dtypes
    assert "float64" not in calibrated.profile.peak_op_per_s


def test_copies_to_the_device_are_measured(calibrated: Calibration) -> None:
    assert calibrated.copying is not None
    assert calibrated.copying.byte_per_s == pytest.approx(1e10, rel=0.01)
    assert calibrated.copying.latency_s == pytest.approx(1e-6, rel=0.01)


def test_the_file_written_is_read_back_equal_and_found_by_its_name(
    calibrated: Calibration, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HETERO_PROFILE_DIR", str(tmp_path))
    path = save(calibrated)
    assert path.parent == tmp_path
    assert read(path) == calibrated.profile
    assert load("modelled-0") == calibrated.profile


def test_networks_are_predicted_as_the_sum_of_their_groups(calibrated: Calibration) -> None:
    with plugged(ModelledBackend()) as device:
        backend = registry.load("modelled")
        assert isinstance(backend, ModelledBackend)
        network = next(c.graph for c in cases(5, quick=True, families=("rows",)))
        made, over = judge_networks(calibrated.profile, device, [("rows", network)])
    assert [n.name for n in made] == ["rows"]
    assert over.cases == 1


def test_installed_networks_are_judged_in_a_process_of_their_own() -> None:
    made, over = judge_apart(load("server-cpu"), device_of("numpy"), {"magika", "shufflenet"})
    assert {n.name for n in made} == {"magika", "shufflenet"}
    assert over.cases == 2
    assert all(n.seconds > 0 and n.predicted.low <= n.predicted.mid <= n.predicted.high for n in made)


def test_a_third_of_all_runs_may_be_spoilt_by_others() -> None:
    backend = ModelledBackend(noise=0.3)
    with plugged(backend) as device:
        made = measure_device(device, quick=True, share=SHARE, clock=backend.now)
    assert made.overall.median < 0.1


# -- fitting ----------------------------------------------------------------------------------------------------


def _seen(rng: np.random.Generator, count: int) -> list[Observation]:
    """Products and copies of known rates."""
    out: list[Observation] = []
    for _ in range(count):
        op, byte = (float(10 ** rng.uniform(4, 9)) for _ in range(2))
        parts = (Pass("conv", op), Pass("movement.copy", 0.0, byte))
        out.append(Observation(parts, 3e-6 + op / 1e11 + 2e-6 + byte / 1e10))
    return out


def test_a_fit_tells_apart_what_was_only_seen_in_sums() -> None:
    rates = fit(_seen(np.random.default_rng(0), 300))
    assert rates.seconds([Pass("conv", 1e8)]) == pytest.approx(1e8 / 1e11 + 3e-6, rel=0.1)
    assert rates.seconds([Pass("movement.copy", 0.0, 1e8)]) == pytest.approx(1e8 / 1e10 + 2e-6, rel=0.1)


def test_one_spoilt_time_among_many_changes_little() -> None:
    seen = _seen(np.random.default_rng(0), 200)
    spoilt = [Observation(o.passes, o.seconds * (50 if i % 20 == 0 else 1)) for i, o in enumerate(seen)]
    rates = fit(spoilt)
    off = [abs(rates.seconds(o.passes) / o.seconds - 1) for o in seen]
    assert np.median(off) < 0.1


def test_a_class_that_was_not_seen_goes_by_the_one_above_it_and_a_strange_one_has_no_time() -> None:
    rates = fit([Observation((Pass(f"pool.max.w{k}", n),), 1e-6 + n / 1e9) for k in (2, 3) for n in (1e5, 1e6, 1e7)])
    assert rates.seconds([Pass("pool.max.w9", 1e6)]) == pytest.approx(1e-3, rel=0.2)
    assert rates.seconds([Pass("sort", 1e6)]) == float("inf")


def test_rates_lie_on_a_line_between_the_middles_of_buckets() -> None:
    rates = Rates({"sort": 0.0}, {"sort": {4: 1.0, 5: 3.0}})
    assert rates.seconds([Pass("sort", 2.0**10)]) == pytest.approx(2.0**10 * 2)


def test_parts_are_chosen_where_they_predict_better() -> None:
    rng = np.random.default_rng(1)
    seen: list[Measured] = []
    for _ in range(80):
        op, byte = (float(10 ** rng.uniform(5, 9)) for _ in range(2))
        work = Work("conv", "float32", Pass("conv", op), (Pass("matmul", op), Pass("conv.columns.r4", 0.0, byte)))
        seen.append(Measured("conv", (work,), 1e-6 + op / 1e11 + byte / 1e10))
    assert by_parts(seen) == ("conv",)


# -- measuring --------------------------------------------------------------------------------------------------


def test_the_best_of_all_rounds_counts() -> None:
    backend = ModelledBackend()
    with plugged(backend) as device:
        bench = Bench(device, backend.now)
        graph = next(cases(0, quick=True, families=("matmul",))).graph
        (timed,) = bench.measure([graph], Effort(3, 0.0, 2, 5))
    assert len(timed.seconds) == 3
    assert timed.best == pytest.approx(sum(true_seconds(work_of(timed.graph, n)) for n in timed.graph.nodes))


def test_inputs_of_one_graph_share_no_memory() -> None:
    with plugged(ModelledBackend()) as device:
        a, b = Bench(device).inputs([TensorType((1000,), np.dtype("float32"))] * 2)
    assert not np.shares_memory(a, b)


def test_a_copy_is_latency_and_bandwidth() -> None:
    made = Copying.through([(1000, 1e-5 + 1e-6), (1_000_000, 1e-5 + 1e-3)])
    assert (made.latency_s, made.byte_per_s) == (pytest.approx(1e-5), pytest.approx(1e9))


# -- cases ------------------------------------------------------------------------------------------------------


def test_cases_are_the_same_for_the_same_seed_and_others_for_another() -> None:
    first, again, other = ([c.graph.key for c in cases(s, quick=True, share=0.2)] for s in (1, 1, 2))
    assert first == again
    assert len(set(first) & set(other)) < len(first) // 5


def test_every_family_has_cases_and_each_is_a_valid_graph() -> None:
    drawn = list(cases(0, quick=True, share=0.1))
    assert {c.family for c in drawn} == set(FAMILIES)
    assert all(c.graph.static and c.graph.nodes for c in drawn)


# -- the command ------------------------------------------------------------------------------------------------


def _app() -> typer.Typer:
    app = typer.Typer()
    app.command()(command)
    return app


def _small(monkeypatch: pytest.MonkeyPatch, backend: ModelledBackend) -> None:
    def small(device: Device, *, quick: bool, progress: object) -> Calibration:
        return measure_device(device, quick=quick, share=0.1, clock=backend.now)

    monkeypatch.setattr("hetero.cli.calibrate.measure_device", small)


def test_the_command_writes_the_profile_and_prints_its_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = ModelledBackend()
    _small(monkeypatch, backend)
    target = tmp_path / "mine.toml"
    with plugged(backend):
        result = CliRunner().invoke(_app(), ["--backend", "modelled", "--quick", "--output", str(target), "--json"])
    assert result.exit_code == 0, result.output
    (said,) = json.loads(result.stdout)["devices"]
    assert said["path"] == str(target)
    assert said["overall"]["median"] < 0.2
    assert read(target).name == "modelled-0"


def test_the_table_names_every_family(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    backend = ModelledBackend()
    _small(monkeypatch, backend)
    monkeypatch.setenv("HETERO_PROFILE_DIR", str(tmp_path))
    monkeypatch.setenv("COLUMNS", "120")
    with plugged(backend):
        result = CliRunner().invoke(_app(), ["--backend", "modelled", "--quick"])
    assert result.exit_code == 0, result.output
    assert all(family in result.stdout for family in FAMILIES)
    assert "not fitted on" in result.stdout


def test_one_file_for_two_devices_is_refused(tmp_path: Path) -> None:
    with plugged(ModelledBackend()):
        result = CliRunner().invoke(_app(), ["--output", str(tmp_path / "x.toml")])
    assert isinstance(result.exception, BackendError)
