"""One open device: its driver, its pool of memory, and the errors that kernels report."""

from __future__ import annotations

from typing import Any

import numpy as np

from hetero.errors import AxisError, DeviceError
from hetero.op import Array, TensorType
from hetero_launch.driver import Driver, Style
from hetero_launch.held import Held
from hetero_launch.memory import Block, Pool


class Runtime:
    """What lowering and running need of a device."""

    def __init__(self, driver: Driver) -> None:
        self._driver = driver
        self.lock, self.failure = driver.lock, driver.failure
        self.held: Held | None = None  # launches that the driver has not been given yet
        self.pool = self.incoming = Pool(driver.allocate, driver.failure, driver.keep_bytes, address=driver.address)
        if driver.keep_incoming_bytes:
            self.incoming = Pool(
                driver.incoming, driver.failure, driver.keep_incoming_bytes, address=driver.address, idle=driver.idle
            )  # fmt: skip
            self.pool.share(self.incoming)
        self._flags: Block | None = None
        self._turns: Block | None = None
        self.labels: list[str] = []  # who may set the flag, by number

    @property
    def driver(self) -> Driver:
        """For commands of one's own: what was held back is handed over before, so that all run in order."""
        if self.held is not None:
            self.hand_over()
        return self._driver

    def hand_over(self) -> None:
        """Give the driver the launches that were held back."""
        with self.lock:
            held, self.held = self.held, None
            if held is not None:
                try:
                    held.hand_over()
                except self.failure as e:
                    raise self.failed(e) from e

    @property
    def style(self) -> Style:
        return self._driver.style

    def upload(self, array: Array) -> Block:
        """A block with a copy of `array`."""
        with self.lock:  # before the pool's own: whoever runs a graph holds them in this order
            block = self.incoming.take(array.nbytes)
        if array.nbytes:
            self._guarded(self.driver.write, block.mem, np.ascontiguousarray(array))
        return block

    def download(self, block: Block, type: TensorType) -> Array:
        """The value as an array of its own; waits."""
        out = np.empty(type.known, type.dtype)  # pyright: ignore[reportArgumentType, reportCallIssue]
        if out.nbytes:
            self._guarded(self.driver.read, out.reshape(-1).view(np.uint8), block.mem)
        self.check_flags()
        return out

    def finish(self) -> None:
        self._guarded(self.driver.finish)
        self.check_flags()

    @property
    def turns(self) -> Block:
        """Two int32, zero whenever no kernel runs: groups of one count by them which work is taken."""
        if self._turns is None:
            self._turns = self.upload(np.zeros(2, np.int32))
        return self._turns

    # -- errors that kernels report -------------------------------------------------------------------------

    @property
    def flags(self) -> Block:
        """Two int32 that a kernel sets when it meets an index outside: its number, and the index."""
        if self._flags is None:
            self._flags = self.upload(np.zeros(2, np.int32))
        return self._flags

    def flag_number(self, label: str) -> int:
        """The number under which kernels of `label` report; 0 means nothing is wrong."""
        self.labels.append(label)
        return len(self.labels)

    def check_flags(self) -> None:
        """Raise what a kernel reported since the last look. Nothing is read unless a kernel can report."""
        if self._flags is None:
            return
        found = np.zeros(2, np.int32)
        self._guarded(self.driver.read, found, self._flags.mem)
        if found[0]:
            self._guarded(self.driver.write, self._flags.mem, np.zeros(2, np.int32))
            raise AxisError(
                f"{self.labels[found[0] - 1]}: index {found[1]} is outside the axis",
                hint="indices run from -n to n - 1 for an axis of size n",
            )

    def failed(self, error: Exception) -> DeviceError:
        """What the vendor's library raised, as an error of ours."""
        return DeviceError(f"{self._driver.name} failed: {error}", hint="hetero doctor")

    def _guarded(self, call: Any, *args: Any) -> Any:
        try:
            return call(*args)
        except self.failure as e:
            raise self.failed(e) from e
