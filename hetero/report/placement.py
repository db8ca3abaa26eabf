"""The task graph with its placement: a box for each task, or for each run of tasks on one node where there are many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hetero.report.page import Room, dot, picture, text
from hetero.report.timeline import WIDTH, colour_of
from hetero.scheduler.parts import cut
from hetero.scheduler.plan import Plan
from hetero.scheduler.show import quantity

SINGLE = 60  # tasks up to which each has a box of its own
MOST = 150  # boxes drawn
LEAST = 640.0  # width on a narrow screen
WIDE, HIGH, GAP_X, GAP_Y = 118.0, 34.0, 46.0, 14.0

Box = tuple[int, list[int]]  # node, tasks


def placement(plan: Plan) -> str:
    """As SVG, from left to right in the order of the data, with a legend."""
    g, s = plan.tasks, plan.schedule
    single = g.n <= SINGLE
    boxes: list[Box] = [(int(s.device[i]), [i]) for i in s.order.tolist()] if single else cut(g, s)
    left_out = max(0, len(boxes) - MOST)
    boxes = boxes[:MOST]
    home = {i: k for k, (_, tasks) in enumerate(boxes) for i in tasks}
    edges = _edges(plan, home)
    column = _columns(len(boxes), edges)
    place = _places(boxes, column)
    width = max(max(x for x, _ in place) + WIDE + 20, LEAST)
    height = max(y for _, y in place) + HIGH + 12
    shapes = [*_lines(edges, place, boxes), *_boxes(plan, boxes, place), *_sizes(edges, place, boxes)]
    label = f"Task graph: {len(boxes)} boxes on {len(g.devices)} nodes"
    legend = " &nbsp; ".join(dot(colour_of(p), name) for p, name in enumerate(g.device_names))
    more = f'<p class="soft">and {left_out} more boxes that are not drawn</p>' if left_out else ""
    what = "each box is a task" if single else "each box is what a node runs in one go"
    head = f'<p>{legend}</p><p class="soft">Thick lines cross a link; {what}.</p>'
    svg = picture(max(width, WIDTH), height, label, shapes)
    return head + svg.replace("<svg ", f'<svg style="min-width:{width:.0f}px" ', 1) + more


def _edges(plan: Plan, home: dict[int, int]) -> dict[tuple[int, int], float]:
    """Bytes between boxes."""
    g = plan.tasks
    out: dict[tuple[int, int], float] = {}
    source, target, tensor = g.edges
    for a, b, t in zip(source.tolist(), target.tolist(), tensor.tolist(), strict=True):
        if a in home and b in home and home[a] != home[b]:
            key = (home[a], home[b])
            out[key] = out.get(key, 0.0) + float(g.tensor_byte[t])
    return out


def _columns(count: int, edges: dict[tuple[int, int], float]) -> list[int]:
    """One column after all that a box reads from; boxes stand in an order of the graph."""
    column = [0] * count
    for a, b in sorted(edges):
        column[b] = max(column[b], column[a] + 1)
    for _ in range(count):
        late = [(a, b) for a, b in edges if column[b] <= column[a]]
        if not late:
            break
        for a, b in late:
            column[b] = column[a] + 1
    return column


def _places(boxes: Sequence[Box], column: Sequence[int]) -> list[tuple[float, float]]:
    filled: dict[int, int] = {}
    out: list[tuple[float, float]] = []
    for k in range(len(boxes)):
        row = filled.get(column[k], 0)
        filled[column[k]] = row + 1
        out.append((10 + column[k] * (WIDE + GAP_X), 10 + row * (HIGH + GAP_Y)))
    return out


def _lines(
    edges: dict[tuple[int, int], float], place: Sequence[tuple[float, float]], boxes: Sequence[Box]
) -> Iterator[str]:
    for (a, b), size in edges.items():
        (x1, y1), (x2, y2), (x3, y3), (x4, y4) = _curve(place[a], place[b])
        crosses = boxes[a][0] != boxes[b][0]
        look = f'stroke="{colour_of(boxes[a][0])}" stroke-width="2.5"' if crosses else 'class="line" stroke-width="1"'
        yield (
            f'<path d="M{x1:.1f} {y1:.1f} C{x2:.1f} {y2:.1f} {x3:.1f} {y3:.1f} {x4:.1f} {y4:.1f}" '
            f'fill="none" {look}><title>{text(quantity(size, "B"))}</title></path>'
        )


def _curve(source: tuple[float, float], target: tuple[float, float]) -> tuple[tuple[float, float], ...]:
    """A cubic Bezier from the right side of a box to the left side of another."""
    x1, y1, x2, y2 = source[0] + WIDE, source[1] + HIGH / 2, target[0], target[1] + HIGH / 2
    bend = max((x2 - x1) / 2, 12)
    return (x1, y1), (x1 + bend, y1), (x2 - bend, y2), (x2, y2)


def _sizes(
    edges: dict[tuple[int, int], float], place: Sequence[tuple[float, float]], boxes: Sequence[Box]
) -> Iterator[str]:
    """What crosses a link, beside its line where there is room: as many bytes as the line's title says."""
    room = Room(max(x for x, _ in place) + WIDE + 20, max(y for _, y in place) + HIGH + 12)
    for x, y in place:
        room.take(x - 1, y - 1, WIDE + 2, HIGH + 2)
    for (a, b), size in edges.items():
        if boxes[a][0] != boxes[b][0]:
            yield room.label(quantity(size, "B"), _along(_curve(place[a], place[b])))


def _along(curve: tuple[tuple[float, float], ...]) -> Iterator[tuple[float, float]]:
    """Spots just above and below a curve, those near its middle first."""
    for t in (0.5, 0.4, 0.6, 0.3, 0.7, 0.2, 0.8, 0.1, 0.9):
        weights = (1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t * t * (1 - t), t**3
        x, y = (sum(w * p[k] for w, p in zip(weights, curve, strict=True)) for k in (0, 1))
        yield x, y - 8
        yield x, y + 8


def _boxes(plan: Plan, boxes: Sequence[Box], place: Sequence[tuple[float, float]]) -> Iterator[str]:
    g = plan.tasks
    for (p, tasks), (x, y) in zip(boxes, place, strict=True):
        names = [g.tasks[i] for i in tasks]
        shown = names[0] if len(tasks) == 1 else f"{len(tasks)} tasks"
        below = plan.ops[tasks[0]] if len(tasks) == 1 else names[-1]
        title = f"{', '.join(names[:12])}{' ...' if len(names) > 12 else ''} on {g.device_names[p]}"
        yield (
            f'<g><rect x="{x:.1f}" y="{y:.1f}" width="{WIDE:g}" height="{HIGH:g}" rx="4" class="lane" '
            f'stroke="{colour_of(p)}" stroke-width="2"/>'
            f'<text x="{x + 7:.1f}" y="{y + 14:.1f}">{text(shown, 18)}</text>'
            f'<text class="soft" x="{x + 7:.1f}" y="{y + 27:.1f}">{text(below, 18)}</text>'
            f"<title>{text(title, 600)}</title></g>"
        )
