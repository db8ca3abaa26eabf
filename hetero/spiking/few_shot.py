"""A last layer that learns a class from a few examples, on the device: weights of 0 and 1, so many to a neuron.

Chips such as Akida keep weights of the last layer in one bit and give a class several neurons. Here a neuron counts how
often each input spiked in the examples that it won; its weights are 1 for the inputs that did most often. An example
goes to the neuron of its class that it fits best, or to one that has learned nothing yet when none fits well enough. To
read, the neuron that most of its inputs spike for wins, whatever its class. The rule is hetero's own: competition
within a class and a fixed number of connections are what is published of such layers.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from hetero.errors import AttributeValueError, ShapeError
from hetero.op import Array
from hetero.spiking.layers import Layer


@dataclass(slots=True, eq=False)
class FewShot:
    """A layer for `classes` classes with `neurons` each, over `inputs` inputs, `connections` of which a neuron keeps.

    fits: the share of a neuron's connections that an example must hit to be learned by it while others are free.
    """

    inputs: int
    classes: int
    neurons: int
    connections: int
    fits: float = 0.5
    counts: Array = field(init=False)  # (classes, neurons, inputs) how often an input spiked for a neuron
    won: Array = field(init=False)  # (classes, neurons) examples

    def __post_init__(self) -> None:
        wrong = [
            f"{name} is {value}, and must be 1 or more"
            for name, value in (("inputs", self.inputs), ("classes", self.classes), ("neurons", self.neurons),
                                ("connections", self.connections))
            if value < 1
        ]  # fmt: skip
        wrong += [f"{self.connections} connections are more than {self.inputs} inputs"] * (
            self.connections > self.inputs
        )
        wrong += [f"fits is a share of the connections, not {self.fits}"] * (not 0 <= self.fits <= 1)
        if wrong:
            raise AttributeValueError(f"a few-shot layer: {'; '.join(wrong)}")
        self.counts = np.zeros((self.classes, self.neurons, self.inputs))
        self.won = np.zeros((self.classes, self.neurons), np.int64)

    @property
    def weights(self) -> Array:
        """(classes * neurons, inputs) of 0 and 1; a neuron that has learned nothing has none"""
        flat = self.counts.reshape(-1, self.inputs)
        order = np.argsort(-flat, axis=1, kind="stable")[:, : self.connections]
        out = np.zeros(flat.shape, np.int32)
        np.put_along_axis(out, order, 1, 1)
        return out * (flat > 0)

    def learn(self, spikes: Any, label: int) -> int:
        """One example (inputs,) of a class; gives the neuron of the class that learned it."""
        x = self._checked(spikes)[0]
        if not 0 <= label < self.classes:
            raise AttributeValueError(f"class {label} is outside 0 .. {self.classes - 1}")
        mine = self.weights.reshape(self.classes, self.neurons, -1)[label]
        hit = (mine @ x) / np.maximum(mine.sum(1), 1)
        free = np.flatnonzero(self.won[label] == 0)
        k = int(hit.argmax())
        if len(free) and (not self.won[label].any() or hit[k] < self.fits):
            k = int(free[0])
        self.counts[label, k] += x
        self.won[label, k] += 1
        return k

    def read(self, spikes: Any) -> Array:
        """(..., inputs) -> int64 (...): the class of the neuron that the largest share of its connections spikes for"""
        x = self._checked(spikes)
        w = self.weights
        share = (x @ w.T) / np.maximum(w.sum(1), 1)
        best: Array = share.argmax(1) // self.neurons
        return best.reshape(np.asarray(spikes).shape[:-1])

    def layer(self, name: str) -> Layer:
        """The weights as a synapse in Loihi's and Akida's integers, (classes * neurons, inputs)."""
        return Layer(name, "synapse_dense", {"weight": self.weights}, {"exponent": 0, "saturate": 0})

    def _checked(self, spikes: Any) -> Array:
        x = np.asarray(spikes)
        if x.ndim < 1 or x.shape[-1] != self.inputs:
            raise ShapeError(f"a few-shot layer of {self.inputs} inputs got an example of shape {x.shape}")
        return (x.reshape(-1, self.inputs) != 0).astype(np.float64)
