"""Makes docs/demo.svg: what `hetero demo` prints, as a picture. Run it from the repository's root."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from hetero.cli import demo as command

recorder = Console(record=True, width=128, highlight=False, force_terminal=True)


def main() -> None:
    command.console = lambda: recorder
    command.track = lambda names, *_, **__: names  # a progress bar is gone when the command has ended
    recorder.print("$ hetero demo", style="bold")
    command.demo(None, json=False)
    Path("docs/demo.svg").write_text(recorder.export_svg(title="hetero demo"), "utf-8")


if __name__ == "__main__":
    main()
