"""`hetero devices`: every device that a graph can run on now."""

from __future__ import annotations

from rich.table import Table

from hetero import registry
from hetero.cli.common import Json, bytes_text, console, print_json
from hetero.errors import BackendError
from hetero.spi import Device


def devices(json: Json = False) -> None:
    """List the devices of this machine by the names that HETERO_BACKEND and device= take.

    Example: hetero devices
    """
    found = [d for name in registry.available() for d in _devices(name)]
    if json:
        rows = [
            {"name": d.name, "backend": d.backend, "description": d.description, "memory_bytes": d.memory_bytes,
             "missing_dtypes": sorted(d.missing_dtypes)}
            for d in found
        ]  # fmt: skip
        print_json(rows)
        return
    table = Table("device", "memory", "what it is", box=None, pad_edge=False)
    for d in found:
        table.add_row(d.name, bytes_text(d.memory_bytes) if d.memory_bytes else "not known", d.description)
    console().print(table)


def _devices(name: str) -> tuple[Device, ...]:
    """None for a backend that does not open: `hetero doctor` says why."""
    try:
        return registry.probe(name).devices
    except BackendError:
        return ()
