"""The smaller pictures: Pareto front, candidates, and the matrix of training and inference, central and edge."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import isfinite

from hetero.report.page import LETTER, Room, picture, text
from hetero.scheduler.pareto import Front
from hetero.scheduler.plan import Plan
from hetero.scheduler.show import quantity
from hetero.scheduler.solution import Schedule

SHOWN = 24  # candidates
RING = 15  # around this plan, in the Pareto front
TRAINS: frozenset[str] = frozenset()  # ops that only training has; gradients bring them


def pareto(plan: Plan, front: Front) -> str:
    """Latency against energy; the size of a point is its cost; this plan is ringed."""
    points = [p.schedule for p in front.plans]
    mine = plan.schedule
    x_of, y_of = (_axis([f(s) for s in [*points, mine]], a, b) for f, a, b in ((_s, 80, 900), (_j, 300, 30)))
    most = max((s.money for s in points), default=0.0)
    shapes = [
        '<line class="line" x1="80" x2="920" y1="310" y2="310"/><line class="line" x1="80" x2="80" y1="20" y2="310"/>',
        '<text x="500" y="338" text-anchor="middle">latency</text>',
        '<text x="16" y="170" transform="rotate(-90 16 170)" text-anchor="middle">energy</text>',
    ]
    room = Room(1160, 327)  # below the axis too, above its name
    room.take(x_of(mine.latency_s) - RING, y_of(mine.energy_j) - RING, 2 * RING, 2 * RING)
    labels: list[tuple[float, float, str]] = []
    for s in points:
        cost = f", {s.money:.3g} {plan.currency}" if s.money else ""
        said = f"{quantity(s.latency_s, 's')}, {quantity(s.energy_j, 'J')}{cost}"
        radius = 5 + 7 * (s.money / most if most else 0)
        x, y = x_of(s.latency_s), y_of(s.energy_j)
        room.take(x - radius, y - radius, 2 * radius, 2 * radius)
        labels.append((x, y, said))
        shapes.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius:.1f}" fill="#0072B2" fill-opacity=".75">'
            f"<title>{text(said)} (estimated)</title></circle>"
        )
    if not any(_s(s) == _s(mine) and _j(s) == _j(mine) for s in points):
        labels.append((x_of(mine.latency_s), y_of(mine.energy_j), "this plan"))
    shapes.extend(room.label(said, _around(x, y, LETTER * len(said))) for x, y, said in labels)
    x, y = x_of(mine.latency_s), y_of(mine.energy_j)
    said = f"this plan: {quantity(mine.latency_s, 's')}, {quantity(mine.energy_j, 'J')} (estimated)"
    shapes.append(
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{RING}" fill="none" stroke="#D55E00" stroke-width="2.5">'
        f"<title>{text(said)}</title></circle>"
    )
    return picture(1160, 350, f"Pareto front of {len(points)} plans", shapes)


def _around(x: float, y: float, wide: float) -> Iterator[tuple[float, float]]:
    """Middles of a label beside a point: right, left, above, below, then the same further up and down."""
    side = wide / 2 + RING + 3
    yield from ((x + side, y), (x - side, y), (x, y - RING - 9), (x, y + RING + 9))
    for far in range(1, 5):
        yield from ((x + side, y - 14 * far), (x + side, y + 14 * far))


def _s(s: Schedule) -> float:
    return s.latency_s


def _j(s: Schedule) -> float:
    return s.energy_j


def _axis(values: Sequence[float], first: float, last: float):
    low, high = min(values), max(values)
    span = (high - low) or max(abs(high), 1e-30)

    def place(value: float) -> float:
        return first + (value - low) / span * (last - first) * 0.94 + (last - first) * 0.03

    return place


def candidates(plan: Plan) -> str:
    """A bar for each candidate, the best first; those that broke a limit are named."""
    solution = plan.solution
    tried = {solution.method: solution.value, **solution.candidates}  # a search's winner is named by where it began
    found = sorted(tried.items(), key=lambda item: (item[1], item[0] != solution.method, item[0]))
    good = [(n, v) for n, v in found if isfinite(v)][:SHOWN]
    bad = [n for n, v in found if not isfinite(v)]
    most = max((v for _, v in good), default=0.0) or 1.0
    shapes = list(_bars(plan, good, most))
    said = f'<p class="soft">Not allowed, or without a way: {text(", ".join(bad), 600)}.</p>' if bad else ""
    return picture(1160, 8 + 22 * len(good), f"{len(good)} candidates by {plan.objective.name}", shapes) + said


def _bars(plan: Plan, good: Sequence[tuple[str, float]], most: float) -> Iterator[str]:
    unit = {"latency": "s", "serial": "s", "throughput": "s", "energy": "J"}.get(plan.objective.name, "")
    for k, (name, value) in enumerate(good):
        y = 6 + 22 * k
        won = name == plan.solution.method
        yield f'<text x="8" y="{y + 12}">{text(name, 34)}{" (chosen)" if won else ""}</text>'
        colour = "#D55E00" if won else "#0072B2"
        yield f'<rect x="270" y="{y}" width="{max(value / most * 760, 1):.1f}" height="16" fill="{colour}" rx="2"/>'
        yield f'<text class="soft" x="{276 + value / most * 760:.1f}" y="{y + 12}">{text(quantity(value, unit))}</text>'


def matrix(plan: Plan) -> str:
    """Training and inference, central and edge: what of this plan is in each quadrant."""
    rows = "".join(
        f'<div class="head">{kind}</div>' + "".join(f"<div>{_quadrant(plan, kind, tier)}</div>" for tier in TIERS)
        for kind in ("training", "inference")
    )
    heads = "".join(f'<div class="head">{tier}</div>' for tier in TIERS)
    return f'<div class="matrix"><div class="head"></div>{heads}{rows}</div>'


TIERS = ("central", "edge")


def _quadrant(plan: Plan, kind: str, tier: str) -> str:
    g, s = plan.tasks, plan.schedule
    inside = [
        i for i, p in enumerate(s.device.tolist())
        if plan.ops[i] and g.devices[p].tier == tier and _trains(plan.ops[i]) == (kind == "training")
    ]  # fmt: skip
    if not inside:
        return f'<span class="soft">{"no op of this plan trains" if kind == "training" else "nothing"}</span>'
    busy = float((s.finish_s - s.start_s)[inside].sum())
    joules = float(g.joules[inside, s.device[inside]].sum())
    names = ", ".join(g.tasks[i] for i in inside[:6]) + (f" and {len(inside) - 6} more" if len(inside) > 6 else "")
    return (
        f"<b>{len(inside)} groups</b>, {text(quantity(busy, 's'))}, {text(quantity(joules, 'J'))} (estimated)"
        f'<br><span class="soft">{text(names, 400)}</span>'
    )


def _trains(ops: str) -> bool:
    return bool(TRAINS & set(ops.split(", ")))
