"""Samples and averages of tasks in law, (36) and (37), beside samples drawn at full size.

Seeds are fixed. With fresh seeds the comparisons of all cases would fail with a probability of at
most FAMILY_ERROR.
"""

import numpy as np
import pytest
from scipy import stats

import metaspan as ms
from collapsed_runs import refused
from metaspan._load import core
from metaspan._support import memory
from metaspan.estimators import in_law, solvers
from metaspan.estimators.in_law import LawSamples
from metaspan.estimators.samples import rows_of
from metaspan.tasks import features as feature_laws
from reference.estimator_samples import DenseSamples

FAMILY_ERROR = 1e-4  # the chance that any test of all cases fails where all laws are the same
TRIALS = 2000
K = 2
NOISE = 0.5
HEADS = ms.GaussianHeads(mean=(0.5, 0.0))
CASES = {
    "few rows": dict(d=24, n=3, m=5),
    "filled": dict(d=12, n=4, m=5),
    "one row left": dict(d=18, n=3, m=5),
    "student-t": dict(d=24, n=3, m=5, features=ms.StudentT(dof=9)),
    "sphere": dict(d=14, n=3, m=4, features="sphere"),
    "spread": dict(d=24, n=3, m=5, spread=3.0),
    "spread, filled": dict(d=9, n=4, m=5, spread=2.0),
}
AVERAGES = {
    "few averages": dict(d=24, n=4, m=5),
    "filled": dict(d=7, n=4, m=5),
    "student-t": dict(d=24, n=4, m=6, features=ms.StudentT(dof=9)),
    "spread": dict(d=24, n=4, m=5, spread=3.0),
    "spread, filled": dict(d=8, n=3, m=4, spread=2.0),
}


def tasks_of(case):
    law = {name: case[name] for name in ("features", "spread") if name in case}
    return ms.LinearTasks(d=case["d"], k=K, noise=NOISE, heads=HEADS, **law)


def drawn_in_law(case, trial, *, seed=1, averages_only=False, threads=1, spare=3):
    return LawSamples(
        tasks_of(case), case["n"], case["m"], seed, trial, threads, spare, averages_only
    )


def drawn_at_full_size(case, trial, seed=2):
    """Samples of NumPy's generator; the Haar frame of the truth does not matter, so it is I."""
    rng = np.random.default_rng([seed, trial])
    d, n, m = case["d"], case["n"], case["m"]
    X = rng.standard_normal((n, m, d))
    law = case.get("features")
    if law == "sphere":
        X *= np.sqrt(d) / np.linalg.norm(X, axis=2, keepdims=True)
    elif law is not None:
        X *= np.sqrt((law.dof - 2) / rng.chisquare(law.dof, (n, m, 1)))
    theta = case.get("spread", 0.0) / np.sqrt(d) * rng.standard_normal((n, d))
    theta[:, :K] += rng.standard_normal((n, K)) + HEADS.mean
    y = np.einsum("nmd,nd->nm", X, theta) + NOISE * rng.standard_normal((n, m))
    return DenseSamples(X, y, B_star=np.eye(d, K), seed=(seed, trial))


def distance(truth, B):
    """Sine of the largest angle between the spans of B and of the truth, for each trial."""
    return np.linalg.norm(B - truth @ (truth.swapaxes(1, 2) @ B), 2, axis=(1, 2))


def top(A, k=K):
    """Largest eigenvalues, and the leading eigenvectors, of the matrix of each trial."""
    values, vectors = np.linalg.eigh((A + A.swapaxes(1, 2)) / 2)
    return values[:, -1], vectors[:, :, -k:]


def length(x):
    """Length of the vector or matrix of each trial."""
    return np.sqrt(np.square(x).reshape(len(x), -1).sum(axis=1))


def parts_of_rows(samples):
    identity = np.eye(samples.dim)
    X, (u, v) = samples.features(identity), samples.averages().products(identity)
    return {
        **{"X": X, "y": samples.y, "u": u, "v": v, "G": samples.normals(3, 0)},
        "moments": samples.combine(samples.y[:, None] ** 2 * X),
        "truth": samples.B_star,
    }


