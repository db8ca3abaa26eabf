"""Makes the README's pictures of a terminal. Run it from the repository's root.

python docs/picture.py         docs/demo.svg and docs/plan.svg
python docs/picture.py plan    one of them
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
from rich.console import Console

from hetero.cli import demo as command

LIGHT = Path(onnx.__file__).parent / "backend" / "test" / "data" / "light"
PLAN = "hetero plan light_bvlc_alexnet.onnx --topology robot | grep -vE 'broadcast_to|permute|reshape|note'"


def recorder(width: int) -> Console:
    return Console(record=True, width=width, highlight=False, force_terminal=True)


def demo() -> Console:
    """What `hetero demo` prints."""
    out = recorder(128)
    command.console = lambda: out
    command.track = lambda names, *_, **__: names  # a progress bar is gone when the command has ended
    out.print("$ hetero demo", style="bold")
    command.demo(None, json=False)
    return out


def plan() -> Console:
    """What the README's `hetero plan` prints, in the folder of ONNX's light networks; as wide as its longest line."""
    done = subprocess.run(["bash", "-ec", f"set -o pipefail; {PLAN}"], cwd=LIGHT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(done.stderr)
    printed = done.stdout.strip()
    out = recorder(max(map(len, printed.splitlines())))
    out.print(f"$ {PLAN}", style="bold")
    out.print(printed, markup=False)
    out.print()  # the last line's underscores would be clipped
    return out


PICTURES = {"demo": demo, "plan": plan}


def main() -> None:
    for name in sys.argv[1:] or PICTURES:
        Path(f"docs/{name}.svg").write_text(PICTURES[name]().export_svg(title=f"hetero {name}"), "utf-8")


if __name__ == "__main__":
    main()
