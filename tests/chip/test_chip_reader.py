"""Chips as files: the shipped ones hold, and a file that lies is refused with all that is wrong with it."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hetero.chip.chip import CHECKED, SHIPPED, chip_dir, chips, load_chip, read_chip_text
from hetero.errors import ProfileError

EXAMPLES = int(os.environ.get("HETERO_PROPERTY_EXAMPLES", "150"))
TEXTS = {n: (chip_dir() / f"{n}.toml").read_text("utf-8") for n in SHIPPED}
PIECES = ("nan", "inf", "-1", "0", "1e400", "-0.0", "true", '""', "[]", "{}", "[mesh]", "[sources]", "\n", "\x00",
          '"' * 3, "=", ".", 'profile = "h100"', 'unit = "1"', "uncertainty = 5", "9" * 40)  # fmt: skip


def problems(text: str) -> str:
    with pytest.raises(ProfileError) as e:
        read_chip_text(text, "toy.toml")
    assert "docs/chips.md" in e.value.hint or "TOML" in e.value.problem
    return e.value.problem


@pytest.mark.parametrize("name", chips())
def test_a_shipped_chip_is_named_like_its_file_and_says_all(name: str) -> None:
    chip = load_chip(name)
    assert chip.name == name
    for key in CHECKED:
        assert (chip.quantity(key) is None) == (key in chip.unknown), key
    for key, q in {**chip.own, **chip.mesh}.items():
        assert q.source in chip.sources, key
        recalled = chip.sources[q.source].title.startswith(("recalled", "derived", "estimate"))
        assert not recalled or q.status == "estimated", key


def test_every_shipped_file_is_a_device() -> None:
    assert {f.stem for f in chip_dir().glob("*.toml")} == set(SHIPPED)


def test_truenorth_and_loihi_are_what_their_papers_say() -> None:
    t, k = load_chip("truenorth"), load_chip("loihi")
    assert (t.limit("cores"), t.limit("neurons_per_core"), t.limit("axons_per_core")) == (4096, 256, 256)
    assert (t.limit("axon_types"), t.limit("weight_bits"), t.memory_bits) == (4, 9, 256 * 256)
    assert (k.limit("cores"), k.limit("neurons_per_core"), k.memory_bits) == (128, 1024, 128 * 1024 * 8)


LIES = {
    "unknown key": ("numbers =", "numebrs = 1\nnumbers =", "numebrs: is not a known key; did you mean numbers?"),
    "missing key": ("splits_neurons = false", "", "splits_neurons: is missing"),
    "nan": ("value = 24,", "value = nan,", "limits.state_bits.value: wants a finite number"),
    "negative": ("value = 24,", "value = -24,", "limits.state_bits.value: wants a number that is not negative"),
    "a half": ("value = 24,", "value = 2.5,", "state_bits: wants a whole number up to 4096"),
    "absurd": ("value = 24,", "value = 1e300,", "state_bits: wants a whole number up to 4096"),
    "no such limit": ("state_bits", "sate_bits", "limits.sate_bits: is not one of"),
    "not a neuron": ('"loihi_lif"', '"gru"', "neurons[0]: 'gru' is not one of"),
    "no profile": ('profile = "loihi"', 'profile = "loihy"', "profile: no profile is called 'loihy'"),
    "mesh too small": ("value = 8,", "value = 7,", "mesh: has room for 112 cores, fewer than the chip's 128"),
    "twice": ("overhead_bits =", "cores =", "limits.cores: stands in profile loihi already"),
    "neither given nor unknown": ('"fan_in", ', "", "limits.fan_in: is missing; list it in unknown"),
    "both": ('["synapses', '["cores", "synapses', "unknown: names cores, which is given"),
    "no source": ('source = "sana"', 'source = "nobody"', "'nobody' is not in [sources]"),
    "no mesh": ("[mesh]", "[mush]", "mesh: is missing"),
}  # fmt: skip


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_refused(lie: str) -> None:
    old, new, said = LIES[lie]
    assert old in TEXTS["loihi"]
    assert said in problems(TEXTS["loihi"].replace(old, new, 1))


def test_all_lies_are_told_at_once() -> None:
    text = TEXTS["loihi"]
    for lie in ("unknown key", "missing key", "nan", "not a neuron", "no source"):
        old, new, _ = LIES[lie]
        text = text.replace(old, new, 1)
    told = problems(text)
    for lie in ("unknown key", "missing key", "nan", "not a neuron", "no source"):
        assert LIES[lie][2] in told


def test_no_such_chip_names_those_there_are() -> None:
    with pytest.raises(ProfileError, match="no chip is called 'lohi'") as e:
        load_chip("lohi")
    assert "loihi" in e.value.hint


@st.composite
def mutated(draw: st.DrawFn) -> str:
    """A shipped file with up to six cuts, doublings, swaps of lines or foreign pieces."""
    text = TEXTS[draw(st.sampled_from(SHIPPED))]
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


@given(mutated())
@settings(max_examples=EXAMPLES, deadline=None)
def test_a_mutated_chip_is_refused_or_holds(text: str) -> None:
    try:
        chip = read_chip_text(text)
    except ProfileError:
        return
    for key, q in {**chip.own, **chip.mesh}.items():
        assert math.isfinite(q.value), key
        assert q.value >= 0, key
        assert q.source in chip.sources, key
    rows, columns, cores = chip.shape
    assert rows * columns * cores >= (chip.limit("cores") or 0)


@given(st.binary(max_size=300))
@settings(max_examples=EXAMPLES, deadline=None)
def test_bytes_are_no_chip(data: bytes) -> None:
    with pytest.raises(ProfileError):
        read_chip_text(data.decode("latin-1"))


def test_a_profile_may_lie_beside_the_chip(tmp_path: Path) -> None:
    from hetero.profile.store import shipped_dir

    profile = (shipped_dir() / "loihi.toml").read_text("utf-8").replace("value = 23.6,", "value = 10,")
    (tmp_path / "own.toml").write_text(profile, "utf-8")
    text = TEXTS["loihi"].replace('profile = "loihi"', 'profile = "own.toml"')
    (tmp_path / "chip.toml").write_text(text, "utf-8")
    energy = load_chip(tmp_path / "chip.toml").spiking.joule_per_synaptic_event
    assert energy is not None
    assert energy.value == pytest.approx(10e-12)
