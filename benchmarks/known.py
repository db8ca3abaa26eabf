"""The best values known of planning benchmarks, from long searches: data/best-known.json, case -> variant -> s."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path

KNOWN = Path(__file__).parent / "data" / "best-known.json"

Values = Mapping[str, Mapping[str, float]]


def known() -> dict[str, dict[str, float]]:
    return json.loads(KNOWN.read_text("utf-8")) if KNOWN.exists() else {}


def remember(found: Values) -> None:
    """Keeps the smaller of what was known and what was found; all or nothing."""
    best = known()
    for case, each in found.items():
        before = best.get(case, {})
        best[case] = before | {variant: min(value, before.get(variant, value)) for variant, value in each.items()}
    scratch = KNOWN.with_suffix(".new")
    scratch.write_text(json.dumps(best, indent=1) + "\n", "utf-8")
    os.replace(scratch, KNOWN)
