"""Nested tuples, lists and dicts of tensors, as functions take and give them, flattened and put together again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Each leaf with its path, `params.w` or `xs.0`, in a fixed order: dicts by key."""
    for key, child in _children(value):
        yield from leaves(child, f"{name}.{key}" if name else str(key))
    if not is_branch(value):
        yield name, value


def is_branch(value: Any) -> bool:
    return isinstance(value, tuple | list | dict)


def _children(value: Any) -> Iterator[tuple[Any, Any]]:
    if isinstance(value, dict):
        yield from sorted(value.items(), key=_by_name)  # pyright: ignore[reportUnknownArgumentType]
    elif isinstance(value, tuple | list):
        yield from enumerate(value)  # pyright: ignore[reportUnknownArgumentType]


def _by_name(item: tuple[Any, Any]) -> str:
    return str(item[0])


def rebuild(value: Any, new: Callable[[str, Any], Any], name: str = "") -> Any:
    """The same nesting with each leaf replaced by `new(path, leaf)`."""
    if not is_branch(value):
        return new(name, value)
    made = {k: rebuild(c, new, f"{name}.{k}" if name else str(k)) for k, c in _children(value)}
    if isinstance(value, dict):
        return {k: made[k] for k in value}  # pyright: ignore[reportUnknownVariableType]
    items = list(made.values())
    if isinstance(value, list):
        return items
    return type(value)(*items) if hasattr(value, "_fields") else tuple(items)  # pyright: ignore[reportUnknownArgumentType]


def refill(value: Any, new: Sequence[Any]) -> Any:
    """The same nesting with its leaves replaced in order."""
    rest = iter(new)
    return rebuild(value, lambda name, leaf: next(rest))
