"""`hetero doctor`: what is here, what is missing, and the command that fixes it."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rich.markup import escape
from rich.table import Table

from hetero import config, registry
from hetero.cli.common import Json, console, print_json
from hetero.errors import BackendError, HeteroError
from hetero.profile.store import profiles, user_dir
from hetero.select import current_device

EXTRAS = {"onnx": "pip install 'hetero[onnx]'", "onnxruntime": "pip install 'hetero[demo]'",
          "magika": "pip install 'hetero[demo]'", "ortools": "pip install 'hetero[exact]'",
          "ml_dtypes": "pip install ml_dtypes"}  # fmt: skip


def doctor(json: Json = False) -> None:
    """Check each backend: found, version, what is missing, and the command that fixes it.

    Example: hetero doctor --json
    """
    report: dict[str, Any] = {
        "python": platform.python_version(),
        "hetero": _version("hetero"),
        "numpy": _version("numpy"),
        "executable": sys.executable,
        "cache_dir": str(config.cache_dir()),
        "in_use": _in_use(),
        "backends": {name: _backend(name) for name in registry.available()},
        "scheduler": _scheduler(),
        "calibrated": [name for name in profiles() if (user_dir() / f"{name}.toml").is_file()],
        "packages": {name: _version(name) or f"not installed; {fix}" for name, fix in EXTRAS.items()},
    }
    if json:
        print_json(report)
        return
    _show(report)


def _scheduler() -> str:
    """Which code runs the scheduler's inner loops."""
    from hetero.scheduler import native

    return native.status()


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""


def _in_use() -> str:
    try:
        return str(current_device())
    except HeteroError as e:
        return f"none: {e.problem}"


def _backend(name: str) -> dict[str, Any]:
    try:
        found = registry.probe(name)
    except BackendError as e:
        return {"found": False, "version": "", "devices": [], "reason": e.problem, "fix": e.hint, "warnings": []}
    return {
        "found": bool(found.devices),
        "version": found.version,
        "devices": [
            {"name": d.name, "description": d.description, "memory_bytes": d.memory_bytes} for d in found.devices
        ],
        "reason": found.reason,
        "fix": found.fix,
        "warnings": list(found.warnings),
    }


def _show(report: dict[str, Any]) -> None:
    out = console()
    out.print(f"hetero {report['hetero']}, Python {report['python']}, NumPy {report['numpy']}")
    out.print(f"device in use: {report['in_use']}; cache: {report['cache_dir']}\n")
    table = Table("backend", "found", "version", "devices, or what to do", box=None, pad_edge=False)
    for name, b in report["backends"].items():
        said = [f"{d['name']}  {d['description']}" for d in b["devices"]]
        said += [b["reason"]] * bool(b["reason"]) + [f"try: {b['fix']}"] * bool(b["fix"])
        said += [f"note: {w}" for w in b["warnings"]]
        table.add_row(name, "yes" if b["found"] else "[red]no[/red]", b["version"], escape("\n".join(said)))
    out.print(table)
    out.print()
    out.print(f"scheduler    {report['scheduler']}")
    out.print(f"calibrated   {', '.join(report['calibrated']) or 'no device yet; try: hetero calibrate'}")
    for name, found in report["packages"].items():
        out.print(f"{name:12} {found}", markup=False)  # hetero[exact] is no markup
