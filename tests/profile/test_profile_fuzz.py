"""Whatever is done to the text of a profile or topology, reading it gives one that holds, or a ProfileError."""

from __future__ import annotations

import math
import os

from hypothesis import given, settings
from hypothesis import strategies as st

from hetero.errors import ProfileError
from hetero.profile import Topology, read_text, read_topology_text, to_text
from hetero.profile.link import read_link_text
from hetero.profile.store import shipped_dir

EXAMPLES = int(os.environ.get("HETERO_PROPERTY_EXAMPLES", "150"))
PROFILES = [(shipped_dir() / f"{n}.toml").read_text("utf-8") for n in ("loihi", "edge-tpu", "cortex-m4", "h100")]
TOPOLOGIES = [(shipped_dir("topologies") / f"{n}.toml").read_text("utf-8") for n in ("robot", "data-centre", "vehicle")]
LINKS = [(shipped_dir("links") / f"{n}.toml").read_text("utf-8") for n in ("wifi6", "lte-cat1")]
PIECES = ("nan", "inf", "-1", "0", "1e400", "-0.0", "true", '""', "[]", "{}", "[[node]]", "[sources]", "\n", "\x00",
          "é", '"' * 3, "=", ".", "count = 0", 'unit = "1"', "uncertainty = 5", "9" * 40)  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, texts: list[str]) -> str:
    """One of the texts with up to six cuts, doublings, swaps of lines or foreign pieces."""
    text = draw(st.sampled_from(texts))
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(text)))
        end = min(len(text), at + draw(st.integers(0, 60)))
        kind = draw(st.sampled_from(("cut", "double", "piece", "line", "number")))
        if kind == "cut":
            text = text[:at] + text[end:]
        elif kind == "double":
            text = text[:end] + text[at:end] + text[end:]
        elif kind == "piece":
            text = text[:at] + draw(st.sampled_from(PIECES)) + text[end:]
        elif kind == "line":
            lines = text.split("\n")
            lines.insert(draw(st.integers(0, len(lines))), lines.pop(draw(st.integers(0, len(lines) - 1))))
            text = "\n".join(lines)
        else:
            text = text.replace("value = ", f"value = {draw(st.sampled_from(PIECES[:8]))} # ", 1)
    return text


@given(mutated(PROFILES))
@settings(max_examples=EXAMPLES, deadline=None)
def test_a_mutated_profile_is_refused_or_holds(text: str) -> None:
    try:
        p = read_text(text)
    except ProfileError:
        return
    for path, q in p.quantities():
        assert math.isfinite(q.value), path
        assert q.value >= 0, path
        assert 0 <= q.uncertainty <= 10, path
        assert q.source in p.sources, path
    for q in (*p.peak_op_per_s.values(), p.memory_byte_per_s):
        assert q is None or q.low > 0
    assert read_text(to_text(p)) == p


@given(mutated(TOPOLOGIES))
@settings(max_examples=EXAMPLES, deadline=None)
def test_a_mutated_topology_is_refused_or_holds(text: str) -> None:
    try:
        t = read_topology_text(text)
    except ProfileError:
        return
    assert isinstance(t, Topology)
    names = [n.name for n in t.nodes]
    assert len(set(names)) == len(names)
    for k in t.links:
        assert set(k.between) <= set(names)
        assert 0 < k.byte_per_s.low < math.inf
        assert 0 <= k.latency_s.value < math.inf


@given(mutated(LINKS))
@settings(max_examples=EXAMPLES, deadline=None)
def test_a_mutated_link_is_refused_or_holds(text: str) -> None:
    try:
        link = read_link_text(text)
    except ProfileError:
        return
    assert 0 < link.byte_per_s.low < math.inf
    assert 0 <= link.latency_s.value < math.inf


@given(st.binary(max_size=300))
@settings(max_examples=EXAMPLES, deadline=None)
def test_bytes_are_no_profile(data: bytes) -> None:
    try:
        read_text(data.decode("latin-1"))
    except ProfileError:
        return
    raise AssertionError("a few bytes are no profile")
