"""The report of a converted network as text and as one HTML file."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from hetero.report.converted import Cost, LayerFit, Report
from hetero.report.page import COLOURS, cell, number, page, picture, section, text
from hetero.report.page import table as sortable
from hetero.scheduler.show import quantity, span, table

CHART = (60.0, 940.0, 20.0, 260.0)  # left, right, top, bottom of a chart's inside
NOTES = 3  # shown of those of a device, in text


# -- text -----------------------------------------------------------------------------------------------------


def words(r: Report) -> str:
    """A few tables."""
    steps = [["steps", *(f"{t}" for t, _ in r.accuracy)], [_what(r), *(f"{a:.1%}" for _, a in r.accuracy)]]
    head = ["layer", "neurons", "threshold", "mean error", "of the mean", "saturated", "spikes/neuron/step", "events"]
    rows = [[f.name, f"{f.neurons:,}", _thresholds(f), f"{f.error:.3g}", f"{f.relative:.1%}", f"{f.saturated:.2%}",
             f"{f.rate:.3f}", f"{f.events:,.0f}"] for f in r.layers]  # fmt: skip
    return "\n".join(
        [
            f"{r.name}: {r.samples} samples, thresholds from {r.calibrated}; {_original(r)}",
            *table(steps),
            f"after {r.steps} steps {r.agreement:.1%} of the answers are the original's",
            "",
            *table([head, *rows]),
            "",
            f"an inference, on average: {_events(r)}",
            *_cost(f"spiking on {r.chip.device}", r.chip),
            *_cost(f"original on {r.device.device} ({_size(r)})", r.device),
        ]
    )


def _what(r: Report) -> str:
    return "accuracy" if r.labelled else "agreement"


def _original(r: Report) -> str:
    return (
        f"the original is right on {r.original:.1%}" if r.labelled else "no labels, so answers count as the original's"
    )


def _thresholds(f: LayerFit) -> str:
    low, high = f.threshold
    return f"{low:.3g}" if low == high else f"{low:.3g} to {high:.3g}"


def _events(r: Report) -> str:
    return (
        f"{r.events:,.0f} synaptic events ({r.input_events:,.0f} of the input), {r.spikes:,.0f} spikes, "
        f"{r.updates:,} neuron updates"
    )


def _size(r: Report) -> str:
    return f"{quantity(r.op, 'op')}, {quantity(r.byte, 'B')}"


def _cost(name: str, c: Cost) -> list[str]:
    notes = [f"  {n}" for n in c.notes[:NOTES]]
    more = [f"  and {len(c.notes) - NOTES} more"] if len(c.notes) > NOTES else []
    return [f"{name}, {c.label}: {_joules(c)}", *notes, *more]


def _joules(c: Cost) -> str:
    energy = "nobody published the energy of an event" if c.energy_j is None else span(c.energy_j, "J")
    static = f", of it {quantity(c.static_j.mid, 'J')} static" if c.energy_j is not None and c.static_j else ""
    return energy + static + ("" if c.seconds is None else f"; {span(c.seconds, 's')}")


# -- HTML -----------------------------------------------------------------------------------------------------


def whole(r: Report) -> str:
    return page(f"{r.name} as a spiking network", _body(r))


def _body(r: Report) -> Iterator[str]:
    yield f"<h1>{text(r.name)} as a spiking network</h1>"
    yield (
        f'<p class="soft">{r.samples} samples, thresholds from {r.calibrated}. {text(_original(r))}. '
        "Spikes and events are counted in a run; energies are estimated.</p>"
    )
    yield _facts(r)
    yield section(f"{_what(r).capitalize()} against time steps", _curve(r))
    yield section(
        "Layer by layer",
        _bars("mean error, of the mean activation", [(f.name, f.relative, f"{f.relative:.2%}") for f in r.layers], 5),
        _bars("neurons that spike in every step", [(f.name, f.saturated, f"{f.saturated:.2%}") for f in r.layers], 3),
        _bars("spikes of a neuron in a step", [(f.name, f.rate, f"{f.rate:.3f}") for f in r.layers], 2),
        _bars(
            "synaptic events of an inference",
            [("input", r.input_events, f"{r.input_events:,.0f}")]
            + [(f.name, f.events, f"{f.events:,.0f}") for f in r.layers],
            0,
        ),
        _layers(r),
    )
    yield section("What an inference costs", *_costs(r))


def _facts(r: Report) -> str:
    chip = "not published" if r.chip.energy_j is None else quantity(r.chip.energy_j.mid, "J")
    energy = r.device.energy_j
    facts = [
        (f"{_what(r)} after {r.steps} steps", f"{r.accuracy[-1][1]:.1%}", f"original {r.original:.1%}"),
        ("synaptic events an inference", f"{r.events:,.0f}", f"{r.input_events:,.0f} of the input"),
        ("spiking, estimated", chip, r.chip.device),
        ("original, estimated", "-" if energy is None else quantity(energy.mid, "J"), r.device.device),
    ]
    return (
        '<div class="facts">'
        + "".join(
            f'<div class="fact">{text(k)}<b>{text(v)}</b><span class="soft">{text(more)}</span></div>'
            for k, v, more in facts
        )
        + "</div>"
    )


def _curve(r: Report) -> str:
    """Steps on a scale of doublings; the original as a line."""
    left, right, top, bottom = CHART
    least = min(r.original, *(a for _, a in r.accuracy))
    low = max(0.0, int(least * 10 - 0.5) / 10)
    count = max(len(r.accuracy) - 1, 1)

    def place(k: int, value: float) -> tuple[float, float]:
        return left + (right - left) * k / count, bottom - (value - low) / (1 - low or 1) * (bottom - top)

    shapes = [f'<line class="line" x1="{left}" x2="{right}" y1="{bottom}" y2="{bottom}"/>']
    for j in range(5):
        value = low + (1 - low) * j / 4
        y = place(0, value)[1]
        shapes.append(f'<line class="line" x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}"/>')
        shapes.append(f'<text class="soft" x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{value:.1%}</text>')
    y = place(0, r.original)[1]
    said = f"original {r.original:.1%}"
    shapes.append(
        f'<line x1="{left}" x2="{right}" y1="{y:.1f}" y2="{y:.1f}" stroke="{COLOURS[5]}" stroke-dasharray="6 4"/>'
        f'<text x="{right + 6}" y="{y + 4:.1f}">{said}</text>'
    )
    points = [place(k, a) for k, (_, a) in enumerate(r.accuracy)]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    shapes.append(f'<polyline points="{line}" fill="none" stroke="{COLOURS[0]}" stroke-width="2"/>')
    for (x, y), (t, a) in zip(points, r.accuracy, strict=True):
        shapes.append(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{COLOURS[0]}"><title>{t} steps: {a:.2%}</title></circle>'
            f'<text class="soft" x="{x:.1f}" y="{bottom + 16}" text-anchor="middle">{t}</text>'
        )
    shapes.append(f'<text x="{(left + right) / 2}" y="{bottom + 34}" text-anchor="middle">time steps</text>')
    return picture(1080, bottom + 44, f"{_what(r)} against time steps", shapes)


def _bars(title: str, rows: Sequence[tuple[str, float, str]], colour: int) -> str:
    """One bar a layer."""
    most = max((v for _, v, _ in rows), default=0.0) or 1.0
    shapes = [f'<text x="8" y="16">{text(title)}</text>']
    for k, (name, value, shown) in enumerate(rows):
        y = 26 + 22 * k
        wide = value / most * 700
        shapes.append(
            f'<text class="soft" x="8" y="{y + 12}">{text(name, 34)}</text>'
            f'<rect x="240" y="{y}" width="{max(wide, 1):.1f}" height="16" fill="{COLOURS[colour]}" rx="2"/>'
            f'<text class="soft" x="{246 + wide:.1f}" y="{y + 12}">{text(shown)}</text>'
        )
    return picture(1080, 32 + 22 * len(rows), title, shapes)


def _layers(r: Report) -> str:
    head = ("layer", "node", "neurons", "threshold", "mean error", "mean activation", "saturated", "spikes/neuron/step",
            "synaptic events")  # fmt: skip
    rows = [
        (cell(f.name), cell(f.node), number(f.neurons, f"{f.neurons:,}"), number(f.threshold[1], _thresholds(f)),
         number(f.error, f"{f.error:.4g}"), number(f.activation, f"{f.activation:.4g}"),
         number(f.saturated, f"{f.saturated:.3%}"), number(f.rate, f"{f.rate:.4f}"),
         number(f.events, f"{f.events:,.0f}"))
        for f in r.layers
    ]  # fmt: skip
    return sortable("layers", head, rows, f"After {r.steps} steps; errors and activations in the original's units")


def _costs(r: Report) -> Iterator[str]:
    yield f"<p>On average {text(_events(r))}. The original: {text(_size(r))}.</p>"
    for name, c in ((f"Spiking on {r.chip.device}", r.chip), (f"Original on {r.device.device}", r.device)):
        yield f"<p><b>{text(name)}</b>, {c.label}: {text(_joules(c), 400)}</p>"
        if c.notes:
            yield '<ul class="soft">' + "".join(f"<li>{text(n, 600)}</li>" for n in c.notes) + "</ul>"
