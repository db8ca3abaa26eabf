"""Random tensors: the distributions, the keys, and the promise that draws never change."""

from __future__ import annotations

import hashlib
import math
from statistics import NormalDist
from typing import Any

import numpy as np
import pytest

import hetero as ht
from hetero.errors import AttributeValueError, DTypeError, ShapeError
from hetero.ops.normal import quantiles

KEY = ht.random.key(2024)


def _np(x: ht.Tensor) -> Any:
    return np.asarray(x)


def _digest(x: ht.Tensor) -> str:
    return hashlib.sha256(_np(x).tobytes()).hexdigest()[:16]


def test_bits_of_key_zero_are_the_published_words() -> None:
    assert [f"{w:08x}" for w in ht.random.bits(ht.random.key(0), 4).tolist()] == [
        "6627e8d5",
        "e169c58d",
        "bc57ac4c",
        "9b00dbd8",
    ]


@pytest.mark.parametrize(
    ("draw", "digest"),
    [
        (lambda: ht.random.bits(KEY, 1000, "uint64"), "c06de64b23cd2048"),
        (lambda: ht.random.uniform(KEY, 1000), "b7970d2031e0c72e"),
        (lambda: ht.random.uniform(KEY, 1000, "float64"), "068518637173a70c"),
        (lambda: ht.random.normal(KEY, 1000), "18e7470254b933ed"),
        (lambda: ht.random.normal(KEY, 1000, "float64"), "63815a1c8d0b800c"),
        (lambda: ht.random.randint(KEY, 1000, -7, 1000), "7936b321afa38382"),
        (lambda: ht.random.permutation(KEY, 1000), "37ff8bdcdfc1b9fe"),
    ],
)
def test_draws_are_the_same_for_ever(draw: Any, digest: str) -> None:
    assert _digest(draw()) == digest


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_uniform_is_flat(dtype: str) -> None:
    x = _np(ht.random.uniform(KEY, 100_000, dtype))
    assert 0 <= x.min()
    assert x.max() < 1
    counts = np.histogram(x, 100, (0, 1))[0]
    assert ((counts - 1000) ** 2 / 1000).sum() < 160  # chi-square with 99 degrees: above 160 one time in 10^4


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_normal_has_the_moments_and_the_quantiles(dtype: str) -> None:
    x = _np(ht.random.normal(KEY, 100_000, dtype)).astype(np.float64)
    assert abs(x.mean()) < 4 / math.sqrt(len(x))
    assert abs(x.var() - 1) < 4 * math.sqrt(2 / len(x))
    assert abs((x**3).mean()) < 4 * math.sqrt(15 / len(x))
    assert abs((x**4).mean() - 3) < 4 * math.sqrt(96 / len(x))
    below = np.searchsorted(np.sort(x), [NormalDist().inv_cdf(i / 50) for i in range(1, 50)]) / len(x)
    assert np.abs(below - np.arange(1, 50) / 50).max() < 1.95 / math.sqrt(len(x))  # Kolmogorov: one time in 10^3


@pytest.mark.parametrize(("dtype", "bits", "close"), [("float32", 32, 2.0**-33), ("float64", 64, 4e-15)])
def test_normal_is_the_quantile_of_its_word(dtype: str, bits: int, close: float) -> None:
    rng = np.random.default_rng(0)
    words = rng.integers(0, 1 << bits, 3000, dtype=f"uint{bits}") >> rng.integers(0, bits, 3000).astype(f"uint{bits}")
    for word, z in zip(words.tolist(), quantiles(words, dtype).tolist(), strict=True):
        q = word | 1
        q = q & ~0x7FF if q >= 1 << 53 else q
        want = NormalDist().inv_cdf(q / 2.0 ** (bits + 1)) * (1 if word & 1 else -1)
        rounding = float(np.spacing(np.dtype(dtype).type(want)))
        assert abs(z - want) <= close + abs(rounding)  # the oracle itself is right to 3e-15


def test_normal_is_symmetric_and_reaches_far() -> None:
    ends = quantiles(np.array([0, 1, 0xFFFFFFFE, 0xFFFFFFFF], np.uint32), "float32")
    assert ends[0] == -ends[1]
    assert abs(ends[0]) > 6.3
    assert ends[2] == -ends[3]
    assert 0 < abs(ends[2]) < 1e-6


def test_split_gives_different_keys_that_share_no_words() -> None:
    a, b, c = ht.random.split(KEY, 3)
    drawn = [_np(ht.random.bits(k, 1000)) for k in (KEY, a, b, c)]
    assert len(np.unique(np.concatenate(drawn))) > 3990
    assert a.shape == (4,)
    assert a.dtype == ht.uint32


def test_fold_in_gives_another_key_for_each_number() -> None:
    keys = {tuple(ht.random.fold_in(KEY, i).tolist()) for i in (0, 1, 2, 1 << 32, (1 << 64) - 1)}
    assert len(keys) == 5


def test_a_seed_uses_all_its_bits() -> None:
    assert len({tuple(ht.random.key(s).tolist()) for s in (0, 1, 1 << 40, 1 << 70, 1 << 127)}) == 5
    with pytest.raises(AttributeValueError, match=r"2\^128"):
        ht.random.key(-1)


def test_randint_stays_in_its_bounds_and_reaches_them() -> None:
    x = _np(ht.random.randint(KEY, (100, 100), -3, 4))
    assert x.dtype == np.int64
    assert sorted(set(x.ravel().tolist())) == [-3, -2, -1, 0, 1, 2, 3]
    assert _np(ht.random.randint(KEY, (5,), 250, 256, "uint8")).dtype == np.uint8
    with pytest.raises(AttributeValueError, match="values that the dtype holds"):
        ht.random.randint(KEY, (5,), 0, 257, "uint8")


def test_bernoulli_has_its_probability() -> None:
    x = _np(ht.random.bernoulli(KEY, 0.3, (100_000,)))
    assert x.dtype == np.bool_
    assert abs(x.mean() - 0.3) < 4 * math.sqrt(0.21 / 100_000)
    assert ht.random.bernoulli(KEY, ht.asarray([0.0, 1.0])).tolist() == [False, True]


def test_permutation_keeps_every_element() -> None:
    assert sorted(ht.random.permutation(KEY, 1000).tolist()) == list(range(1000))
    x = ht.reshape(ht.arange(12), (3, 4))
    assert sorted(ht.random.permutation(KEY, x, axis=1)[0].tolist()) == [0, 1, 2, 3]


def test_choice_draws_from_what_is_there() -> None:
    x = ht.asarray([10, 20, 30])
    assert set(ht.random.choice(KEY, x, (200,)).tolist()) == {10, 20, 30}
    assert sorted(ht.random.choice(KEY, x, (3,), replace=False).tolist()) == [10, 20, 30]
    assert set(ht.random.choice(KEY, x, (50, 2), p=[0.0, 1.0, 0.0]).reshape(-1).tolist()) == {20}
    with pytest.raises(ShapeError, match="4 of 3"):
        ht.random.choice(KEY, x, (4,), replace=False)


def test_draws_refuse_other_dtypes_and_keys() -> None:
    with pytest.raises(DTypeError, match="float32 or float64"):
        ht.random.normal(KEY, 3, "float16")
    with pytest.raises(ShapeError, match=r"random\.key"):
        ht.random.uniform(ht.asarray([1, 2]), 3)


def test_uniform_between_bounds() -> None:
    x = _np(ht.random.uniform(KEY, 1000, low=-2.0, high=3.0))
    assert x.dtype == np.float32
    assert -2 <= x.min() < -1.9
    assert 2.9 < x.max() <= 3
