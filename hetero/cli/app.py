"""All commands in one typer app."""

from __future__ import annotations

from importlib.metadata import version

import typer

from hetero.cli.cache import cache
from hetero.cli.calibrate import calibrate
from hetero.cli.convert import convert
from hetero.cli.demo import demo
from hetero.cli.devices import devices
from hetero.cli.diff import diff
from hetero.cli.doctor import doctor
from hetero.cli.graph import graph
from hetero.cli.map import map
from hetero.cli.plan import plan
from hetero.cli.profiles import profiles
from hetero.cli.run import run
from hetero.cli.tune import tune
from hetero.cli.verify import verify

app = typer.Typer(
    name="hetero",
    help="One tensor graph on every accelerator: import, inspect, plan, run and compare models.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
for command in (
    cache, calibrate, convert, demo, devices, diff, doctor, graph, map, plan, profiles, run, tune, verify,
):  # fmt: skip
    app.command()(command)


def _version(asked: bool) -> None:
    if asked:
        print(version("hetero"))
        raise typer.Exit


@app.callback()
def _root(  # pyright: ignore[reportUnusedFunction]
    show_version: bool = typer.Option(False, "--version", callback=_version, is_eager=True, help="Print the version."),
) -> None:
    pass
