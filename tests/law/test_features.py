"""Laws of features that `sample` draws: moments, radii, tails, and bits."""

import numpy as np
import pytest
from scipy import stats

import metaspan as ms

LAWS = ["gaussian", "student-t", ms.StudentT(dof=12), "sphere", "uniform"]
D, ROWS = 7, 40_000


def drawn(features, d=D, n=20, m=ROWS // 20, **options):
    """Rows (n m, d) of the inner set."""
    tasks = ms.LinearTasks(d=d, k=1, features=features)
    return tasks.sample(n, m, 1, seed=5, **options).X_in.reshape(-1, d)


def test_names_stand_for_laws():
    assert ms.LinearTasks(d=3, k=1).features == "gaussian"
    assert ms.LinearTasks(d=3, k=1, features="student-t").features == ms.StudentT(dof=5)
    assert repr(ms.StudentT(dof=3)) == "StudentT(dof=3.0)"


@pytest.mark.parametrize("features", LAWS)
def test_covariance_is_the_identity(features):
    """Every mean, and every mean of a product, within 5 standard errors: 2e-5 for a test to err."""
    X = drawn(features)
    rows = [X[:, i] * X[:, j] - (i == j) for i in range(D) for j in range(i + 1)]
    for values in (*X.T, *rows):
        assert abs(values.mean()) < 5 * values.std(ddof=1) / np.sqrt(ROWS)


@pytest.mark.parametrize("d", [1, 2, 7, 1000])
def test_rows_on_the_sphere_have_one_length(d):
    norms = np.linalg.norm(drawn("sphere", d=d, n=3, m=50), axis=1)
    np.testing.assert_allclose(norms, np.sqrt(d), rtol=1e-14)


def test_entries_on_the_sphere_are_those_of_a_uniform_direction():
    """x_1^2 / d is Beta(1/2, (d - 1)/2); p > 1e-5."""
    X = drawn("sphere")
    assert stats.kstest(X[:, 0] ** 2 / D, stats.beta(0.5, (D - 1) / 2).cdf).pvalue > 1e-5
    assert stats.binomtest(int((X[:, 0] > 0).sum()), ROWS).pvalue > 1e-5


@pytest.mark.parametrize("dof", [2.5, 5.0, 12.0])
def test_entries_and_lengths_of_student_t_rows(dof):
    """x_1 is a scaled t, ||x||^2 / d a scaled F: one scale a row; p > 1e-5."""
    X = drawn(ms.StudentT(dof=dof)) * np.sqrt(dof / (dof - 2))
    assert stats.kstest(X[:, 3], stats.t(dof).cdf).pvalue > 1e-5
    assert stats.kstest((X**2).mean(axis=1), stats.f(D, dof).cdf).pvalue > 1e-5


@pytest.mark.parametrize("features", LAWS)
def test_rows_and_sets_are_independent(features):
    """Lengths of neighbours, and of the inner and the outer set, do not correlate: |z| < 5."""
    tasks = ms.LinearTasks(d=D, k=2, features=features)
    batch = tasks.sample(100, 50, 50, seed=6)
    # On the sphere lengths are equal: take an entry's size.
    inner, outer = (
        stats.rankdata(abs(X[:, :, 0]) + np.linalg.norm(X[:, :, 1:], axis=2) ** 2).reshape(100, 50)
        for X in (batch.X_in, batch.X_out)
    )
    for one, other in ((inner, outer), (inner[:, :-1], inner[:, 1:]), (inner[:-1], inner[1:])):
        r = np.corrcoef(one.ravel(), other.ravel())[0, 1]
        assert abs(r) * np.sqrt(one.size) < 5


@pytest.mark.parametrize("features", LAWS)
def test_rows_have_the_same_bits_for_any_threads_and_company(features):
    tasks = ms.LinearTasks(d=503, k=2, features=features, noise=0.3)
    one = tasks.sample(9, 7, 5, seed=5, trial=2, threads=1)
    for threads in (2, 4):
        other = tasks.sample(9, 7, 5, seed=5, trial=2, threads=threads)
        for name in ("X_in", "y_in", "X_out", "y_out"):
            np.testing.assert_array_equal(getattr(other, name), getattr(one, name), err_msg=name)
    fewer = tasks.sample(4, 3, 5, seed=5, trial=2)
    np.testing.assert_array_equal(fewer.X_in, one.X_in[:4, :3])
    for changes in ({"seed": 6}, {"seed": 5, "trial": 1}, {"seed": 5, "trial": 2, "round": 1}):
        assert not np.isin(tasks.sample(9, 7, 5, **changes).X_in, one.X_in).any()


@pytest.mark.parametrize("features", LAWS)
def test_single_precision_is_double_rounded(features):
    tasks = ms.LinearTasks(d=50, k=2, features=features)
    single, double = (tasks.sample(5, 6, 4, seed=1, dtype=kind) for kind in ("float32", "float64"))
    assert single.X_out.dtype == np.float32
    np.testing.assert_array_equal(single.X_in, double.X_in.astype(np.float32))
    np.testing.assert_array_equal(single.X_out, double.X_out.astype(np.float32))


@pytest.mark.parametrize("features", LAWS)
def test_responses_are_those_of_the_features(features):
    tasks = ms.LinearTasks(d=50, k=2, features=features)
    batch = tasks.sample(5, 6, 4, seed=1)
    theta = batch.heads @ tasks.ground_truth(seed=1).T
    np.testing.assert_allclose(batch.y_out, np.einsum("nmd,nd->nm", batch.X_out, theta), atol=1e-12)
