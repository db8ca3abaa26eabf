"""The report: whole, self-contained, safe with hostile names, right in its positions, without errors in a browser."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

import hetero as ht
from hetero.report import html, page, perfetto
from hetero.report.timeline import LEFT, WIDTH, bars, joined
from hetero.scheduler.plan import Plan
from hetero.scheduler.taskgraph import DeviceSpec, TaskGraph, connect_all

HOSTILE = "</script><script>alert(1)</script>\"'&\x00\u202e" + "x" * 9000
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


def tasks(n: int, name: str = "t") -> TaskGraph:
    rng = np.random.default_rng(n)
    edges = [(int(rng.integers(max(0, j - 5), j)), j, float(rng.random())) for j in range(1, n)]
    g = TaskGraph.of_edges(
        rng.random((n, 3)) + 0.1, edges, connect_all(3, 1.0, 0.01), joules=rng.random((n, 3)),
        devices=[DeviceSpec("near"), DeviceSpec("far", "central"), DeviceSpec(f"odd {name[:30]}")],
    )  # fmt: skip
    return g.replace(tasks=tuple(f"{name} {i}" for i in range(n)))


def planned(g: TaskGraph) -> Plan:
    return ht.plan(g, objective="latency", budget_s=0.05)


class Seen(HTMLParser):
    """Tags, attributes and text of a page; open tags must be closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.stack: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "input", "br"):
            self.stack.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, str, Path]:
    plan = planned(tasks(12))
    path = tmp_path_factory.mktemp("report") / "plan.html"
    plan.report(str(path))
    return plan, path.read_text("utf-8"), path


def test_the_page_is_whole_and_loads_nothing(small: tuple[Plan, str, Path]) -> None:
    _, text, _ = small
    seen = Seen(text)
    assert seen.stack == []
    assert not [t for t, a in seen.tags if t in ("link", "img", "iframe") or "src" in a or "href" in a]
    assert "@import" not in text
    assert "url(" not in text
    for svg in re.findall(r"<svg.*?</svg>", text, re.DOTALL):
        ElementTree.fromstring(svg)


def test_every_task_has_a_row_and_every_number_a_status(small: tuple[Plan, str, Path]) -> None:
    plan, text, _ = small
    words = "".join(Seen(text).words)
    assert all(t in words for t in plan.tasks.tasks)
    assert "no op of this plan trains" in words
    assert "all numbers estimated" in words


def test_bars_stand_where_the_schedule_says(small: tuple[Plan, str, Path]) -> None:
    plan, text, _ = small
    svg = next(s for s in re.findall(r"<svg.*?</svg>", text, re.DOTALL) if "Timeline" in s)
    drawn = {
        r[0].text: (float(r.get("x", 0)), float(r.get("width", 0)))
        for r in ElementTree.fromstring(svg).iter("rect") if len(r)
    }  # fmt: skip
    found = bars(plan)
    span = max(b.finish_s for b in found)
    scale = (WIDTH - LEFT - 20) / span
    assert len(drawn) == len({b.title[:400] for b in found})
    for b in found:
        x, width = drawn[b.title]
        assert x == pytest.approx(LEFT + b.start_s * scale, abs=0.01)
        assert width == pytest.approx(max((b.finish_s - b.start_s) * scale, 0.7), abs=0.01)


def test_no_label_of_the_placement_or_the_front_covers_another(tmp_path: Path) -> None:
    plan = planned(tasks(40))
    html.write(plan, tmp_path / "plan.html", front=plan.pareto(9))
    svgs = re.findall(r"<svg.*?</svg>", (tmp_path / "plan.html").read_text("utf-8"), re.DOTALL)
    for name in ("Task graph", "Pareto front"):
        root = ElementTree.fromstring(next(s for s in svgs if name in s))
        labels = [t for t in root.iter("text") if "label" in t.get("class", "")]
        assert labels
        spots = [(float(t.get("x", 0)), float(t.get("y", 0)), page.LETTER * len(t.text or "") / 2) for t in labels]
        boxes = [tuple(float(r.get(k, 0)) for k in ("x", "y", "width", "height")) for r in root.iter("rect")]
        for k, (x, y, half) in enumerate(spots):
            assert all(abs(x - a) >= half + b - 0.2 or abs(y - c) >= 11.8 for a, c, b in spots[:k])
            assert all(x + half <= a or x - half >= a + w or y + 2 <= b or y - 10 >= b + h for a, b, w, h in boxes)


