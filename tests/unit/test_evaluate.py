"""Arguments, results and errors of evaluate; tests/law tests its laws and closed forms."""

import math

import numpy as np
import pytest

import metaspan as ms
from metaspan._core_types import CoreMethod
from metaspan.theory.risk import HeadMoments, InnerLoop, NewTasks

LEARNERS = (
    "adapted",
    "least_squares",
    "ridge",
    "oracle_least_squares",
    "oracle_ridge",
    "single_task_ridge",
)
M, R, W = np.array([[0.9, 0.1], [0.0, 0.8]]), np.array([[0.2, 0.1], [0.0, 0.3]]), np.array([0.1, 0])
TASKS = ms.LinearTasks(d=30, k=2, noise=0.3)
B_STAR, E = np.eye(30, 2), np.eye(30, 2, -4)
WITH_B_STAR = ms.LinearTasks(d=30, k=2, noise=0.3, B_star=B_STAR)


def gaussian(generator, n, k):
    """Heads of a law that is not known."""
    return generator.standard_normal((n, k))


def risks(evaluation):
    return {name: getattr(evaluation, name) for name in LEARNERS}


@pytest.mark.parametrize("d", [9, 10**12])
def test_bits_do_not_depend_on_threads(d):
    tasks = ms.LinearTasks(d=d, k=2, noise=0.3, heads=gaussian)
    found = [
        ms.evaluate((M, R), W, tasks, "maml", inner_steps=2, m=7, n=500, threads=threads)
        for threads in (1, 2, 4)
    ]
    assert found[0] == found[1] == found[2]
    assert not any(risk.exact for risk in (found[0].adapted, found[0].ridge))


def test_seeds_draw_other_tasks():
    first, again, other = (
        risks(ms.evaluate((M, R), W, TASKS, "maml", n=50, seed=seed)) for seed in (1, 1, 2)
    )
    assert first == again
    sampled = [name for name in LEARNERS if not first[name].exact]
    assert sampled == ["adapted", "ridge", "oracle_ridge", "single_task_ridge"]
    assert all(first[name].mean != other[name].mean for name in sampled)


def test_regressions_do_not_depend_on_the_method():
    first, other = (risks(ms.evaluate((M, R), W, TASKS, name, n=50)) for name in ("anil", "maml"))
    assert first.pop("adapted") != other.pop("adapted")
    assert first == other


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_array_is_what_its_coordinates_are(dtype):
    """Closed forms to rounding; samples are other ones, and agree as such do."""
    B = (B_STAR @ M + E @ R).astype(dtype)
    array = ms.evaluate(B, W, WITH_B_STAR, "anil", n=2000)
    pair = ms.evaluate((M, R), W, TASKS, "anil", n=2000, seed=1)
    for name, risk in risks(array).items():
        other = getattr(pair, name)
        assert risk.exact == other.exact
        error = np.hypot(risk.standard_error, other.standard_error)
        assert abs(risk.mean - other.mean) <= 5 * error + 10 * np.finfo(dtype).eps
    assert array.adapted.exact
    assert array.penalties == pytest.approx(pair.penalties, rel=1e-5)


def test_the_state_of_a_result_can_be_evaluated_at_any_dimension():
    tasks = ms.LinearTasks(d=10**12, k=3, noise=0.1)
    method = ms.ANIL(alpha=0.5, beta=0.5)
    r = ms.train(tasks, method, rounds=200, n=20, init="methodical")
    risk = ms.evaluate(r.state[:2], r.w, tasks, method, n=50)
    assert risk.least_squares.mean == pytest.approx(risk.oracle_least_squares.mean, rel=1e-3)
    assert risk.oracle_least_squares.mean == pytest.approx(0.5 * 0.01 * 3 / 21, rel=1e-14)
    assert risk.single_task_ridge.mean == pytest.approx(1.5, rel=1e-9)


def test_many_samples_lead_to_the_population():
    m = 10**9
    found = ms.evaluate((M, R), W, TASKS, ms.ANIL(alpha=0.4), m=m, n=2)
    B, heads = B_STAR @ M + E @ R, np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0], [0.0, -1.0]])
    # Four heads with the moments of N(0, I), up to the scale sqrt(2).
    losses = ms.population_gradient(
        B, W, B_STAR, math.sqrt(2) * heads, ms.ANIL(alpha=0.4), noise=0.0
    ).loss_out
    assert found.adapted.mean == pytest.approx(losses.mean(), rel=1e-6)
    assert found.oracle_least_squares.mean < 1e-9
    sampled = ms.evaluate((M, R), W, TASKS, ms.ANIL(alpha=0.4, inner_steps=300), m=m, n=400)
    error = sampled.adapted.mean - found.least_squares.mean  # by now the same: B fits no better
    assert abs(error) < 5 * sampled.adapted.standard_error


