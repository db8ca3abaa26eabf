"""Sensor fusion over three kinds of hardware: an encoder on a Jetson, a spiking network on Loihi, dense layers in the
cloud, as one graph.

    python examples/sensor_fusion.py                  the plan, why each part is where it is, and a run
    python examples/sensor_fusion.py --report         fusion.html as well

Loihi is the virtual chip of hetero, the other nodes are stand-ins: values are right, times are simulated and say so.
The weights are drawn at random: this shows where things run, not what they have learned.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

import hetero as ht
from hetero.graph.ir import Graph
from hetero.op import Array
from hetero.scheduler.plan import Plan
from hetero.spiking.network import Edge, Layer, Network
from hetero.tensor import apply

TOPOLOGY = Path(__file__).with_name("fusion.toml")
STEPS, STEP_S = 50, 1e-3
IMAGE = (1, 1, 32, 32)  # batch, channels, height, width
SIZES = {
    "vision": 64,
    "sound": 16,
    "touch": 12,
}  # spiking inputs: features of the image, bands of sound, points of skin
HIDDEN, JOINT, ACTIONS = 24, 32, 6
WINDOWS = {"strides": (2, 2), "dilations": (1, 1), "pads_before": (1, 1), "pads_after": (1, 1)}
WHERE = {"image": "camera", "sound": "microphone", "touch": "skin"}  # where the inputs start


def spiking_network(rng: np.random.Generator, sizes: dict[str, int] = SIZES, joint: int = JOINT) -> Network:
    """A layer of neurons for each sense and one that reads them all, in Loihi's arithmetic."""
    how = {"dt": STEP_S, "rule": "euler", "reset": "value", "strict": True, "refractory": 0}

    def neurons(name: str, n: int) -> Layer:
        values = {"tau": 0.02, "r": 1.0, "v_leak": 0.0, "v_threshold": 0.1, "v_reset": 0.0}
        return Layer(name, "lif", {k: np.full(n, v, np.float32) for k, v in values.items()}, how)

    def synapses(name: str, n: int, m: int) -> Layer:
        weight = rng.normal(1.0, 2.0, (n, m)) / np.sqrt(m)
        return Layer(name, "synapse_dense", {"weight": weight.astype(np.float32)})

    layers = [neurons("joint", joint)]
    edges = [Edge("joint", "actions")]
    for sense, size in sizes.items():
        layers += [synapses(f"into {sense}", HIDDEN, size), neurons(f"{sense} neurons", HIDDEN)]
        layers += [synapses(f"{sense} to joint", joint, HIDDEN)]
        names = (sense, f"into {sense}", f"{sense} neurons", f"{sense} to joint", "joint")
        edges += [Edge(a, b) for a, b in pairwise(names)]
    inputs = {sense: (size,) for sense, size in sizes.items()}
    float_network = Network(inputs, {a.name: a for a in layers}, ("actions",), tuple(edges), name="senses")
    return ht.quantize_loihi(float_network).network


def trace(seed: int = 0, network: Network | None = None, width: int = 2048) -> Graph:
    """The whole of it as one graph: image, sound and touch in, the probability of each action out."""
    rng = np.random.default_rng(seed)

    def weight(*shape: int) -> Array:
        return (rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32)

    senses = network or spiking_network(rng)
    kernels = weight(16, 1, 5, 5), weight(16, 16, 3, 3), weight(64, 16, 3, 3)
    dense = weight(width, JOINT).T, weight(width, width).T, weight(ACTIONS, width).T

    def see(image: Any) -> Any:
        """(1, 1, 32, 32) uint8 -> (64,) in 0 .. 1"""
        x = image.astype("float32") / 255.0
        for k in kernels:
            x = ht.maximum(apply("conv", x, ht.asarray(k), **WINDOWS), 0.0)
        return ht.tanh(ht.mean(x, axis=(2, 3)).reshape((64,)))

    def fuse(counts: Any) -> Any:
        """(32,) -> (6,)"""
        x = counts.reshape((1, JOINT))
        for w in dense[:-1]:
            x = apply("gelu", ht.matmul(x, ht.asarray(w)))
        return apply("softmax", ht.matmul(x, ht.asarray(dense[-1])), axis=1).reshape((ACTIONS,))

    def fusion(image: Any, sound: Any, touch: Any) -> dict[str, Any]:
        vision = ht.snn.latency(see(image), steps=STEPS)
        spikes = ht.snn.call(senses, vision, sound, touch)
        counts = ht.release(ht.snn.count(spikes).astype("float32") / STEPS, how="aggregate")
        return {"action": fuse(counts)}

    return ht.trace(
        fusion, ht.spec(IMAGE, "uint8"), ht.spec((STEPS, SIZES["sound"]), "int32"),
        ht.spec((STEPS, SIZES["touch"]), "int32"),
    )  # fmt: skip


def senses(seed: int = 1) -> dict[str, Array]:
    """An image, and spikes of a cochlea and a skin."""
    rng = np.random.default_rng(seed)
    spikes = {n: (rng.random((STEPS, SIZES[n])) < 0.15).astype(np.int32) for n in ("sound", "touch")}
    return {"image": rng.integers(0, 256, IMAGE, np.uint8), **spikes}


def plan(graph: Graph, objective: str = "latency", **wishes: Any) -> Plan:
    """The image stays at the edge until the spikes are counted; the decision is wanted in the cloud."""
    given: dict[str, Any] = {"private": ["image"], "inputs": WHERE, "outputs": {"action": "cloud"}} | wishes
    return ht.plan(graph, given.pop("topology", TOPOLOGY), objective, **given)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="sensor fusion on a Jetson, a Loihi and a cloud GPU")
    parser.add_argument("--objective", default="latency", help="latency, energy, ...")
    parser.add_argument("--report", action="store_true", help="write fusion.html")
    options = parser.parse_args(arguments)
    graph = trace()
    made = plan(graph, options.objective)
    print(made)
    print()
    print(made.explain("senses"))
    print("\nwhat crosses a link, and why it may:")
    for crossing in made.audit():
        print(f"  {crossing}")
    result = made.run(senses())
    print(f"\n{result}")
    print("action:", np.round(result["action"], 3))
    better = made.learn()
    print("\nwith the activity of this run:")
    print(better.explain("senses"))
    if options.report:
        better.report("fusion.html")
        print("written: fusion.html")


if __name__ == "__main__":
    main()
