"""Every profile, link and topology that hetero brings is whole, and says what its sources say."""

from __future__ import annotations

import pytest

from hetero.dtype import EXTENDED, STANDARD
from hetero.op import OPS
from hetero.profile import Topology, links, load, load_link, profiles, read_text, to_text, topologies
from hetero.profile.fields import DTYPES
from hetero.profile.store import shipped_dir

# Issue 3, part 1.
REQUIRED = (
    "h100 a100 b200 dgx-h100 jetson-orin-nano jetson-orin-nx jetson-agx-orin drive-orin tpu-v4 tpu-v5e edge-tpu "
    "dojo-d1 tesla-hw3 tesla-hw4 mi300x gaudi-3 wse-3 groq-lpu trainium snapdragon-8-gen-3 cortex-m4 cortex-m7 "
    "cortex-m55-ethos-u55 raspberry-pi-5 server-cpu truenorth northpole loihi loihi-2 hala-point akida-1 akida-2 "
    "spinnaker-2"
).split()
SHIPPED = sorted(f.stem for f in shipped_dir().glob("*.toml"))


@pytest.fixture(autouse=True)
def _no_calibrated_profiles(  # pyright: ignore[reportUnusedFunction]
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> None:
    monkeypatch.setenv("HETERO_PROFILE_DIR", str(tmp_path_factory.mktemp("none")))
    monkeypatch.setenv("HETERO_CACHE_DIR", str(tmp_path_factory.mktemp("none")))


def test_all_that_were_asked_for_are_there() -> None:
    assert set(REQUIRED) <= set(SHIPPED)
    assert profiles() == SHIPPED


@pytest.mark.parametrize("name", SHIPPED)
def test_a_profile_is_whole(name: str) -> None:
    p = load(name)
    assert p.name == name
    assert {q.source for _, q in p.quantities()} == set(p.sources)  # every source is there, and is used
    for path, q in p.quantities():
        if q.source.startswith(("recalled", "derived", "hetero")):
            assert q.status == "estimated", path  # what nobody read in a document is no datasheet value
        if q.source == "hetero":
            assert q.note, path  # an estimate says how it was made
    assert read_text(to_text(p)) == p


@pytest.mark.parametrize("name", REQUIRED)
def test_a_profile_states_its_ops_dtypes_and_hard_limits(name: str) -> None:
    p = load(name)
    assert p.dtypes
    assert p.limits or p.memory_byte is not None
    assert p.support.run is None or p.support.run
    known = {*OPS, *(op.kind for op in OPS.values()), "spiking"}
    assert set(p.support.run or ()) <= known
    assert set(p.support.refuse) <= known


def test_the_dtypes_of_profiles_are_those_of_hetero() -> None:
    assert set(DTYPES) == {d.name for d in STANDARD} | {"float16"} | set(EXTENDED)


# Typed by hand from ../shared/data/devices.json.
FACTS: dict[str, dict[str, float]] = {
    "h100": {"peak_op_per_s.bfloat16": 989.4e12, "peak_op_per_s.int8": 1978.9e12, "memory_byte_per_s": 3.35e12,
             "active_w": 700, "memory_byte": 80e9},
    "a100": {"peak_op_per_s.float16": 312e12, "peak_op_per_s.int8": 624e12, "memory_byte_per_s": 2.039e12,
             "active_w": 400},
    "b200": {"peak_op_per_s.float4_e2m1fn": 9e15, "memory_byte_per_s": 8e12, "active_w": 1000},
    "jetson-agx-orin": {"peak_op_per_s.int8": 137.5e12, "static_w": 5.5},  # 275 TOPS are sparse
    "jetson-orin-nano": {"peak_op_per_s.int8": 20e12, "memory_byte_per_s": 68e9},  # 40 TOPS are sparse
    "drive-orin": {"peak_op_per_s.int8": 127e12},  # 254 TOPS are sparse
    "wse-3": {"peak_op_per_s.float16": 62.5e15, "memory_byte_per_s": 21e15},  # 125 PFLOPS are sparse
    "edge-tpu": {"peak_op_per_s.int8": 4e12, "limits.sram_byte": 8e6},
    "cortex-m4": {"peak_op_per_s.int8": 0.24e9, "memory_byte": 640 * 1024, "active_w": 0.042},
    "tpu-v5e": {"peak_op_per_s.int8": 393e12, "peak_op_per_s.bfloat16": 197e12},
    "truenorth": {"static_w": 0.06443, "spiking.joule_per_synaptic_event": 2.297e-12, "limits.cores": 4096},
    "loihi": {"static_w": 0.0295, "spiking.joule_per_synaptic_event": 23.6e-12,
              "spiking.joule_per_neuron_update": 81e-12, "limits.neurons_per_core": 1024},
    "northpole": {"peak_op_per_s.int8": 209.7e12, "memory_byte": 224e6, "active_w": 74},
    "hala-point": {"active_w": 2600, "limits.cores": 140544},
    "akida-1": {"static_w": 0.905, "limits.dense_inputs": 57334},
    "spinnaker-2": {"spiking.joule_per_synaptic_event": 450e-12, "limits.cores": 152},
    "mi300x": {"peak_op_per_s.float16": 1307.4e12, "memory_byte_per_s": 5.3e12, "active_w": 750},
}  # fmt: skip


@pytest.mark.parametrize("name", FACTS)
def test_key_numbers_are_those_of_the_sources(name: str) -> None:
    found = {path: q.value for path, q in load(name).quantities()}
    assert {path: found[path] for path in FACTS[name]} == pytest.approx(FACTS[name], rel=1e-12)


def test_what_nobody_published_is_not_there() -> None:
    assert load("tpu-v5e").active_w is None
    assert load("trainium").active_w is None
    assert load("tesla-hw4").peak_op_per_s["int8"].status == "estimated"
    assert load("wse-3").peak_op_per_s["float16"].status == "estimated"
    assert load("snapdragon-8-gen-3").peak_op_per_s["int8"].status == "estimated"


def test_idle_power_of_a_board_is_not_called_that_of_a_chip() -> None:
    for name in ("jetson-agx-orin", "jetson-orin-nx", "akida-1", "raspberry-pi-5", "edge-tpu"):
        idle = load(name).static_w
        assert idle is not None
        assert idle.scope == "board", name
    whole = load("dgx-h100").static_w
    assert whole is not None
    assert whole.scope == "system"


@pytest.mark.parametrize("name", links())
def test_a_link_is_whole(name: str) -> None:
    link = load_link(name)
    assert link.name == name
    values = [q for q in (link.byte_per_s, link.latency_s, link.joule_per_byte) if q is not None]
    assert {q.source for q in values} == set(link.sources)
    assert link.byte_per_s.value > 0


def test_links_have_their_published_rates() -> None:
    assert load_link("nvlink4").byte_per_s.value == 450e9  # each way, of 900 GB/s in both
    assert load_link("lte").byte_per_s.value == pytest.approx(5.85e6 / 8)
    energy = load_link("3g").joule_per_byte
    assert energy is not None
    assert energy.value == pytest.approx(1612e-9 * 8)


@pytest.mark.parametrize("name", topologies())
def test_a_topology_is_whole(name: str) -> None:
    t = Topology.load(name)
    assert t.name == name
    prices = [q for n in t.nodes for q in (n.money_per_hour, n.money_per_kwh)] + [k.money_per_gb for k in t.links]
    values = [q for k in t.links for q in (k.byte_per_s, k.latency_s, k.joule_per_byte)]
    assert {q.source for q in (*prices, *values) if q is not None} <= set(t.sources)


def test_the_topologies_that_were_asked_for_are_there() -> None:
    assert {"robot", "vehicle", "phone", "smart-sensor", "data-centre"} <= set(topologies())
    robot = {n.profile.name for n in Topology.load("robot").nodes}
    assert robot == {"camera", "loihi", "jetson-orin-nano", "h100"}
