"""Compiled programs: each text is built once on a machine. What the driver made of it is kept in hetero's cache."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Generator
from contextlib import contextmanager
from threading import RLock
from typing import Any

from hetero.cache import Cache
from hetero.errors import KernelError

STEERS = ("CL_CONFIG_", "POCL_")  # how variables begin that tell Intel's compiler and PoCL's what to make
OTHERS = frozenset({"POCL_AFFINITY", "POCL_CACHE_DIR"})  # that begin so, and do not
log = logging.getLogger("hetero.opencl")


@contextmanager
def quiet() -> Generator[None]:
    """pyopencl warns of any compiler output, and Intel's compiler always has something to say."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


class Programs:
    """The programs of one device."""

    def __init__(self, cl: Any, context: Any, device: Any, identity: str, options: tuple[str, ...]) -> None:
        self._cl, self._context, self._device = cl, context, device
        steering = (name for name in os.environ if name.startswith(STEERS) and name not in OTHERS)
        steered = sorted(f"{name}={os.environ[name]}" for name in steering)
        self._key, self._options = (identity, *options, *steered), options
        self._built: dict[str, Any] = {}
        self._lock = RLock()
        self.cache = Cache("opencl")

    def kernel(self, text: str, name: str) -> Any:
        """A kernel object of its own, whose arguments nobody else sets."""
        with self._lock:
            program = self._built.get(text)
            if program is None:
                program = self._built[text] = self._load(text) or self._build(text)
        return self._cl.Kernel(program, name)

    def _load(self, text: str) -> Any:
        """From disk; None when it is not there, or the driver does not take it."""
        binary = self.cache.get(*self._key, text)
        if binary is None:
            return None
        try:
            program = self._cl._cl._Program(self._context, [self._device], [binary])
            program._build(" ".join(self._options).encode())  # cl.Program.build takes half as long again
            return program
        except self._cl.Error as e:  # a driver may refuse what an earlier one made
            log.info("a cached kernel is refused, and built again: %s", e)
            self.cache.damaged(*self._key, text)
            return None

    def _build(self, text: str) -> Any:
        """From source. What the compiler says goes to the log at debug level."""
        try:
            with quiet():
                # Not through cl.Program(context, text): that would put the text into a second cache, of pyopencl.
                program = self._cl.Program(self._cl._cl._Program(self._context, text))
                program.build(list(self._options))
        except self._cl.Error as e:
            raise KernelError(
                f"the OpenCL compiler refuses a kernel of ours: {e}", hint="please report it; HETERO_FALLBACK=allow"
            ) from e
        try:
            binary: bytes = program.get_info(self._cl.program_info.BINARIES)[0]
        except self._cl.Error as e:  # a driver that gives none: then it is built in every process
            log.info("the driver gives no binary: %s", e)
        else:
            self.cache.put(binary, *self._key, text)
        return program