def statistics_of_rows(*, X, y, u, v, G, moments, truth):
    """Numbers of X, y and normals of each trial that a rotation of the features leaves unchanged.

    The arguments are the parts of all trials, with a leading axis.
    """
    trials, n, dim = u.shape
    m = y.shape[1] // n
    Z = y[:, :, None] * X
    s = Z.reshape(trials, n, m, dim).sum(axis=2)
    value, B = top(moments)
    duchi_value, duchi_B = top(s.swapaxes(1, 2) @ s - Z.swapaxes(1, 2) @ Z)
    split_value, split_B = top(u.swapaxes(1, 2) @ v + v.swapaxes(1, 2) @ u)
    values = np.linalg.svd(G, compute_uv=False)
    first = X[:, 0]
    return {
        "moments": value,
        "distance of moments": distance(truth, B),
        "duchi": duchi_value,
        "distance of duchi": distance(truth, duchi_B),
        "split": split_value,
        "distance of split": distance(truth, split_B),
        "length": length(X[:, -1]),
        "product": np.sum(X[:, -1] * first, axis=1),
        "gram": length(X[:, :m] @ X[:, m : 2 * m].swapaxes(1, 2)),
        "normals": values[:, -1],
        "largest of normals": values[:, 0],
        "normals and truth": length(truth.swapaxes(1, 2) @ G),
        "normals and rows": length(first[:, None] @ G) / length(first),
        "distance of normals": distance(truth, np.linalg.qr(G)[0][:, :, :K]),
        "y": length(y),
    }


def parts_of_averages(samples):
    averages = samples.averages()
    u, v = averages.products(np.eye(averages.dim))
    return {
        **{"y": samples.y, "u": u, "v": v, "G": samples.normals(2, 0)},
        "split": averages.combine(v, u),
        "truth": averages.B_star,
    }


def statistics_of_averages(*, y, u, v, G, split, truth):
    value, B = top(split)
    other = u[:, 1, :, None]
    return {
        "split": value,
        "distance of split": distance(truth, B),
        "u": length(u[:, 0]),
        "v": length(v[:, 0]),
        "last": length(v[:, -1]),
        "halves": np.sum(u[:, 0] * v[:, 0], axis=1),
        "tasks": np.sum(u[:, 0] * u[:, 1], axis=1),
        "last tasks": np.sum(u[:, -2] * v[:, -1], axis=1),
        "u off the truth": length(other - truth @ (truth.swapaxes(1, 2) @ other)),
        "u in the truth": length(truth.swapaxes(1, 2) @ other),
        "normals": np.sum(u[:, 0] * G[:, :, 0], axis=1),
        "y": length(y),
        "y and u": length(y) / length(u[:, 0]),
    }


ROWS = (parts_of_rows, statistics_of_rows)
AVERAGED = (parts_of_averages, statistics_of_averages)


def collect(kind, draw, case, **options):
    parts, statistics = kind
    drawn = [parts(draw(case, trial, **options)) for trial in range(TRIALS)]
    return statistics(**{name: np.stack([each[name] for each in drawn]) for name in drawn[0]})


def compare(a, b):
    return {name: stats.ks_2samp(a[name], b[name], method="asymp").pvalue for name in a}


@pytest.fixture
def plenty(monkeypatch):
    """Memory is not asked for: thousands of tiny draws would ask the system each."""
    monkeypatch.setattr(memory, "available_bytes", lambda: None)


@pytest.mark.usefixtures("plenty")
def test_samples_in_law_have_the_law_of_samples():
    p = {}
    for number, (name, case) in enumerate(CASES.items()):
        found = collect(ROWS, drawn_in_law, case, seed=10 + number)
        expected = collect(ROWS, drawn_at_full_size, case, seed=20 + number)
        p |= {(name, key): value for key, value in compare(found, expected).items()}
    assert not refused(p, FAMILY_ERROR)


@pytest.mark.usefixtures("plenty")
def test_averages_in_law_have_the_law_of_averages():
    p = {}
    for number, (name, case) in enumerate(AVERAGES.items()):
        found = collect(AVERAGED, drawn_in_law, case, seed=30 + number, averages_only=True)
        expected = collect(AVERAGED, drawn_at_full_size, case, seed=40 + number)
        p |= {(name, key): value for key, value in compare(found, expected).items()}
    assert not refused(p, FAMILY_ERROR)


def too_many_dimensions(case, trial, **options):
    """The factors of d + 4 dimensions in the place of those of d."""
    return drawn_in_law({**case, "d": case["d"] + 4}, trial, **options)


def wrong_scale(case, trial, **options):
    """Averages whose parts off the span are 10 % too long."""
    samples = drawn_in_law(case, trial, averages_only=True, **options)
    samples.averages().scales *= 1.1
    return samples


