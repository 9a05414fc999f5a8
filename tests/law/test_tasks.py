"""Laws of heads, of minibatches and of sampled tasks, through the public interface.

Seeds are fixed. With fresh seeds each comparison would fail with a probability of 10^-5.
"""

import numpy as np
import pytest
from scipy import stats

import metaspan as ms

COUNT = 100_000
SIGMAS = 4.42
ERROR_RATE = 1e-5
COV = np.array([[2.0, 0.6, -0.3], [0.6, 1.0, 0.2], [-0.3, 0.2, 0.5]])
MEAN = np.array([1.0, -2.0, 0.0])


def heads_of(law, n=COUNT, k=3, **key):
    return ms.LinearTasks(d=50, k=k, heads=law).draw_heads(n, **key)


@pytest.mark.parametrize("cov", [None, [1.0, 1.0, 0.1], COV], ids=["unit", "diagonal", "full"])
@pytest.mark.parametrize("mean", [None, MEAN], ids=["centred", "mean"])
def test_gaussian_heads_have_their_mean_and_covariance(mean, cov):
    heads = heads_of(ms.GaussianHeads(cov=cov, mean=mean), seed=2)
    full = np.eye(3) if cov is None else np.diag(cov) if np.ndim(cov) == 1 else cov
    white = (heads - (0 if mean is None else mean)) @ np.linalg.inv(np.linalg.cholesky(full)).T
    assert abs(white.mean(0)).max() < SIGMAS / np.sqrt(COUNT)
    deviation = abs(white.T @ white / COUNT - np.eye(3))
    assert deviation.max() < SIGMAS * np.sqrt(2 / COUNT)
    for column in white.T:
        assert stats.kstest(column, "norm").pvalue > ERROR_RATE


def test_degenerate_gaussian_heads_stay_on_their_line():
    direction = np.array([1.0, 2.0, -1.0])
    heads = heads_of(ms.GaussianHeads(cov=np.outer(direction, direction)), n=20_000, seed=3)
    along = heads[:, 0]
    assert abs(heads - along[:, None] * direction).max() < 1e-7
    assert stats.kstest(along, "norm").pvalue > ERROR_RATE


@pytest.mark.parametrize("k", [1, 2, 3, 6])
def test_sphere_heads_are_uniform(k):
    heads = heads_of(ms.SphereHeads(radius=2.5), k=k, seed=4)
    np.testing.assert_allclose(np.linalg.norm(heads, axis=1), 2.5, rtol=1e-14)
    assert abs(heads.mean(0)).max() < SIGMAS * 2.5 / np.sqrt(k * COUNT)
    if k > 1:
        for column in heads.T:
            law = stats.kstest((column / 2.5) ** 2, "beta", args=(0.5, (k - 1) / 2))
            assert law.pvalue > ERROR_RATE


def test_minibatches_of_fixed_heads_are_uniform_without_replacement():
    """Ordered triples of seven rows: all of the 210 equally often, never a row twice."""
    table, rounds = np.arange(7.0)[:, None], 21_000
    tasks = ms.LinearTasks(d=50, k=1, heads=table)
    drawn = np.array([tasks.draw_heads(3, seed=5, round=t)[:, 0] for t in range(rounds)]).astype(
        int
    )
    codes, counts = np.unique(drawn @ [49, 7, 1], return_counts=True)
    assert len(codes) == 210
    assert all(len(set(row)) == 3 for row in drawn.tolist())
    assert stats.chisquare(counts).pvalue > ERROR_RATE
    np.testing.assert_array_equal(tasks.draw_heads(7, seed=5), table)


def test_sampled_tasks_follow_the_model():
    """y = X B_star w_star + noise; features and noise are independent normals, in and out."""
    tasks = ms.LinearTasks(d=40, k=3, noise=0.7, heads=ms.GaussianHeads(mean=MEAN))
    batch = tasks.sample(60, 50, 40, seed=6, trial=1, round=2)
    np.testing.assert_array_equal(batch.B_star, tasks.ground_truth(seed=6, trial=1))
    np.testing.assert_array_equal(batch.heads, tasks.draw_heads(60, seed=6, trial=1, round=2))
    thetas, noises = batch.heads @ batch.B_star.T, []
    for X, y in ((batch.X_in, batch.y_in), (batch.X_out, batch.y_out)):
        assert stats.kstest(X.ravel(), "norm").pvalue > ERROR_RATE
        noises.append((y - np.einsum("nmd,nd->nm", X, thetas)) / 0.7)
        assert stats.kstest(noises[-1].ravel(), "norm").pvalue > ERROR_RATE
        overlap = (X * noises[-1][:, :, None]).mean()
        assert abs(overlap) * np.sqrt(X.size) < SIGMAS
    across = batch.X_in[:, :40] * batch.X_out
    assert abs(across.mean()) * np.sqrt(across.size) < SIGMAS
    across = noises[0][:, :40] * noises[1]
    assert abs(across.mean()) * np.sqrt(across.size) < SIGMAS
