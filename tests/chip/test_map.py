"""Where neurons go: what fits, what does not and why, that nothing is lost, and how far spikes go."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from hetero import dtype as dt
from hetero.chip import Chip, Mapped, load_chip, map_network
from hetero.chip.limits import axon_types, weight_bits
from hetero.chip.route import place, route
from hetero.errors import GraphError
from hetero.profile import given as quantity
from hetero.spiking.layers import Layer
from hetero.spiking.network import Edge, Network

Chain = Callable[..., Network]
LOIHI, TRUENORTH = load_chip("loihi"), load_chip("truenorth")


def limits(m: Mapped) -> set[tuple[str, str]]:
    return {(v.limit, v.layer) for v in m.violations}


def small(**limits: int) -> Chip:
    """Loihi with other limits."""
    return replace(LOIHI, own={**LOIHI.own, **{k: quantity(v, "1") for k, v in limits.items()}})


# -- limits ---------------------------------------------------------------------------------------------------


def test_a_core_of_truenorth_is_filled_to_the_last_axon_and_neuron(chain: Chain) -> None:
    m = map_network(chain(np.ones((256, 256))), TRUENORTH)
    assert (m.fits, m.cores, m.synapses) == (True, 1, 65536)
    assert int(m.layers[0].parts.bits[0]) == TRUENORTH.memory_bits


def test_one_neuron_more_takes_another_core(chain: Chain) -> None:
    m = map_network(chain(np.ones((257, 256))), TRUENORTH)
    assert (m.fits, m.cores) == (True, 2)
    assert m.layers[0].parts.neurons.tolist() == [256, 1]


def test_one_axon_more_is_a_violation(chain: Chain) -> None:
    m = map_network(chain(np.ones((256, 257))), TRUENORTH)
    (v,) = m.violations
    assert str(v) == (
        "layer n0: fan-in 257 > 256 axons of a core; split the layer into groups of 256 inputs, or use loihi"
    )


def test_the_whole_of_truenorth_and_one_core_more(chain: Chain) -> None:
    one_each = small(neurons_per_core=1, cores=4)
    assert map_network(chain(np.ones((4, 3))), one_each).fits
    m = map_network(chain(np.ones((5, 3))), one_each)
    assert limits(m) == {("cores", "")}
    assert m.tiles is None
    assert m.hops is None


def test_every_violation_is_told_at_once(chain: Chain) -> None:
    rng = np.random.default_rng(0)
    m = map_network(chain(rng.integers(1, 1000, (300, 784)), rng.integers(-9, 9, (300, 300)), du=0), TRUENORTH)
    assert limits(m) == {
        ("neuron", "n0"), ("neuron", "n1"), ("weight_bits", "n0"), ("fan_in", "n0"), ("fan_in", "n1"),
        ("axon_types", "n0"), ("axon_types", "n1"), ("fan_out", "n0"),
    }  # fmt: skip
    for v in m.violations:
        assert v.fix in str(v)
        assert v.layer in str(v)


def test_what_is_wrong_on_another_chip(chain: Chain) -> None:
    net = chain(np.full((10, 20), 300))
    assert map_network(net, LOIHI).fits, "300 is 75 times 4"
    assert limits(map_network(net, load_chip("akida1"))) == {("neuron", "n0"), ("weight_bits", "n0")}
    assert limits(map_network(net, load_chip("northpole"))) == {("neuron", "n0")}
    assert map_network(net, load_chip("spinnaker2")).fits
    odd = chain(np.asarray([[257, 1]]))
    assert limits(map_network(odd, load_chip("loihi2"))) == {("weight_bits", "n0")}


def test_floats_want_to_be_quantised() -> None:
    v = np.ones(3, np.float32)
    neuron = Layer("n", "if", {"r": v, "v_threshold": v, "v_reset": v},
                   {"dt": 1e-3, "rule": "euler", "reset": "zero", "strict": True, "refractory": 0})  # fmt: skip
    out = Layer("o", "synapse_dense", {"weight": np.ones((2, 3), np.float32)})
    edges = (Edge("x", "n"), Edge("n", "o"), Edge("o", "y"))
    m = map_network(Network({"x": (3,)}, {"n": neuron, "o": out}, ("y",), edges).check(), LOIHI)
    assert limits(m) == {("neuron", "n"), ("numbers", ""), ("readout", "o")}
    assert all("quantise" in v.fix for v in m.violations if v.limit != "readout")


def test_delays_have_a_longest() -> None:
    weight, delay = np.ones((2, 3), np.int32), np.full((2, 3), 16, np.int32)
    neuron = {k: np.full(2, v, np.int32) for k, v in {"du": 4095, "dv": 0, "vth": 1, "bias": 0}.items()}
    layers = {
        "s": Layer("s", "synapse_delayed", {"weight": weight, "delay": delay}),
        "n": Layer("n", "loihi_lif", neuron),
    }
    net = Network({"x": (3,)}, layers, ("y",), (Edge("x", "s"), Edge("s", "n"), Edge("n", "y")), dt.int32).check()
    assert limits(map_network(net, TRUENORTH)) == {("max_delay_steps", "n")}
    assert map_network(net, LOIHI).fits


def test_a_neuron_is_split_where_the_chip_can(chain: Chain) -> None:
    chip = replace(small(synapses_per_core=10), splits_neurons=True)
    m = map_network(chain(np.ones((2, 25))), chip)
    assert (m.fits, m.synapses, m.neurons) == (True, 50, 2)
    assert m.layers[0].parts.synapses.tolist() == [10, 10, 5, 10, 10, 5]
    assert limits(map_network(chain(np.ones((2, 25))), small(synapses_per_core=10))) == {("synapses_per_core", "n0")}


def test_a_loop_without_neurons_is_refused(chain: Chain) -> None:
    net = chain(np.ones((3, 3)))
    loop = replace(net, edges=(*net.edges, Edge("f0", "f0", delayed=True))).check()
    with pytest.raises(GraphError, match="a loop without neurons"):
        map_network(loop, LOIHI)


@pytest.mark.parametrize(
    ("weights", "scaled", "bits"),
    [([255, 1], True, 8), ([-255, -1], True, 8), ([-256, 254], True, 8), ([-256, 255], True, 9), ([512], True, 1),
     ([255], False, 9), ([256], False, 10), ([0], True, 1), ([0.5], True, None)],
)  # fmt: skip
def test_bits_of_weights(weights: list[float], scaled: bool, bits: int | None) -> None:
    assert weight_bits(np.asarray(weights), scaled=scaled) == bits


def test_types_of_axons() -> None:
    weight = np.asarray([[1, 1, 2, 2], [5, 5, 0, 7]])
    rows, columns = np.nonzero(weight)
    assert axon_types(rows, columns, weight[rows, columns], 4) == 2
    different = np.arange(1, 7)
    assert axon_types(np.zeros(6, int), different, different, 4) == 5, "more than four"


# -- nothing is lost ------------------------------------------------------------------------------------------


@st.composite
def networks(draw: st.DrawFn) -> Network:
    """Up to three layers of sparse weights, at times with recurrence, or a convolution and a pool before them."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    sizes = draw(st.lists(st.integers(1, 40), min_size=2, max_size=4))
    filled = draw(st.sampled_from((0.1, 0.5, 1.0)))
    layers: dict[str, Layer] = {}
    edges: list[Edge] = []
    before, inputs = "x", {"x": (sizes[0],)}
    if draw(st.booleans()):
        inputs = {"x": (2, 6, 6)}
        conv = {"strides": (1, 1), "dilations": (1, 1), "pads_before": (1, 1), "pads_after": (1, 1), "groups": 1}
        pool = {"kernel": (2, 2), "strides": (2, 2), "pads_before": (0, 0), "pads_after": (0, 0), "mean": False}
        kernel = rng.integers(-3, 4, (3, 2, 3, 3)).astype(np.int32)
        layers["p"] = Layer("p", "sum_pool", {}, pool)
        layers["c"] = Layer("c", "synapse_conv", {"weight": kernel}, conv)
        layers["m"] = neurons("m", (3, 3, 3))
        layers["flat"] = Layer("flat", "flatten", {}, {"rank": 3, "start": 0, "end": -1})
        edges += [Edge("x", "p"), Edge("p", "c"), Edge("c", "m"), Edge("m", "flat")]
        before, sizes = "flat", [27, *sizes[1:]]
    for k, (n, m) in enumerate(pairwise(sizes)):
        weight = (rng.integers(-5, 6, (m, n)) * (rng.random((m, n)) < filled)).astype(np.int32)
        layers |= {f"f{k}": Layer(f"f{k}", "synapse_dense", {"weight": weight}), f"n{k}": neurons(f"n{k}", (m,))}
        edges += [Edge(before, f"f{k}"), Edge(f"f{k}", f"n{k}")]
        before = f"n{k}"
    if draw(st.booleans()):
        back = (rng.integers(-5, 6, (sizes[-1],) * 2)).astype(np.int32)
        layers["r"] = Layer("r", "synapse_dense", {"weight": back})
        edges += [Edge(before, "r", delayed=True), Edge("r", before)]
    return Network(inputs, layers, ("y",), (*edges, Edge(before, "y")), dt.int32).check()


