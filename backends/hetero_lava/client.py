"""The worker, seen from here: started when it is first needed, with a deadline on every call.

Inside Lava an exception of a model, or a process that dies, leaves everything else waiting. So the worker leads a group
of processes of its own; when a call fails or takes too long, the group is ended and the next call starts another.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from threading import RLock
from typing import IO

from hetero.errors import ConfigError, DeviceError
from hetero.op import Array
from hetero_lava.find import Interpreter, environment
from hetero_lava.worker.wire import Header, pack, unpack

FOLDER = Path(__file__).parent / "worker"
START = """
import importlib.util as util, sys
folder = sys.argv[1]
spec = util.spec_from_file_location("hetero_lava_worker", folder + "/__init__.py", submodule_search_locations=[folder])
sys.modules[spec.name] = package = util.module_from_spec(spec)
spec.loader.exec_module(package)
from hetero_lava_worker.main import main
main()
"""

DEADLINE_S = 120.0
LOOK_S = 0.1  # how often a wait looks whether the worker still lives
GRACE_S = 5.0  # for an orderly end, and for the helpers that give shared memory back
LINES = 15  # of the worker's standard error, in an error


class Client:
    """One worker, and its end."""

    def __init__(self, interpreter: Interpreter) -> None:
        self.interpreter = interpreter
        self.process: subprocess.Popen[bytes] | None = None
        self._link: socket.socket | None = None
        self._errors: IO[bytes] | None = None
        self._lock = RLock()
        self._owner = 0
        atexit.register(self.close)

    def call(self, header: Header, arrays: Mapping[str, Array], deadline_s: float) -> tuple[Header, dict[str, Array]]:
        """The worker's answer; a DeviceError when it fails, dies or does not come."""
        with self._lock:
            until = time.monotonic() + deadline_s
            try:
                link = self._open()
                self._send(link, pack(header, arrays), until)
                answer, made = unpack(lambda n: self._read(link, n, until))
            except _FailedError as e:
                raise self._failure(str(e), deadline_s) from None
            except (OSError, ValueError) as e:  # it ended while it was spoken to
                raise self._failure(f"lava's worker is gone: {e}", deadline_s) from e
            except BaseException:  # an interrupt in the middle of a message leaves the link unusable
                self.kill()
                raise
            if "error" in answer:
                raise self._failure(answer["error"], deadline_s, answer.get("trace", ""))
            return answer, made

    def close(self) -> None:
        """An orderly end: the worker stops its networks when the link closes."""
        with self._lock:
            process, link = self.process, self._link
            if process is None or self._owner != os.getpid():
                return
            if link is not None:
                link.close()
            with suppress(subprocess.TimeoutExpired):
                process.wait(GRACE_S)
            self.kill()

    def kill(self) -> None:
        """End the whole group. SIGTERM first: Python's resource trackers outlive it and give shared memory back."""
        process, link, errors = self.process, self._link, self._errors
        self.process = self._link = self._errors = None
        if link is not None:
            link.close()
        if errors is not None:
            errors.close()
        if process is None or self._owner != os.getpid():
            return
        _signal(process.pid, signal.SIGTERM)
        until = time.monotonic() + GRACE_S
        while _signal(process.pid, 0) and time.monotonic() < until:
            process.poll()
            time.sleep(0.02)
        _signal(process.pid, signal.SIGKILL)
        process.wait()

    def _open(self) -> socket.socket:
        if self._owner != os.getpid():  # after a fork the worker belongs to the parent
            self.process = self._link = self._errors = None
        if self.process is not None and self.process.poll() is not None:
            self.kill()
        if self._link is None:
            self._start()
        assert self._link is not None
        return self._link

    def _start(self) -> None:
        link, other = socket.socketpair()
        link.settimeout(LOOK_S)
        self._errors = tempfile.TemporaryFile()
        command = [self.interpreter.path, "-I", "-c", START, str(FOLDER), str(other.fileno())]
        with other:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=self._errors, stderr=self._errors, pass_fds=(other.fileno(),),
                start_new_session=True, cwd=FOLDER, env=environment(),
            )  # fmt: skip
        self._link, self._owner = link, os.getpid()

    def _send(self, link: socket.socket, message: bytes, until: float) -> None:
        view = memoryview(message)
        while view:
            try:
                view = view[link.send(view) :]
            except TimeoutError:
                self._look(until)

    def _read(self, link: socket.socket, n: int, until: float) -> bytes:
        parts: list[bytes] = []
        while n:
            try:
                part = link.recv(min(n, 1 << 20))
            except TimeoutError:
                self._look(until)
                continue
            if not part:
                raise _FailedError(f"lava's worker ended{self._code()}")
            parts.append(part)
            n -= len(part)
        return b"".join(parts)

    def _look(self, until: float) -> None:
        """Nothing came for a moment: is there anybody, and is there time?"""
        if self.process is None or self.process.poll() is not None:
            raise _FailedError(f"lava's worker ended{self._code()}")
        if time.monotonic() > until:
            raise _FailedError("lava gave no answer in time")

    def _code(self) -> str:
        with suppress(subprocess.TimeoutExpired):
            if self.process is not None:
                return f" with {self.process.wait(1)}"
        return ""

    def _failure(self, problem: str, deadline_s: float, trace: str = "") -> DeviceError:
        """The error that tells of it, with the last lines that the worker wrote; the group is ended."""
        said = trace.strip().splitlines() or self._last_lines()
        self.kill()
        lines = "".join(f"\n    {line}" for line in said[-LINES:])
        return DeviceError(
            f"{problem} (deadline {deadline_s:.0f} s){lines}",
            hint="the worker was ended, call again; HETERO_LAVA_DEADLINE_S gives more time",
        )

    def _last_lines(self) -> list[str]:
        if self._errors is None:
            return []
        self._errors.seek(0, os.SEEK_END)
        self._errors.seek(max(0, self._errors.tell() - 8192))
        return self._errors.read().decode(errors="replace").strip().splitlines()


class _FailedError(Exception):
    """The worker did not do it."""


def _signal(group: int, number: int) -> bool:
    """Whether somebody in the group was there to get it."""
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def deadline(steps: int, layers: int, weights: int) -> float:
    """Seconds for a call: HETERO_LAVA_DEADLINE_S, else 120 and twenty times what it takes on an idle machine."""
    text = os.environ.get("HETERO_LAVA_DEADLINE_S", "").strip()
    if not text:
        return DEADLINE_S + steps * (0.02 * layers + 1e-7 * weights)
    try:
        given = float(text)
    except ValueError:
        given = 0.0
    if not given > 0:
        raise ConfigError(f"HETERO_LAVA_DEADLINE_S is {text!r}", hint="set it to a number of seconds above 0")
    return given
