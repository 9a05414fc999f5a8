"""Runs on many samples approach population training, runs on many tasks those of (23)."""

import numpy as np
import pytest

import metaspan as ms
from matching import METHODS

D, K_STAR, WIDTH = 14, 2, 3
ROUNDS = 4


def start():
    """Return B_star, and a start (B_0, w_0 = 0) at some distance from it."""
    rng = np.random.default_rng(3)
    B_star = np.linalg.qr(rng.standard_normal((D, K_STAR)))[0]
    return B_star, (0.4 * rng.standard_normal((D, WIDTH)), np.zeros(WIDTH))


B_STAR, START = start()
TAILS = ms.StudentT(dof=12)
HEADS = np.random.default_rng(4).standard_normal((6, K_STAR))


def same_for_all(generator, n, k):
    """Draw heads that depend on the trial and the round, but not on the engine."""
    return generator.uniform(-2, 2, (n, k))


def run(method, heads, **changes):
    tasks = {"d": D, "k": K_STAR, "noise": 0.5, "heads": heads, "B_star": B_STAR}
    tasks |= {name: changes.pop(name) for name in ("features",) if name in changes}
    options = {"rounds": ROUNDS, "init": START, "stop": None, "record": (), "threads": 1}
    return ms.train(ms.LinearTasks(**tasks), method, **{**options, **changes})


def distance(found, limit):
    """Root mean square over trials of the distance of [M; R] and w from those of the limit."""
    squares = 0.0
    for mine, theirs in zip(found.state, limit.state, strict=True):
        off = mine.copy()
        rows = theirs.shape[1 + theirs.ndim - mine.ndim]  # R of a tracked run has more
        off[:, :rows] -= theirs
        squares = squares + (off.reshape(len(off), -1) ** 2).sum(axis=1)
    return np.sqrt(np.mean(squares))


def exponent(sizes, errors):
    """Slope of the errors on logarithmic axes."""
    return np.polyfit(np.log(sizes), np.log(errors), 1)[0]


# Errors fall as m^(-1/2). Terms of order 1/m lower the exponents at these sizes by up to 0.04,
# and their standard deviation over seeds is 0.016. The tests accept deviations of 0.1.
SIZES, TRIALS = (50, 200, 800), 80
RATE = pytest.approx(-0.5, abs=0.1)


@pytest.mark.parametrize(
    ("features", "name"),
    [
        *(("gaussian", name) for name in METHODS),
        *((features, name) for features in (TAILS, "sphere") for name in ("anil", "maml")),
    ],
)
def test_many_samples_are_the_population(name, features):
    method = METHODS[name](alpha=0.1, beta=0.2, inner_steps=2)
    limit = run(method, HEADS, n=None)
    assert limit.config.engine == "population"
    errors = []
    for m in SIZES:
        options = {"m_in": m, "m_out": m, "features": features, "trials": TRIALS}
        found = run(method, HEADS, n=None, track_start=True, **options)
        assert found.config.engine == "collapsed"
        errors.append(distance(found, limit))
    assert errors[-1] < 0.05
    assert exponent(SIZES, errors) == RATE


@pytest.mark.parametrize("changes", [{"m_in": None}, {"m_out": None}, {"shared_samples": True}])
def test_one_side_with_many_samples_is_the_population(changes):
    """A function draws the heads, which are the same in both engines in each trial and round."""
    method = ms.MAML(alpha=0.1, beta=0.2)
    limit = run(method, same_for_all, n=5, trials=TRIALS)
    errors = []
    for m in SIZES:
        options = {"m_in": m, "m_out": m, **changes, "trials": TRIALS}
        errors.append(distance(run(method, same_for_all, n=5, track_start=True, **options), limit))
    assert exponent(SIZES, errors) == RATE


FIRST_ORDER = ms.ANIL(alpha=0.3, beta=0.3, first_order=True)
LAW = ms.GaussianHeads(cov=[[1.5, 0.4], [0.4, 0.6]])
COUNTS = [(None, None), (None, 3), (4, 3), (4, None)]


@pytest.mark.parametrize("law", [LAW, ms.SphereHeads(radius=1.3)])
@pytest.mark.parametrize(("m_in", "m_out"), COUNTS)
def test_many_tasks_are_infinitely_many(m_in, m_out, law):
    """Errors fall as n^(-1/2); between seeds the exponents differ by at most 0.015."""
    sizes, counts = (250, 1000, 4000), {"m_in": m_in, "m_out": m_out}
    limit = run(FIRST_ORDER, law, n=None, **counts)
    finite = (m_in, m_out) != (None, None)
    # The error of the population has few dimensions, and varies more.
    options = {"trials": 30 if finite else 400, "track_start": finite, **counts}
    errors = [distance(run(FIRST_ORDER, law, n=n, **options), limit) for n in sizes]
    assert exponent(sizes, errors) == RATE


@pytest.mark.parametrize(("m_in", "m_out"), COUNTS)
def test_mean_of_a_round_is_that_of_infinitely_many_tasks(m_in, m_out):
    """Entries of M, R and w are within 5 standard errors; a test fails by chance at 2e-5."""
    counts = {"m_in": m_in, "m_out": m_out, "rounds": 1}
    limit = run(FIRST_ORDER, LAW, n=None, **counts)
    tracked = (m_in, m_out) != (None, None)
    found = run(FIRST_ORDER, LAW, n=10, trials=2000, track_start=tracked, **counts)
    M, R, w = found.state
    for mine, theirs in zip((M, R[:, :WIDTH], w), limit.state, strict=True):
        error = mine.std(axis=0, ddof=1) / np.sqrt(len(mine))
        assert (abs(mine.mean(axis=0) - theirs) < 5 * error).all()


@pytest.mark.parametrize(("m_in", "m_out"), COUNTS)
@pytest.mark.parametrize("law", [LAW, ms.SphereHeads(radius=1.3)])
def test_records_of_infinitely_many_tasks_are_limits(law, m_in, m_out):
    """Those of 1e5 tasks: losses err by 0.004 there, moments by as much."""
    record = ["dist", "loss_in", "loss_out", "diversity_min", "diversity_max", "mu", "L", "eta"]
    record += ["loss_adapted"]
    options = {"m_in": m_in, "m_out": m_out, "rounds": 0, "record": record}
    limit, many = (run(FIRST_ORDER, law, n=n, **options) for n in (None, 100_000))
    for name in record:
        assert limit.trace[name][0] == pytest.approx(many.trace[name][0], rel=0.02, abs=0.02), name
    assert limit.trace["eta"][0] == pytest.approx(0, abs=1e-12)
