"""The one place where data moves between the host and devices: every copy is counted here."""

from __future__ import annotations

from hetero import counters, registry
from hetero.op import Array, TensorType
from hetero.spi import Buffer, Device


def upload(array: Array, device: Device) -> Buffer:
    """A buffer on `device` with a copy of `array`, counted unless the device is the host itself."""
    if not device.host:
        counters.count_copy("host", device.name, array.nbytes)
    return registry.load(device.backend).from_host(array, device)


def download(buffer: Buffer, type: TensorType, device: Device) -> Array:
    """The buffer's value on the host, counted unless it is there already."""
    if device.host:
        return buffer
    array = registry.load(device.backend).to_host(buffer, type, device)
    counters.count_copy(device.name, "host", array.nbytes)
    return array


def move(buffer: Buffer, type: TensorType, source: Device, to: Device) -> Buffer:
    """The buffer on another device, by way of the host."""
    if source == to:
        return buffer
    array = download(buffer, type, source)
    return array if to.host else upload(array, to)