def test_no_noise_and_the_whole_truth_leave_no_risk():
    tasks = ms.LinearTasks(d=10**6, k=2)
    for m in (2, 3, 25):
        found = ms.evaluate((np.array([[1.0, 2.0], [0.5, -1.0]]), np.zeros((2, 2))), W, tasks,
                            "anil", m=m, n=10)  # fmt: skip
        assert found.least_squares == found.ridge == found.oracle_ridge
        assert (found.least_squares.mean, found.least_squares.exact) == (0.0, True)
        assert found.penalties == dict(ridge=0.0, oracle_ridge=0.0, single_task_ridge=0.0)
    found = ms.evaluate((np.eye(2), np.zeros((2, 2))), W, tasks, "anil", m=1, n=10)
    assert found.oracle_least_squares.mean == pytest.approx(0.5)  # half of E ||theta||^2 = 2
    assert found.single_task_ridge.mean == pytest.approx(1.0 - 1e-6, rel=1e-12)


@pytest.mark.parametrize("heads", [ms.GaussianHeads(), gaussian], ids=["law", "function"])
def test_least_squares_without_a_mean_is_infinite(heads):
    """The mean is infinite if |m - rank| <= 1 and there is no penalty, and finite otherwise."""
    tasks = ms.LinearTasks(d=40, k=3, noise=0.2, heads=heads)
    state = np.eye(3, 5), np.eye(2, 5, 3)
    for m in (2, 3, 4, 5, 6, 7):
        found = ms.evaluate(state, np.zeros(5), tasks, "anil", m=m, n=10)
        assert math.isinf(found.least_squares.mean) == (4 <= m <= 6)
        assert math.isinf(found.oracle_least_squares.mean) == (2 <= m <= 4)
        assert math.isfinite(found.ridge.mean + found.oracle_ridge.mean)
    found = ms.evaluate(state, np.zeros(5), tasks, "anil", m=41, n=10, ridge=0.0)
    assert (found.single_task_ridge.mean, found.single_task_ridge.exact) == (math.inf, True)


def test_default_penalties_are_the_best_ones():
    """Oracle and single task at one set of eigenvalues: any other penalty does worse."""
    default = ms.evaluate((M, R), W, TASKS, "anil", m=6, n=100)
    assert default.penalties["oracle_ridge"] == pytest.approx(0.09 / 6, rel=1e-14)
    assert default.penalties["single_task_ridge"] == pytest.approx(0.09 * 30 / (6 * 2), rel=1e-14)
    for name in ("oracle_ridge", "single_task_ridge"):
        for factor in (0.8, 1.25):
            other = ms.evaluate(
                (M, R), W, TASKS, "anil", m=6, n=100, ridge=factor * default.penalties[name]
            )
            assert getattr(other, name).mean > getattr(default, name).mean


def test_default_penalty_counts_what_lies_off_the_span():
    """One direction of two is missing: its variance is noise, and the scale of B scales it."""
    found = ms.evaluate(([[3.0], [0.0]], [[0.0]]), [0.0], TASKS, "anil", m=6, n=10)
    assert found.penalties["ridge"] == pytest.approx((0.09 + 1.0) * 9.0 / 6, rel=1e-12)
    tasks = ms.LinearTasks(d=30, k=2, noise=0.3, heads=[[0.6, 0.8], [0.0, -1.0]])
    found = ms.evaluate(([[0.0], [0.0]], [[1.0]]), [0.0], tasks, "anil", m=6, n=10)
    assert found.penalties["ridge"] > 1e20  # nothing can be learned there
    assert found.ridge.mean == pytest.approx(0.5, rel=1e-12)


def test_designs_that_keep_their_rows_have_every_sample():
    law = HeadMoments(np.zeros(2), np.eye(2), 0.0, True)
    new = NewTasks(heads=np.ones((8, 2)), law=law, m=40, d=10, noise=0.0, key=1, threads=1)
    X, z = new._design(0, b=4, D=3, rest=7, reduce=False)
    assert X.shape == (4, 40, 10)
    assert z.shape == (4, 40)
    assert X.all()
    assert new._design(0, b=4, D=3, rest=7)[0].shape == (4, 11, 10)


