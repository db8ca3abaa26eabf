"""The timeline: a lane for each node and for each direction of a link that is used."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from hetero.report.page import COLOURS, picture, text
from hetero.scheduler.plan import Plan
from hetero.scheduler.reasons import reasons
from hetero.scheduler.show import quantity

WIDTH, LEFT, LANE, BAR, TOP = 1160.0, 150.0, 26.0, 18.0, 26.0
TICKS = 8
MOST = 2500  # bars; more are joined with their neighbours in the lane


@dataclass(frozen=True, slots=True)
class Bar:
    """Something on a lane, from start to finish."""

    lane: str
    colour: str
    start_s: float
    finish_s: float
    title: str


def colour_of(node: int) -> str:
    return COLOURS[node % len(COLOURS)]


def bars(plan: Plan) -> list[Bar]:
    """Tasks on their nodes, then transfers on their links."""
    g, s = plan.tasks, plan.schedule
    why, names = reasons(g, s.device), g.device_names
    out: list[Bar] = []
    for i, p in enumerate(s.device.tolist()):
        took = quantity(float(s.finish_s[i] - s.start_s[i]), "s")
        said = (
            f"{g.tasks[i]} [{plan.ops[i]}] on {names[p]}: {took} (estimated), {quantity(g.joules[i, p], 'J')}; {why[i]}"
        )
        out.append(Bar(names[p], colour_of(p), float(s.start_s[i]), float(s.finish_s[i]), said))
    for x in s.sends:
        link = g.links[x.link]
        lane = f"{link.name}: {names[link.source]} to {names[link.target]}"
        size = quantity(g.tensor_byte[x.tensor], "B")
        said = f"{g.tensor_name(x.tensor)}: {size}, arrives at {quantity(x.arrival_s, 's')}"
        out.append(Bar(lane, colour_of(link.source), x.start_s, x.end_s, f"{lane}; {said} (estimated)"))
    return out


def timeline(plan: Plan) -> str:
    """As SVG; positions are start and finish over the makespan."""
    found = bars(plan)
    lanes = list(dict.fromkeys([*plan.tasks.device_names, *(b.lane for b in found)]))
    span = max((b.finish_s for b in found), default=0.0) or 1.0
    scale = (WIDTH - LEFT - 20) / span
    height = TOP + LANE * len(lanes) + 8
    shapes = [*_lanes(lanes), *_axis(span, scale, height)]
    row = {lane: k for k, lane in enumerate(lanes)}
    for b in joined(found, span):
        x, width = LEFT + b.start_s * scale, max((b.finish_s - b.start_s) * scale, 0.7)
        y = TOP + row[b.lane] * LANE + (LANE - BAR) / 2
        shapes.append(
            f'<rect x="{x:.2f}" y="{y:.1f}" width="{width:.2f}" height="{BAR:g}" fill="{b.colour}" rx="1.5">'
            f"<title>{text(b.title, 400)}</title></rect>"
        )
    deadline = plan.tasks.limits.deadline_s
    if deadline < span * 1.02:
        x = LEFT + deadline * scale
        shapes.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{height}" stroke="#D55E00" stroke-width="2"/>')
    return picture(WIDTH, height, f"Timeline: {len(found)} tasks and transfers on {len(lanes)} lanes", shapes)


def _lanes(lanes: Sequence[str]) -> Iterator[str]:
    for k, lane in enumerate(lanes):
        y = TOP + k * LANE
        yield f'<rect class="lane" x="{LEFT}" y="{y + 2:.1f}" width="{WIDTH - LEFT - 20:.1f}" height="{LANE - 4:.1f}"/>'
        yield f'<text x="8" y="{y + LANE / 2 + 4:.1f}">{text(lane, 24)}<title>{text(lane)}</title></text>'


def _axis(span: float, scale: float, height: float) -> Iterator[str]:
    for k in range(TICKS + 1):
        at = span * k / TICKS
        x = LEFT + at * scale
        yield f'<line class="line" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 4}" y2="{height}"/>'
        last = k == TICKS  # it would be cut off at the edge
        spot = f'x="{WIDTH - 4:.1f}" text-anchor="end"' if last else f'x="{x:.1f}" text-anchor="middle"'
        yield f'<text class="soft" {spot} y="14">{text(quantity(at, "s"))}</text>'


def joined(found: Sequence[Bar], span: float) -> list[Bar]:
    """The bars as they are; where there are too many, neighbours on a lane that the eye cannot part become one."""
    if len(found) <= MOST:
        return list(found)
    near = span / 700
    out: list[Bar] = []
    last: dict[str, int] = {}
    count: dict[int, int] = {}
    for b in sorted(found, key=_place):
        k = last.get(b.lane)
        if k is not None and b.start_s - out[k].finish_s <= near and out[k].finish_s - out[k].start_s < 12 * near:
            count[k] = count.get(k, 1) + 1
            end = max(out[k].finish_s, b.finish_s)
            out[k] = Bar(b.lane, b.colour, out[k].start_s, end, f"{count[k]} on {b.lane}, about here")
        else:
            last[b.lane] = len(out)
            out.append(b)
    return out


def _place(b: Bar) -> tuple[str, float]:
    return b.lane, b.start_s