def without_own_directions(case, trial, **options):
    """Samples whose normals lie in the span of the samples."""
    samples = drawn_in_law(case, trial, spare=3, **options)
    columns = samples.rows.columns
    right = samples.normals

    def normals(k, stream):
        G = right(k, stream)
        G[columns:] = 0.0
        return G

    samples.normals = normals
    return samples


def without_xi(case, trial, **options):
    """Averages of tasks with the right variance of y, but without the direction of xi."""
    samples = drawn_in_law(case, trial, averages_only=True, **options)
    samples.averages().along[:] = 0.0
    return samples


@pytest.mark.usefixtures("plenty")
@pytest.mark.parametrize(
    ("kind", "cases", "name", "fault"),
    [
        (ROWS, CASES, "few rows", too_many_dimensions),
        (ROWS, CASES, "few rows", without_own_directions),
        (AVERAGED, AVERAGES, "few averages", wrong_scale),
        (AVERAGED, AVERAGES, "spread", without_xi),
    ],
)
def test_planted_faults_are_noticed(kind, cases, name, fault):
    found = collect(kind, fault, cases[name], seed=50)
    expected = collect(kind, drawn_at_full_size, cases[name], seed=51)
    assert refused(compare(found, expected), FAMILY_ERROR)


SIZES = (
    dict(d=10**12, n=7, m=13),
    dict(d=40, n=9, m=11),
    dict(d=400, n=20, m=17, features="sphere"),
)


@pytest.mark.parametrize("case", SIZES)
def test_operators_agree_with_products_of_arrays(case):
    samples = drawn_in_law(case, 3)
    tasks, N = tasks_of(case), case["n"] * case["m"]
    columns = K + min(N, case["d"] - K)
    law = feature_laws.core_law(tasks.features)
    X = core.pooled_features(law, 1, 3, float(case["d"]), K, columns, 0, N, 1, N, "float64", 1)[0]
    assert samples.dim == min(columns + 3, case["d"])
    X = np.pad(X, ((0, 0), (0, samples.dim - columns)))
    assert np.array_equal(samples.features(np.eye(samples.dim)), X)
    rng = np.random.default_rng(4)
    # Every number of columns that a strip or a register may have, and more than one strip.
    for k in (1, 2, 3, 5, 8, 9, 10, 17, 33):
        B, C = rng.standard_normal((samples.dim, k)), rng.standard_normal((N, k))
        close(samples.features(B), X @ B)
        close(samples.combine(C), X.T @ C)
    for whole in (range(case["n"]), range(2, 5), range(6, 7), range(3, 3)):
        grams = samples.grams(whole)
        assert len(grams) == len(whole)
        for i, gram in zip(whole, grams, strict=True):
            rows = rows_of(samples, range(i, i + 1))
            close(gram, X[rows] @ X[rows].T)
    z = samples.y - (X[:, :K] * np.repeat(samples.heads, case["m"], axis=0)).sum(axis=1)
    noise = core.normals(1, 3, 0, core.STREAM_NOISE_IN, case["n"], case["m"], 1, "float64", 1)
    close(z, NOISE * noise.ravel())
    assert np.array_equal(samples.heads, tasks.draw_heads(case["n"], seed=1, trial=3))


def close(found, expected):
    assert found.shape == expected.shape
    assert np.allclose(found, expected, rtol=0, atol=1e-12 * max(1, abs(expected).max()))


@pytest.mark.parametrize("case", SIZES)
def test_one_pass_calls_the_transform_on_all_tasks_in_order(case, monkeypatch):
    samples = drawn_in_law(case, 0)
    seen = []

    def transform(Z, tasks):
        seen.append(tasks)
        return samples.y[rows_of(samples, tasks), None] * Z

    B = np.random.default_rng(5).standard_normal((samples.dim, 4))
    Z = samples.features(B)
    expected = samples.combine(samples.y[:, None] * Z)
    assert np.array_equal(samples.combine_features(B, transform), expected)
    whole, seen = seen, []
    monkeypatch.setattr(in_law, "_ranges", lambda n, size: (range(i, i + 1) for i in range(n)))
    assert np.array_equal(samples.combine_features(B, transform), expected)
    assert seen == [range(i, i + 1) for i in range(case["n"])]
    assert [i for tasks in whole for i in tasks] == list(range(case["n"]))


