"""`hetero plan`, and `hetero run --topology`: what they give, and what they say to mistakes."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

import hetero as ht
from hetero.cli.plan import pairs, seconds, weights, zones

Call = Callable[..., Result]

TASKS: dict[str, Any] = {
    "devices": [{"name": "gpu", "tier": "central"}, {"name": "cam"}],
    "links": [{"name": "up", "between": ["gpu", "cam"], "byte_per_s": 1e3, "latency_s": 0.01}],
    "tasks": [
        {"name": "frame", "seconds": {"gpu": None, "cam": 0.1}, "joules": {"gpu": 0, "cam": 1}},
        {"name": "net", "seconds": {"gpu": 0.1, "cam": 1.0}, "joules": {"gpu": 5, "cam": 1}},
    ],
    "edges": [{"from": "frame", "to": "net", "bytes": 100}],
}


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    path = tmp_path / "tasks.json"
    path.write_text(json.dumps(TASKS))
    return path


def as_json(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def placed(report: Any) -> dict[str, str]:
    return {row["task"]: row["node"] for row in report["schedule"]}


def test_a_model_is_planned_on_a_shipped_topology(call: Call, model: Path) -> None:
    report = as_json(call("plan", model, "--topology", "robot", "--size", "batch=4", "--json"))
    assert report["format"] == "hetero.plan"
    assert report["bound"] <= report["value"] == report["estimated"]["latency_s"][1]
    assert all(row["reason"] for row in report["schedule"])
    text = call("plan", model, "--topology", "robot").output
    assert "estimated" in text
    assert "jetson" in text


def test_anybodys_task_graph_is_planned(call: Call, tasks: Path) -> None:
    quick, frugal = (as_json(call("plan", "--tasks", tasks, "--objective", o, "--json")) for o in ("latency", "energy"))
    assert placed(quick) == {"frame": "cam", "net": "gpu"}
    assert quick["value"] == pytest.approx(0.1 + 0.1 + 0.01 + 0.1)  # frame, 100 B at 1 kB/s, latency, net
    assert placed(frugal) == {"frame": "cam", "net": "cam"}
    assert frugal["value"] == pytest.approx(2.0)


def test_questions_come_with_the_plan(call: Call, tasks: Path, tmp_path: Path) -> None:
    saved = tmp_path / "plan.json"
    asked = ("--explain", "net", "--sensitivity", "--pareto", "--audit", "--save", saved)
    report = as_json(call("plan", "--tasks", tasks, *asked, "--json"))
    assert {a["node"] for a in report["explain"][0]["alternatives"]} == {"gpu", "cam"}
    flip = next(f for f in report["sensitivity"] if f["what"] == "bandwidth of up")
    assert flip["at"] < flip["now"]  # a slower link keeps net on the camera
    assert len(report["pareto"]) == 2
    (crossing,) = report["audit"]
    assert crossing["tensor"] == "frame"
    assert ht.Plan.load(str(saved)).placement == placed(report)
    text = call("plan", "--tasks", tasks, *asked).output
    for part in ("What would flip it", "Pareto front", "Audit", "best plan with it there"):
        assert part in text, part


def test_limits_and_losses(call: Call, tasks: Path) -> None:
    assert "deadline" in str(call("plan", "--tasks", tasks, "--deadline", "20ms").exception)
    result = call("plan", "--tasks", tasks, "--without", "up", "--json")
    assert placed(as_json(result)) == {"frame": "cam", "net": "cam"}


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["plan"], "plan wants MODEL and --topology"),
        (["plan", "{model}"], "plan wants --topology"),
        (["plan", "{model}", "--topology", "robott"], "robot"),
        (["plan", "{model}", "--tasks", "{tasks}"], "--tasks does not go with MODEL"),
        (["plan", "{model}", "--topology", "robot", "--objective", "speed"], "no objective is called 'speed'"),
        (["plan", "{model}", "--topology", "robot", "--deadline", "soon"], "'soon' is no time"),
        (["plan", "{model}", "--topology", "robot", "--pin", "tanh"], "is not NAME=NODE"),
        (["plan", "{model}", "--topology", "robot", "--pin", "tanh=moon"], "no node is called 'moon'"),
        (["plan", "{model}", "--topology", "robot", "--private", "x=edge", "--private", "y"], "names for some"),
        (["run", "{model}", "--random", "0", "--trace", "t.json"], "--trace wants --topology"),
        (["run", "{model}", "--random", "0", "--topology", "robot", "--backend", "numpy"], "does not go with"),
    ],
)
def test_mistakes_are_answered(call: Call, model: Path, tasks: Path, args: list[str], said: str) -> None:
    result = call(*[a.format(model=model, tasks=tasks) for a in args])
    assert result.exit_code == 2
    assert said.replace("names for some", "for some names") in str(result.exception)


def test_a_plan_runs_and_says_what_is_simulated(call: Call, model: Path, tmp_path: Path) -> None:
    args = ("run", model, "--random", "0", "--size", "batch=2", "--topology", "robot")
    report = as_json(call(*args, "--output", tmp_path / "out", "--json"))
    assert report["latency_status"] == "simulated"
    assert report["energy_status"] == "estimated"
    assert set(report["outputs"]) == {"score/0", "score:0"}
    assert "simulated" in call(*args).output


def test_words_of_the_options() -> None:
    assert seconds("20ms") == pytest.approx(0.02)
    assert seconds("1.5") == 1.5
    assert seconds("3 us") == pytest.approx(3e-6)
    assert weights("latency=1, energy=0.5") == {"latency": 1.0, "energy": 0.5}
    assert pairs("--pin", ["a=b=c,d"]) == {"a=b": ["c", "d"]}
    assert zones(["x"]) == ["x"]
    assert zones(["x=edge"]) == {"x": ["edge"]}