def neurons(name: str, shape: tuple[int, ...]) -> Layer:
    return Layer(name, "loihi_lif", {k: np.full(shape, 9, np.int32) for k in ("du", "dv", "vth", "bias")})


def dense_of(net: Network, name: str) -> np.ndarray:
    """The weights from a layer's inputs to its neurons, by running what lies between on unit vectors."""
    from hetero.op import OPS

    chain: list[str] = []
    while name in net.layers and not net.layers[name].kind.neuron:
        chain.append(name)
        (name,) = {e.source for e in net.into[name]}
    shape = net.inputs.get(name) or net.layers[name].shape
    x = np.eye(int(np.prod(shape)), dtype=np.int32).reshape(-1, *shape)
    for n in reversed(chain):
        layer = net.layers[n]
        (x,) = OPS[layer.op].evaluate((x, *layer.parameters.values()), OPS[layer.op].complete(layer.attrs))
    return x.reshape(len(x), -1)


@given(networks(), st.integers(1, 30), st.integers(1, 60), st.integers(1, 200), st.booleans())
@settings(max_examples=80, deadline=None)
def test_every_synapse_is_placed_once(net: Network, n: int, axons: int, synapses: int, split: bool) -> None:
    own = {"axons_per_core": axons, "neurons_per_core": n, "synapses_per_core": synapses, "cores": 10**6}
    chip = replace(small(**own), splits_neurons=split)
    m = map_network(net, chip)
    for p in m.layers:
        k = p.population
        came = [e for e in net.into[k.layer.name]]
        expected = sum(int(np.count_nonzero(dense_of(net, e.source))) for e in came)
        assert len(k.source) == expected == int(p.parts.synapses.sum())
        assert sorted(set(p.parts.neuron.tolist())) == list(range(k.size))
        core = p.parts.core_of_synapse()
        assert np.array_equal(np.bincount(core, minlength=p.parts.cores), p.parts.synapses)
        inside = [len({*k.source[core == c].tolist()}) for c in range(p.parts.cores)]
        assert inside == p.parts.axons.tolist()
        if m.fits:
            assert p.parts.neurons.max() <= n
            assert p.parts.axons.max() <= axons
            assert p.parts.synapses.max() <= synapses
            assert p.parts.bits.max() <= p.parts.room.bits
    assert int(m.reach.sum()) == m.synapses
    if not split:
        widest = max(int(np.diff(p.population.start).max(initial=0)) for p in m.layers)
        assert m.fits == (widest <= min(axons, synapses))


