"""Learning rules against loops written out by hand, on every backend; and what they do to weights."""

from __future__ import annotations

from math import exp
from typing import Any

import numpy as np
import pytest

import hetero as ht
from hetero.errors import HeteroError
from hetero.op import OPS, Array
from hetero.ops.products import parse
from hetero.select import device_of
from hetero.tensor import apply

PAIR: dict[str, Any] = {"dt": 1e-3, "tau_pre": 0.02, "tau_post": 0.03, "a_plus": 0.03, "a_minus": 0.02, "w_min": 0.0,
                        "w_max": 1.0, "bound": "hard"}  # fmt: skip


@pytest.fixture(params=["numpy", "opencl"])
def host(request: pytest.FixtureRequest) -> str:
    return device_of(request.param).name


def trains(steps: int = 60, n: int = 5, m: int = 4) -> tuple[Array, Array, Array]:
    rng = np.random.default_rng(0)
    pre, post = ((rng.random((steps, k)) < 0.2).astype("float32") for k in (n, m))
    return rng.random((m, n), dtype=np.float32), pre, post


def learn(host: str, w: Array, pre: Array, post: Array, op: str, traces: list[Any], **attrs: Any) -> list[Array]:
    with ht.use(host):
        state = tuple(ht.asarray(a) for a in (w, *traces))

        def step(state: Any, x: Any) -> tuple[Any, Any]:
            made = apply(op, state[0], *x, *state[1:], **attrs)
            return tuple(made), made[0]

        last, _ = ht.scan(step, state, (ht.asarray(pre), ht.asarray(post)))
    return [np.asarray(a) for a in last]


@pytest.mark.parametrize("bound", ["hard", "soft"])
def test_pairs_are_what_every_pair_of_spikes_adds(host: str, bound: str) -> None:
    w, pre, post = trains()
    zeros = [np.zeros(5, "float32"), np.zeros(4, "float32")]
    got = learn(host, w, pre, post, "stdp", zeros, **PAIR | {"bound": bound})
    want = w.astype(float)
    for t in range(len(pre)):
        x = sum(pre[s] * exp(-(t - s) * 1e-3 / 0.02) for s in range(t)) + np.zeros(5)
        y = sum(post[s] * exp(-(t - s) * 1e-3 / 0.03) for s in range(t)) + np.zeros(4)
        up, down = 0.03 * np.outer(post[t], x), 0.02 * np.outer(y, pre[t])
        want = np.clip(want + (up * (1 - want) - down * want if bound == "soft" else up - down), 0, 1)
    assert np.allclose(got[0], want, atol=1e-5)
    assert not np.allclose(got[0], w, atol=0.05)


def test_a_spike_before_strengthens_and_one_after_weakens() -> None:
    w = np.full((1, 1), 0.5, "float32")
    zeros = [np.zeros(1, "float32"), np.zeros(1, "float32")]
    first, second = np.zeros((20, 1), "float32"), np.zeros((20, 1), "float32")
    first[5], second[10] = 1, 1
    up = learn("numpy:0", w, first, second, "stdp", zeros, **PAIR)[0] - 0.5
    down = learn("numpy:0", w, second, first, "stdp", zeros, **PAIR)[0] - 0.5
    assert up == pytest.approx(0.03 * exp(-5 / 20), rel=1e-5)
    assert down == pytest.approx(-0.02 * exp(-5 / 30), rel=1e-5)


def test_triplets_need_a_second_spike_behind(host: str) -> None:
    """Without the pair terms a single pair changes nothing; a postsynaptic spike before it does."""
    attrs = {"dt": 1e-3, "tau_plus": 0.017, "tau_x": 0.1, "tau_minus": 0.034, "tau_y": 0.12, "a2_plus": 0.0,
             "a2_minus": 0.0, "a3_plus": 0.1, "a3_minus": 0.0, "w_min": 0.0, "w_max": 1.0, "bound": "hard"}  # fmt: skip
    w, zero = np.full((1, 1), 0.5, "float32"), [np.zeros(1, "float32")] * 4
    pre, post = np.zeros((30, 1), "float32"), np.zeros((30, 1), "float32")
    pre[10], post[15] = 1, 1
    assert learn(host, w, pre, post, "stdp_triplet", zero, **attrs)[0] == 0.5
    post[5] = 1
    grown = learn(host, w, pre, post, "stdp_triplet", zero, **attrs)[0] - 0.5
    assert grown == pytest.approx(0.1 * exp(-5 / 17) * exp(-10 / 120), rel=1e-4)


