"""What can be made again, kept on disk between processes: compiled kernels, and what `auto` has measured.

A cache is a help, never a condition. An entry is written whole, carries its digest, and is taken only if that holds; a
folder that cannot be read or written is left alone, and one warning says why. Processes share the folder without locks:
each writes its own file and renames it. Beyond HETERO_CACHE_LIMIT bytes what was used longest ago goes.
"""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from threading import Lock

from hetero import config, counters
from hetero.files import write_whole

FORMAT = b"hetero-cache-1\n"
HEAD = len(FORMAT) + 32  # then the digest, then the data
DIGITS = 64  # of an entry's name; other files there, such as measured profiles, are not of a cache, and stay
KEPT_SHARE = 0.9  # of the limit stays when entries must go, so that not every write counts them all
RECENT_S = 3600.0  # seconds: an entry used since then need not be marked again


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a cache."""

    path: Path
    nbytes: int
    used: float  # seconds since the epoch


class Cache:
    """Entries of one kind, by key. `hits`, `misses` and `faults` are this process's, and events of `hetero.stats()`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.hits = self.misses = self.faults = 0
        self._folder: Path | None = config.cache_dir() / name
        self._written = -1  # bytes since the folder was last counted; -1: not yet
        self._lock = Lock()

    def get(self, *key: str) -> bytes | None:
        """The data kept under `key`; None when there is none, or when it is not what was written."""
        path = self._path(key)
        data = None if path is None else self._read(path)
        if data is None:
            self.misses += 1
            counters.count_event(f"{self.name} cache miss")
        else:
            self.hits += 1
            counters.count_event(f"{self.name} cache hit")
        return data

    def put(self, data: bytes, *key: str) -> None:
        """Keep `data` under `key`, in the place of what was there."""
        path = self._path(key)
        if path is None:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_whole(path, FORMAT + sha256(data).digest() + data)
            self._shrink(HEAD + len(data))
        except OSError as e:
            self._fault(e)

    def damaged(self, *key: str) -> None:
        """What was kept under `key` is no good: a driver refuses what an earlier one made. It is forgotten."""
        self.faults += 1
        counters.count_event(f"{self.name} cache fault")
        path = self._path(key)
        if path is not None:
            _remove(path)

    def _path(self, key: tuple[str, ...]) -> Path | None:
        if self._folder is None:
            return None
        digest = sha256("\0".join(key).encode()).hexdigest()
        return self._folder / digest[:2] / digest

    def _read(self, path: Path) -> bytes | None:
        try:
            raw = path.read_bytes()
            if raw[: len(FORMAT)] != FORMAT or sha256(raw[HEAD:]).digest() != raw[len(FORMAT) : HEAD]:
                self.faults += 1
                counters.count_event(f"{self.name} cache fault")
                _remove(path)
                return None
            if time.time() - path.stat().st_mtime > RECENT_S:
                os.utime(path)  # it was of use: others go first
        except FileNotFoundError:
            return None
        except OSError as e:
            self._fault(e)
            return None
        return raw[HEAD:]

    def _shrink(self, nbytes: int) -> None:
        """Make room, where the folder may hold more than it should."""
        limit = config.cache_limit()
        with self._lock:
            if self._written >= 0 and self._written + nbytes <= limit * (1 - KEPT_SHARE):
                self._written += nbytes
                return
            self._written = 0
        root = config.cache_dir()
        held = sorted((e for e in entries(root) if len(e.path.name) == DIGITS), key=lambda e: e.used)
        total = sum(e.nbytes for e in held)
        if total <= limit:
            return
        for entry in held:
            if total <= limit * KEPT_SHARE:
                break
            _remove(entry.path)
            total -= entry.nbytes

    def _fault(self, error: OSError) -> None:
        """Go on without the folder, and say so once."""
        self.faults += 1
        counters.count_event(f"{self.name} cache fault")
        if self._folder is not None:
            folder, self._folder = self._folder, None
            warnings.warn(
                f"nothing is kept in {folder}: {error} (set HETERO_CACHE_DIR to a folder that can be written)",
                RuntimeWarning,
                stacklevel=3,
            )


def kinds(root: Path) -> list[str]:
    """What a cache folder holds, by kind: the names of its folders."""
    try:
        return sorted(p.name for p in root.iterdir() if p.is_dir())
    except OSError:
        return []


def entries(folder: Path) -> Iterator[Entry]:
    """Every file below, however deep; one that goes meanwhile, or cannot be looked at, is left out."""
    for where, _, names in os.walk(folder):
        for name in names:
            path = Path(where) / name
            try:
                found = path.stat()
            except OSError:
                continue
            yield Entry(path, found.st_size, found.st_mtime)


def clear(root: Path, kind: str) -> tuple[int, int]:
    """Remove every entry of a kind: how many, and their bytes. What another process holds open stays with it."""
    gone = [e for e in entries(root / kind) if _remove(e.path)]
    return len(gone), sum(e.nbytes for e in gone)


def _remove(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:  # another process was quicker, or it may not be
        return False
    return True
