"""States at the limits of floating point give correct digits, a status or an error."""

import numpy as np
import pytest

import metaspan as ms


@pytest.mark.parametrize("stop", [None, ms.Stop()])
def test_a_wide_run_that_diverges_is_never_called_converged(stop):
    """Its columns become parallel to rounding long before they overflow."""
    with pytest.warns(ms.DivergenceWarning):
        r = ms.train(
            ms.LinearTasks(d=20, k=3), ms.AverageRisk(beta=1.5), width=5, n=3, rounds=1000,
            trials=5, stop=stop,
        )  # fmt: skip
    assert all(outcome == ms.Status.DIVERGED for outcome in r.status)


def test_a_right_angle_up_to_rounding_leaves_the_other_angles_alone():
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.standard_normal((30, 30)))[0]
    B_star = np.ascontiguousarray(Q[:, :3])
    columns = [B_star[:, 0] + 1e-3 * Q[:, 4], B_star[:, 1] + 1e-5 * Q[:, 5], Q[:, 6]]
    B = np.stack(columns, axis=1) @ rng.standard_normal((3, 3))
    expected = [np.pi / 2, np.arctan(1e-3), np.arctan(1e-5)]
    np.testing.assert_allclose(ms.principal_angles(B, B_star), expected, atol=1e-13)


@pytest.mark.parametrize("scale", [1e-300, 1e-160, 1e160, 1e300])
@pytest.mark.parametrize("width", [2, 3, 5])
def test_angles_do_not_depend_on_the_scale(width, scale):
    rng = np.random.default_rng(1)
    B, B_star = rng.standard_normal((9, width)), np.linalg.qr(rng.standard_normal((9, 3)))[0]
    expected = ms.principal_angles(B, B_star)
    np.testing.assert_allclose(ms.principal_angles(scale * B, B_star), expected, rtol=1e-12)


def test_a_start_without_full_column_rank_is_refused():
    column = np.random.default_rng(2).standard_normal((9, 1))
    for B0 in (np.repeat(column, 3, axis=1), np.zeros((9, 3))):
        with pytest.raises(ValueError, match="B0 must have full column rank, 3; its rank is"):
            ms.train(ms.LinearTasks(d=9, k=3), "anil", rounds=1, n=3, init=(B0, np.zeros(3)))


def test_a_small_surplus_column_counts_as_any_other():
    """Columns of very different lengths span what they span."""
    e = np.eye(6)
    B = np.stack([e[0] + e[2], e[1], 1e-20 * e[2]], axis=1)
    assert ms.subspace_distance(B, np.eye(6, 1)) < 1e-15


def test_a_distance_that_falls_through_between_two_rows_is_underflow():
    heads = np.sqrt(3.0) * np.concatenate([np.eye(3), -np.eye(3)])
    r = ms.train(
        ms.LinearTasks(d=20, k=3, heads=heads), ms.ANIL(alpha=0.5, beta=1.7), init="methodical",
        n=6, rounds=2000, stop=None, record_every=2000,
    )  # fmt: skip
    assert r.status == ms.Status.UNDERFLOW


def test_recorded_diversity_has_all_its_digits():
    """With fewer tasks than directions the smallest moment is zero, not its rounding."""
    r = ms.train(
        ms.LinearTasks(d=20, k=5), "anil", n=3, rounds=5, stop=None,
        record=("mu", "L", "diversity_min"),
    )  # fmt: skip
    assert (r.trace["mu"] == 0).all()
    assert (r.trace["diversity_min"] == 0).all()
    assert (r.trace["L"] > 0.1).all()


def test_as_many_columns_as_dimensions_are_no_underflow():
    """The columns span the whole space: the distance is 0, and what is computed is rounding."""
    tasks = ms.LinearTasks(d=4, k=2)
    r = ms.train(tasks, "anil", width=4, rounds=50, n=5, stop=None, seed=1, trials=20)
    assert all(end == ms.Status.FINISHED for end in r.outcomes)
    assert r.trace["dist"][:, -1].max() < 1e-15