def test_a_reward_turns_what_is_eligible_into_weight(host: str) -> None:
    attrs = {k: v for k, v in PAIR.items() if k != "bound"} | {"tau_e": 0.1, "rate": 0.5}
    w = np.full((1, 1), 0.5, "float32")
    pre, post, reward = (np.zeros((40, 1), "float32") for _ in range(3))
    pre[5], post[10], reward[30] = 1, 1, 2
    with ht.use(host):
        state = tuple(ht.asarray(a) for a in (w, *[np.zeros(1, "float32")] * 2, np.zeros((1, 1), "float32")))

        def step(state: Any, x: Any) -> tuple[Any, Any]:
            made = apply("stdp_reward", state[0], x[0], x[1], *state[1:], x[2][0], **attrs)
            return tuple(made), made[0]

        _, ws = ht.scan(step, state, tuple(ht.asarray(a) for a in (pre, post, reward)))
    got = np.asarray(ws)[:, 0, 0]
    assert (got[:30] == 0.5).all()
    assert got[-1] - 0.5 == pytest.approx(0.5 * 2 * 0.03 * exp(-5 / 20) * exp(-20 / 100), rel=1e-4)


@pytest.mark.parametrize("name", ["stdp", "stdp_triplet"])
@pytest.mark.parametrize("share", [0.0, 0.1, 1.0])
def test_the_reference_that_skips_silence_is_the_formula(name: str, share: float) -> None:
    rng = np.random.default_rng(1)
    op = OPS[name]
    sample = op.samples[2]
    arrays = [rng.random(a.shape).astype("float32") for a in sample.args]
    arrays[1], arrays[2] = ((rng.random(a.shape) < share).astype("float32") for a in arrays[1:3])
    from hetero.graph.passes.decompose import decompose, nothing_whole
    from hetero.op import TensorType
    from hetero.testing.agree import one_op

    graph = decompose(one_op(op, [TensorType(a.shape, a.dtype) for a in arrays], sample.attrs), nothing_whole)
    for a, b in zip(op.evaluate(tuple(arrays), sample.attrs), graph.evaluate(*arrays), strict=True):
        assert np.array_equal(a, b)


def test_a_sum_of_products_is_what_it_says(host: str) -> None:
    rng = np.random.default_rng(2)
    w, x, y = (rng.random(s).astype("float32") for s in ((4, 5), (3, 5), (4, 4)))
    with ht.use(host):
        given = [ht.asarray(a) for a in (w, x, y)]
        got = np.asarray(apply("learn_products", *given, rule="2^-2*x1*y0 - 0.5*x0*y1*w + x0", w_min=0.0, w_max=1.5))
    want = w + 0.25 * np.outer(y[0], x[1]) - 0.5 * np.outer(y[1], x[0]) * w + x[0]
    assert np.allclose(got, np.clip(want, 0, 1.5), atol=1e-6)
    assert (want > 1.5).any()


@pytest.mark.parametrize(
    ("rule", "words"),
    [("", "no sum of products"), ("x1*y1", "neither x0 nor y0"), ("x0*", "a factor is missing"), ("x0*z3", "'z3'"),
     ("2^-3*u0*x1", "'u0'"), ("x0 + + y0", "no sum of products"), ("__import__('os')*x0", "__import__")],
)  # fmt: skip
def test_a_rule_that_cannot_be_read_says_why(rule: str, words: str) -> None:
    with pytest.raises(HeteroError, match=words):
        parse(rule)


def test_times_and_bounds_that_make_no_sense_are_refused_at_once() -> None:
    w, pre, post = trains()
    with pytest.raises(HeteroError) as caught:
        apply("stdp", *(ht.asarray(a) for a in (w, pre[0], post[0], pre[0], post[0])),
              **PAIR | {"dt": 0.0, "tau_pre": -1.0, "w_min": 2.0, "bound": "none"})  # fmt: skip
    for part in ("dt is more than 0", "tau_pre is more than 0", "w_min 2.0", "bound is one of"):
        assert part in caught.value.problem
