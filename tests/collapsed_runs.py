"""Explicit runs in d dimensions, collapsed runs, and tests that compare their laws.

A case holds the sizes of a run. A sample holds the final records of many independent runs of a
case, by the name of the record. Two samples are accepted as samples of the same law unless a test
rejects that their distributions, means or variances agree.
"""

import zlib
from typing import NamedTuple

import numpy as np
from scipy import stats

import metaspan as ms
from metaspan._core_types import CoreMethod, FeatureLaw, HeadLaw, SampleLaw
from metaspan._load import core
from metaspan.outer_step import core_step
from reference import explicit, learned

RECORDS = ("dist", "w_norm", "perp_norm", "sigma_max", "loss_in", "loss_adapted", "loss_out")
# A comparison has two stages: the runs of the first on either side, the p-value below which a case
# goes on, and the runs of the second, which alone can reject.
FIRST_RUNS, SUSPECT, SECOND_RUNS = 1500, 3e-3, 6000
TASKS_AT_A_TIME = 12_000  # of explicit runs
LARGEST = 1e100  # larger records count as this one
FAMILY_ERROR = 1e-3  # chance that any test of a family fails on two samples of the same law


class Case(NamedTuple):
    """Sizes and steps of one run.

    A sample count of None is infinite. The first `kept` rows of R keep their directions.
    """

    d: int = 8
    k: int = 2
    k_star: int = 2
    n: int = 2
    m_in: int | None = 3
    m_out: int | None = 4
    noise: float = 0.5
    features: str = "gaussian"
    dof: float = 0.0
    shared: bool = False
    kept: int = 0
    alpha: float = 0.05
    beta: float = 0.1
    inner_steps: int = 2
    adapt_B: bool = False
    exact: bool = False
    rounds: int = 3
    adapt_head: bool = True
    contribution: int = 0
    solves_head: bool = False
    penalty: float = 0.0
    clip: float = 0.0
    multiplier: float = 0.0
    step_sizes: int = 0
    beta_alpha: float = 0.0
    private_head: bool = False
    private_weight: float = 0.0
    fresh_steps: bool = False
    spread: float = 0.0
    step: dict | None = None  # options of the outer step

    @property
    def outer(self):
        """The outer step, in the form that the core takes."""
        options = dict(self.step or {})
        orthonormal = options.pop("orthonormal", False)
        return core_step(ms.OuterStep(**options) if options else None, orthonormal=orthonormal)

    @property
    def blocks(self):
        """For each block of the outer step, whether it starts at B rather than at 0."""
        names = ms.OuterStep(**{n: v for n, v in (self.step or {}).items() if n != "orthonormal"})
        return [True, *(name in ("average", "slow") for name in names.memory)]

    def method(self):
        """The method, in the form that the core takes."""
        return CoreMethod(
            self.alpha,
            self.beta,
            self.inner_steps,
            self.adapt_B,
            self.exact,
            beta_head=self.beta,
            adapt_head=self.adapt_head,
            contribution=self.contribution,
            solves_head=self.solves_head,
            penalty=self.penalty,
            clip=self.clip,
            multiplier=self.multiplier,
            step_sizes=self.step_sizes,
            beta_alpha=self.beta_alpha,
            private_head=self.private_head,
            private_weight=self.private_weight,
            fresh_steps=self.fresh_steps,
            step=self.outer,
        )

    @property
    def learns_more(self):
        """Whether the reference is `learned.train`."""
        return bool(self.step_sizes or self.private_head or self.fresh_steps)

    def more(self):
        """The step sizes, and the start of the co-learner, that the reference takes."""
        count = self.k if self.step_sizes == 2 else 1
        return self.alpha * np.linspace(1.0, 1.2, count), 0.2 * np.linspace(-1.0, 1.5, self.k)

    def parameters(self):
        """What follows w in the core."""
        alpha, v = self.more()
        parts = [alpha] * (self.step_sizes > 0) + [v] * self.private_head
        return np.concatenate(parts) if parts else np.empty(0)

    def start(self):
        """B_0 (d, k), a little off the truth, and w_0 (k,)."""
        rng = np.random.default_rng([self.d, self.k, self.k_star])
        off = np.linalg.qr(rng.standard_normal((self.d, self.k)))[0]
        if self.contribution == explicit.ATTENTION:  # [A, B], both near the truth, and no head
            near = np.tile(np.eye(self.d, self.k // 2), (1, 2))
            return 0.8 * near + 0.1 * off, np.zeros(self.k)
        return 0.8 * np.eye(self.d, self.k) + 0.1 * off, 0.3 * rng.standard_normal(self.k)


METHODS = {
    "fo-anil": dict(adapt_B=False, exact=False),
    "anil": dict(adapt_B=False, exact=True),
    "fo-maml": dict(adapt_B=True, exact=False),
    "maml": dict(adapt_B=True, exact=True),
}
T = dict(features="student-t", dof=30.0)
SPHERE = dict(features="sphere")
SHAPES = {
    "plain": Case(),
    "one step": Case(m_in=2, alpha=0.1, inner_steps=1, rounds=1),
    "three steps": Case(inner_steps=3),
    # Cases with little randomness, in which small errors become visible.
    "strong": Case(d=5, n=12, m_in=24, m_out=6, noise=0.2, alpha=0.6, inner_steps=1, rounds=0),
    "noisy": Case(3, 1, 1, n=24, m_in=32, m_out=2, noise=2.0, inner_steps=1, rounds=0),
    "wide": Case(d=11, k=3, n=3, m_in=2, m_out=1, alpha=0.03, beta=0.05),
    "narrow": Case(d=10, k_star=3, n=10, m_in=2, m_out=3),
    "single column": Case(k=1, k_star=1, n=1, m_in=2, m_out=1, beta=0.05),
    "single column, one left": Case(3, 1, 1, beta=0.2),
    "many tasks": Case(d=16, n=41, m_in=2, m_out=2, beta=0.5, inner_steps=1, rounds=1),
    "tall": Case(d=7, m_in=11, m_out=13),
    # Cases with few or no dimensions off the span, in which factors are trapezoidal.
    "three left": Case(d=7, m_in=5, m_out=4),
    "one left": Case(d=5, m_in=4, m_out=5),
    "none left": Case(d=4),
    "less than the span": Case(d=3),
    # Cases in which some rows of R keep their directions, as with a tracked start.
    "kept": Case(kept=2),
    "kept, one left": Case(d=7, kept=2),
    "inner infinite": Case(m_in=None),
    "outer infinite": Case(m_out=None),
    "both infinite": Case(m_in=None, m_out=None, inner_steps=1),
    "inner infinite, one left": Case(d=5, m_in=None),
    "outer infinite, one left": Case(3, 1, 1, m_out=None, alpha=0.15, inner_steps=1, beta=0.3),
    "shared": Case(shared=True, m_in=4),
    "shared, one left": Case(d=5, shared=True, m_in=4),
    "student-t": Case(**T),
    "student-t, few degrees": Case(features="student-t", dof=8.0, alpha=0.02, inner_steps=1),
    "student-t, one left": Case(d=5, **T),
    "student-t, shared": Case(shared=True, m_in=4, **T),
    "student-t, inner infinite": Case(m_in=None, **T),
    "student-t, outer infinite": Case(m_out=None, **T),
    "sphere": Case(**SPHERE),
    "sphere, one left": Case(d=5, beta=0.2, rounds=2, **SPHERE),
    "sphere, none left": Case(d=4, **SPHERE),
    "sphere, shared": Case(shared=True, m_in=4, **SPHERE),
    "sphere, inner infinite": Case(m_in=None, **SPHERE),
    "sphere, outer infinite": Case(m_out=None, **SPHERE),
}
# Average risk minimisation has no inner step, so there is only one method.
BASELINES = ("plain", "one left", "none left", "student-t", "sphere", "outer infinite", "shared")
CASES = {
    f"{method}, {shape}": case._replace(**parts)
    for method, parts in METHODS.items()
    for shape, case in SHAPES.items()
} | {f"average risk, {shape}": SHAPES[shape]._replace(inner_steps=0) for shape in BASELINES}


def every_other(methods, shapes):
    """Half of all pairs of a method and a shape: each has every other one of the other list."""
    return [
        (method, shape)
        for i, method in enumerate(methods)
        for j, shape in enumerate(shapes)
        if (i + j) % 2 == 0
    ]


def seed_of(*key):
    """A seed that depends only on the words of the key."""
    return zlib.crc32(" ".join(map(str, key)).encode())


def clip_of(case, quantile):
    """A quantile of the norms of contributions at the start of a case."""
    rng = np.random.default_rng(3)
    B, w = (np.repeat(part[None], 400, axis=0) for part in case.start())
    theta = rng.standard_normal((400, 1, case.k_star)) @ np.eye(case.d, case.k_star).T
    if case.spread:
        theta = theta + case.spread / np.sqrt(case.d) * rng.standard_normal(theta.shape)
    law = dict(features=case.features, dof=case.dof)
    inner = explicit.data(rng, theta, case.m_in, case.noise, **law)
    outer = inner if case.shared else explicit.data(rng, theta, case.m_out, case.noise, **law)
    by_B, by_w, *_ = explicit.meta_gradient(B, w, inner, outer, case.method()._asdict())
    norms = np.sqrt((by_B**2).sum(axis=(1, 2)) + (by_w**2).sum(axis=1))
    return float(np.quantile(norms, quantile))


def drawn(case, runs, seed):
    """Draw a sample of explicit runs."""
    B, w = case.start()
    rng = np.random.default_rng(seed)
    # The number of runs at a time is limited so that their arrays stay in a cache.
    most = TASKS_AT_A_TIME // case.n
    more = dict(zip(("alpha", "v"), case.more(), strict=True)) if case.learns_more else {}
    samples = [
        (learned if case.learns_more else explicit).train(
            rng,
            **more,
            **{name: getattr(case, name) for name in ("rounds", "n", "d", "k_star")},
            **{name: getattr(case, name) for name in ("m_in", "m_out")},
            **{name: getattr(case, name) for name in ("noise", "features", "dof", "shared")},
            spread=case.spread,
            runs=min(most, runs - done),
            B=B,
            w=w,
            method=case.method()._asdict(),
            **({"step": case.step} if case.step else {}),
        )
        for done in range(0, runs, most)
    ]
    return {name: np.concatenate([sample[name] for sample in samples]) for name in samples[0]}


def start_of(case, d):
    """Return M, R, w of the case's start at full size, and the number of rows with kept directions.

    R is determined only up to multiplication by an orthogonal matrix from the left.
    """
    B, w = case.start()
    kept = case.k_star + case.kept
    width = len(case.blocks) * case.k
    R = np.zeros((kept - case.k_star + min(width, d - kept), case.k))
    factor = np.linalg.qr(B[case.k_star :], mode="r")[: len(R)]
    R[: len(factor)] = factor
    joint = [
        np.concatenate([is_B * part for is_B in case.blocks], axis=-1)
        for part in (B[: case.k_star], R, w)
    ]
    return *joint, kept


def collapsed(case, runs, seed, *, start=None, threads=1):
    """Draw a sample of collapsed runs, which start at the case `start` if one is named."""
    *state, kept = start_of(start or case, case.d)
    state[2] = np.concatenate([state[2], (start or case).parameters()])
    M, R, w = (np.repeat(np.ascontiguousarray(part)[None], runs, axis=0) for part in state)
    sizes = (float(case.d), case.m_in or 0, case.m_out or 0)
    # Records of the start are of no use. A run that begins in round 1 does not make them, and has
    # the same law unless its outer step depends on the round.
    first = 1 if case.outer is None else 0
    run = core.Run.collapsed(
        method=case.method(),
        samples=SampleLaw(
            *sizes, case.shared, case.noise, FeatureLaw(case.features, case.dof), case.spread
        ),
        M=M,
        R=R,
        w=w,
        kept=kept,
        law=HeadLaw("gaussian"),
        n=case.n,
        seed=seed,
        trials=list(range(runs)),
        rounds=[first] * runs,
        records=RECORDS,
    )
    run.advance(first + case.rounds, 10**9, 0.0, 0.0, None, threads)
    assert set(run.status) == {core.TrialStatus.LIVE}, [
        (i, run.status[i], run.rounds[i]) for i in range(runs) if run.status[i]
    ]
    run.drop_rows()
    run.measure(None, threads)
    values = np.array([rows[-1] for _, rows in run.rows()])
    return dict(zip(RECORDS, values.T, strict=True))


def compare(found, expected):
    """Compare two samples and return p-values of their distribution, mean and variance.

    Keys are (record, test). The tests compare logarithms, since the records are positive and
    polynomials of normals have heavy tails. A record that is constant in `expected` is not tested:
    its p-value is 1 if both samples agree, and 0 otherwise. Only a constant record may be 0, as
    w_norm is for a method that learns no head.
    """
    p, varying = {}, []
    for record in RECORDS:
        a, b = found[record], expected[record]
        if np.ptp(b) <= 1e-12 * abs(b).max():
            p[record, "constant"] = float(np.allclose(a, b[0], rtol=1e-9, atol=0.0))
        else:
            varying.append(record)
    # A run may grow so fast that the squares of its numbers overflow.
    a, b = (
        np.log(np.minimum([sample[record] for record in varying], LARGEST))
        for sample in (found, expected)
    )
    # Levene's test is the analysis of variance of distances to the median.
    distances = (abs(x - np.median(x, axis=1, keepdims=True)) for x in (a, b))
    tests = {
        "distribution": [stats.ks_2samp(*x, method="asymp").pvalue for x in zip(a, b, strict=True)],
        "mean": stats.ttest_ind(a, b, axis=1, equal_var=False).pvalue,
        "variance": stats.f_oneway(*distances, axis=1).pvalue,
    }
    for test, values in tests.items():
        p |= {(record, test): value for record, value in zip(varying, values, strict=True)}
    return p


def refused(p_values, error=FAMILY_ERROR):
    """Return the names of the hypotheses that Holm's procedure rejects.

    `error` bounds the chance that any true hypothesis is rejected. The smallest of N p-values is
    compared with error / N, the next p-value with error / (N - 1), and so on, until a p-value is
    larger than its bound.
    """
    names = sorted(p_values, key=p_values.get)
    for i, name in enumerate(names):
        if p_values[name] > error / (len(names) - i):
            return names[:i]
    return names


def _is_suspect(p_values):
    """Whether a case goes on to the second stage of a comparison."""
    return min(p_values.values()) < SUSPECT


def compare_first(family, cases):
    """Return the p-values of the first stage, by case; `family` is a word in the seeds of runs."""
    return {
        name: _compare_case(family, name, case, FIRST_RUNS, "first stage")
        for name, case in cases.items()
    }


def compare_again(family, cases, first):
    """Compare the cases that are suspect in the first stage again; return all p-values.

    If no test of the first stage is suspect, all p-values of a case are 1; else they are those of
    new runs. The p-values of the second stage do not depend on the first stage, so the bound on the
    error of `refused` holds. For a fault whose statistic has the mean z and the variance 1 in a
    comparison of 3,000 runs, the power among 1,800 tests is Phi(z - 5.0) in one stage of 3,000 runs
    and Phi(0.71 z - 3.0) Phi(1.41 z - 5.0) in two: larger for every power up to 0.975, at half the
    runs, since about one case in thirty of equal laws goes on.
    """
    p = {}
    for name, suspected in first.items():
        values = dict.fromkeys(suspected, 1.0)
        if _is_suspect(suspected):
            values = _compare_case(family, name, cases[name], SECOND_RUNS, "second stage")
        p |= {(name, *test): value for test, value in values.items()}
    return p


def compare_cases(family, cases):
    """Compare collapsed runs of every case with explicit ones; return all p-values of the family.

    A comparison has two stages, `compare_first` and `compare_again`.
    """
    return compare_again(family, cases, compare_first(family, cases))


def _compare_case(family, name, case, runs, stage):
    """Compare collapsed runs of one case with explicit ones."""
    found = collapsed(case, runs, seed_of(f"{family}, collapsed", name, stage))
    return compare(found, drawn(case, runs, seed_of(f"{family}, explicit", name, stage)))


def count_caught(family, cases, name, fault, wrong):
    """Count in how many of ten repetitions a fault planted in the case `name` is suspect.

    `wrong` is the case with the fault. Return 0 unless the second stage then rejects the fault; its
    p-values of all other cases are taken as 1, so that the fault has to be found beside as many
    tests as the family has. One repetition of the second stage is enough: a fault that is suspect
    nine times in ten has z > 5.9 in `compare_cases`, and the second stage misses it less than once
    in 2,000 repetitions.
    """
    case = cases[name]

    def compare_with_fault(runs, repetition):
        found = collapsed(wrong, runs, seed_of(f"{family}, power", fault, repetition), start=case)
        return compare(
            found, drawn(case, runs, seed_of(f"{family}, truth", name, fault, repetition))
        )

    caught = sum(_is_suspect(compare_with_fault(FIRST_RUNS, number)) for number in range(10))
    p = compare_with_fault(SECOND_RUNS, "second stage")
    others = dict.fromkeys(range(21 * len(cases) - len(p)), 1.0)
    return caught if refused(p | others) else 0
