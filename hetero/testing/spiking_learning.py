"""Random spiking networks that learn in Loihi's arithmetic, with input spikes: small, with rules of every kind."""

from __future__ import annotations

import numpy as np

from hetero import dtype as dt
from hetero.errors import AttributeValueError
from hetero.op import Array
from hetero.ops.loihi import effective_weights
from hetero.ops.loihi_learning import MOST_SEED, SIGNS
from hetero.ops.loihi_rules import TRACES, scaled
from hetero.spiking.layers import Layer
from hetero.spiking.learning import Trace, plastic
from hetero.spiking.network import Edge, Network

MOST_NEURONS = 12
MOST_STEPS = 60


def random_learning(seed: int) -> tuple[Network, dict[str, Array]]:
    """A network of one to three layers of neurons with synapses that learn, some of them back to an earlier layer or to
    the same one, and spikes (steps, n) for it: the same for the same seed."""
    rng = np.random.default_rng(seed)
    sizes = {"spikes": int(rng.integers(1, MOST_NEURONS))}
    layers: dict[str, Layer] = {}
    edges: list[Edge] = []
    before = "spikes"
    for k in range(int(rng.integers(1, 4))):
        name = f"lif{k}"
        sizes[name] = int(rng.integers(1, MOST_NEURONS))
        layers[name] = _lif(rng, name, sizes[name])
        edges.append(Edge(name, f"out_{name}"))
        sources = [before] + [s for s in sizes if rng.random() < 0.3]
        for j, source in enumerate(sources):
            synapse = f"{name}.in{j}"
            layers[synapse] = _synapse(rng, synapse, sizes[source], name, sizes[name], learns=j == 0)
            edges += [Edge(source, synapse), Edge(synapse, name, delayed=True)]
        before = name
    outputs = tuple(e.target for e in edges if e.target.startswith("out_"))
    net = Network({"spikes": (sizes["spikes"],)}, layers, outputs, tuple(edges), dt.int32, f"learning{seed}").check()
    steps = int(rng.integers(5, MOST_STEPS))
    spikes = rng.random((steps, sizes["spikes"])) < rng.choice([0.1, 0.3, 0.7])
    graded = rng.integers(1, 4, spikes.shape) if rng.random() < 0.15 else 1
    return net, {"spikes": (spikes * graded).astype(np.int32)}


def random_rule(rng: np.random.Generator) -> str:
    """One to four products that Loihi can keep."""
    while True:
        rule = "".join(f"{rng.choice(['+', '-'])}{_product(rng)}" for _ in range(int(rng.integers(1, 5))))
        try:
            scaled(rule)
        except AttributeValueError:  # its products leave 32 bits, or a factor the chip's exponents
            continue
        return rule


def _product(rng: np.random.Generator) -> str:
    gate = str(rng.choice(["x0", "y0"]))
    others = rng.choice(["x0", "x1", "x2", "y0", "y1", "y2", "y3", "w"], int(rng.integers(0, 4)))
    factor = str(rng.choice(["", "2^{e}", "{m}*2^{e}", "{m}", "{m}*2", "0.75"]))
    said = factor.format(m=int(rng.integers(1, 8)), e=int(rng.integers(-7, 4)))
    parts = [gate, *map(str, others)]
    rng.shuffle(parts)
    return "*".join([said] * bool(said) + parts)


def _trace(rng: np.random.Generator) -> Trace:
    """Whole and broken impulses and times, some 0."""
    impulses = np.array([0, rng.integers(1, 128), rng.uniform(0, 127)])
    times = np.array([0, rng.integers(1, 40), rng.uniform(0.1, 40), 1e6])
    return float(rng.choice(impulses, p=[0.1, 0.5, 0.4])), float(rng.choice(times, p=[0.1, 0.45, 0.4, 0.05]))


def _synapse(rng: np.random.Generator, name: str, n: int, post: str, m: int, *, learns: bool) -> Layer:
    sign = str(rng.choice(list(SIGNS)))
    low, high = SIGNS[sign]
    weight = rng.integers(low, high + 1, (m, n)) * (rng.random((m, n)) < 0.8)
    weight = weight >> 1 << 1 if sign == "mixed" else weight
    exponent = int(rng.integers(-3, 6))
    if not learns and rng.random() < 0.5:
        attrs = {"exponent": exponent, "saturate": 0}
        return Layer(name, "synapse_dense", {"weight": effective_weights(weight.astype(np.int32))}, attrs)
    x1, x2, y1, y2, y3 = (_trace(rng) for _ in TRACES)
    made = plastic(
        name, weight.astype(np.int32), random_rule(rng), sign=sign, post=post, x1=x1, x2=x2, y1=y1, y2=y2, y3=y3,
        exponent=exponent, seed=int(rng.choice(np.array([0, 1, rng.integers(0, MOST_SEED), MOST_SEED]))),
    )  # fmt: skip
    return made


def _lif(rng: np.random.Generator, name: str, n: int) -> Layer:
    """Neurons that mostly spike sometimes."""
    bias = rng.integers(0, 4096, n) << int(rng.integers(0, 3))
    given = {
        "du": rng.integers(0, 4096, n), "dv": rng.integers(0, 4096, n),
        "vth": rng.integers(1, 2 ** int(rng.integers(6, 12)), n), "bias": bias * (rng.random(n) < 0.3),
    }  # fmt: skip
    return Layer(name, "loihi_lif", {k: a.astype(np.int32) for k, a in given.items()})


__all__ = ["random_learning", "random_rule"]
