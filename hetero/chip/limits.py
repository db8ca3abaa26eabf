"""What a network asks of a chip that it does not have: every violated limit at once, each with what to do."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from hetero import dtype as dt
from hetero.chip.chip import NEURONS, Chip, load_chip
from hetero.chip.synapses import Population, is_neuron, readouts
from hetero.op import Array
from hetero.spiking.layers import Layer
from hetero.spiking.network import Network


@dataclass(frozen=True, slots=True)
class Violation:
    """A limit that a layer breaks (no name: the whole network): what it has, what is allowed, what to do about it."""

    limit: str
    layer: str
    value: str
    allowed: str
    fix: str

    over: bool = True  # whether value is more than allowed, rather than something else

    def __str__(self) -> str:
        between = " > " if self.over else ", yet "
        where = f"layer {self.layer}" if self.layer else "the network"
        return f"{where}: {self.value}{between}{self.allowed}; {self.fix}"


def kinds(net: Network, chip: Chip) -> Iterator[Violation]:
    """Layers that the chip does not compute at all."""
    for name in net.order:
        layer = net.layers[name]
        if is_neuron(layer) and layer.op not in chip.neurons:
            has = f"{chip.name} has {', '.join(chip.neurons)}" if chip.neurons else f"{chip.name} has no spiking neuron"
            integer = "loihi_lif" in chip.neurons and layer.op in ("lif", "cuba_lif", "if")
            fix = "quantise the network (hetero.quantize_loihi)" if integer else f"use {_who_has(layer.op)}"
            yield Violation("neuron", name, f"neurons are {layer.op}", has, fix, over=False)
        yield from _shape(layer, chip)
    if chip.numbers == "integer" and net.dtype != dt.int32:
        yield Violation(
            "numbers", "", f"weights are {net.dtype.name}", f"{chip.name} keeps integers",
            "quantise the network, so that its dtype is int32", over=False,
        )  # fmt: skip
    if not chip.sums_out:
        yield from _readouts(net)


def _shape(layer: Layer, chip: Chip) -> Iterator[Violation]:
    """Kernels, strides and widths over what the chip's layers take, and sums that it does not shift, cut or offset."""
    has = {"kernel_size": 0, "stride": 0, "dense_inputs": 0}
    if layer.op == "synapse_conv":
        has |= {"kernel_size": max(layer.parameters["weight"].shape[2:]), "stride": max(layer.attrs["strides"])}
    elif layer.op in ("synapse_dense", "synapse_delayed"):
        has["dense_inputs"] = layer.parameters["weight"].shape[1]
    for limit, value in has.items():
        most = chip.limit(limit)
        if most is not None and value > most:
            what = limit.replace("_", " ")
            yield Violation(limit, layer.name, f"{what} {value}", f"{most}", "make it smaller, or split the layer")
    if chip.limit("leak_bits") is None:  # a chip whose neuron is another one, see `neuron_bits`
        return
    if layer.attrs.get("exponent", 0) < 0 or layer.attrs.get("saturate", 0):
        yield Violation(
            "neuron", layer.name, "sums are shifted to the right or cut", f"{chip.name} adds weights as they are",
            "use loihi", over=False,
        )  # fmt: skip
    if "bias" in layer.parameters and not is_neuron(layer) and layer.parameters["bias"].any():
        yield Violation(
            "neuron", layer.name, "synapses have a bias", f"{chip.name} has a leak in the neuron instead",
            "put it into the bias of the neurons", over=False,
        )  # fmt: skip


def _readouts(net: Network) -> Iterator[Violation]:
    for out, source in readouts(net):
        yield Violation(
            "readout", source, f"gives output {out} without neurons", "what leaves a chip are spikes",
            "end the network with neurons, and compute the rest on the host", over=False,
        )  # fmt: skip


def _who_has(op: str) -> str:
    """Shipped chips with these neurons."""
    return ", ".join(
        n for n in ("loihi", "loihi2", "spinnaker2", "akida1", "akida2", "northpole") if op in load_chip(n).neurons
    ) or (f"one of {', '.join(NEURONS)}")


def weights(p: Population, chip: Chip, *, image: bool = False) -> Iterator[Violation]:
    """Weights and delays that the chip cannot hold. `image`: it may be the chip's own layer for images."""
    most = (chip.limit("input_weight_bits") if image else None) or chip.limit("weight_bits")
    if most is not None and chip.numbers == "integer" and p.weight.size:
        bits = bits_of(p, chip)
        if bits is not None and bits > most:
            yield Violation(
                "weight_bits", p.layer.name, f"weights of {bits} bits", f"{most} bits", "quantise them to fewer bits"
            )
    longest, top = int(p.delay.max(initial=0)), chip.limit("max_delay_steps")
    if top is not None and longest > top:
        yield Violation(
            "max_delay_steps", p.layer.name, f"a delay of {longest} steps", f"{top} steps",
            "shorten it, or pass spikes on through neurons in between" if top else "make the network feed-forward",
        )  # fmt: skip


