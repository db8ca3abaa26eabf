"""A CUDA that is not there: a module `cupy` with what the backend uses, whose kernels are compiled by g++.

`with pretended() as machine:` puts it in the place of the real one. It computes what a GPU would, and is stricter:
every argument is compared with the kernel's parameter in size and kind, barriers must be reached by all threads of a
block, streams run as late as they may (or as early), memory comes with the rubbish of its last owner and with guards
behind it.
"""

from __future__ import annotations

import sys
from collections.abc import Generator
from contextlib import contextmanager
from types import ModuleType
from typing import Any

from pretend_cuda.library import module
from pretend_cuda.machine import Machine, PretendError

__all__ = ["Machine", "PretendError", "pretended"]


@contextmanager
def pretended(devices: int = 2, memory: int = 1 << 30, eager: bool = False) -> Generator[Machine]:
    """`eager`: every stream but the first of a device runs at once, rather than when somebody waits for it."""
    machine = Machine(devices, memory, eager)
    before: ModuleType | None = sys.modules.get("cupy")
    pretend: Any = module(machine)
    sys.modules["cupy"] = pretend
    try:
        yield machine
    finally:
        if before is None:
            del sys.modules["cupy"]
        else:
            sys.modules["cupy"] = before
