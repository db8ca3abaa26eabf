"""Weights from safetensors files and mappings into a module, everything that does not fit told at once; and back."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from os import PathLike, fspath
from typing import Any, TypeAlias

import numpy as np

from hetero import dtype as dt
from hetero.dim import show
from hetero.eager import place
from hetero.errors import GraphError, HeteroError, ModelError
from hetero.files import write_whole
from hetero.nn.module import Leaf, M, Module, bind, state, type_of
from hetero.op import Array
from hetero.select import device_of
from hetero.tensor import Tensor

Source: TypeAlias = "str | PathLike[str] | Mapping[str, Any]"
Rename: TypeAlias = "Callable[[str], str | None]"
_Opened: TypeAlias = "tuple[list[str], Callable[[str], tuple[int, ...]], Callable[[str], Any]]"


def load_state(module: M, source: Source, *, rename: Rename | None = None, device: Any = None) -> M:
    """The module with the tensors of a safetensors file or a mapping, on `device` or where new tensors go.

    `rename` gives the path in the module for a name in the source, or None for one that is not wanted. Missing,
    unexpected and misshapen tensors, and dtypes that would lose bits, are one error. Values take the module's dtype.
    """
    with _opened(source) as (names, shapes, get):
        paths = _paths(names, rename)
        wanted = state(module)
        wrong = list(_misfits(wanted, paths, shapes))
        if wrong:
            raise _refused(module, source, wrong)
        values = {path: _array(get(name)) for path, name in paths.items()}
    wrong = [f"{p}: {a.dtype.name} does not go into {type_of(wanted[p]).dtype.name}"
             for p, a in values.items() if not _widens(a, type_of(wanted[p]).dtype)]  # fmt: skip
    if wrong:
        raise _refused(module, source, wrong)
    where = device_of(device)
    made = {p: place(np.ascontiguousarray(a, type_of(wanted[p]).dtype), where) for p, a in values.items()}
    return bind(module, made)


def _refused(module: Module, source: Source, wrong: list[str]) -> HeteroError:
    name = "the mapping" if isinstance(source, Mapping) else fspath(source)
    lines = "\n".join(f"  {w}" for w in wrong)
    return ModelError(f"{name} does not hold this {type(module).__name__}:\n{lines}", hint="rename= maps its names")


def _paths(names: list[str], rename: Rename | None) -> dict[str, str]:
    """Path in the module -> name in the source."""
    found: dict[str, str] = {}
    for name in names:
        path = rename(name) if rename else name
        if path is None:
            continue
        if path in found:
            raise ModelError(f"{found[path]} and {name} are both renamed to {path}")
        found[path] = name
    return found


def _misfits(
    wanted: Mapping[str, Leaf], paths: Mapping[str, str], shapes: Callable[[str], tuple[int, ...]]
) -> Iterator[str]:
    for path, leaf in wanted.items():
        if path not in paths:
            yield f"missing: {path} {type_of(leaf)}"
    for path, name in paths.items():
        called = path if path == name else f"{path} ({name})"
        if path not in wanted:
            yield f"unexpected: {called} {show(shapes(name))}"
        elif shapes(name) != type_of(wanted[path]).known:
            yield f"shape: {called} is {show(shapes(name))}, the module wants {show(type_of(wanted[path]).known)}"


def _widens(array: Array, to: dt.DType) -> bool:
    return array.dtype == to or dt.promote(array.dtype, to) == to


def _array(value: Any) -> Array:
    return value._array if isinstance(value, Tensor) else np.asarray(value)


@contextmanager
def _opened(source: Source) -> Generator[_Opened, None, None]:
    """Names, shape of a name, value of a name."""
    if isinstance(source, Mapping):
        yield list(source), lambda name: tuple(np.shape(_shaped(source[name]))), lambda name: source[name]
        return
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(fspath(source), framework="numpy") as file:
            yield list(file.keys()), lambda name: tuple(file.get_slice(name).get_shape()), file.get_tensor
    except SafetensorError as e:
        raise ModelError(f"{fspath(source)} is damaged: {e}", hint="fetch it again") from e
    except OSError as e:
        raise ModelError(f"{fspath(source)} cannot be read: {e.strerror or e}") from e


def _shaped(value: Any) -> Any:
    return np.empty(value.shape, bool) if isinstance(value, Tensor) else value


def save_state(module: Module, path: str | PathLike[str]) -> None:
    """The module's tensors as a safetensors file, the whole of it or none."""
    from safetensors.numpy import save

    found = state(module)
    empty = [p for p, leaf in found.items() if not isinstance(leaf, Tensor)]
    if empty:
        raise GraphError(f"{', '.join(empty)} have no values to save", hint="nn.load_state first")
    data = save({p: np.ascontiguousarray(_array(leaf)) for p, leaf in found.items()})
    try:
        write_whole(path, data)
    except OSError as e:
        raise ModelError(f"cannot write {fspath(path)}: {e}", hint="choose a folder that can be written to") from e


__all__ = ["load_state", "save_state"]
