"""`hetero tune`: every local device tried on a model, so that `auto` knows the quickest."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from hetero.auto import Auto, Tuned
from hetero.auto import tune as tune_graph
from hetero.cli.common import (
    Inputs,
    Json,
    Model,
    Seed,
    Sizes,
    console,
    gather_inputs,
    load_model,
    print_json,
    seconds_text,
)


def tune(
    model: Model,
    input: Inputs = None,
    random: Seed = None,
    size: Sizes = None,
    seconds: Annotated[float, typer.Option(help="At most that long.", min=0.001)] = 30.0,
    json: Json = False,
) -> None:
    """Run a model on every local device, several times each, and remember which is the quickest.

    HETERO_BACKEND=auto then takes it from the first run on, for models of the same form and sizes, on the same devices
    and versions. Without this it finds out by itself, over more runs. `hetero cache` shows and clears what is known.

    Example: hetero tune model.onnx --random 0
    """
    graph = load_model(model)
    feed = gather_inputs(graph, input, random, size)
    columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=json) as progress:
        task = progress.add_task("compiling")

        def told(auto: Auto) -> None:
            runs = ", ".join(f"{c.name} {'out' if c.refused else len(c.seconds)}" for c in auto.candidates)
            progress.update(task, description=f"runs: {runs}")

        found = tune_graph(graph, feed, seconds=seconds, told=told)
    if json:
        print_json([_row(t) for t in found])
        return
    for tuned in found:
        console().print(_table(tuned))
        if not tuned.settled:
            console().print("the time was over before every device had its runs: --seconds 120 gives more")


def _row(tuned: Tuned) -> dict[str, object]:
    trials = [
        {"device": t.name, "seconds": None if t.seconds == float("inf") else t.seconds, "refused": t.refused}
        for t in tuned.trials
    ]
    return {"graph": tuned.graph, "chosen": tuned.chosen, "settled": tuned.settled, "trials": trials,
            "seconds_status": "measured"}  # fmt: skip


def _table(tuned: Tuned) -> Table:
    table = Table(tuned.graph, "best run, measured", "", box=None, pad_edge=False)
    for t in sorted(tuned.trials, key=lambda t: (bool(t.refused), t.seconds)):
        time = "" if t.seconds == float("inf") else seconds_text(t.seconds)
        table.add_row(t.name, time, "auto takes it" if t.name == tuned.chosen else t.refused)
    return table
