"""Bits of activations, of weights as they are kept, and of what comes from outside."""

from __future__ import annotations

from collections.abc import Iterator

from hetero.chip.chip import Chip
from hetero.chip.synapses import is_neuron
from hetero.spiking.layers import Layer
from hetero.spiking.network import Network


def stored(bits: int, widths: tuple[int, ...]) -> int:
    """The width in which so many bits are kept: the next one that there is."""
    return min((w for w in widths if w >= bits), default=bits)


def activation(layer: Layer, chip: Chip) -> tuple[str, str, str, bool] | None:
    """What is wrong with the bits of a layer's activation: value, allowed, fix, and whether it is too much."""
    if layer.op != "quantized_relu" or layer.op not in chip.neurons:
        return None
    bits, most, widths = int(layer.attrs["bits"]), chip.limit("activation_bits"), chip.activation_widths
    if most is not None and bits > most:
        return f"activations of {bits} bits", f"{most} bits", f"quantise them to {most} bits or fewer", True
    if widths and bits not in widths:
        has = f"{chip.name} has {', '.join(map(str, widths))}"
        return f"activations of {bits} bits", has, f"quantise them to {stored(bits, widths)} bits", False
    return None


def input_layers(net: Network, chip: Chip) -> frozenset[str]:
    """Neurons behind a convolution that may be the chip's layer for images, with bits of its own: it reads an input,
    and its filters, width and channels are within the limits of that layer."""
    if chip.limit("input_bits") is None:
        return frozenset()
    return frozenset(n for n, a in net.layers.items() if is_neuron(a) and _reads_image(net, n, chip))


def _reads_image(net: Network, name: str, chip: Chip) -> bool:
    into = net.into.get(name, [])
    layer = net.layers.get(into[0].source) if len(into) == 1 else None
    if layer is None or layer.op != "synapse_conv":
        return False
    before = net.into.get(layer.name, [])
    if len(before) != 1 or before[0].source not in net.inputs:
        return False
    channels, *sizes = net.inputs[before[0].source]
    has = {"filters": layer.shape[0], "input_channels": channels, "input_width": max(sizes)}
    limits = {k: chip.limit(k) for k in has}
    return all(most is None or has[k] <= most for k, most in limits.items())


def input_tops(net: Network, chip: Chip) -> Iterator[tuple[str, int]]:
    """Each input and the largest value that it takes, on a chip whose activations have so many bits; the least is 0."""
    bits, wide = chip.limit("activation_bits"), chip.limit("input_bits")
    if bits is None:
        return
    images = input_layers(net, chip)
    for name in net.inputs:
        readers = [e.target for e in net.edges if e.source == name]
        behind = {e.target for e in net.edges if e.source in readers}
        mine = wide if wide is not None and behind and behind <= images else bits
        yield name, 2**mine - 1
