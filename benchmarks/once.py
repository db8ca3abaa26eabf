"""Every benchmark once, in one process, so that none rots: `python -m benchmarks.once`, or with parts of names.

asv gives each method and each parameter a process and a setup of its own, which is right for figures, and ten minutes
where none is wanted. A benchmark whose setup says NotImplementedError, asv's word for it, is left out and named.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import Any

from benchmarks.ratio import MOST

KINDS = ("time_", "track_", "peakmem_")


def classes(only: list[str]) -> Iterator[tuple[str, type[Any]]]:
    """Classes of asv benchmarks by name, as asv finds them."""
    for path in sorted(Path(__file__).parent.glob("*.py")):
        module = import_module(f"benchmarks.{path.stem}")
        for name, found in vars(module).items():
            own = isinstance(found, type) and found.__module__ == module.__name__ and not name.startswith("_")
            if own and any(m.startswith(KINDS) for m in dir(found)):
                label = f"{path.stem}.{name}"
                if not only or any(part in label for part in only):
                    yield label, found


def run(label: str, found: type[Any]) -> tuple[int, list[str]]:
    """How many methods ran, and which parameters were left out."""
    params = getattr(found, "params", ())
    axes = params if params and isinstance(params[0], (list, tuple)) else [params] if params else []
    ran, left_out = 0, list[str]()
    for values in product(*axes):
        it, named = found(), f"{label}{list(values)}"
        try:
            getattr(it, "setup", lambda *_: None)(*values)
        except NotImplementedError as e:
            left_out.append(f"{named}: {e}")
            continue
        for method in (m for m in dir(it) if m.startswith(KINDS)):
            getattr(it, method)(*values)
            ran += 1
        getattr(it, "teardown", lambda *_: None)(*values)
    return ran, left_out


def main() -> None:
    os.environ.setdefault(MOST, "1")
    total = 0
    for label, found in classes(sys.argv[1:]):
        start = time.perf_counter()
        ran, left_out = run(label, found)
        total += ran
        print(
            f"{label}: {ran} ran in {time.perf_counter() - start:.0f} s", *left_out, sep="\n    left out: ", flush=True
        )
    if not total:
        raise SystemExit("no benchmark ran")
    print(f"{total} benchmarks ran")


if __name__ == "__main__":
    main()
