"""AltGDmin from its spectral start, against dense matrices and repeated tasks."""

import re

import numpy as np
import pytest

import metaspan as ms
from estimator_cases import Recorder, sine, tasks
from metaspan.estimators.altgdmin import SpectralAltGDmin
from reference.estimator_samples import DenseSamples

LENGTHS = [9, 7, 12, 8, 9, 10, 6, 8]
COPIES = [1, 3, 2, 2, 1, 1, 2, 4]


def run(samples, beta, **recorder):
    trace = Recorder(**recorder)
    estimate = SpectralAltGDmin(method=ms.AltGDmin(beta=beta)).estimate(samples, 2, trace)
    return estimate, trace


def test_start_has_the_singular_vectors_of_truncated_weighted_moments(rng):
    X, y, _ = tasks(rng, d=6, k=2, n=8, m=LENGTHS, noise=0.3)
    y[3][2] = 40.0  # not counted
    weights = np.array(COPIES) / np.mean(COPIES)
    squares = np.concatenate([y_i**2 for y_i in y])
    most = 9 * np.average(squares, weights=np.repeat(weights, LENGTHS))
    kept = [np.where(y_i**2 <= most, y_i, 0) for y_i in y]
    columns = [X_i.T @ y_i / len(y_i) for X_i, y_i in zip(X, kept, strict=True)]
    U = np.linalg.svd(np.array(columns).T * np.sqrt(weights))[0][:, :2]
    _, trace = run(DenseSamples(X, y, weights=weights), 0.1, stop_after=1)
    assert sine(trace.iterates[0], U) < 1e-7


def test_weight_of_a_task_counts_its_copies_in_every_iterate(rng):
    X, y, _ = tasks(rng, d=6, k=2, n=8, m=8, noise=0.3)
    repeated = [i for i, count in enumerate(COPIES) for _ in range(count)]
    once = DenseSamples(X, y, weights=np.array(COPIES) / np.mean(COPIES))
    many = DenseSamples([X[i] for i in repeated], [y[i] for i in repeated])
    traces = [run(samples, 0.5, stop_after=4)[1] for samples in (once, many)]
    for B, other in zip(*(trace.iterates for trace in traces), strict=True):
        assert sine(B, np.linalg.qr(other)[0]) < 1e-7
    np.testing.assert_allclose(traces[0].objectives, traces[1].objectives, rtol=1e-10)


def test_end_at_the_limit_names_a_beta_that_converges(rng):
    X, y, _ = tasks(rng, d=10, k=2, n=40, m=20, noise=0.5)
    samples = DenseSamples(X, y)
    slow, _ = run(samples, 1e-3, rounds=200)
    assert not slow.converged
    found = re.search(
        r"beta = 0.001; the inverse of the largest curvature is about (\S+)$", slow.reason
    )
    beta = float(found.group(1))
    moment = slow.heads.T @ slow.heads / 40
    assert beta == pytest.approx(1 / np.linalg.norm(moment, 2), rel=0.05)
    quick, _ = run(samples, beta, rounds=200)
    assert quick.converged


@pytest.mark.parametrize("size", [1e-3, 1e-4, 1e-6])
def test_steps_too_short_for_the_responses_are_no_convergence(rng, size):
    """The default beta is far too small for small heads, and steps with it hardly move."""
    X, y, _ = tasks(rng, d=6, k=2, n=12, m=20, noise=0.1)
    estimate, _ = run(DenseSamples(X, [size * y_i for y_i in y]), 0.1)
    assert not estimate.converged
    usual = float(re.search(r"is about (\S+)$", estimate.reason)[1])
    rescaled, _ = run(DenseSamples(X, [size * y_i for y_i in y]), usual / 2)
    assert rescaled.converged
    assert sine(rescaled.B, run(DenseSamples(X, y), usual * size**2 / 2)[0].B) < 1e-4
