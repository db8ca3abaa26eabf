"""Settings from the environment, read when they are first needed and checked when they are read."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from hetero.errors import ConfigError

if TYPE_CHECKING:
    from pathlib import Path

FALLBACKS = ("error", "warn", "allow")
CACHE_DIR = "HETERO_CACHE_DIR"


def backend() -> list[str]:
    """HETERO_BACKEND: devices in order of preference, `numpy` when unset."""
    text = os.environ.get("HETERO_BACKEND", "").strip() or "numpy"
    return [name.strip() for name in text.split(",") if name.strip()]


def fallback() -> str:
    """HETERO_FALLBACK: what happens to an op that the device cannot run; `error` when unset."""
    text = os.environ.get("HETERO_FALLBACK", "").strip() or "error"
    if text not in FALLBACKS:
        raise ConfigError(f"HETERO_FALLBACK is {text!r}", hint=f"set it to one of {', '.join(FALLBACKS)}")
    return text


def native() -> bool:
    """HETERO_NATIVE: 0 leaves the scheduler's compiled kernels unused; they are used when unset and built."""
    text = os.environ.get("HETERO_NATIVE", "").strip() or "1"
    if text not in ("0", "1"):
        raise ConfigError(f"HETERO_NATIVE is {text!r}", hint="set it to 0 or 1")
    return text == "1"


def cache_dir() -> Path:
    """HETERO_CACHE_DIR, else the platform's place for caches. It may not exist, nor be writable."""
    from pathlib import Path

    told = os.environ.get(CACHE_DIR, "").strip()
    if told:
        return Path(told)
    base = os.environ.get("XDG_CACHE_HOME", "").strip() or os.environ.get("LOCALAPPDATA", "").strip()
    return (Path(base) if base else Path(os.path.expanduser("~")) / ".cache") / "hetero"


_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


def cache_limit() -> int:
    """HETERO_CACHE_LIMIT: bytes that the cache folder may hold, 1G when unset; 500M and 64K are understood."""
    text = os.environ.get("HETERO_CACHE_LIMIT", "").strip().upper() or "1G"
    number, unit = (text[:-1], text[-1]) if text[-1] in _UNITS else (text, "")
    if not number.isdigit():
        raise ConfigError(f"HETERO_CACHE_LIMIT is {text!r}", hint="bytes, or a number with K, M or G: 500M")
    return int(number) * _UNITS[unit]
