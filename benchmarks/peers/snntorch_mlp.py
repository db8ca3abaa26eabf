"""snnTorch, 784-512-10: arguments in.npz, out.json. The time is the best of several runs, on one thread."""

import json
import sys
import time

import numpy as np
import snntorch
import torch


def main() -> None:
    torch.set_num_threads(1)
    given = np.load(sys.argv[1])
    x = torch.from_numpy(given["x"])
    layers = [torch.nn.Linear(w.shape[1], w.shape[0], bias=False) for w in (given["w1"], given["w2"])]
    for layer, name in zip(layers, ("w1", "w2"), strict=True):
        layer.weight.data = torch.from_numpy(given[name])
    first, second = (snntorch.Leaky(beta=float(given["beta"]), reset_mechanism="zero") for _ in range(2))

    def run() -> torch.Tensor:
        a, b = first.init_leaky(), second.init_leaky()
        out = []
        for step in x:
            spikes, a = first(layers[0](step), a)
            spikes, b = second(layers[1](spikes), b)
            out.append(spikes)
        return torch.stack(out)

    best = float("inf")
    with torch.no_grad():
        for _ in range(7):
            start = time.perf_counter()
            out = run()
            best = min(best, time.perf_counter() - start)
    json.dump({"seconds": best, "spikes": int(out.sum()), "version": snntorch.__version__}, open(sys.argv[2], "w"))


main()
