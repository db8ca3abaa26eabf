"""Finds backends by entry point. A backend is imported when it is loaded, not before."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from hetero.errors import BackendError
from hetero.spi import Backend, Device, Probe

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

GROUP = "hetero.backends"


BUILT_IN = {"auto": "hetero.auto:AutoBackend"}  # the scheduler itself; not listed among the installed ones
_added: dict[str, Backend] = {}


def _entries() -> list[EntryPoint]:
    """Those of our group, from every installed distribution."""
    from importlib.metadata import entry_points  # late: it is slow to import, and host work needs no backend

    return list(entry_points(group=GROUP))


def available() -> list[str]:
    """Names of the installed backends, whether or not their device is here."""
    return sorted({entry.name for entry in _entries()} | set(_added))


def add(backend: Backend) -> None:
    """A backend made in this process, beside the installed ones; a name is taken once."""
    if backend.name in available() or backend.name in BUILT_IN:
        raise BackendError(f"a backend is already called {backend.name!r}", hint="give it another name")
    _added[backend.name] = backend


def remove(name: str) -> None:
    """Take back what `add` brought."""
    del _added[name]
    probe.cache_clear()


def load(name: str) -> Backend:
    """The backend called `name`, imported when it is first asked for."""
    if name in _added:
        return _added[name]
    return _built_in(name) if name in BUILT_IN else _installed(name)


@cache
def _built_in(name: str) -> Backend:
    from importlib import import_module

    module, _, cls = BUILT_IN[name].partition(":")
    return getattr(import_module(module), cls)()


@cache
def _installed(name: str) -> Backend:
    """From its entry point. A name with two different owners is refused."""
    found: dict[str, EntryPoint] = {entry.value: entry for entry in _entries() if entry.name == name}
    if not found:
        raise BackendError(
            f"no backend is called {name!r}",
            hint=f"one of {', '.join(available())}; or install the package that brings {name!r}",
        )
    if len(found) > 1:
        raise BackendError(f"{name!r} is claimed by {' and '.join(sorted(found))}", hint="uninstall one of them")
    (entry,) = found.values()
    try:
        backend = entry.load()()
    except Exception as e:  # device libraries fail in every way there is; the cause is kept
        raise BackendError(
            f"backend {name!r} is installed but does not open: {e!r}", hint=f"install {entry.value.split(':')[0]} again"
        ) from e
    if not isinstance(backend, Backend):
        raise BackendError(f"{entry.value} is not a hetero.spi.Backend", hint="see backends/README.md")
    return backend


@cache
def probe(name: str) -> Probe:
    """What the backend finds on this machine, asked once."""
    return load(name).probe()


def devices(name: str) -> tuple[Device, ...]:
    """The devices of a backend; a BackendError with its reason and remedy when there are none."""
    found = probe(name)
    if not found.devices:
        raise BackendError(f"backend {name!r} has no device here: {found.reason}", hint=found.fix)
    return found.devices


def find(name: str) -> Device:
    """The device called `name`: `opencl:1`, or `opencl` for its first."""
    backend, _, index = name.partition(":")
    found = devices(backend)
    if not index:
        return found[0]
    for device in found:
        if str(device.index) == index:
            return device
    raise BackendError(f"no device is called {name!r}", hint=f"one of {', '.join(map(str, found))}")