@pytest.mark.parametrize("averages_only", [False, True])
@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_bits_do_not_depend_on_threads(averages_only, spread):
    """More than one chunk of columns, and more than one group of panels."""
    case = dict(d=10**12, n=50, m=7, spread=spread)
    answers = []
    for threads in (1, 2, 3):
        samples = drawn_in_law(case, 0, averages_only=averages_only, threads=threads)
        averages, G = samples.averages(), samples.normals(3, 1)
        arrays = [samples.y, G, *averages.products(G), averages.combine(*averages.products(G))]
        if not averages_only:
            arrays += [samples.features(G), samples.combine(samples.features(G))]
            arrays += samples.grams(range(3))
        answers.append(arrays)
    for other in answers[1:]:
        assert all(np.array_equal(a, b) for a, b in zip(answers[0], other, strict=True))


@pytest.mark.parametrize(
    "case", [*AVERAGES.values(), dict(d=K, n=4, m=5), dict(d=K, n=4, m=5, spread=2.0)]
)
def test_averages_combine_what_they_multiply(case):
    """Products and combine are transposes of each other, and averages agree with their rows."""
    for averages_only in (False, True):
        samples = drawn_in_law(case, 1, averages_only=averages_only)
        averages = samples.averages()
        u, v = averages.products(np.eye(averages.dim))
        rng = np.random.default_rng(6)
        P, Q = rng.standard_normal((2, case["n"], 4))
        close(averages.combine(P, Q), u.T @ P + v.T @ Q)
        check_mean_products(averages, rng.standard_normal((averages.dim, 3)))
        if averages_only:
            with pytest.raises(RuntimeError, match="averages_only"):
                samples.features(np.eye(samples.dim))
            continue
        X, half = samples.features(np.eye(samples.dim)), case["m"] // 2
        for i in range(case["n"]):
            x, y = X[rows_of(samples, range(i, i + 1))], samples.y[i * case["m"] :][: case["m"]]
            close(u[i], x[:half].T @ y[:half] / half)
            close(v[i], x[half:].T @ y[half:] / (case["m"] - half))


def check_mean_products(averages, Q):
    """One pass over averages gives what two passes give."""
    factors = 1.0 + np.arange(averages.n)
    first, second = averages.products(Q)
    expected = averages.combine(factors[:, None] * second, factors[:, None] * first)
    close(averages.mean_products(Q, factors), expected)
    assert np.isfinite(expected).all()


@pytest.mark.parametrize("spread", [0.0, 2.0])
def test_one_pass_over_averages_in_parts(spread, monkeypatch):
    averages = drawn_in_law(dict(d=10**9, n=40, m=5, spread=spread), 0, averages_only=True)
    averages = averages.averages()
    Q = np.random.default_rng(7).standard_normal((averages.dim, 4))
    check_mean_products(averages, Q)
    steps = [range(0, 7), range(7, 8), range(8, 40)]
    monkeypatch.setattr(in_law, "_ranges", lambda n, size: iter(steps))
    check_mean_products(averages, Q)


@pytest.mark.parametrize("d", [300, 10**12])
def test_the_start_at_the_longest_averages_saves_passes(d):
    """Both starts of the search end at the same eigenvectors."""
    n, width, passes, found = 600, 2, [], []
    averages = drawn_in_law(dict(d=d, n=n, m=10), 0, averages_only=True).averages()
    G = solvers.fixed_normals(2 * n, solvers.start_columns(width))
    for factors in (G, averages.start_factors(G)):
        calls = []

        def apply(Q, calls=calls):
            calls.append(Q)
            return averages.mean_products(Q, averages.weights)

        start = averages.combine(factors[:n], factors[n:])
        pairs = solvers.top_eigenvectors(apply, averages.space, start, width)
        assert not pairs.reason
        found.append(pairs.vectors)
        passes.append(len(calls))
    assert np.linalg.norm(found[1] - found[0] @ (found[0].T @ found[1]), 2) < 1e-7
    assert passes[1] < passes[0] if d > 10**6 else passes[1] <= passes[0] + 3


