"""Laws of heads, their draws, and their form for the core."""

import numpy as np
import pytest

import metaspan as ms
from metaspan.tasks.heads import NamedFunction, core_law, draw_pool


@pytest.mark.parametrize("rank", [1, 3, 5])
def test_factor_reproduces_a_covariance_of_any_rank(rng, rank):
    A = rng.standard_normal((5, rank))
    cov = A @ A.T
    factor = core_law(ms.GaussianHeads(cov=cov)).factor
    np.testing.assert_allclose(factor @ factor.T, cov, atol=1e-13 * np.abs(cov).max())
    assert np.array_equal(factor, np.tril(factor))


@pytest.mark.parametrize("cov", [[4.0, 0.0, 9.0], np.diag([4.0, 0.0, 9.0])])
def test_diagonal_covariance_is_a_vector_of_scales(cov):
    np.testing.assert_array_equal(core_law(ms.GaussianHeads(cov=cov)).factor, [2.0, 0.0, 3.0])


def test_covariance_may_be_asymmetric_by_rounding(rng):
    A = rng.standard_normal((4, 4))
    cov = A @ A.T
    cov[0, 1] *= 1 + 1e-15
    found = ms.GaussianHeads(cov=cov).cov
    assert np.array_equal(found, found.T)


def test_arrays_are_copied_and_closed():
    mean = np.ones(3)
    law = ms.GaussianHeads(mean=mean)
    mean[0] = 5.0
    assert law.mean[0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        law.mean[0] = 2.0
    with pytest.raises(ValueError, match="read-only"):
        ms.LinearTasks(d=9, k=2, heads=[[1, 0], [0, 1]]).heads[0, 0] = 2.0


def test_fixed_heads_come_in_order_or_without_replacement():
    table = np.arange(12.0).reshape(6, 2)
    tasks = ms.LinearTasks(d=9, k=2, heads=table)
    np.testing.assert_array_equal(tasks.draw_heads(6, round=3), table)
    some = tasks.draw_heads(4, round=3)
    assert len({tuple(row) for row in some}) == 4
    assert {tuple(row) for row in some} <= {tuple(row) for row in table}
    assert not np.array_equal(some, tasks.draw_heads(4, round=4))


def test_function_gets_a_generator_of_the_round():
    calls = []

    def heads(generator, n, k):
        calls.append((n, k))
        return generator.standard_normal((n, k))

    tasks = ms.LinearTasks(d=9, k=2, heads=heads)
    first = tasks.draw_heads(4, seed=1, trial=2, round=3)
    np.testing.assert_array_equal(first, tasks.draw_heads(4, seed=1, trial=2, round=3))
    for key in ({"seed": 2}, {"trial": 3}, {"round": 4}):
        other = tasks.draw_heads(4, **{"seed": 1, "trial": 2, "round": 3, **key})
        assert not np.intersect1d(first, other).size
    assert calls[0] == (4, 2)


def test_function_must_return_heads():
    tasks = ms.LinearTasks(d=9, k=2, heads=lambda generator, n, k: np.ones((n, k + 1)))
    with pytest.raises(ValueError, match=r"what heads\(\) returns must have shape \(4, 2\)"):
        tasks.draw_heads(4)


@pytest.mark.parametrize("heads", [ms.GaussianHeads(), lambda g, n, k: g.standard_normal((n, k))])
def test_pool_is_apart_from_every_round(heads):
    tasks = ms.LinearTasks(d=9, k=2, heads=heads)
    pool = draw_pool(tasks.heads, 5, 2, seed=3, trial=1)
    np.testing.assert_array_equal(pool, draw_pool(tasks.heads, 5, 2, seed=3, trial=1))
    rounds = np.concatenate([tasks.draw_heads(5, seed=3, trial=1, round=t) for t in range(4)])
    assert not np.intersect1d(pool, rounds).size


def test_function_known_by_name_says_so():
    with pytest.raises(TypeError, match=r"lab\.heads cannot be called: the file holds its name"):
        NamedFunction("lab.heads")(None, 2, 3)
