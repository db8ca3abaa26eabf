"""`hetero cache`: what is kept on disk, and how to be rid of it."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer
from rich.table import Table

from hetero import cache as kept
from hetero import config
from hetero.cli.common import Json, bytes_text, console, print_json
from hetero.errors import ConfigError

WHAT = {
    "auto": "how long graphs take on each device",
    "cupy": "kernels compiled for CUDA",
    "opencl": "kernels compiled for OpenCL devices",
    "pocl": "PoCL's own",
    "profiles": "measured profiles",
}
STAYS = ("profiles",)  # measured at some cost, and meant to be kept: cleared by name only


def cache(
    clear: Annotated[str | None, typer.Option(metavar="KIND|all", help="Remove the entries of a kind.")] = None,
    json: Json = False,
) -> None:
    """Show what hetero keeps on disk, or clear it. Everything there can be made again.

    The folder is HETERO_CACHE_DIR; beyond HETERO_CACHE_LIMIT (1G when unset) what was used longest ago goes.

    Example: hetero cache --clear opencl
    """
    root, kinds = config.cache_dir(), kept.kinds(config.cache_dir())
    if clear is not None:
        _clear(clear, kinds, json)
        return
    rows = [_row(kind) for kind in kinds]
    if json:
        print_json({"folder": str(root), "limit_bytes": config.cache_limit(), "kinds": rows})
        return
    table = Table("kind", "entries", "size", "last used", "what it is", box=None, pad_edge=False)
    for r in rows:
        used = time.strftime("%Y-%m-%d %H:%M", time.localtime(r["last_used"])) if r["last_used"] else ""
        table.add_row(r["kind"], str(r["entries"]), bytes_text(r["bytes"]), used, WHAT.get(r["kind"], ""))
    console().print(table if rows else "nothing is kept yet")
    held = bytes_text(sum(r["bytes"] for r in rows))
    console().print(f"\n{root}: {held} of {bytes_text(config.cache_limit())}", soft_wrap=True)


def _row(kind: str) -> dict[str, Any]:
    held = list(kept.entries(config.cache_dir() / kind))
    last = max((e.used for e in held), default=0.0)
    return {"kind": kind, "entries": len(held), "bytes": sum(e.nbytes for e in held), "last_used": last}


def _clear(asked: str, kinds: list[str], json: bool) -> None:
    chosen = [k for k in kinds if k not in STAYS] if asked == "all" else [asked]
    if asked != "all" and asked not in kinds:
        raise ConfigError(f"nothing of the kind {asked!r} is kept", hint=f"one of {', '.join([*kinds, 'all'])}")
    gone = {kind: kept.clear(config.cache_dir(), kind) for kind in chosen}
    if json:
        print_json({k: {"entries": n, "bytes": b} for k, (n, b) in gone.items()})
        return
    for kind, (entries, nbytes) in gone.items():
        console().print(f"{kind}: {entries} entries removed, {bytes_text(nbytes)}")
