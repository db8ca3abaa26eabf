"""What a run of a plan gives: outputs, and what happened, each number measured or simulated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from hetero.op import Array
from hetero.scheduler.show import quantity

if TYPE_CHECKING:
    from hetero.scheduler.plan import Plan

Status = Literal["measured", "simulated"]
What = Literal["compile failed", "device failed"]


@dataclass(frozen=True, slots=True)
class Step:
    """A part that ran. Start and finish are on one clock for the whole run."""

    node: str
    device: str
    tasks: tuple[str, ...]
    start_s: float
    finish_s: float
    status: Status


@dataclass(frozen=True, slots=True)
class Moved:
    """A tensor that went from node to node."""

    tensor: str
    source: str
    target: str
    bytes: int
    start_s: float
    finish_s: float
    status: Status


@dataclass(frozen=True, slots=True)
class Event:
    """Something that did not go as planned, and what was done."""

    node: str
    tasks: tuple[str, ...]
    what: What
    reason: str

    def __str__(self) -> str:
        more = f" and {len(self.tasks) - 3} more" if len(self.tasks) > 3 else ""
        return (
            f"{self.node}: {self.what} at {', '.join(self.tasks[:3])}{more}: {self.reason}; the rest was planned again"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What came out, and what happened."""

    outputs: dict[str, Array]
    latency_s: float
    latency_status: Status
    predicted_s: float
    energy_j: float  # always of the model: no meter is read
    steps: tuple[Step, ...]
    moved: tuple[Moved, ...]
    events: tuple[Event, ...]
    plan: Plan  # as it ended: another one than was run where something failed

    def __getitem__(self, output: str) -> Array:
        return self.outputs[output]

    def __str__(self) -> str:
        lines = [
            f"latency {quantity(self.latency_s, 's')} ({self.latency_status}), predicted "
            f"{quantity(self.predicted_s, 's')}; energy {quantity(self.energy_j, 'J')} (estimated)"
        ]
        for step in self.steps:
            took = quantity(step.finish_s - step.start_s, "s")
            lines.append(f"  {step.node} on {step.device}: {len(step.tasks)} groups in {took} ({step.status})")
        lines += [f"  {m.tensor}: {m.source} -> {m.target}, {quantity(m.bytes, 'B')} in "
                  f"{quantity(m.finish_s - m.start_s, 's')} ({m.status})" for m in self.moved]  # fmt: skip
        return "\n".join([*lines, *(f"  event: {e}" for e in self.events)])