def test_long_names_are_cut_to_what_fits() -> None:
    assert page.text("x" * 18, 18) == "x" * 18
    assert page.text("abcdefghijklmnopqrstuvwxyz", 18) == "abcdefgh...tuvwxyz"
    assert len(page.text("x" * 1000)) == page.LONGEST


def test_hostile_names_stay_text(tmp_path: Path) -> None:
    path = tmp_path / "plan.html"
    planned(tasks(5, HOSTILE)).report(str(path))
    text = path.read_text("utf-8")
    assert "<script>alert" not in text
    assert text.count("<script>") == 1
    assert Seen(text).stack == []
    assert len(text) < 200_000


def test_large_plans_give_files_of_a_readable_size(tmp_path: Path) -> None:
    plan = planned(tasks(3000))
    path = tmp_path / "plan.html"
    html.write(plan, path, front=plan.pareto(1))
    assert path.stat().st_size < 5_000_000
    found = bars(plan)
    assert len(joined(found, max(b.finish_s for b in found))) < len(found)


def test_a_report_is_written_whole_or_not_at_all(small: tuple[Plan, str, Path], tmp_path: Path) -> None:
    plan, _, _ = small
    with pytest.raises(ht.PlanError, match="cannot write the report"):
        html.write(plan, tmp_path / "no" / "plan.html", front=plan.pareto(1))
    assert list(tmp_path.iterdir()) == []


def test_traces_hold_every_event_and_none_overlap(small: tuple[Plan, str, Path], tmp_path: Path) -> None:
    plan, _, _ = small
    perfetto.write_plan(plan, tmp_path / "plan.json")
    events = json.loads((tmp_path / "plan.json").read_text())["traceEvents"]
    spans = [e for e in events if e["ph"] == "X"]
    assert len(spans) == plan.tasks.n + len(plan.schedule.sends)
    assert {e["cat"] for e in spans} == {"estimated"}
    _no_overlap(spans)


def test_the_trace_of_a_run_says_what_is_simulated(tmp_path: Path) -> None:
    graph = ht.trace(lambda x: ht.matmul(ht.tanh(x), x), ht.spec((8, 8), "float32"))
    result = ht.plan(graph, "robot").run({"x": np.ones((8, 8), "f4")})
    perfetto.write(result, tmp_path / "run.json")
    data = json.loads((tmp_path / "run.json").read_text())
    spans = [e for e in data["traceEvents"] if e["ph"] == "X"]
    assert len(spans) == len(result.steps) + len(result.moved)
    assert {e["cat"] for e in spans} == {"simulated"}
    assert data["otherData"]["status"] == "simulated"
    html.write(result.plan, tmp_path / "run.html", result)
    assert "What a run gave" in (tmp_path / "run.html").read_text("utf-8")


def _no_overlap(spans: list[dict[str, Any]]) -> None:
    by_thread: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for e in spans:
        by_thread.setdefault((e["pid"], e["tid"]), []).append(e)
    for each in by_thread.values():
        each.sort(key=lambda e: (e["ts"], e["dur"]))
        for a, b in pairwise(each):
            assert b["ts"] >= a["ts"] + a["dur"] - 1e-3


@pytest.mark.skipif(
    CHROMIUM is None and not os.environ.get("HETERO_REQUIRE_CHROMIUM"), reason="no chromium: apt install chromium"
)
def test_a_real_browser_runs_the_script_and_draws_the_page(small: tuple[Plan, str, Path], tmp_path: Path) -> None:
    _, _, path = small
    assert CHROMIUM, "HETERO_REQUIRE_CHROMIUM is set and there is none"
    common = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={tmp_path / 'profile'}",
    ]  # fmt: skip
    dom = subprocess.run([*common, "--dump-dom", path.as_uri()], capture_output=True, text=True, timeout=120).stdout
    assert 'data-ready="1"' in dom[:400]
    assert "data-error" not in dom[:400]
    shot = tmp_path / "page.png"
    subprocess.run(
        [*common, f"--screenshot={shot}", "--window-size=1200,1600", path.as_uri()], capture_output=True, timeout=120
    )
    assert shot.stat().st_size > 30_000  # a blank page of this size compresses to less than 10 kB
