# pyright: reportMissingImports=false
"""The worker: takes requests from a socket until it closes. One request at a time, each with an answer.

hello -> versions;  run: `net` (a number), `spec` where the worker does not know that net, arrays -> traces;
{"missing": true} asks for the spec. A network that is asked for again is run again, without being built.
"""

from __future__ import annotations

import os
import platform
import signal
import socket
import sys
import threading
import traceback
from collections import OrderedDict
from contextlib import suppress
from importlib.metadata import version

import numpy as np

from .nets import Net, hardware
from .wire import Arrays, Header, pack, unpack

LIVE = 4  # networks kept with their processes
LOOK_S = 0.2  # how often the watch looks whether a model has died


class Worker:
    """The networks that are here, and the watch over the one that runs."""

    def __init__(self) -> None:
        self.nets: OrderedDict[int, Net] = OrderedDict()
        self.running: Net | None = None

    def answer(self, header: Header, arrays: Arrays) -> tuple[Header, Arrays]:
        if header["do"] == "hello":
            return {
                "python": platform.python_version(), "lava": version("lava-nc"), "numpy": np.__version__,
                "hardware": hardware(),
            }, {}  # fmt: skip
        number: int = header["net"]
        if number not in self.nets:
            if header.get("spec") is None:
                return {"missing": True}, {}
            while len(self.nets) >= LIVE:
                self.nets.popitem(last=False)[1].stop()
            self.nets[number] = Net(header["spec"], arrays)
        self.nets.move_to_end(number)
        self.running = self.nets[number]
        made = self.running.run(arrays)
        self.running = None  # where it failed, `fault` still asks its models why
        return {}, made

    def fault(self) -> str:
        """What went wrong inside a model of the network that runs: Lava itself would wait for ever."""
        net = self.running
        for actor in net.actors() if net is not None else ():
            if actor.exception:
                return str(actor.exception[1])
            with suppress(ValueError):  # closed, after it was joined
                if actor.exitcode:
                    return f"{actor.name} ended with {actor.exitcode}"
        return ""

    def stop(self) -> None:
        while self.nets:
            self.nets.popitem()[1].stop()


def main() -> None:
    """`main.py FD`: the socket's number. Whatever Lava prints goes to standard error."""
    link = socket.socket(fileno=int(sys.argv[-1]))
    worker, lock = Worker(), threading.Lock()
    threading.Thread(target=_watch, args=(worker, link, lock, os.getppid()), daemon=True).start()
    while True:
        try:
            header, arrays = unpack(lambda n: _read(link, n))
        except EOFError:
            break
        try:
            reply = pack(*worker.answer(header, arrays))
        except Exception as e:
            trace = worker.fault() or traceback.format_exc()
            reply = pack({"error": f"{type(e).__name__}: {e}", "trace": trace}, {})
        with lock:
            link.sendall(reply)
    worker.stop()


def _watch(worker: Worker, link: socket.socket, lock: threading.Lock, parent: int) -> None:
    """Tell of a model that has died; end everything when the parent has."""
    pause = threading.Event()
    while not pause.wait(LOOK_S):
        if os.getppid() != parent:
            os.killpg(0, signal.SIGTERM)
        said = worker.fault()
        if said:
            with lock:
                link.sendall(pack({"error": "a Lava model failed", "trace": said}, {}))
                pause.wait()  # the parent kills this group


def _read(link: socket.socket, n: int) -> bytes:
    parts: list[bytes] = []
    while n:
        part = link.recv(min(n, 1 << 20))
        if not part:
            raise EOFError
        parts.append(part)
        n -= len(part)
    return b"".join(parts)
