"""Estimators have the same bits for any number of ranks that hold the columns of a batch."""

import numpy as np
import pytest

import metaspan as ms
from metaspan._core_types import CoreData
from metaspan._load import core
from metaspan.estimators.configure import resolve_estimator
from metaspan.estimators.estimator import Unrecorded
from metaspan.estimators.names import NAMES, algorithm_of
from metaspan.estimators.on_arrays import ArraySamples
from metaspan.estimators.rank import choose_width
from metaspan.estimators.space import Space
from ranks import rows_of, run_ranks

D, K = 5000, 2  # two leaves
ROUNDS = 6
OPTIONS = {
    "altmin": [{}, {"start": "random"}],
    "altmin-gd": [{}, {"step": 0.5}],
    "altgdmin": [{"beta": 0.5}],
    "single-task": [{}, {"ridge": 0.1}],
    "trace-norm": [{}, {"solver": "frank-wolfe", "radius": 5.0}],
}
CASES = [
    (name, options)
    for name in NAMES
    if name not in ("burer-monteiro", "reduced-rank")
    for options in OPTIONS.get(name, [{}])
]


class RankSamples(ArraySamples):
    """The samples of a batch of which a rank has some columns."""

    def __init__(self, batch, shard, seed=0, trial=0, threads=1):
        self._shard = shard
        super().__init__(batch, seed, trial, threads)
        self.dim, self.space = shard.d, Space(shard, 1)

    def _data(self):
        batch = self._batch
        return core.Batch(
            CoreData(batch.X_in, batch.y_in, batch.X_out, batch.y_out, shard=self._shard),
            self._shard.size,
        )

    def take(self, tasks):
        batch = self._batch.take(tasks.tolist())
        return RankSamples(batch, self._shard, self._seed, self._trial)

    def shared(self):
        if self._batch.X_in.strides[0]:
            return None
        return self.take(np.arange(1))


def samples_of(shard, *, m=12, same_X=False, d=D):
    rng = np.random.default_rng(7)
    n = 15
    B_star = np.linalg.qr(rng.standard_normal((d, K)))[0]
    X = rng.standard_normal((n, m, d))
    if same_X:
        X = np.broadcast_to(X[0], X.shape)
    heads = rng.standard_normal((n, K))
    y = np.einsum("nmd,nd->nm", X, heads @ B_star.T) + 0.1 * rng.standard_normal((n, m))
    part = X[:, :, shard.first : shard.first + shard.size]
    if not same_X:
        part = np.ascontiguousarray(part)
    batch = ms.TaskBatch(part, y, weights=rng.uniform(1, 2, n))
    samples = RankSamples(batch, shard)
    samples.B_star = rows_of(shard, B_star)
    return samples


def estimate(shard, name, options, width=K, **data):
    samples = samples_of(shard, **data)
    algorithm = algorithm_of(resolve_estimator(name, options))
    algorithm.check(samples, width)
    found = algorithm.estimate(samples, width, Unrecorded(ROUNDS, samples.space))
    heads = samples.features(found.B) if found.heads is None else found.heads
    return found.B, heads, found.iterations, found.reason


def same_on_all_ranks(d, most, body):
    """Run on 1 to `most` ranks and on a shard without an exchange, and compare all bits."""
    B, *plain = body(core.Shard(d))
    for ranks in range(1, most + 1):
        results = run_ranks(d, ranks, body)
        np.testing.assert_array_equal(np.concatenate([result[0] for result in results]), B)
        for _, *result in results:
            for mine, expected in zip(result, plain, strict=True):
                np.testing.assert_array_equal(mine, expected)
    return B, *plain


@pytest.mark.parametrize(("name", "options"), CASES)
def test_estimates_of_ranks(name, options):
    same_on_all_ranks(D, 2, lambda shard: estimate(shard, name, options))


@pytest.mark.parametrize(("d", "m", "most"), [(D, 12, 2), (300, 320, 1)], ids=["dual", "primal"])
def test_reduced_rank_regression(d, m, most):
    same_on_all_ranks(
        d,
        most,
        lambda shard: estimate(shard, "reduced-rank", {"ridge": 0.1}, same_X=True, d=d, m=m),
    )


def test_reduced_rank_regression_by_passes(monkeypatch):
    monkeypatch.setattr("metaspan.estimators.reduced_rank.FORMED", 8)
    same_on_all_ranks(
        D, 2, lambda shard: estimate(shard, "reduced-rank", {"ridge": 0.1}, same_X=True)
    )


def test_single_tasks_with_more_samples_than_features():
    same_on_all_ranks(100, 1, lambda shard: estimate(shard, "single-task", {}, d=100, m=110))


def test_more_ranks_than_two():
    """Four ranks, of which the second and the third hold leaves that are not added first."""
    d = 9000
    same_on_all_ranks(d, 4, lambda shard: estimate(shard, "altmin-gd", {}, d=d))


def test_width_is_chosen_by_all_ranks():
    def choice(shard):
        samples = samples_of(shard)
        chosen = choose_width(algorithm_of(resolve_estimator("duchi", {})), samples, (1, 2, 3))
        return np.zeros((shard.size, 0)), chosen.width, chosen.errors

    assert same_on_all_ranks(D, 2, choice)[1] in (1, 2, 3)


@pytest.mark.parametrize(
    ("name", "options", "reason"),
    [
        ("burer-monteiro", {}, "burer-monteiro cannot run on a batch with a comm, because the L"),
        (
            "meta-sp",
            {"semigradient": (np.ones((180, D)), 0.5)},
            "meta-sp with semigradient cannot run on a batch with a comm, because X_next",
        ),
    ],
)
def test_estimators_that_need_all_rows_refuse(name, options, reason):
    with pytest.raises(ValueError, match=reason):
        run_ranks(D, 2, lambda shard: estimate(shard, name, options))