@pytest.mark.parametrize("m", [3, 40])
def test_blocks_hold_other_samples(m):
    law = HeadMoments(np.zeros(2), np.eye(2), 0.0, True)
    new = NewTasks(heads=np.ones((8, 2)), law=law, m=m, d=10, noise=0.0, key=1, threads=1)
    (X, z), (other_X, other_z) = (new._design(block, b=4, D=3, rest=7) for block in (0, 1))
    filled = X != 0.0
    assert filled.mean() >= 0.5
    assert (other_X != X)[filled].all()
    assert (z != other_z).all()
    risks = new.excess(
        InnerLoop(CoreMethod(0.1, 0.1, 1, True, False, 0.1), np.ones((3, 2)), np.ones(2), m, 1)
    )
    assert len(set(risks)) == 8


def test_fixed_heads_are_taken_in_turn():
    """The steps from w = 0 are tiny, so the risks are half of the squared lengths of the heads."""
    table = np.array([[1.0, 0.0], [0.0, 2.0], [3.0, 0.0]])
    own = np.array([0.5, 2.0, 4.5])
    tasks = ms.LinearTasks(d=30, k=2, noise=0.3, heads=table)
    still = ms.ANIL(alpha=1e-13, inner_steps=2)
    found = ms.evaluate((M, R), np.zeros(2), tasks, still, n=6).adapted
    assert found.mean == pytest.approx(own.mean(), rel=1e-9)
    assert found.standard_error == pytest.approx(
        np.std(np.tile(own, 2), ddof=1) / math.sqrt(6), rel=1e-9
    )
    left_over = {
        round(8 * ms.evaluate((M, R), np.zeros(2), tasks, still, n=8, seed=seed).mean - 14, 6)
        for seed in range(20)
    }
    assert left_over == {2.5, 5.0, 6.5}  # two of three, not one of them twice
    exact = ms.evaluate((M, R), np.zeros(2), tasks, "average-risk", n=2)
    assert exact.adapted.exact
    assert exact.adapted.mean == pytest.approx(own.mean(), rel=1e-14)


def test_columns_that_repeat_each_other_count_once():
    tasks = ms.LinearTasks(d=50, k=2, noise=0.3)
    twice = np.array([[1.0, 2.0], [0.5, 1.0]]), np.zeros((0, 2))
    once = twice[0][:, :1], np.zeros((0, 1))
    first, second = (
        ms.evaluate(state, np.zeros(state[0].shape[1]), tasks, "anil", m=9, n=10).least_squares
        for state in (twice, once)
    )
    assert first.mean == pytest.approx(second.mean, rel=1e-12)
    nothing = ms.evaluate((np.zeros((2, 1)), np.zeros((0, 1))), [1.0], tasks, "anil", m=1, n=10)
    assert [nothing.adapted.mean, nothing.least_squares.mean, nothing.ridge.mean] == [1.0] * 3


def test_many_samples_cost_no_more_without_a_moving_representation():
    tasks = ms.LinearTasks(d=10**12, k=2, noise=0.3, heads=gaussian)
    found = ms.evaluate((M, R), W, tasks, ms.ANIL(inner_steps=2), m=2000, n=3)
    assert found.adapted.mean > 0
    with pytest.raises(MemoryError, match="the samples of one task needs"):
        ms.evaluate((M, R), W, tasks, ms.MAML(inner_steps=2), m=10**7, n=3)


def test_steps_that_are_too_long_are_infinite_risk():
    tasks = ms.LinearTasks(d=10**12, k=2, noise=0.3)
    found = ms.evaluate((M, R), W, tasks, "maml", alpha=1.0, inner_steps=8, n=20)
    assert (found.mean, found.standard_error, found.adapted.exact) == (math.inf, math.inf, False)
    assert math.isfinite(found.ridge.mean)


