"""Modules: plain objects whose fields are tensors, other modules, and numbers. Nothing changes one.

A tensor of a module is named by its path, `layers.0.query.weight`. One that has no value yet is a `Spec`: a layer
that is made without a key has only those, takes no memory, and wants `load_state` or `bind` before it computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeAlias, TypeVar

from hetero.errors import GraphError
from hetero.op import TensorType
from hetero.tensor import Tensor
from hetero.tracing import Spec

Leaf: TypeAlias = "Tensor | Spec"
M = TypeVar("M", bound="Module")
T = TypeVar("T")
_KEPT = "__kept__"  # where a module keeps what was made of it: no part of it, and not handed on by `bind`


class Module:
    """Base of all layers. A field is set once, while it is made; equality and hash are by identity.

    ht.jit takes a module as a fixed value, whose tensors become constants. For tensors as named inputs, trace a
    function of them: ht.trace(lambda params, x: nn.bind(model, params)(x), nn.state(model), x).
    """

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.__dict__:
            raise GraphError(f"{type(self).__name__}.{name} is set and stays so", hint="nn.bind gives a new module")
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        raise GraphError(f"{type(self).__name__}.{name} is set and stays so")

    def __repr__(self) -> str:
        rows = [f"  {path}: {type_of(leaf)}" for path, leaf in state(self).items()]
        return "\n".join([type(self).__name__, *rows])


def type_of(leaf: Leaf) -> TensorType:
    """Shape and dtype of a tensor, with a value or without."""
    return leaf.type if isinstance(leaf, Spec) else leaf._type


def _children(value: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(value, Module):
        yield from ((n, v) for n, v in vars(value).items() if n != _KEPT)
    elif isinstance(value, dict):
        yield from ((str(k), v) for k, v in value.items())  # pyright: ignore[reportUnknownArgumentType]
    elif isinstance(value, tuple | list):
        yield from ((str(i), v) for i, v in enumerate(value))  # pyright: ignore[reportUnknownArgumentType]


def _leaves(value: Any, path: str) -> Iterator[tuple[str, Leaf]]:
    if isinstance(value, Tensor | Spec):
        yield path, value
    for name, child in _children(value):
        yield from _leaves(child, f"{path}.{name}" if path else name)


def state(module: Module) -> dict[str, Leaf]:
    """Every tensor of a module by its path, in the order of the fields; those without a value as their `Spec`."""
    return dict(_leaves(module, ""))


def bind(module: M, values: Mapping[str, Any]) -> M:
    """The module with other tensors, traced ones too; those that `values` does not name stay."""
    unknown = sorted(set(values) - set(state(module)))
    if unknown:
        raise GraphError(f"{type(module).__name__} has no {', '.join(unknown)}", hint="nn.state(module) lists them")
    return _bound(module, values, "")


def _bound(value: Any, values: Mapping[str, Any], path: str) -> Any:
    if path in values:
        return values[path]
    made = {n: _bound(c, values, f"{path}.{n}" if path else n) for n, c in _children(value)}
    if isinstance(value, Module):
        out = object.__new__(type(value))
        out.__dict__.update(made)
        return out
    if isinstance(value, dict):
        return {k: made[str(k)] for k in value}  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, tuple | list):
        kind: Any = type(value)  # pyright: ignore[reportUnknownVariableType]
        return kind(*made.values()) if hasattr(kind, "_fields") else kind(made.values())
    return value


def kept(module: Module, what: Any, make: Callable[[], T], most: int = 8) -> T:
    """What `make` gives, made once for a module and `what`; of `most` of them the oldest goes."""
    found: dict[Any, Any] = module.__dict__.setdefault(_KEPT, {})
    if what not in found:
        while len(found) >= most:
            found.pop(next(iter(found)), None)
        found[what] = make()
    return found[what]


def have(module: Module, *names: str) -> list[Tensor]:
    """The tensors of these fields; all that have no value yet are one error."""
    found = [getattr(module, n) for n in names]
    empty = [n for n, leaf in zip(names, found, strict=True) if isinstance(leaf, Spec)]
    if empty:
        raise GraphError(
            f"{' and '.join(empty)} of this {type(module).__name__} have no values yet",
            hint="nn.load_state(model, file), or make it with key=ht.random.key(seed)",
        )
    return found


__all__ = ["Leaf", "Module", "bind", "have", "kept", "state", "type_of"]
