"""Which device is in use: a `with hetero.use(...)` block, else HETERO_BACKEND, else `numpy`."""

from __future__ import annotations

from collections.abc import Generator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

from hetero import config, registry
from hetero.errors import BackendError, HeteroError
from hetero.spi import Device

_used: ContextVar[Device | None] = ContextVar("hetero_device", default=None)
_chosen: dict[tuple[str, ...], Device] = {}  # HETERO_BACKEND as read -> its device, looked for once


def current_device() -> Device:
    """The device that new tensors and runs go to."""
    used = _used.get()
    if used is not None:
        return used
    names = tuple(config.backend())
    device = _chosen.get(names)
    if device is None:
        device = _chosen[names] = choose(names)
    return device


def device_of(name: str | Device | None) -> Device:
    """The device called `name`, a device as it is, or for None the one in use."""
    if name is None:
        return current_device()
    if isinstance(name, Device):
        return name
    return choose([part.strip() for part in name.split(",")])


@contextmanager
def use(*names: str | Device) -> Generator[Device, None, None]:
    """Inside the block, `names[0]` is in use, or the first of several that is there."""
    if not names:
        raise BackendError("use wants the name of a backend or device", hint="with hetero.use('opencl'): ...")
    first = names[0]
    device = first if isinstance(first, Device) else choose([n if isinstance(n, str) else n.name for n in names])
    token = _used.set(device)
    try:
        yield device
    finally:
        _used.reset(token)


def choose(names: Sequence[str]) -> Device:
    """The first of `names` that has a device here. `auto` stands for all of them: graphs are planned over them."""
    wrong: list[HeteroError] = []
    for name in names:
        try:
            return registry.find(name)
        except BackendError as e:
            wrong.append(e)
    if len(wrong) == 1:
        raise wrong[0]
    raise BackendError("; ".join(e.problem for e in wrong), hint="; ".join(e.hint for e in wrong if e.hint))


def on_host(device: Device) -> bool:
    """Whether tensors of `device` are NumPy's own, and NumPy may do what no graph can: auto's stay on the host too.

    Other devices whose buffers are arrays (`Device.host`) are not meant: that NumPy works for them is a fallback.
    """
    return device.backend in ("numpy", "auto")
