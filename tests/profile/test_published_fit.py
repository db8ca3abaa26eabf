"""The fit on published measurements ranks devices that it was not fitted on, and cannot see the one left out."""

from __future__ import annotations

import importlib.util
import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from hetero.profile import Profile, load

PATH = Path(__file__).parents[2] / "benchmarks" / "fit_published.py"


@pytest.fixture(scope="module")
def fit() -> ModuleType:
    spec = importlib.util.spec_from_file_location("fit_published", PATH)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["fit_published"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def rows(fit: ModuleType) -> Any:
    return fit.rows_of(json.loads(fit.DATA.read_text()))


@pytest.fixture(scope="module")
def profiles(rows: Any) -> dict[str, Profile]:
    return {name: load(name) for name in {r.device for r in rows}}


def test_the_ranking_of_left_out_devices_is_right_in_85_percent_of_pairs(
    fit: ModuleType, rows: Any, profiles: dict[str, Profile]
) -> None:
    found = fit.summary(fit.leave_one_out(rows, profiles))
    assert found["pairs"] == 36
    assert found["share_right"] >= 0.85
    told = (PATH.parents[1] / "docs" / "published.md").read_text("utf-8")
    assert f"{found['pairs_right']} of {found['pairs']} ({found['share_right']:.0%})" in told


def test_every_published_row_is_used(fit: ModuleType, rows: Any) -> None:
    data = json.loads(fit.DATA.read_text())
    assert len(data["rows"]) == 174
    assert {(r["device"], r["stack"], r["workload"]) for r in data["rows"]} == {
        (r.device, r.stack, r.workload[0]) for r in rows
    }


def test_the_times_of_the_device_left_out_do_not_change_its_prediction(
    fit: ModuleType, rows: Any, profiles: dict[str, Profile]
) -> None:
    def predictions(given: Any) -> Any:
        fitted = fit.fit([r for r in given if r.device != "quadro-k4000"], profiles)
        return fit.Predictor([r for r in given if r.device == "quadro-k4000"], profiles).seconds(fitted)

    wrong = [replace(r, seconds=r.seconds * 7) if r.device == "quadro-k4000" else r for r in rows]
    np.testing.assert_array_equal(predictions(rows), predictions(wrong))


def test_made_up_times_of_the_model_are_found_again(fit: ModuleType, rows: Any, profiles: dict[str, Profile]) -> None:
    truth = {key: fit.PRIORS[key[0]].mean for of in fit.Predictor(rows, profiles).of.values() for key in of}
    made = [
        replace(r, seconds=t) for r, t in zip(rows, fit.Predictor(rows, profiles).seconds(truth).tolist(), strict=True)
    ]
    found = fit.summary(fit.leave_one_out(made, profiles))
    assert found["share_right"] == 1
    assert found["median_error"] < 1e-3
