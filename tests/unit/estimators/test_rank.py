"""The width by held-out tasks: the errors by loops over samples, and the widths that it finds."""

import numpy as np
import pytest

from estimator_draws import Whole, draw, draw_weights
from metaspan.estimators.rank import choose_width
from metaspan.estimators.reduced_rank import ReducedRank
from metaspan.estimators.reference_lines import Oracle, SingleTask
from metaspan.estimators.ridge import penalties
from metaspan.estimators.spectral import Duchi, Moments, SplitSpectral
from reference import estimators as reference
from reference.estimator_samples import DenseSamples


class Apart:
    """An estimator whose representations of different widths are fitted apart."""

    def __init__(self, estimator):
        self.estimate, self.uses_averages = estimator.estimate, estimator.uses_averages
        self.check = estimator.check


def explicit_errors(X, y, weights, widths, *, folds, seed):
    """Errors (tasks, widths) of Duchi's estimator on held-out tasks."""
    order = np.random.default_rng(seed).permutation(len(X))
    errors = np.empty((len(X), len(widths)))
    for fold in range(folds):
        held = set(order[fold::folds].tolist())
        rest = [i for i in range(len(X)) if i not in held]
        A = reference.duchi_matrix([X[i] for i in rest], [y[i] for i in rest], weights[rest])
        for j, k in enumerate(widths):
            Z = {i: X[i] @ reference.top(A, k) for i in held}
            tried = penalties(
                sum(np.sum(Z[i] ** 2) / min(len(y[i]), k) for i in held)
                / sum(len(y[i]) for i in held)
            )
            left_out = {
                i: [reference.left_out_error(Z[i], y[i], penalty) for penalty in tried]
                for i in held
            }
            sums = sum(weights[i] * len(y[i]) * np.array(left_out[i]) for i in held)
            for i in held:
                errors[i, j] = left_out[i][np.argmin(sums)]
    return errors


@pytest.mark.parametrize("ragged", [False, True])
def test_errors_are_those_of_left_out_samples(rng, ragged):
    X, y, B_star = draw(rng, n=24, m=rng.integers(4, 9, 24) if ragged else 6)
    weights = draw_weights(rng, 24)
    choice = choose_width(Duchi(), DenseSamples(X, y, B_star, weights), (4, 1, 2), folds=3, seed=5)
    errors = explicit_errors(X, y, weights, (1, 2, 4), folds=3, seed=5)
    shares = weights / 24
    means = shares @ errors
    differences = errors - errors[:, [np.argmin(means)]]
    deviations = differences - shares @ differences
    standard_errors = np.sqrt(shares**2 @ deviations**2)
    assert choice.candidates == (1, 2, 4)
    np.testing.assert_allclose(choice.errors, means, rtol=1e-8)
    np.testing.assert_allclose(choice.standard_errors, standard_errors, rtol=1e-7, atol=1e-12)
    within = means - means.min() <= standard_errors
    assert choice.width == (1, 2, 4)[np.argmax(within)]


@pytest.mark.parametrize(
    ("estimator", "noise"),
    [(Moments(), 1.0), (Duchi(), 0.1), (SplitSpectral(), 0.1), (SingleTask(), 0.1)],
    ids=lambda x: getattr(x, "name", None),
)
@pytest.mark.parametrize("seed", [0, 1])
def test_rank_is_found_at_high_signal(estimator, noise, seed):
    X, y, B_star = draw(np.random.default_rng(seed), n=600, d=15, m=25, noise=noise)
    assert choose_width(estimator, Whole(X, y, B_star), seed=seed).width == 3


def test_rank_of_shared_features_is_found(rng):
    X, _, B_star = draw(rng, n=1, m=60, d=15)
    y = [X[0] @ B_star @ rng.standard_normal(3) + 0.1 * rng.standard_normal(60) for _ in range(40)]
    assert choose_width(ReducedRank(), DenseSamples(X * 40, y, B_star)).width == 3


def test_rank_of_noise_alone_is_one(rng):
    X, y, _ = draw(rng, n=100, noise=0.0)
    noise = [rng.standard_normal(len(y_i)) for y_i in y]
    assert choose_width(Duchi(), Whole(X, noise)).width <= 2


@pytest.mark.parametrize("estimator", [Duchi(), SplitSpectral()], ids=lambda e: e.name)
def test_nested_widths_are_those_fitted_apart(rng, estimator):
    X, y, B_star = draw(rng)
    samples = DenseSamples(X, y, B_star)
    nested, apart = (choose_width(e, samples, (1, 3, 4)) for e in (estimator, Apart(estimator)))
    assert nested.width == apart.width
    np.testing.assert_allclose(nested.errors, apart.errors, rtol=1e-7)


@pytest.mark.parametrize("wrap", [lambda e: e, Apart])
def test_widths_that_tasks_do_not_determine_are_left_out(rng, wrap):
    X, y, _ = draw(rng, n=6)
    choice = choose_width(wrap(SingleTask()), DenseSamples(X, y), (1, 2, 7, 9), folds=2)
    assert choice.candidates == (1, 2)
    with pytest.raises(ValueError, match="width must be at most 3"):
        choose_width(wrap(SingleTask()), DenseSamples(X, y), (7, 9), folds=2)


def test_default_candidates_end_before_the_number_of_tasks(rng):
    X, y, _ = draw(rng, n=6)
    assert choose_width(Moments(), DenseSamples(X, y)).candidates == (1, 2, 3, 4, 5)


def test_default_candidates_are_those_that_the_estimator_accepts(rng):
    X, y, B_star = draw(rng, noise=0.1)
    assert choose_width(Oracle(), DenseSamples(X, y, B_star)).candidates == (3,)
    with pytest.raises(ValueError, match="oracle needs the true B_star"):
        choose_width(Oracle(), DenseSamples(X, y))
    with pytest.raises(ValueError, match="width must be 3, the columns of B_star"):
        choose_width(Oracle(), DenseSamples(X, y, B_star), (2, 3))


def test_split_of_tasks_depends_on_the_seed(rng):
    X, y, _ = draw(rng)
    errors = [choose_width(Duchi(), DenseSamples(X, y), seed=seed).errors for seed in (0, 0, 1)]
    np.testing.assert_array_equal(errors[0], errors[1])
    assert (errors[0] != errors[2]).any()


def test_bad_arguments_are_refused(rng):
    X, y, _ = draw(rng)
    samples = DenseSamples(X, y)
    with pytest.raises(ValueError, match="candidates must be"):
        choose_width(Duchi(), samples, (3, 10))
    with pytest.raises(ValueError, match="candidates must have at least one width"):
        choose_width(Duchi(), samples, ())
    with pytest.raises(ValueError, match="folds must be"):
        choose_width(Duchi(), samples, folds=1)
    with pytest.raises(ValueError, match="reduced-rank needs tasks that share X"):
        choose_width(ReducedRank(), samples)
    with pytest.raises(ValueError, match="at least two tasks with at least two samples"):
        choose_width(Moments(), DenseSamples(X[:1], y[:1]))
    with pytest.raises(ValueError, match="at least two tasks with at least two samples"):
        choose_width(Moments(), DenseSamples([*X[:11], X[11][:1]], [*y[:11], y[11][:1]]))