# -- the mesh -------------------------------------------------------------------------------------------------


@given(networks(), st.integers(1, 5), st.integers(1, 3))
@settings(max_examples=40, deadline=None)
def test_hops_are_those_of_the_routes(net: Network, n: int, per_tile: int) -> None:
    mesh = {"rows": quantity(16, "1"), "columns": quantity(16, "1"), "cores_per_tile": quantity(per_tile, "1")}
    m = map_network(net, replace(small(neurons_per_core=n, cores=256), mesh=mesh))
    assert m.tiles is not None
    assert m.hops is not None
    where = [tuple(t) for t in m.tiles.tolist()]
    assert max(where.count(t) for t in where) <= per_tile
    goes: dict[int, set[int]] = {}
    home: dict[int, int] = {}
    for p in m.layers:
        first = p.population.first
        for neuron, core in zip(p.parts.neuron.tolist(), p.cores.tolist(), strict=True):
            home.setdefault(first + neuron, core)
        for source, core in zip(p.population.source.tolist(), p.parts.core_of_synapse().tolist(), strict=True):
            goes.setdefault(source, set()).add(core + p.first_core)
    for p in m.layers:
        for k, far in enumerate(m.hops[m.of[p.name]].tolist()):
            start = where[home[p.population.first + k]]
            ways = [route(start, where[c]) for c in goes.get(p.population.first + k, ())]
            assert far == sum(len(w) - 1 for w in ways)
            for way in ways:
                assert all(abs(a[0] - b[0]) + abs(a[1] - b[1]) == 1 for a, b in pairwise(way))
    assert not m.hops[m.of["x"]].any(), "inputs come from outside"


def test_a_route_goes_along_the_row_first() -> None:
    assert route((2, 1), (0, 3)) == [(2, 1), (2, 2), (2, 3), (1, 3), (0, 3)]
    assert route((1, 1), (1, 1)) == [(1, 1)]


def test_places_are_better_than_in_order_and_always_the_same() -> None:
    rng = np.random.default_rng(3)
    order = rng.permutation(36)
    ring = sparse.csr_array((np.ones(36), (order, np.roll(order, 1))), shape=(36, 36))
    tiles = place(ring, (6, 6, 1))
    assert np.array_equal(tiles, place(ring, (6, 6, 1)))
    assert len({tuple(t) for t in tiles.tolist()}) == 36

    def cost(at: np.ndarray) -> float:
        a, b = ring.nonzero()
        return float(np.abs(at[a] - at[b]).sum())

    assert cost(tiles) < 0.5 * cost(np.indices((6, 6)).reshape(2, -1).T)


