"""Runs on a pool drawn in law end like runs on a pool of samples drawn at full size."""

from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import pytest
from scipy import stats

import metaspan as ms
from collapsed_runs import refused
from metaspan._support import memory
from metaspan.config.configure import configure

FAMILY_ERROR = 1e-4  # the chance that any test of all cases fails where all laws are the same
TRIALS = 2000
# Two stages, as in `collapsed_runs.compare_again`, with more power than one stage of TRIALS: the
# runs of the first, the p-value below which a case goes on, and the runs of the second.
FIRST_RUNS, SUSPECT, SECOND_RUNS = 1000, 3e-3, 4000
RECORD = ("dist", "perp_norm", "sigma_min", "w_norm", "loss_in", "loss_adapted", "loss_out")
METHODS = {
    "anil": ms.ANIL(alpha=0.05, beta=0.08, inner_steps=2),
    "maml": ms.MAML(alpha=0.01, beta=0.06, inner_steps=2),
}
SMALL = ms.MAML(alpha=0.01, beta=0.02, inner_steps=2)
APART = {"m_in": 2, "m_out": 3}
SHARED = {"m_in": 4, "shared_samples": True}
# Three tasks of 5 samples, or of 4: with the 4 of the start 19, or 16, directions that matter.
CASES = {
    f"{method}, {features}, {name}": dict(method=METHODS[method], features=features, **sizes)
    for features in ("gaussian", "sphere")
    for method, name, sizes in (
        ("anil", "filled", dict(d=5, **APART)),
        ("anil", "shared", dict(d=40, **SHARED)),
        ("maml", "apart", dict(d=40, **APART)),
        ("maml", "shared, filled", dict(d=5, **SHARED)),
    )
} | {
    "student-t": dict(d=40, features=ms.StudentT(dof=12), method=SMALL, **APART),
    "random start": dict(d=25, init=ms.Init(scale=1.0), method=METHODS["maml"], **APART),
    "one left": dict(d=20, method=METHODS["maml"], **APART),
    "none left": dict(d=19, features="sphere", method=METHODS["anil"], **APART),
    "few samples": dict(d=7, features="sphere", pool=1, n=1, m_in=1, m_out=1,
                        method=METHODS["maml"]),
    "wide": dict(d=30, width=4, method=METHODS["maml"], **APART),
    "narrow": dict(d=30, k=3, width=1, init=ms.Init(dist=0.6, scale=1.0),
                   method=METHODS["anil"], **APART),
    "gaussian heads": dict(d=25, heads=ms.GaussianHeads(), method=METHODS["maml"], **SHARED),
    "spread": dict(d=25, spread=1.2, method=METHODS["anil"], **APART),
    "spread, filled": dict(d=5, spread=1.2, method=METHODS["maml"], **SHARED),
}  # fmt: skip


def arguments(case, **changes):
    options = {
        "k": 2,
        "noise": 0.5,
        "pool": 3,
        "n": 2,
        "rounds": 12,
        "init": ms.Init(dist=0.8, scale=1.0),
    }
    options |= {
        "heads": ms.SphereHeads(radius=1.5),
        "stop": None,
        "threads": 1,
        "record": RECORD,
        "record_every": 100,
    }
    options |= {**case, **changes}
    of_tasks = ("d", "k", "noise", "heads", "features", "spread")
    tasks = ms.LinearTasks(**{name: options.pop(name) for name in of_tasks if name in options})
    return {"tasks": tasks, **options}


@pytest.fixture
def plenty(monkeypatch):
    """Memory is not asked for: thousands of tiny trials would ask the system each, for as long as
    they take."""
    monkeypatch.setattr(memory, "available_bytes", lambda: None)


