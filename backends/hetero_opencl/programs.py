"""Compiled programs: each text is built once on a machine. What the driver made of it lies in a folder on disk.

The folder is a help, never a condition: when it cannot be read or written, programs are built anew and one warning
says why.
"""

from __future__ import annotations

import logging
import os
import warnings
from hashlib import sha256
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import RLock
from typing import Any

from hetero.errors import DeviceError
from hetero_launch.folders import FOLDER, cache_folder

FORMAT = b"hetero-opencl-1\n"
log = logging.getLogger("hetero.opencl")


class Programs:
    """The programs of one device."""

    def __init__(self, cl: Any, context: Any, device: Any, identity: str, options: tuple[str, ...]) -> None:
        self._cl, self._context, self._device = cl, context, device
        self._identity, self._options = identity, options
        self._built: dict[str, Any] = {}
        self._lock = RLock()
        self._folder: Path | None = cache_folder() / "opencl"
        self.hits = self.misses = self.faults = 0

    def kernel(self, text: str, name: str) -> Any:
        """A kernel object of its own, whose arguments nobody else sets."""
        with self._lock:
            program = self._built.get(text)
            if program is None:
                program = self._built[text] = self._load(text) or self._build(text)
        return self._cl.Kernel(program, name)

    def _path(self, text: str) -> Path | None:
        if self._folder is None:
            return None
        key = sha256("\0".join([self._identity, *self._options, text]).encode()).hexdigest()
        return self._folder / key[:2] / key

    def _load(self, text: str) -> Any:
        """From disk; None when it is not there, or is not what it should be."""
        path = self._path(text)
        if path is None:
            return None
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as e:
            return self._fault(e)
        binary = data[len(FORMAT) + 32 :]
        if not data.startswith(FORMAT) or sha256(binary).digest() != data[len(FORMAT) : len(FORMAT) + 32]:
            log.info("damaged cache entry %s is built again", path)
            self.faults += 1
            return None
        try:
            program = self._cl.Program(self._context, [self._device], [binary]).build(list(self._options))
        except self._cl.Error as e:  # a driver may refuse what an earlier one made
            log.info("cache entry %s is refused: %s", path, e)
            self.faults += 1
            return None
        self.hits += 1
        return program

    def _build(self, text: str) -> Any:
        """From source. What the compiler says goes to the log at debug level."""
        self.misses += 1
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # pyopencl warns of any compiler output
                # Not through cl.Program(context, text): that would put the text into a second cache, of pyopencl.
                program = self._cl.Program(self._cl._cl._Program(self._context, text))
                program.build(list(self._options))
        except self._cl.Error as e:
            raise DeviceError(f"the OpenCL compiler refuses a kernel of ours: {e}", hint="please report it") from e
        self._keep(text, program)
        return program

    def _keep(self, text: str, program: Any) -> None:
        """To disk: whole or not at all."""
        path = self._path(text)
        if path is None:
            return
        temporary = ""
        try:
            binary: bytes = program.get_info(self._cl.program_info.BINARIES)[0]
            path.parent.mkdir(parents=True, exist_ok=True)
            with NamedTemporaryFile(dir=path.parent, delete=False) as file:
                temporary = file.name
                file.write(FORMAT + sha256(binary).digest() + binary)
            os.replace(temporary, path)
        except (OSError, self._cl.Error) as e:
            if temporary:
                Path(temporary).unlink(missing_ok=True)
            self._fault(e)

    def _fault(self, error: Exception) -> None:
        """Go on without the folder, and say so once."""
        self.faults += 1
        if self._folder is not None:
            folder, self._folder = self._folder, None
            warnings.warn(
                f"compiled kernels are not kept: {folder}: {error} (set {FOLDER} to a folder that can be written)",
                RuntimeWarning,
                stacklevel=2,
            )
