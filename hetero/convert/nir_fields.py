"""The fields of one NIR node, checked: whatever is wrong with them is told together."""

from __future__ import annotations

from math import prod

import numpy as np

from hetero.convert.nir_tree import Item
from hetero.op import Array

Shape = tuple[int, ...]
MAX_FILLED = 1 << 26  # elements of all parameters that are filled up to their layer's shape
MAX_SIZE = 1 << 31  # elements of one sample


class Fields:
    """Reads fields; what is wrong goes to `wrong`, and something harmless is given in its place."""

    def __init__(self, name: str, item: Item, wrong: list[str]) -> None:
        self.name, self.item, self.wrong = name, item, wrong
        self.fine = True

    def refuse(self, problem: str) -> None:
        self.fine = False
        self.wrong.append(f"{self.name} ({self.item.kind}): {problem}")

    def has(self, key: str) -> bool:
        return self.item.fields.get(key) is not None

    def numbers(self, key: str) -> Array | None:
        """The array as it stands."""
        if not self.has(key):
            self.refuse(f"{key} is missing")
            return None
        try:
            value = np.asarray(self.item.fields[key])
        except (TypeError, ValueError, RuntimeError):
            value = np.asarray(None)
        if value.dtype.kind not in "fiu":
            self.refuse(f"{key} is no array of numbers")
            return None
        return value

    def floats(self, key: str, rank: int | None = None) -> Array | None:
        """The array as finite float32."""
        value = self.numbers(key)
        if value is None:
            return None
        with np.errstate(all="ignore"):
            made = value.astype(np.float32)
        if rank is not None and made.ndim != rank:
            self.refuse(f"{key} has {made.ndim} axes, not {rank}")
        elif not np.isfinite(made).all():
            self.refuse(f"{key} holds what is not finite, or too large for float32")
        elif not made.size:
            self.refuse(f"{key} is empty")
        else:
            return made
        return None

    def ints(self, key: str, count: int, least: int) -> Shape:
        """So many ints, or one that stands for all."""
        value = self.numbers(key)
        if value is None:
            return (1,) * count
        if value.dtype.kind == "f" or value.size not in (1, count) or value.min() < least or value.max() >= 2**31:
            self.refuse(f"{key} is {_short(value)}, not {count} whole numbers of {least} or more")
            return (1,) * count
        flat = [int(n) for n in value.reshape(-1)]
        return tuple(flat * count if len(flat) < count else flat)

    def one(self, key: str, default: int) -> int:
        """One int, negative ones too."""
        if not self.has(key):
            return default
        value = self.numbers(key)
        if value is None or value.size != 1 or value.dtype.kind == "f":
            self.refuse(f"{key} is no whole number")
            return default
        return int(value.reshape(-1)[0])

    def shape(self, *keys: str) -> Shape | None:
        """Sizes of axes under the first of the keys that is there; None where none is."""
        key = next((k for k in keys if self.has(k)), "")
        value = self.item.fields.get(key)
        if isinstance(value, dict):
            value = next(iter(value.values()), None)
        if value is None:
            return None
        try:
            sizes = np.asarray(value).reshape(-1)
        except (TypeError, ValueError, RuntimeError):
            sizes = np.asarray([None])
        whole = sizes.dtype.kind in "iu" or not sizes.size
        if not whole or any(not 0 < n <= MAX_SIZE for n in sizes) or prod(int(n) for n in sizes) > MAX_SIZE:
            self.refuse(f"{key} is no shape of 1 to {MAX_SIZE} elements")
            return None
        return tuple(int(n) for n in sizes)


def _short(value: Array) -> str:
    return str(value.tolist()) if value.size <= 4 else f"of shape {value.shape}"


class Budget:
    """How many elements may still be made by filling parameters up to a shape."""

    def __init__(self) -> None:
        self.left = MAX_FILLED

    def fill(self, fields: Fields, key: str, value: Array, shape: Shape) -> Array:
        try:
            wide = np.broadcast_to(value, shape)
        except ValueError:
            fields.refuse(f"{key} has shape {value.shape}, which does not fill {shape}")
            return value
        if value.shape == shape:
            return value
        self.left -= prod(shape)
        if self.left < 0:
            fields.refuse(f"parameters that fill more than {MAX_FILLED} elements in all; store them whole")
            return value
        return np.array(wide)
