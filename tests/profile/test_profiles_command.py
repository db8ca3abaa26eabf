"""`hetero profiles` shows every value with its unit, status, uncertainty and source."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from hetero.cli.profiles import profiles, text
from hetero.errors import ProfileError
from hetero.profile import given, load, topologies
from hetero.profile import profiles as names

app = typer.Typer()
app.command()(profiles)


def call(*args: str) -> str:
    result = CliRunner().invoke(app, args, env={"COLUMNS": "250"}, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def test_the_list_has_every_profile() -> None:
    table, rows = call(), json.loads(call("--json"))["profiles"]
    assert [r["name"] for r in rows] == names()
    for row in rows:
        assert row["name"] in table
        assert sum(row["values"].values()) == len(list(load(row["name"]).quantities()))
    h100 = next(r for r in rows if r["name"] == "h100")
    assert (h100["memory_byte_per_s"], h100["active_w"]) == (3.35e12, 700)


def test_one_profile_is_shown_with_its_sources() -> None:
    shown = call("h100")
    for part in (
        "989 Top/s",
        "+-5 %",
        "datasheet",
        "estimated",
        "of the module",
        "3.35 TB/s",
        "glk100: H100",
        "https://",
    ):
        assert part in shown
    assert "nobody published: static_w, active_w" not in shown
    assert "nobody published: launch_s, static_w, active_w" in call("tpu-v5e")
    full = json.loads(call("h100", "--json"))
    assert full["peak_op_per_s"]["bfloat16"]["value"] == 989.4e12
    assert full["peak_op_per_s"]["bfloat16"]["source"] in full["sources"]


def test_topologies_and_links_are_listed_and_shown() -> None:
    assert [t["name"] for t in json.loads(call("--topologies", "--json"))["topologies"]] == topologies()
    assert "robot" in call("--topologies")
    shown = call("robot", "--topologies")
    for part in ("camera -> jetson", "jetson - cloud", "simulated", "3 USD/h", "wifi6"):
        assert part in shown
    assert json.loads(call("robot", "--topologies", "--json"))["links"][0]["kind"] == "mipi-csi2"
    assert "nvlink4" in call("--links")
    assert json.loads(call("--links", "--json"))["links"][0]["byte_per_s"]["unit"] == "B/s"


def test_a_damaged_profile_of_the_user_is_told_of_and_hides_no_other(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.toml").write_text('name = "mine"')
    monkeypatch.setenv("HETERO_PROFILE_DIR", str(tmp_path))
    assert "title: is missing" in call()
    answer = json.loads(call("--json"))
    assert list(answer["broken"]) == ["mine"]
    assert "h100" in [p["name"] for p in answer["profiles"]]


def test_two_lists_at_once_are_refused() -> None:
    with pytest.raises(ProfileError, match="two lists"):
        call("--topologies", "--links")


def test_values_are_shown_with_three_digits() -> None:
    values = [(3.35e12, "B/s", "3.35 TB/s"), (0.0295, "W", "29.5 mW"), (131072, "1", "131,072"), (0, "W", "0 W"),
              (23.6e-12, "J", "23.6 pJ"), (700, "W", "700 W"), (999.9996, "W", "1 kW"), 
              (1e-5, "s", "10 us")]  # fmt: skip
    assert [text(given(v, unit)) for v, unit, _ in values] == [expected for _, _, expected in values]
    assert text(None) == "-"