@pytest.mark.parametrize("spread", [0.0, 1.0])
def test_preconditioner_inverts_the_matrix_of_averages_in_law(spread):
    """At d = 10^14 the frame is a multiple of the identity up to parts in 10^6."""
    averages = drawn_in_law(dict(d=10**14, n=30, m=10, spread=spread), 0, averages_only=True)
    averages = averages.averages()
    factors = np.random.default_rng(3).uniform(0.5, 1.0, 30)
    A = averages.mean_products(np.eye(averages.dim), factors)
    values = np.array([0.3, 0.7]) * np.linalg.norm(A, 2)
    R = np.random.default_rng(4).standard_normal((averages.dim, 2))
    steps = averages.preconditioner(factors)(R, values)
    for r, value, step in zip(R.T, values, steps.T, strict=True):
        exact = np.linalg.solve(A - value * np.eye(averages.dim), r)
        assert np.linalg.norm(step - exact) < 1e-3 * np.linalg.norm(exact)


@pytest.mark.parametrize(("d", "spread", "most"), [(10**12, 0.0, 4), (10**6, 1.0, 12)])
def test_preconditioner_in_law_saves_passes(d, spread, most):
    """The preconditioned search ends at the eigenvectors of the search without it."""
    averages = drawn_in_law(dict(d=d, n=300, m=10, spread=spread), 0, averages_only=True)
    averages, width = averages.averages(), 3
    factors = averages.weights / (2 * averages.n)
    G = averages.start_factors(solvers.fixed_normals(600, solvers.start_columns(width)))
    start, found = averages.combine(G[:300], G[300:]), []
    for precondition in (None, averages.preconditioner(factors)):
        calls = []

        def apply(Q, calls=calls):
            calls.append(Q)
            return averages.mean_products(Q, factors)

        found.append(
            solvers.top_eigenvectors(apply, averages.space, start, width, precondition=precondition)
        )
    assert not found[0].reason
    assert not found[1].reason
    np.testing.assert_allclose(found[1].values, found[0].values, rtol=1e-12)
    B, Q = (pairs.vectors for pairs in found)
    assert np.linalg.norm(Q - B @ (B.T @ Q), 2) < 2e-8
    assert len(calls) <= most


def test_rows_in_few_dimensions_have_no_preconditioner():
    averages = drawn_in_law(dict(d=500, n=30, m=10), 0, averages_only=True).averages()
    assert averages.preconditioner(averages.weights) is None


def test_averages_alone_have_the_heads_and_responses_of_the_rows():
    case = dict(d=10**9, n=6, m=5)
    alone, drawn = (drawn_in_law(case, 2, averages_only=only) for only in (True, False))
    assert np.array_equal(alone.heads, drawn.heads)
    assert np.array_equal(alone.y, drawn.y)


def test_averages_on_the_sphere_draw_the_rows():
    samples = drawn_in_law(dict(d=10**6, n=3, m=4, features="sphere"), 0, averages_only=True)
    X = samples.features(np.eye(samples.dim))
    assert np.allclose(np.linalg.norm(X, axis=1), 1000.0, rtol=1e-12)
    close(samples.averages().products(np.eye(samples.dim))[0][1],
          X[4:6].T @ samples.y[4:6] / 2)  # fmt: skip


def test_one_task_shares_its_samples_with_itself():
    samples = drawn_in_law(dict(d=30, n=1, m=6), 0)
    assert samples.shared() is samples
    assert drawn_in_law(dict(d=30, n=2, m=6), 0).shared() is None


def test_normals_have_at_most_the_spare_columns():
    samples = drawn_in_law(dict(d=100, n=2, m=3), 0, spare=2)
    assert samples.normals(2, 0).shape == (K + 6 + 2, 2)
    with pytest.raises(ValueError, match=r"at most spare = 2 columns; got 3"):
        samples.normals(3, 0)
    filled = drawn_in_law(dict(d=8, n=2, m=3), 0, spare=2)
    assert filled.normals(5, 0).shape == (8, 5)


@pytest.mark.parametrize("averages_only", [False, True])
def test_memory_is_checked_first(averages_only, monkeypatch):
    monkeypatch.setattr(memory, "available_bytes", lambda: 2**30)
    case = dict(d=10**12, n=40_000, m=1)
    with pytest.raises(MemoryError, match=r"^the .* in law needs .* are available$"):
        drawn_in_law(case, 0, averages_only=averages_only)


@pytest.mark.parametrize("law", [dict(features="rademacher"), dict(spectrum=1.0)])
def test_features_with_preferred_directions_are_refused(law):
    tasks = ms.LinearTasks(d=20, k=2, **law)
    with pytest.raises(ValueError, match="invariant under rotations"):
        LawSamples(tasks, 2, 3, 0, 0, 1, 2)
