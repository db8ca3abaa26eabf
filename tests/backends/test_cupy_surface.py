"""Every name of CuPy that the backend uses is there in the installed CuPy, with the parameters that are given.

The names are read from the backend's own files, so none is forgotten; the pretended CUDA has them all too. `nox -s
nvrtc` runs this with CuPy installed, which imports without a driver.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from pretend_cuda import pretended

FOLDER = Path(__file__).parent.parent.parent / "backends" / "hetero_cupy"
ROOTS = {
    "cupy": "cupy", "self.cupy": "cupy", "self._cupy": "cupy", "driver.cupy": "cupy", "library()": "cupy",
    "cuda": "cupy.cuda", "self._cuda": "cupy.cuda", "runtime": "cupy.cuda.runtime",
}  # fmt: skip
LATE = {"cupy.cuda.cublas", "cupy.cuda.cublas.CUBLASError"}  # loads libcublas, which is not where this runs
# What is called on objects: class -> method -> the call as (positional arguments, keywords) or None: an attribute.
OBJECTS: dict[str, dict[str, tuple[int, tuple[str, ...]] | None]] = {
    "cupy.RawModule": {"get_function": (1, ())},
    "cupy.RawKernel": {"__call__": (3, ())},
    "cupy.ndarray": {"data": None, "nbytes": None, "device": None},
    "cupy.cuda.Stream": {
        "__init__": (0, ("non_blocking",)), "record": (1, ()), "wait_event": (1, ()), "synchronize": (0, ()),
        "begin_capture": (0, ()), "end_capture": (0, ()), "__enter__": (0, ()), "__exit__": (3, ()),
    },
    "cupy.cuda.Event": {"__init__": (0, ("disable_timing",)), "record": (1, ()), "synchronize": (0, ())},
    "cupy.cuda.Graph": {"launch": (1, ())},
    "cupy.cuda.MemoryPointer": {
        "__add__": None, "ptr": None, "mem": None, "copy_from_device_async": (2, ()),
        "copy_from_host_async": (3, ()), "copy_to_host_async": (3, ()),
    },
    "cupy.cuda.PinnedMemoryPointer": {"ptr": None},
    "cupy.cuda.Device": {"__enter__": None, "__exit__": None, "id": None},
}  # fmt: skip
CALLS: dict[str, tuple[int, tuple[str, ...]]] = {
    "cupy.matmul": (2, ("out",)), "cupy.from_dlpack": (1, ()), "cupy.ascontiguousarray": (1, ()),
    "cupy.cuda.alloc": (1, ()), "cupy.cuda.alloc_pinned_memory": (1, ()),
    "cupy.cuda.get_current_stream": (1, ()), "cupy.cuda.runtime.getDeviceCount": (0, ()),
    "cupy.cuda.runtime.getDeviceProperties": (1, ()), "cupy.cuda.runtime.driverGetVersion": (0, ()),
}  # fmt: skip


def real() -> Any:
    try:
        return import_module("cupy")
    except ImportError as e:
        if os.environ.get("HETERO_REQUIRE_CUPY", "") == "1":
            raise
        pytest.skip(f"{e} (nox -s nvrtc)")


def used() -> set[str]:
    """Dotted names from the files of the backend."""
    found: set[str] = set()
    for path in sorted(FOLDER.glob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Attribute):
                written = ast.unparse(node)
                root = next((r for r in sorted(ROOTS, key=len, reverse=True) if written.startswith(f"{r}.")), "")
                if root and path.name != "__init__.py" and (root != "runtime" or path.name == "device.py"):
                    found.add(ROOTS[root] + written[len(root) :])
    return {n for n in found if n.startswith("cupy.") and "(" not in n}


def names() -> list[str]:
    """Without methods of objects, which OBJECTS has."""
    return sorted(n for n in used() if not n.endswith((".ptr", ".mem")))


def resolved(root: Any, dotted: str) -> Any:
    for part in dotted.split(".")[1:]:
        root = getattr(root, part)
    return root


def takes(call: Any, positional: int, keywords: tuple[str, ...], bound: bool) -> bool:
    """By the signature, or where Cython keeps none, by the first line of the documentation."""
    try:
        signature = inspect.signature(call)
    except (ValueError, TypeError):
        return _documented(call, positional + bound, keywords)
    try:
        signature.bind(*[None] * (positional + bound), **dict.fromkeys(keywords))
    except TypeError:
        return False
    return True


def _documented(call: Any, positional: int, keywords: tuple[str, ...]) -> bool:
    first = re.search(r"^\w[\w.]*\((.*)\)", inspect.getdoc(call) or "", re.MULTILINE)
    assert first, f"{call} has neither signature nor documentation"
    parts = [p.strip() for p in first[1].split(",") if p.strip() and "*" not in p]
    given = [p.split("=")[0].split()[-1] for p in parts]
    needed = [n for n, p in zip(given, parts, strict=True) if "=" not in p]
    missing = set(needed[positional:]) - set(keywords)
    return len(given) >= positional + len(keywords) and set(keywords) <= set(given) and not missing


def test_the_names_are_found_in_the_files() -> None:
    """A few that must be among them: else the reader is blind."""
    assert {"cupy.RawModule", "cupy.cuda.Stream", "cupy.cuda.runtime.CUDARuntimeError", "cupy.ndarray"} <= set(names())
    assert len(names()) > 20


def test_every_call_is_in_the_table() -> None:
    """Functions that are called must have their parameters checked."""
    classes = set(OBJECTS) | {"cupy.cuda.UnownedMemory"}
    plain = {"cupy.__version__", "cupy.__version__.split", "cupy.cuda", "cupy.cuda.runtime", "cupy.cuda.nvrtc",
             "cupy.cuda.runtime.is_hip", "cupy.cuda.driver", "cupy.cuda.memory", "cupy.cuda.compiler"}  # fmt: skip
    others = set(names()) - classes - plain - set(CALLS) - LATE
    assert not [n for n in others if not n.endswith(("Error", "Exception"))]


@pytest.mark.parametrize("name", names())
def test_every_name_is_there(name: str) -> None:
    cupy = real()
    if name in LATE:
        pytest.skip("loads libcublas")
    resolved(cupy, name)


def test_the_pretended_cuda_has_every_name() -> None:
    with pretended():
        pretend = import_module("cupy")
        missing = [n for n in names() if _missing(pretend, n)]
    assert missing == []


def _missing(root: Any, name: str) -> bool:
    try:
        resolved(root, name)
    except AttributeError:
        return True
    return False


@pytest.mark.parametrize("name", OBJECTS)
def test_objects_have_what_is_asked_of_them(name: str) -> None:
    owner = resolved(real(), name)
    for method, call in OBJECTS[name].items():
        if name == "cupy.cuda.Device" and method == "id":
            assert "id" in dir(owner) or "id" in (owner.__doc__ or "")
            continue
        assert hasattr(owner, method), f"{name}.{method}"
        if call is not None:
            assert takes(getattr(owner, method), *call, bound=True), f"{name}.{method} takes other arguments"


@pytest.mark.parametrize("name", CALLS)
def test_functions_take_what_they_are_given(name: str) -> None:
    assert takes(resolved(real(), name), *CALLS[name], bound=False)


def test_classes_that_are_made_take_their_arguments() -> None:
    """Those of Cython tell nothing of `__init__`, so they are made where that needs no driver."""
    cupy = real()
    assert cupy.RawModule(code="", options=("--std=c++17",))
    memory = cupy.cuda.UnownedMemory(4096, 64, cupy, 0)
    pointer = cupy.cuda.MemoryPointer(memory, 0)
    assert ((pointer + 16).ptr, (pointer + 16).mem.ptr) == (4112, 4096)
    array = cupy.ndarray((4, 4), "float32", pointer)
    assert (array.data.ptr, array.nbytes) == (4096, 64)
    made: Any = type("Incoming", (cupy.cuda.MemoryPointer,), {})(memory, 8)
    made.event = 1
    assert made.ptr == 4104


def test_a_real_cupy_without_a_driver_says_what_to_do() -> None:
    """The probe on a machine like this one."""
    from hetero_cupy import CupyBackend

    cupy = real()
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except cupy.cuda.runtime.CUDARuntimeError:
        count = 0
    found = CupyBackend().probe()
    assert len(found.devices) == count
    if not count:
        assert found.reason
        assert "driver" in found.fix
