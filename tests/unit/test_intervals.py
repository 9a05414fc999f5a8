"""Intervals by the bootstrap over tasks: coverage, alignment, and what is refused."""

import numpy as np
import pytest

import metaspan as ms

D, K = 8, 2


def moments(batch):
    """The method of moments in NumPy, which stands for any estimator."""
    X = np.concatenate([batch.X_in, batch.X_out], 1).reshape(-1, D)
    y = np.concatenate([batch.y_in, batch.y_out], 1).reshape(-1)
    return np.linalg.eigh((X * (y * y)[:, None]).T @ X)[1][:, -K:]


def stacked(batch):
    """The batch with its repeated tasks as one array each."""
    return ms.TaskBatch(*(np.stack(x) for x in (batch.X_in, batch.y_in, batch.X_out, batch.y_out)))


def draw(seed, n=80):
    B_star = np.ascontiguousarray(np.eye(D)[:, :K])
    tasks = ms.LinearTasks(d=D, k=K, noise=0.1, B_star=B_star, heads=ms.SphereHeads())
    return tasks.sample(n, 10, 10, seed=seed)


def result_of(batch):
    """A result whose B is the estimate by moments."""
    B = np.ascontiguousarray(moments(batch))
    return ms.train(batch, "fo-anil", width=K, rounds=0, init=(B, np.zeros(K)))


def test_intervals_cover_the_truth():
    """Both kinds of intervals at level 90 % over 30 batches."""
    angles, entries = [], []
    for seed in range(30):
        batch = draw(seed)
        r = result_of(batch)
        options = dict(resamples=40, level=0.9, seed=seed, refit=lambda b: moments(stacked(b)))
        bound = r.interval("angles", **options)
        angles.append(ms.principal_angles(r.B, batch.B_star)[0] <= bound.high[0])
        parts = r.interval("components", **options)
        U, _, V_t = np.linalg.svd(batch.B_star.T @ parts.estimate)
        truth = batch.B_star @ U @ V_t
        entries.append(((parts.low <= truth) & (truth <= parts.high))[K:].mean())
    assert 0.75 <= np.mean(angles) <= 1.0
    assert 0.8 <= np.mean(entries) <= 0.97


def test_columns_that_refits_permute_and_flip_are_aligned():
    batch = draw(0)
    r, rng = result_of(batch), np.random.default_rng(0)

    def shuffled(sample):
        return moments(stacked(sample)) @ np.linalg.qr(rng.standard_normal((K, K)))[0]

    plain = r.interval("components", resamples=30, refit=lambda b: moments(stacked(b)))
    turned = r.interval("components", resamples=30, refit=shuffled)
    np.testing.assert_allclose(turned.low, plain.low, atol=1e-10)
    np.testing.assert_allclose(turned.high, plain.high, atol=1e-10)


@pytest.mark.parametrize("kind", ["train", "fit"])
def test_runs_are_repeated_with_their_arguments(kind):
    """A run that does not depend on the tasks has intervals without width."""
    batch = draw(1, n=30)
    if kind == "train":
        r = ms.train(batch, "anil", width=K, rounds=40, init=ms.Init(dist=0.3), seed=3)
        still = ms.train(batch, "anil", width=K, rounds=0, seed=3)
        assert still.interval("angles", resamples=20).high.max() < 1e-6
    else:
        r = ms.fit(batch, "altgdmin", beta=0.5, rounds=5)
    bound = r.interval("angles", resamples=20, seed=1)
    assert 0.0 < bound.high[0] < 1.5
    again = r.interval("angles", resamples=20, seed=1)
    np.testing.assert_array_equal(bound.high, again.high)
    assert bound.resamples == 20


def test_risk_is_that_of_evaluate_and_its_error_that_of_the_mean():
    batch, new = draw(2), draw(3, n=200)
    r = ms.train(batch, "anil", width=K, rounds=50)
    risk = ms.evaluate(r.B, r.w, new, r.method)
    found = r.interval("risk", on=new, resamples=2000)
    assert float(found.estimate) == pytest.approx(risk.adapted.mean, rel=1e-12)
    assert float(found.standard_error) == pytest.approx(risk.adapted.standard_error, rel=0.1)
    assert found.low < found.estimate < found.high
    ridge = r.interval("risk", on=new, learner="ridge")
    assert float(ridge.estimate) == pytest.approx(risk.ridge.mean, rel=1e-12)


def test_risk_of_linear_attention_is_that_of_evaluate():
    batch, new = draw(3), draw(4, n=30)
    r = ms.train(batch, "linear-attention", width=K, rounds=3, alpha=0.1, beta=0.01)
    risk = ms.evaluate(r.A, r.B, new, r.method)
    assert float(r.interval("risk", on=new).estimate) == pytest.approx(risk.adapted.mean, rel=1e-12)


def test_refits_without_full_rank_are_left_out():
    """Resampled tasks repeat, and three different ones are too few for some estimators."""
    batch = draw(1, n=5)
    interval = ms.fit(batch, "duchi", width=3).interval(resamples=40)
    assert 20 <= interval.resamples < 40
    assert np.isfinite(interval.high).all()


BATCH = draw(0, n=10)
RUN = ms.train(BATCH, "anil", width=K, rounds=2)
REFUSED = {
    "level": (lambda: RUN.interval(level=1.0), "level must lie between 0 and 1; got 1"),
    "on": (lambda: RUN.interval("risk"), "on must be a TaskBatch of held-out tasks; got None"),
    "misplaced": (lambda: RUN.interval(on=BATCH), "on and m must be left out for of='angles'"),
    "refit": (lambda: RUN.interval("risk", on=BATCH, refit=moments), "refit must be left out"),
    "shape": (lambda: RUN.interval(refit=lambda b: np.ones(3)), "refit must return a B of shape"),
    "rank": (lambda: RUN.interval(refit=lambda b: np.ones((D, K))), "only 0 of 200 refits"),
    "trials": (
        lambda: ms.train(BATCH, "anil", width=K, rounds=2, trials=2).interval(),
        "an interval is that of one trial, and this result has 2",
    ),
    "coordinates": (
        lambda: ms.fit(ms.LinearTasks(d=D, k=K), "duchi", n=9, m=4, engine="law").interval(
            "risk", on=BATCH, learner="ridge"
        ),
        "an interval of the risk needs B at full size, and engine 'law' has its coordinates alone",
    ),
    "rows of these tasks": (
        lambda: ms.fit(
            BATCH, "meta-sp", width=K, semigradient=(np.zeros((10, 20, D)), 0.5), rounds=2
        ).interval(),
        "refit must be given for meta-sp with semigradient",
    ),
    "law": (
        lambda: ms.train(ms.LinearTasks(d=9, k=2), "anil", rounds=2).interval(),
        "this result holds LinearTasks",
    ),
    "fit": (
        lambda: ms.fit(BATCH, "altgdmin", beta=0.5, rounds=2).interval("risk", on=BATCH),
        "learner must be 'least_squares' or another regression for a fit",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
@pytest.mark.filterwarnings("ignore::metaspan.NotConvergedWarning")
def test_wrong_arguments_are_refused(case):
    call, message = REFUSED[case]
    with pytest.raises((TypeError, ValueError)) as error:
        call()
    assert message in str(error.value)
