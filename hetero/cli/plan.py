"""`hetero plan`: where each op of a model should run, and why."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from hetero.cli.common import Dt, Json, Rule, Sizes, console, load_model, parse_sizes, print_json
from hetero.errors import PlanError

if TYPE_CHECKING:
    from hetero.graph.ir import Graph
    from hetero.scheduler.plan import Plan
    from hetero.scheduler.validate import Crossing

TIMES = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "min": 60.0}

TopologyOption = Annotated[
    str | None, typer.Option("--topology", metavar="NAME|FILE.toml", help="Nodes and links (hetero profiles)")
]  # fmt: skip
Pins = Annotated[
    list[str] | None, typer.Option("--pin", metavar="OP=NODE", help="An op's node; may stand more than once.")
]
Private = Annotated[
    list[str] | None,
    typer.Option("--private", metavar="NAME[=NODE,..]", help="An input or op that stays on its tier, or these nodes."),
]  # fmt: skip
Starts = Annotated[list[str] | None, typer.Option("--at", metavar="INPUT=NODE", help="Where an input starts.")]
Arrives = Annotated[list[str] | None, typer.Option("--to", metavar="OUTPUT=NODE", help="Where an output must arrive.")]
Budget = Annotated[float, typer.Option(min=0.0, help="Seconds of search.")]


def plan(
    model: Annotated[
        Path | None, typer.Argument(help="An .onnx model, or a graph that graph.save wrote.", metavar="MODEL")
    ] = None,
    topology: TopologyOption = None,
    objective: Annotated[
        str, typer.Option(help="latency, serial, throughput, energy, cost, or weights: latency=1,energy=0.5")
    ] = "latency",
    deadline: Annotated[str | None, typer.Option(help="Longest makespan: 20ms, 0.5s.", metavar="TIME")] = None,
    peak_power: Annotated[float | None, typer.Option(help="Most watts at any time.", metavar="W")] = None,
    average_power: Annotated[float | None, typer.Option(help="Most watts on average.", metavar="W")] = None,
    private: Private = None,
    pin: Pins = None,
    at: Starts = None,
    to: Arrives = None,
    size: Sizes = None,
    dt: Dt = None,
    rule: Rule = None,
    activity: Annotated[
        list[str] | None,
        typer.Option(metavar="SHARE or NAME=SHARE", help="Of spiking networks: the share of neurons that spike."),
    ] = None,
    tasks: Annotated[
        Path | None, typer.Option(help="Plan a task graph in JSON instead of a model.", metavar="FILE.json")
    ] = None,
    budget: Budget = 1.0,
    seed: Annotated[int, typer.Option(help="The same seed gives the same plan.")] = 0,
    explain: Annotated[list[str] | None, typer.Option(help="Show an op's alternatives and their price.")] = None,
    sensitivity: Annotated[bool, typer.Option(help="Show what would flip the plan.")] = False,
    pareto: Annotated[bool, typer.Option(help="Show the trade between latency, energy and cost.")] = False,
    audit: Annotated[bool, typer.Option(help="Show every tensor that crosses a link, and why it may.")] = False,
    without: Annotated[str | None, typer.Option(help="Plan B: the link or node that is lost.", metavar="NAME")] = None,
    report: Annotated[Path | None, typer.Option(help="Write an HTML report.", metavar="FILE.html")] = None,
    save: Annotated[Path | None, typer.Option(help="Write the plan as JSON.", metavar="FILE.json")] = None,
    json: Json = False,
) -> None:
    """Place every op of a model on the nodes of a topology: what runs where, when, for how much, and why.

    Example: hetero plan model.onnx --topology robot --objective latency --deadline 20ms --private input
    """
    common: dict[str, Any] = {
        "deadline_s": seconds(deadline) if deadline else None,
        "peak_w": peak_power,
        "average_w": average_power,
        "budget_s": budget,
        "seed": seed,
    }
    goal = weights(objective)
    if tasks is not None:
        found = _of_tasks(
            tasks, {"MODEL": model, "--topology": topology, "--private": private, "--pin": pin, "--dt": dt,
                    "--rule": rule}, goal, common,
        )  # fmt: skip
    elif model is None or topology is None:
        missing = " and ".join(n for n, v in (("MODEL", model), ("--topology", topology)) if v is None)
        raise PlanError(f"plan wants {missing}", hint="hetero plan MODEL.onnx --topology robot, or --tasks FILE.json")
    else:
        wishes: dict[str, Any] = {"private": zones(private), "pins": pairs("--pin", pin), "inputs": pairs("--at", at)}
        wishes |= {"outputs": pairs("--to", to), "activity": shares(activity)}
        found = _of_model(load_model(model, dt, rule), topology, goal, size, {**common, **wishes})
    if without:
        found = found.without(without)
    if save:
        found.save(str(save))
    if report:
        found.report(str(report))
    asked = {
        "explain": [found.explain(op) for op in explain or []],
        "sensitivity": found.sensitivity() if sensitivity else None,
        "pareto": found.pareto() if pareto else None,
        "audit": found.audit() if audit else None,
    }
    if json:
        print_json(_json(found, asked))
        return
    out = console()
    out.print(str(found), markup=False, soft_wrap=True)
    for said in _texts(asked):
        out.print(f"\n{said}", markup=False, soft_wrap=True)
    for path in (report, save):
        if path:
            out.print(f"\nwritten: {path}", markup=False)


def _of_model(
    graph: Graph, topology: str, goal: str | dict[str, float], size: list[str] | None, wishes: dict[str, Any]
) -> Plan:
    from hetero.scheduler.planning import plan as make

    return make(graph, topology, goal, sizes=parse_sizes(size), **wishes)


def _of_tasks(tasks: Path, beside: dict[str, Any], goal: str | dict[str, float], common: dict[str, Any]) -> Plan:
    from hetero.scheduler.planning import plan as make
    from hetero.scheduler.taskgraph import TaskGraph

    given = [name for name, value in beside.items() if value]
    if given:
        raise PlanError(f"--tasks does not go with {', '.join(given)}", hint="the file itself has nodes and pins")
    return make(TaskGraph.load(str(tasks)), None, goal, **common)


def seconds(text: str) -> float:
    """`20ms` as 0.02."""
    found = re.fullmatch(r"([0-9.eE+-]+)\s*([a-z]*)", text.strip())
    unit = TIMES.get(found[2] or "s") if found else None
    try:
        if found is None or unit is None:
            raise ValueError
        return float(found[1]) * unit
    except ValueError as e:
        raise PlanError(f"{text!r} is no time", hint=f"a number and one of {', '.join(TIMES)}: 20ms") from e


def weights(text: str) -> str | dict[str, float]:
    """`latency`, or `latency=1,energy=0.5` as weights."""
    if "=" not in text:
        return text
    out: dict[str, float] = {}
    for part in text.split(","):
        name, _, number = part.partition("=")
        try:
            out[name.strip()] = float(number)
        except ValueError as e:
            raise PlanError(f"{part!r} is no weight", hint="latency=1,energy=0.5") from e
    return out


def pairs(option: str, given: list[str] | None) -> dict[str, list[str]]:
    """`OP=NODE,NODE` as op -> nodes."""
    out: dict[str, list[str]] = {}
    for text in given or []:
        name, equals, places = text.rpartition("=")
        if not equals or not name or not places:
            raise PlanError(f"{option} {text} is not NAME=NODE")
        out[name] = [p.strip() for p in places.split(",")]
    return out


def shares(given: list[str] | None) -> dict[str, float]:
    """`0.05` for every spiking network, `NAME=0.05` for one."""
    out: dict[str, float] = {}
    for text in given or []:
        name, equals, share = text.rpartition("=")
        try:
            out[name if equals else "*"] = float(share)
        except ValueError as e:
            raise PlanError(f"--activity {text} is no share", hint="--activity 0.05, or NAME=0.05") from e
    return out


def zones(given: list[str] | None) -> dict[str, list[str]] | list[str]:
    """Names alone, or names with their zones; never both at once, since a zone says where names alone go."""
    plain = [t for t in given or [] if "=" not in t]
    zoned = pairs("--private", [t for t in given or [] if "=" in t])
    if plain and zoned:
        raise PlanError(
            "--private is given with nodes for some names and without for others", hint="name nodes for all"
        )
    return zoned or plain


def _json(plan: Plan, asked: dict[str, Any]) -> dict[str, Any]:
    from dataclasses import asdict

    out = plan.to_dict()
    for name in ("explain", "sensitivity", "audit"):
        if asked[name]:
            out[name] = [asdict(x) for x in asked[name]]
    if asked["pareto"] is not None:
        out["pareto"] = [
            {"latency_s": p.schedule.latency_s, "energy_j": p.schedule.energy_j, "money": p.schedule.money,
             "placement": p.placement}
            for p in asked["pareto"].plans
        ]  # fmt: skip
    return out


def _texts(asked: dict[str, Any]) -> list[str]:
    """What was asked beside the plan, as text."""
    out = [str(choice) for choice in asked["explain"]]
    if asked["sensitivity"] is not None:
        out.append("\n".join(["What would flip it (estimated):", *map(str, asked["sensitivity"])]))
    if asked["pareto"] is not None:
        out.append(str(asked["pareto"]))
    if asked["audit"] is not None:
        out.append(_audit(asked["audit"]))
    return out


def _audit(crossings: list[Crossing]) -> str:
    lines = [str(c) for c in crossings] or ["nothing crosses a link"]
    return "\n".join(["Audit, every tensor that crosses a link:", *lines])
