"""What this namespace can do, for code that is written against any of them."""

from __future__ import annotations

from typing import Any

from hetero import dtype as dt
from hetero import registry
from hetero.array_api.dtypes import isdtype
from hetero.dtype import DType
from hetero.errors import BackendError
from hetero.select import current_device, device_of
from hetero.spi import Device


class Info:
    """The answers of `__array_namespace_info__()`."""

    def capabilities(self) -> dict[str, Any]:
        """What is allowed beyond the minimum of the standard."""
        return {"boolean indexing": True, "data-dependent shapes": True, "max dimensions": 64}

    def default_device(self) -> Device:
        """The device in use."""
        return current_device()

    def default_dtypes(self, *, device: Device | str | None = None) -> dict[str, DType]:
        """What creation gives without a dtype."""
        device_of(device)
        return {
            "real floating": dt.float64, "complex floating": dt.complex128, "integral": dt.int64, "indexing": dt.int64,
        }  # fmt: skip

    def dtypes(
        self, *, device: Device | str | None = None, kind: str | tuple[str, ...] | None = None
    ) -> dict[str, DType]:
        """Name -> dtype that the device holds, all or those of a kind."""
        lacking = device_of(device).missing_dtypes
        held = {d.name: d for d in dt.STANDARD if d.name not in lacking}
        return held if kind is None else {n: d for n, d in held.items() if isdtype(d, kind)}

    def devices(self) -> list[Device]:
        """Every device on this machine, of every backend that is installed."""
        found: list[Device] = []
        for name in registry.available():
            try:
                found.extend(registry.devices(name))
            except BackendError:
                continue  # `hetero doctor` says why a backend has none
        return found


def __array_namespace_info__() -> Info:  # noqa: N807  the standard's name
    """What this namespace can do."""
    return Info()


__all__ = ["Info", "__array_namespace_info__"]