def neuron_bits(p: Population, chip: Chip) -> Iterator[Violation]:
    """Leaks and thresholds over what a chip with such limits keeps; of loihi_lif, whose scale is 2^6 finer."""
    leak, threshold = chip.limit("leak_bits"), chip.limit("threshold_bits")
    if p.layer.op != "loihi_lif" or leak is None or threshold is None:
        return
    q = {k: v.astype(np.int64) for k, v in p.layer.parameters.items()}
    name, fix = p.layer.name, "use loihi"
    if (q["du"] != 4095).any() or (q["dv"] != 0).any():
        has = f"{chip.name} has no decay: its neuron is loihi_lif with du = 4095 and dv = 0"
        yield Violation("neuron", name, "current or voltage decays", has, fix, over=False)
    if (q["bias"] % 64 != 0).any():
        yield Violation(
            "neuron",
            name,
            "a bias is no multiple of 64",
            "a leak is a whole weight",
            "round it, or use loihi",
            over=False,
        )
    most = int(np.abs(q["bias"]).max(initial=0)) // 64
    if most >= 2 ** (leak - 1):
        yield Violation("leak_bits", name, f"a leak of {most}", f"{2 ** (leak - 1) - 1}", fix)
    top = int(q["vth"].max(initial=0)) + 1  # v > vth is v >= vth + 1
    if top >= 2**threshold:
        yield Violation("threshold_bits", name, f"a threshold of {top}", f"{2**threshold - 1}", fix)
    if (q["vth"] < 0).any():
        yield Violation("neuron", name, "a threshold is negative", "thresholds are 0 or more", fix, over=False)


def bits_of(p: Population, chip: Chip) -> int | None:
    """Bits that the weights of a layer take: the most of its parts, each of which has a power of two of its own."""
    if not chip.scales_weights or not p.part.any():
        return weight_bits(p.weight, scaled=chip.scales_weights)
    each = [weight_bits(p.weight[p.part == k], scaled=True) for k in np.unique(p.part)]
    return None if None in each else max(b for b in each if b is not None)


def weight_bits(weight: Array, *, scaled: bool) -> int | None:
    """Bits of integer weights, None of others. Scaled: a common power of two, and a common sign, are kept apart."""
    whole = weight.astype(np.int64)
    if (whole != weight).any():
        return None
    whole = whole[whole != 0]
    if not whole.size:
        return 1
    if not scaled:
        return 1 + int(np.abs(whole).max()).bit_length()
    joined = int(np.bitwise_or.reduce(np.abs(whole)))
    whole = whole >> ((joined & -joined).bit_length() - 1)
    low, high = int(whole.min()), int(whole.max())
    if low > 0 or high < 0:
        return max(abs(low), abs(high)).bit_length()
    return 1 + max(high.bit_length(), (-low - 1).bit_length())


def axon_types(rows: Array, columns: Array, weight: Array, most: int) -> int:
    """How many types of axons let each neuron (row) have one weight a type; `most + 1` for any number over `most`.

    Two axons are of one type if no neuron that both reach has different weights for them. Types are found greedily, the
    axons that reach most neurons first: at times that is one more than are needed.
    """
    order = np.argsort(rows, kind="stable")
    pairs = np.unique(np.stack((rows[order], weight[order])), axis=1)
    least = int(np.unique(pairs[0], return_counts=True)[1].max(initial=0))  # different weights of one neuron
    if least > most or len(np.unique(rows)) == 1:
        return min(least, most + 1)
    _, c = np.unique(columns, return_inverse=True)
    _, r = np.unique(rows, return_inverse=True)
    dense = np.zeros((int(c.max(initial=-1)) + 1, int(r.max(initial=-1)) + 1))
    dense[c, r] = weight
    dense = np.unique(dense, axis=0)
    types: list[Array] = []  # of each type: the weight of each neuron, 0 where none is set
    for axon in dense[np.argsort(-np.count_nonzero(dense, axis=1), kind="stable")]:
        for known in types:
            if not ((known != axon) & (known != 0) & (axon != 0)).any():
                np.copyto(known, axon, where=axon != 0)
                break
        else:
            types.append(axon.copy())
        if len(types) > most:
            break
    return len(types)