def test_a_million_synapses_are_mapped_in_seconds() -> None:
    rng = np.random.default_rng(0)
    n, each = 10_000, 100
    target = np.repeat(np.arange(n), each).astype(np.int32)
    source = rng.integers(0, n, n * each).astype(np.int32)
    weight = rng.integers(1, 100, n * each).astype(np.int32)
    w = Layer("w", "synapse_sparse", {"weight": weight, "source": source, "target": target}, {"size": n})
    layers = {"w": w, "n": neurons("n", (n,))}
    net = Network({"x": (n,)}, layers, ("y",), (Edge("x", "w"), Edge("w", "n"), Edge("n", "y")), dt.int32).check()
    start = time.perf_counter()
    m = map_network(net, LOIHI)
    assert time.perf_counter() - start < 20
    assert 990_000 < m.synapses <= 1_000_000, "a few pairs are drawn twice"


# -- odd networks ---------------------------------------------------------------------------------------------


def test_what_busy_neurons_reach_is_nearer() -> None:
    """Two neurons of one core send to two others; the one that spikes gets the nearer target."""
    weight = np.kron(np.eye(40), np.ones((2, 2))).astype(np.int32)
    layers = {"a": Layer("a", "synapse_dense", {"weight": np.eye(80, dtype=np.int32)}), "m": neurons("m", (80,)),
              "b": Layer("b", "synapse_dense", {"weight": weight[::-1].copy()}), "n": neurons("n", (80,))}  # fmt: skip
    edges = (Edge("x", "a"), Edge("a", "m"), Edge("m", "b"), Edge("b", "n"), Edge("n", "y"))
    net = Network({"x": (80,)}, layers, ("y",), edges, dt.int32).check()
    chip = small(neurons_per_core=7)
    busy = np.where(np.arange(80) < 20, 100.0, 0.01)
    plain, weighed = map_network(net, chip), map_network(net, chip, {"m": busy})
    assert plain.hops is not None
    assert weighed.hops is not None
    assert busy @ weighed.hops[weighed.of["m"]] <= busy @ plain.hops[plain.of["m"]]


def test_no_neurons_at_all() -> None:
    layers = {"a": Layer("a", "synapse_dense", {"weight": np.ones((2, 3), np.int32)})}
    m = map_network(Network({"x": (3,)}, layers, ("y",), (Edge("x", "a"), Edge("a", "y")), dt.int32).check(), LOIHI)
    assert (m.cores, limits(m)) == (0, {("readout", "a")})


def test_neurons_without_synapses_take_room_all_the_same(chain: Chain) -> None:
    m = map_network(chain(np.zeros((5, 4))), small(neurons_per_core=2))
    assert (m.fits, m.cores, m.synapses) == (True, 3, 0)


def test_sums_that_truenorth_does_not_have() -> None:
    neuron = {k: np.full(2, v, np.int32) for k, v in {"du": 4095, "dv": 0, "vth": 1, "bias": 0}.items()}
    layers = {"n": Layer("n", "loihi_lif", neuron)}
    weight, bias = np.full((2, 3), 3, np.int32), np.ones(2, np.int32)
    found = []
    for attrs, more in (
        ({"exponent": -1, "saturate": 0}, {}),
        ({"exponent": 7, "saturate": 0}, {}),
        ({}, {"bias": bias}),
    ):
        net = Network({"x": (3,)}, {**layers, "s": Layer("s", "synapse_dense", {"weight": weight, **more}, attrs)},
                      ("y",), (Edge("x", "s"), Edge("s", "n"), Edge("n", "y")), dt.int32).check()  # fmt: skip
        assert map_network(net, LOIHI).fits
        found.append(limits(map_network(net, TRUENORTH)))
    assert found == [{("neuron", "s")}, {("weight_bits", "n")}, {("neuron", "s")}]


def test_layers_that_akida_does_not_have() -> None:
    conv = {"strides": (4, 4), "dilations": (1, 1), "pads_before": (0, 0), "pads_after": (0, 0), "groups": 1}
    top = Layer("n", "threshold", {"threshold": np.ones((2, 2, 2), np.int32)}, {"strict": True})
    layers = {"c": Layer("c", "synapse_conv", {"weight": np.ones((2, 1, 9, 9), np.int32)}, conv), "n": top}
    net = Network(
        {"x": (1, 13, 13)}, layers, ("y",), (Edge("x", "c"), Edge("c", "n"), Edge("n", "y")), dt.int32
    ).check()
    assert limits(map_network(net, load_chip("akida1"))) == {("kernel_size", "c"), ("stride", "c")}
