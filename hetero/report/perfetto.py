"""Traces in the Chrome format, for ui.perfetto.dev: a process a node, threads for its work and for what it sends."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hetero.errors import PlanError
from hetero.files import write_whole

if TYPE_CHECKING:
    from hetero.scheduler.plan import Plan
    from hetero.scheduler.result import Result


@dataclass(frozen=True, slots=True)
class Span:
    """Something that took time, on a lane of a node."""

    node: str
    lane: str
    name: str
    start_s: float
    finish_s: float
    args: dict[str, Any]


def write(result: Result, path: str | Path) -> None:
    """The trace of a run; every event says whether it was measured or simulated."""
    _write(_of_result(result), path, {"latency": result.latency_s, "status": result.latency_status})


def write_plan(plan: Plan, path: str | Path) -> None:
    """The schedule of a plan as a trace; every number is estimated."""
    _write(_of_plan(plan), path, {"latency": plan.schedule.latency_s, "status": "estimated"})


def _of_result(result: Result) -> Iterator[Span]:
    for s in result.steps:
        name = s.tasks[-1] if len(s.tasks) == 1 else f"{len(s.tasks)} groups to {s.tasks[-1]}"
        args = {"status": s.status, "device": s.device, "groups": list(s.tasks)}
        yield Span(s.node, f"on {s.device}", name, s.start_s, s.finish_s, args)
    for m in result.moved:
        args = {"status": m.status, "bytes": m.bytes}
        yield Span(m.source, f"to {m.target}", m.tensor, m.start_s, m.finish_s, args)


def _of_plan(plan: Plan) -> Iterator[Span]:
    g, s = plan.tasks, plan.schedule
    names = g.device_names
    for i, p in enumerate(s.device.tolist()):
        args = {"status": "estimated", "ops": plan.ops[i], "joules": float(g.joules[i, p])}
        yield Span(names[p], "work", g.tasks[i], float(s.start_s[i]), float(s.finish_s[i]), args)
    for x in s.sends:
        link = g.links[x.link]
        args = {"status": "estimated", "bytes": float(g.tensor_byte[x.tensor]), "arrives_s": x.arrival_s}
        lane = f"{link.name} to {names[link.target]}"
        yield Span(names[link.source], lane, g.tensor_name(x.tensor), x.start_s, x.end_s, args)


def _write(spans: Iterable[Span], path: str | Path, about: dict[str, Any]) -> None:
    whole = {"displayTimeUnit": "ms", "otherData": about, "traceEvents": list(_events(list(spans)))}
    try:
        write_whole(path, json.dumps(whole, allow_nan=False))
    except OSError as e:
        raise PlanError(f"cannot write the trace to {path}: {e}", hint="choose a folder that can be written to") from e


def _events(spans: list[Span]) -> Iterator[dict[str, Any]]:
    """Names of processes and threads, then a complete event for each span, in microseconds."""
    processes = {node: k + 1 for k, node in enumerate(dict.fromkeys(s.node for s in spans))}
    threads = {key: k + 1 for k, key in enumerate(dict.fromkeys((s.node, s.lane) for s in spans))}
    for node, pid in processes.items():
        yield {"ph": "M", "name": "process_name", "pid": pid, "tid": 0, "args": {"name": node}}
    for (node, lane), tid in threads.items():
        yield {"ph": "M", "name": "thread_name", "pid": processes[node], "tid": tid, "args": {"name": lane}}
    for s in spans:
        yield {
            "ph": "X", "name": s.name, "cat": s.args["status"],
            "pid": processes[s.node], "tid": threads[s.node, s.lane],
            "ts": s.start_s * 1e6, "dur": (s.finish_s - s.start_s) * 1e6, "args": s.args,
        }  # fmt: skip