def train(*positional, **named):
    """A run in a thread of its own, where no trial exchanges the handlers of all signals."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(ms.train, *positional, **named).result()


def ends(case, trials, **changes):
    """What independent runs end with, and how far that is from their start, by name."""
    r = train(**arguments(case, trials=trials, **changes))
    assert all(outcome == ms.Status.FINISHED for outcome in r.status)
    found = {name: r.trace[name][:, -1] for name in RECORD}
    changes = {f"change of {name}": r.trace[name] for name in ("loss_in", "loss_out")}
    return found | {name: values[:, -1] - values[:, 0] for name, values in changes.items()}


def compare(found, expected):
    """p-values by name: are two samples of one distribution?"""
    return {
        name: 1.0
        if np.ptp(found[name]) == np.ptp(expected[name]) == 0
        else stats.ks_2samp(found[name], expected[name], method="asymp").pvalue
        for name in found
    }


def compare_engines(case, seed, trials):
    """p-values of a pool in law beside one of samples."""
    found = ends(case, trials, seed=seed)
    return compare(found, ends(case, trials, seed=seed + 1, engine="arrays", route="gram"))


@pytest.mark.usefixtures("plenty")
def test_pools_in_law_end_as_pools_of_samples_do():
    """Every record at the end of every case, and its change: Kolmogorov-Smirnov with Holm."""
    p = {}
    for number, (name, case) in enumerate(CASES.items()):
        first = compare_engines(case, 2 * number, FIRST_RUNS)
        values = dict.fromkeys(first, 1.0)
        if min(first.values()) < SUSPECT:
            values = compare_engines(case, 2 * (number + len(CASES)), SECOND_RUNS)
        p |= {(name, record): value for record, value in values.items()}
    assert not refused(p, FAMILY_ERROR)


@pytest.mark.usefixtures("plenty")
def test_the_comparison_is_sharp():
    """Other sizes, noise or tails are noticed, beside the tests of all other cases.

    They are suspect in as many runs as the first stage has, and half of the runs of the second
    reject them.
    """
    right = cache(lambda name: ends(CASES[name], TRIALS, seed=101))
    for name, changes in (
        ("maml, gaussian, apart", {"d": 30}),
        ("maml, gaussian, apart", {"noise": 0.75}),
        ("maml, gaussian, apart", {"m_in": 3}),
        ("spread, filled", {"spread": 0.0, "noise": 1.3}),
        ("maml, gaussian, shared, filled", {"features": "sphere"}),
    ):
        samples = right(name), ends(CASES[name], TRIALS, seed=102, **changes)
        p = compare(*({key: v[:FIRST_RUNS] for key, v in sample.items()} for sample in samples))
        assert min(p.values()) < SUSPECT, changes
        others = dict.fromkeys(range(len(p) * (len(CASES) - 1)), 1.0)
        assert refused(compare(*samples) | others, FAMILY_ERROR), changes


@pytest.mark.usefixtures("plenty")
def test_a_tracked_start_moves_as_on_samples():
    """One round on new samples, beside one on all of a pool, by what it does to a given B_0."""
    rng = np.random.default_rng(12)
    B0, B_star = rng.standard_normal((12, 3)) / 4, np.eye(12, 2)
    span = np.linalg.qr(np.concatenate([B_star, B0], axis=1))[0]
    tasks = ms.LinearTasks(d=12, k=2, noise=0.5, B_star=B_star)
    options = {"n": 3, "m_in": 2, "m_out": 3, "rounds": 1, "init": (B0, np.zeros(3))}
    options |= {"stop": None, "threads": 1, "record": (), "trials": TRIALS}
    p = {}
    for name, method in METHODS.items():
        runs = (
            train(tasks, method, seed=21, track_start=True, **options),
            train(tasks, method, seed=22, pool=3, engine="arrays", route="gram", **options),
        )
        samples = []
        for r in runs:
            moved = r.B - B0
            off = moved - span @ (span.T @ moved)
            along = np.einsum("dk,tdl->tkl", B0, moved)
            samples.append({f"along {i}": along[:, i // 3, i % 3] for i in range(9)})
            samples[-1] |= {"moved": np.linalg.norm(moved, axis=(1, 2))}
            samples[-1] |= {"off the span": np.linalg.norm(off, axis=(1, 2))}
        p |= {(name, statistic): value for statistic, value in compare(*samples).items()}
    assert not refused(p, FAMILY_ERROR)


def test_the_basis_is_all_of_space_where_samples_fill_it():
    for name, case in CASES.items():
        config = configure(**arguments(case))
        if "filled" in name or name == "none left":
            assert config.layout.features == case["d"], name
        else:
            assert config.layout.features < case["d"], name


@pytest.mark.parametrize("features", ["gaussian", "student-t", "sphere"])
@pytest.mark.parametrize("route", ["gram", "vector", "dual"])
def test_a_pool_at_any_dimension_is_fitted(features, route):
    """At d = 10^12 the steps that fit the samples are too small to change the distance."""
    case = {"d": 10**12, "features": features, "method": ms.ANIL(alpha=0.1, beta=1e-12)}
    r = ms.train(**arguments(case, m_in=3, m_out=3, n=3, rounds=300, route=route))
    assert r.config.engine == "collapsed"
    assert r.status == ms.Status.FINISHED
    assert r.trace["loss_out"][-1] < 0.5 * r.trace["loss_out"][0]
    assert r.trace["dist"][-1] == pytest.approx(0.8, abs=1e-6)
    M, R, w = r.state
    assert (M.shape, R.shape, w.shape) == ((2, 2), (2, 2), (2,))
    assert np.linalg.norm(R, 2) == pytest.approx(r.trace["perp_norm"][-1], rel=1e-12)
