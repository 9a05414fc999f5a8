"""Components by training are those of `train` on the same batch; what is no finder is refused."""

import warnings

import numpy as np
import pytest

import metaspan as ms
from metaspan.people import finders
from reference import people
from reference.estimator_samples import DenseSamples
from related_tasks import draw_related, make


@pytest.fixture(scope="module")
def data():
    """Tasks with an even and an odd number of rows."""
    data = draw_related(np.random.default_rng(11), n=14, m=11, d=7)
    kept = (data.tasks % 2 == 0) | (np.arange(len(data.y)) % 11 > 0)
    X = [data.X[kept & (data.tasks == i)] for i in range(14)]
    y = [data.y[kept & (data.tasks == i)] for i in range(14)]
    return X, y


def halves(X, y, seed):
    """A batch whose inner samples are a random half of each task, rounded down."""
    rng = np.random.default_rng(seed)
    orders = [rng.permutation(len(task)) for task in y]
    sets = []
    for part in (lambda o: o[: len(o) // 2], lambda o: o[len(o) // 2 :]):
        for values in (X, y):
            sets.append([task[part(o)] for task, o in zip(values, orders, strict=True)])
    return ms.TaskBatch(*sets)


METHODS = {
    **{name: name for name in finders.OF_TRAIN},
    "average risk": ms.AverageRisk(beta=0.05),
    "options": ms.ANIL(alpha=0.05, beta=0.02, inner_steps=3),
}


@pytest.mark.parametrize("kind", METHODS)
@pytest.mark.parametrize("intercept", [False, True])
def test_components_of_a_method_are_those_of_train(data, kind, intercept):
    """Training ends before its limit, so that a run of one round more has another span."""
    X, y = data
    if intercept:
        mirrors = [people.reflection(len(task))[1:] for task in y]
        X = [np.ascontiguousarray(H @ task) for H, task in zip(mirrors, X, strict=True)]
        y = [H @ task for H, task in zip(mirrors, y, strict=True)]
    method, seed = METHODS[kind], 3
    r = ms.train(
        halves(X, y, seed), method, rounds=40, width=2, seed=seed, threads=1, record=(), stop=None
    )
    expected = np.linalg.qr(r.B)[0]
    model = make(method=method, rounds=40, random_state=seed, fit_intercept=intercept).fit(*data)
    Q = np.linalg.qr(model.components_.T)[0]
    np.testing.assert_allclose(Q @ Q.T, expected @ expected.T, rtol=0, atol=1e-8)
    other = make(method=method, rounds=41, random_state=seed, fit_intercept=intercept).fit(*data)
    Q = np.linalg.qr(other.components_.T)[0]
    assert np.abs(Q @ Q.T - expected @ expected.T).max() > 1e-6


def test_training_takes_a_thousand_rounds_by_default(data, monkeypatch):
    seen = []
    train = ms.train

    def watch(*arguments, **options):
        seen.append(options["rounds"])
        return train(*arguments, **options | {"rounds": 2})

    monkeypatch.setattr(finders, "train", watch)
    make(method="anil", rounds=None).fit(*data)
    make(method="anil", rounds=7).fit(*data)
    assert seen == [1000, 7]


def test_training_that_diverges_is_refused(data):
    model = make(method=ms.ANIL(alpha=0.1, beta=1e6), rounds=200)
    with pytest.raises(ValueError, match="no components were found: training diverged"):
        model.fit(*data)


def test_training_needs_two_samples_of_each_task():
    samples = DenseSamples([np.ones((2, 3)), np.ones((1, 3))], [np.ones(2), np.ones(1)])
    with pytest.raises(ValueError, match="at least 2"):
        finders.resolve_finder("anil", 0).check(samples, 1)


@pytest.mark.parametrize("name", finders.METHODS)
def test_every_name_finds_components(name):
    """Use tasks that share their rows, since one estimator needs such tasks."""
    rng = np.random.default_rng(12)
    data = draw_related(rng, n=10, m=4)
    Y = data.X @ data.coefficients.T + 0.1 * rng.standard_normal((40, 10))
    model = make(method=name).fit(data.X, Y)
    assert model.components_.shape == (2, 6)
    assert model.score(data.X, Y) > 0.3


def test_objects_that_set_options_are_those_of_fit(data):
    model = make(method=ms.AltMin(tol=1e-3)).fit(*data)
    by_name = make(method="altmin").fit(*data)
    apart = np.abs(model.components_ - by_name.components_).max()
    assert 0 < apart < 0.1


def test_iterations_stop_once_the_loss_hardly_falls():
    """The estimator stops unless its last ten iterations have lowered the loss by a thousandth."""
    B = np.ones((2, 1))
    stop = finders.EarlyStop()
    steep = [stop.record(B, None, 1.001**-i) for i in range(50)]
    flat = [stop.record(B, None, 1.001**-50 * (1 - 1e-6 * i)) for i in range(12)]
    assert not any(steep)
    assert flat == [False] * 10 + [True] * 2
    stop = finders.EarlyStop()
    assert [stop.record(B, None, loss) for loss in (5.0, 1e-3, 4e-6)] == [False, False, True]
    stop = finders.EarlyStop()
    falling = [stop.record(B, None, 0.9**i) for i in range(101)]
    assert falling == [False] * 100 + [True]
    stop = finders.EarlyStop()
    assert not stop.record(B)
    assert stop.record(np.full((2, 1), np.nan))


def test_an_early_end_hardly_changes_predictions():
    """The early end is where ten iterations lower the loss by less than a thousandth."""
    data = draw_related(np.random.default_rng(14), n=30, m=12)
    ends, known = [], data.X @ data.coefficients.T
    for rounds in (None, 1000):
        model = make(rounds=rounds).fit(data.X, data.y, data.tasks)
        theta = model.heads_ @ model.components_
        ends.append(np.mean((data.X @ theta.T - known) ** 2))
    assert ends[0] == pytest.approx(ends[1], rel=0.05)


@pytest.mark.parametrize("call", ["fit", "fit_transform", "sharing_gain"])
def test_a_fit_that_does_not_converge_warns_the_caller(data, call):
    model = make(rounds=2)
    X, y = map(np.concatenate, data)
    tasks = np.repeat(np.arange(14), [len(task) for task in data[1]])
    with pytest.warns(ms.NotConvergedWarning, match="components did not converge") as caught:
        getattr(model, call)(X, y, tasks=tasks)
    assert {warning.filename for warning in caught} == {__file__}


def test_a_fit_that_converges_does_not_warn(data):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        make(method="altmin").fit(*data)


def test_a_rank_that_the_estimator_finds_too_large(data):
    """The coefficients of all tasks are multiples of one vector."""
    X, _ = data
    y = [task[:, 0] * (i + 1) for i, task in enumerate(X)]
    one = [np.repeat(task[:, :1], 7, axis=1) for task in X]
    with pytest.raises(ValueError, match="rank must be at most 1, the number of components"):
        make(method="single-task").fit(one, y)
