"""Which Python has Lava. It wants 3.10, so mostly another one than runs this.

HETERO_LAVA_PYTHON names it; otherwise these are asked, in order: this Python if it is a 3.10, ./.venv-lava, python3.10
on the path, pyenv's 3.10s. Asking takes 0.1 s and imports nothing of Lava.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from hetero.errors import BackendError

FIX = (
    "uv venv -p 3.10 .venv-lava && uv pip install -p .venv-lava lava-nc==0.10.0, "
    "then HETERO_LAVA_PYTHON=$PWD/.venv-lava/bin/python"
)
VERSION = "0.10.0"  # whose models were read and compared
ASK_S = 30.0

_QUESTION = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
try: lava = version("lava-nc")
except PackageNotFoundError: lava = ""
print(json.dumps(["%d.%d.%d" % sys.version_info[:3], lava]))
"""


@dataclass(frozen=True, slots=True)
class Interpreter:
    """A Python 3.10 with Lava."""

    path: str
    python: str
    lava: str


def find() -> Interpreter:
    """The first that has Lava; a BackendError that says what was asked, and what to do."""
    return _find(os.environ.get("HETERO_LAVA_PYTHON", "").strip(), os.getcwd())


@cache
def _find(named: str, folder: str) -> Interpreter:
    said: list[str] = []
    for path in [shutil.which(named) or named] if named else dict.fromkeys(_places(Path(folder))):
        try:
            return _ask(path)
        except (OSError, ValueError, subprocess.SubprocessError) as e:
            said.append(f"{path}: {e}")
    if named:
        raise BackendError(f"HETERO_LAVA_PYTHON is no Python 3.10 with lava-nc: {said[0]}", hint=FIX)
    raise BackendError("no Python 3.10 with lava-nc" + f" ({'; '.join(said)})" * bool(said), hint=FIX)


def _places(folder: Path) -> Iterator[str]:
    if sys.version_info[:2] == (3, 10):
        yield sys.executable
    for path in (folder / ".venv-lava/bin/python", Path(shutil.which("python3.10") or "")):
        if path.is_file():
            yield str(path)
    versions = Path(os.environ.get("PYENV_ROOT") or Path(os.path.expanduser("~")) / ".pyenv") / "versions"
    yield from (str(p) for p in sorted(versions.glob("3.10*/bin/python"), reverse=True))


def _ask(path: str) -> Interpreter:
    """Its versions; a ValueError for one that Lava does not run on."""
    command = [path, "-I", "-c", _QUESTION]
    asked = subprocess.run(command, capture_output=True, text=True, timeout=ASK_S, env=environment(), check=False)
    if asked.returncode:
        said = asked.stderr.strip().splitlines() or [""]
        raise ValueError(f"it ends with {asked.returncode}: {said[0][:120]}")
    python, lava = json.loads(asked.stdout)
    if not python.startswith("3.10."):
        raise ValueError(f"it is Python {python}, and Lava wants 3.10")
    if not lava:
        raise ValueError(f"Python {python} without lava-nc")
    return Interpreter(os.path.abspath(path), python, lava)  # not resolved: a venv is found by its link


def environment() -> dict[str, str]:
    """This process's, without what would send another Python to the packages of this one."""
    return {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "PYTHONSTARTUP")}
