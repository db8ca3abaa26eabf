"""Lava in this very process, for looking into a network with a debugger: HETERO_LAVA_INPROCESS=1, on Python 3.10.

There is no deadline: an exception inside a model of Lava waits for ever, and the first use makes `fork` the start
method of multiprocessing. That is why the worker is used otherwise, on Python 3.10 too.
"""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Mapping
from threading import RLock
from typing import Any

from hetero.errors import ConfigError, DeviceError
from hetero.op import Array


def in_process() -> bool:
    """Whether HETERO_LAVA_INPROCESS asks for it; a ConfigError where this Python cannot do it."""
    text = os.environ.get("HETERO_LAVA_INPROCESS", "").strip() or "0"
    if text not in ("0", "1"):
        raise ConfigError(f"HETERO_LAVA_INPROCESS is {text!r}", hint="set it to 0 or 1")
    if text == "1" and sys.version_info[:2] != (3, 10):
        said = ".".join(map(str, sys.version_info[:2]))
        raise ConfigError(f"HETERO_LAVA_INPROCESS=1 on Python {said}, and Lava wants 3.10", hint="leave it unset")
    return text == "1"


class InProcess:
    """The worker's answers, without the worker."""

    def __init__(self) -> None:
        from hetero_lava.worker.main import Worker

        self._worker = Worker()
        self._lock = RLock()
        atexit.register(self.close)

    def call(
        self, header: dict[str, Any], arrays: Mapping[str, Array], deadline_s: float
    ) -> tuple[dict[str, Any], dict[str, Array]]:
        with self._lock:
            try:
                answer, made = self._worker.answer(header, dict(arrays))
            except Exception as e:  # whatever Lava raises
                raise DeviceError(f"lava failed: {type(e).__name__}: {e}", hint="see the cause above") from e
            return answer, {k: a.copy() for k, a in made.items()}

    def close(self) -> None:
        self._worker.stop()
