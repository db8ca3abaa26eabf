"""The different values of a tensor, ascending; how many there are depends on the data. Every NaN is one of its own."""

from __future__ import annotations

from typing import NamedTuple

from hetero.tensor import Tensor, apply


class UniqueAll(NamedTuple):
    values: Tensor  # (n,)
    indices: Tensor  # int64 (n,): where each stands first
    inverse_indices: Tensor  # int64 (...): which value each element is
    counts: Tensor  # int64 (n,)


class UniqueCounts(NamedTuple):
    values: Tensor
    counts: Tensor


class UniqueInverse(NamedTuple):
    values: Tensor
    inverse_indices: Tensor


def unique_all(x: Tensor, /) -> UniqueAll:
    """(...) -> values (n,), first places (n,), inverse (...), counts (n,)"""
    return UniqueAll(*apply("unique", x))


def unique_counts(x: Tensor, /) -> UniqueCounts:
    """(...) -> values (n,), counts (n,)"""
    found = unique_all(x)
    return UniqueCounts(found.values, found.counts)


def unique_inverse(x: Tensor, /) -> UniqueInverse:
    """(...) -> values (n,), inverse (...)"""
    found = unique_all(x)
    return UniqueInverse(found.values, found.inverse_indices)


def unique_values(x: Tensor, /) -> Tensor:
    """(...) -> values (n,)"""
    return unique_all(x).values


__all__ = ["unique_all", "unique_counts", "unique_inverse", "unique_values"]
