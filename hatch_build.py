"""Builds the scheduler's compiled kernels when hetero is installed and there is a C compiler; without one it is pure.

`python hatch_build.py` builds them in place, in a checkout. CC names the compiler.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path
from typing import Any

try:
    from hatchling.builders.hooks.plugin.interface import BuildHookInterface
except ImportError:  # run by hand, where hatchling need not be
    BuildHookInterface = object  # type: ignore[assignment,misc]

FOLDER = Path("hetero/scheduler/native")
LIBRARY = {"win32": "kernels.dll", "darwin": "kernels.dylib"}.get(sys.platform, "kernels.so")
FLAGS = ("-std=c11", "-O3", "-ffp-contract=off", "-fvisibility=hidden", "-fPIC", "-shared")


def build(root: Path) -> tuple[Path | None, str]:
    """The library and what was done, or None and why not."""
    sources, target = sorted((root / FOLDER).glob("*.c")), root / FOLDER / LIBRARY
    target.unlink(missing_ok=True)
    compilers = [os.environ["CC"]] if os.environ.get("CC") else ["cc", "gcc", "clang"]
    found = [c for c in compilers if shutil.which(c.split()[0])]
    if not found:
        return None, f"no C compiler ({', '.join(compilers)}): the scheduler runs in pure Python"
    made_from = hashlib.sha256(b"".join(s.read_bytes() for s in sources)).hexdigest()[:16]
    command = [*found[0].split(), *FLAGS, f'-DSOURCE="{made_from}"', "-o", str(target), *map(str, sources)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        target.unlink(missing_ok=True)
        return None, f"{' '.join(command)} failed: the scheduler runs in pure Python\n{done.stderr}"
    return target, " ".join(command)


class KernelBuildHook(BuildHookInterface):  # pyright: ignore[reportGeneralTypeIssues, reportUntypedBaseClass]
    """hatchling's hook: runs for wheels and editable installs; the sdist carries the source alone."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if self.target_name != "wheel":
            return
        library, said = build(Path(self.root))
        self.app.display_info(said)
        if library is None:
            return
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-{platform_tag()}"
        build_data["artifacts"].append(f"/{FOLDER.as_posix()}/{LIBRARY}")


def platform_tag() -> str:
    """Of wheels with compiled code for this machine, which no Python's ABI concerns."""
    return sysconfig.get_platform().replace("-", "_").replace(".", "_")


if __name__ == "__main__":
    library, said = build(Path(__file__).parent)
    print(said)
    sys.exit(library is None)