def test_an_evaluation_prints_as_a_table():
    found = ms.evaluate((M, R), W, TASKS, "anil", m=9, n=50)
    lines = str(found).splitlines()
    assert lines[0] == "excess risk on new tasks with m = 9 samples (n = 50 tasks)"
    assert [line[:21].strip() for line in lines[1:]] == [
        name.replace("_", " ") for name in LEARNERS
    ]
    assert lines[1].endswith(f"{found.mean:.4g} exact")
    mean, error = found.ridge.mean, found.ridge.standard_error
    places = 1 - math.floor(math.log10(error))
    assert lines[3].endswith(f" {mean:.{places}f} +- {error:.{places}f}")
    assert (found.mean, found.standard_error) == (found.adapted.mean, 0.0)


def other_features():
    tasks = ms.LinearTasks(d=30, k=2)
    object.__setattr__(tasks, "features", "sphere")
    return tasks


BAD = {
    "implicit": (dict(B=np.eye(30, 2)), ValueError,
                 ["tasks.B_star must be an array where B is one; got None", "ground_truth"]),
    "B-rows": (dict(B=np.eye(20, 2), tasks=WITH_B_STAR), ValueError,
               ["B must have shape (30, k)", "got (20, 2)"]),
    "B-nan": (dict(B=np.full((30, 2), np.nan), tasks=WITH_B_STAR), ValueError,
              ["B must be finite"]),
    "B-list": (dict(B=[[1.0]]), TypeError, ["B must be an array (d, k) or a pair (M, R)"]),
    "state": (dict(B=(M, R, W)), TypeError, ["B must be an array (d, k) or a pair (M, R)"]),
    "M": (dict(B=(np.eye(3), R)), ValueError, ["M must have shape (2, k)", "got (3, 3)"]),
    "R-columns": (dict(B=(M, np.eye(3))), ValueError, ["R must have shape (e, 2)", "got (3, 3)"]),
    "R-rows": (dict(B=(M, np.ones((29, 2)))), ValueError,
               ["R must have at most d - k_star = 28 rows", "got 29"]),
    "no-columns": (dict(B=(np.ones((2, 0)), np.ones((0, 0)))), ValueError,
                   ["the width of B must be at least 1", "got 0"]),
    "columns": (dict(B=(np.ones((2, 31)), np.ones((2, 31)))), ValueError,
                ["B must have at most d = 30 columns", "got 31"]),
    "w": (dict(w=np.zeros(3)), ValueError, ["w must have shape (2,)", "got (3,)"]),
    "tasks": (dict(tasks=3), TypeError, ["tasks must be a LinearTasks", "got 3"]),
    "features": (dict(tasks=other_features()), ValueError,
                 ["tasks.features must be 'gaussian'", "got 'sphere'"]),
    "method": (dict(method="sgd"), ValueError, ["method must be", "got 'sgd'"]),
    "steps": (dict(gamma=1.0), TypeError, ["unknown keyword 'gamma'"]),
    "m": (dict(m=0), ValueError, ["m must be at least 1", "got 0"]),
    "m-float": (dict(m=2.5), TypeError, ["m must be an integer", "got 2.5"]),
    "n": (dict(n=1), ValueError, ["n must be at least 2", "got 1"]),
    "seed": (dict(seed=-1), ValueError, ["seed must be at least 0", "got -1"]),
    "ridge": (dict(ridge=-0.1), ValueError, ["ridge must be between 0 and 1e+100", "got -0.1"]),
    "threads": (dict(threads=0), ValueError, ["threads must be at least 1", "got 0"]),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_sentence(case):
    changes, kind, fragments = BAD[case]
    arguments = dict(B=(M, R), w=W, tasks=TASKS, method="anil") | changes
    with pytest.raises(kind) as caught:
        ms.evaluate(**arguments)
    text = str(caught.value)
    assert "\n" not in text
    assert all(fragment in text for fragment in fragments), text


def test_what_is_printed_is_ascii():
    """A terminal, a pipe or a log file may take nothing else."""
    text = str(ms.evaluate((M, R), W, TASKS, "maml", n=50))
    assert " +- " in text
    assert text.isascii()


@pytest.mark.parametrize("changes", [{"alpha": 1e200}, {"spread": 1e200}, {"noise": 1e200}])
def test_risks_in_closed_form_that_overflow_are_infinite(changes):
    alpha = changes.pop("alpha", 0.1)
    learner = (np.eye(2), np.zeros((1, 2)))
    found = ms.evaluate(learner, [0, 0], ms.LinearTasks(d=5, k=2, **changes), "anil", alpha=alpha)
    assert (found.mean, found.adapted.exact) == (math.inf, True)
