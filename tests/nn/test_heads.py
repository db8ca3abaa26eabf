"""Attention with a cache, with masks, with open sizes, and rotary positions: against plain NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import hetero as ht
from hetero import nn
from hetero.errors import AttributeValueError, DTypeError, ShapeError
from hetero.nn.heads import put
from hetero.op import Array
from hetero.spi import Device


def draw(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).uniform(-1, 1, shape).astype("float32")


def t(x: Array) -> ht.Tensor:
    return ht.asarray(x)


def oracle(q: Array, k: Array, v: Array, seen: Array, scale: float) -> Array:
    """One query at a time, in float64."""
    out = np.zeros((*q.shape[:-1], v.shape[-1]))
    for at in np.ndindex(*q.shape[:-1]):
        keys, values = k[at[:-1]].astype("float64"), v[at[:-1]].astype("float64")
        scores = np.array([q[at].astype("float64") @ key * scale for key in keys])
        weights = np.where(seen[at], np.exp(scores), 0)
        out[at] = (weights / weights.sum()) @ values
    return out


def test_attention_is_a_weighted_mean_of_the_values_that_are_seen(tensor_device: Device) -> None:
    q, k, v = draw(0, 2, 3, 5, 4), draw(1, 2, 3, 7, 4), draw(2, 2, 3, 7, 6)
    mask = np.random.default_rng(3).uniform(size=(2, 1, 5, 7)) < 0.5
    mask[..., 0] = True  # and so does the diagonal below: every query sees a key
    seen = np.broadcast_to(mask & np.tri(5, 7, dtype=bool), (2, 3, 5, 7))

    def call(q: ht.Tensor, k: ht.Tensor, v: ht.Tensor, mask: ht.Tensor) -> ht.Tensor:
        return nn.attention(q, k, v, mask, causal=True)

    given = [ht.asarray(x, device=tensor_device) for x in (q, k, v, mask)]
    assert np.allclose(np.asarray(ht.jit(call)(*given)), oracle(q, k, v, seen, 0.5), atol=1e-6)


def test_a_query_that_sees_nothing_gets_the_mean_and_no_nan(tensor_device: Device) -> None:
    q, k, v = draw(0, 1, 2, 4), draw(1, 1, 3, 4), draw(2, 1, 3, 4)
    mask = np.array([[True, False, False], [False, False, False]])
    given = [ht.asarray(x, device=tensor_device) for x in (q, k, v, mask)]
    y = np.asarray(ht.jit(nn.attention)(*given))
    assert np.allclose(y[0, 0], v[0, 0], atol=1e-6)
    assert np.allclose(y[0, 1], v[0].mean(0), atol=1e-6)


@pytest.mark.parametrize(
    ("shapes", "mask", "error", "words"),
    [
        (((2, 3, 4), (2, 5, 3), (2, 5, 4)), None, ShapeError, r"got \(2, 3, 4\), \(2, 5, 3\)"),
        (((2, 3, 4), (2, 5, 4), (2, 6, 4)), None, ShapeError, "attention wants q"),
        (((2, 3, 4), (1, 5, 4), (1, 5, 4)), None, ShapeError, "attention wants q"),
        (((3, 4), (5, 4), (5, 4)), np.ones((5, 3), bool), ShapeError, "does not stretch to the scores"),
        (((3, 4), (5, 4), (5, 4)), np.ones((1, 3, 5), bool), ShapeError, "does not stretch to the scores"),
        (((3, 4), (5, 4), (5, 4)), np.ones((3, 5), "int64"), DTypeError, "a mask of int64"),
        (((3, 0), (5, 0), (5, 4)), None, AttributeValueError, "no scale of its own"),
    ],
)
def test_attention_refuses_what_does_not_fit(shapes: Any, mask: Any, error: Any, words: str) -> None:
    q, k, v = (t(draw(i, *s)) for i, s in enumerate(shapes))
    with pytest.raises(error, match=words):
        nn.attention(q, k, v, None if mask is None else t(mask))


def test_rotary_positions_turn_complex_numbers() -> None:
    x, positions = draw(0, 2, 3, 5, 8), np.array([0, 1, 5, 100, 7])
    turned = np.exp(1j * positions[:, None] * 10000.0 ** (-np.arange(4) / 4))
    z = (x[..., :4] + 1j * x[..., 4:]) * turned
    got = np.asarray(nn.rotary(t(x), t(positions)))
    assert np.allclose(got, np.concatenate([z.real, z.imag], -1), atol=1e-5)


def test_rotary_scores_depend_on_distance_alone() -> None:
    q, k = t(draw(1, 1, 8)), t(draw(2, 1, 8))

    def score(i: int, j: int) -> float:
        return float(ht.sum(nn.rotary(q, t(np.array([i]))) * nn.rotary(k, t(np.array([j])))))

    assert score(3, 1) == pytest.approx(score(12, 10), abs=1e-5)
    assert score(3, 1) != pytest.approx(score(3, 2), abs=1e-3)


@pytest.mark.parametrize("rotary", [False, True])
@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_steps_with_a_cache_give_what_the_whole_gives(rotary: bool, kv_heads: int) -> None:
    layer = nn.MultiHeadAttention(16, 4, kv_heads=kv_heads, rotary=rotary, key=ht.random.key(4))
    x = draw(5, 2, 9, 16)
    whole = np.asarray(layer(t(x), causal=True))
    cache, parts = nn.empty_cache(2, kv_heads, 12, 4), list[Array]()
    for first, last in ((0, 4), (4, 5), (5, 8), (8, 9)):
        position = first if first < 5 else ht.asarray(first)  # a number, or a tensor that a loop carries
        y, cache = layer.step(t(x[:, first:last]), cache, position)
        parts.append(np.asarray(y))
    assert np.allclose(np.concatenate(parts, 1), whole, atol=1e-6)
    assert not np.asarray(cache.keys)[:, :, 9:].any()
    assert np.asarray(cache.values)[:, :, :9].all()


def test_rows_are_put_where_they_belong() -> None:
    rows, new = draw(0, 1, 2, 6, 3), draw(1, 1, 2, 2, 3)
    want = rows.copy()
    want[:, :, 3:5] = new
    for position in (3, ht.asarray(3)):
        assert np.array_equal(np.asarray(put(t(rows), t(new), position)), want)


def test_a_full_cache_is_an_error() -> None:
    layer = nn.MultiHeadAttention(8, 2, key=ht.random.key(0))
    with pytest.raises(ShapeError, match="3 positions from 6 do not fit a cache of 8"):
        layer.step(t(draw(0, 1, 3, 8)), nn.empty_cache(1, 2, 8, 4), 6)


@pytest.mark.parametrize("rotary", [False, True])
def test_batch_and_length_stay_open(tensor_device: Device, rotary: bool) -> None:
    layer = nn.MultiHeadAttention(8, 2, rotary=rotary, key=ht.random.key(1))

    def call(x: ht.Tensor, mask: ht.Tensor) -> ht.Tensor:
        return layer(x, mask=mask, causal=True)

    graph = ht.trace(call, ht.spec(("batch", "sequence", 8)), ht.spec(("batch", 1, 1, "sequence"), "bool"))
    assert sorted(graph.symbols) == ["batch", "sequence"]
    assert [n.op.name for n in graph.nodes].count("attention") == 1
    for batch, n in ((1, 3), (2, 5)):
        x, mask = draw(batch, batch, n, 8), np.ones((batch, 1, 1, n), bool)
        mask[0, :, :, 1] = False
        got = graph.run({"x": x, "mask": mask}, device=tensor_device.name)["out"]
        assert np.allclose(got, np.asarray(call(t(x), t(mask))), atol=1e-6)
