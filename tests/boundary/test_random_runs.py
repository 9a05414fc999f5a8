"""Runs with random arguments are refused in one sentence, or end with a correct status."""

import re
import warnings
from dataclasses import replace

import numpy as np
from hypothesis import event, given, settings
from hypothesis import strategies as st

import metaspan as ms
from matching import METHODS, assert_same_bits
from metaspan.config.records import RECORDS

LARGE = [10**6, 10**12, 2**53]
PRIVACY = [ms.UserDP(clip=c, multiplier=z) for c in (0.1, 1e9) for z in (0.0, 0.5)]
COUNTS = st.none() | st.integers(1, 9)


def uniform(generator, n, k):
    return generator.uniform(-1, 1, (n, k))


@st.composite
def laws(draw):
    """Tasks of a few dimensions, or of very many."""
    k = draw(st.integers(1, 4))
    d = draw(st.integers(k, 24) | st.sampled_from(LARGE))
    heads = draw(st.sampled_from(["gaussian", "mean", "sphere", "fixed", "function"]))
    made = {
        "gaussian": ms.GaussianHeads(cov=np.linspace(0, 1, k)),
        "mean": ms.GaussianHeads(mean=np.ones(k)),
        "sphere": ms.SphereHeads(radius=draw(st.sampled_from([0.0, 2.0]))),
        "fixed": np.linspace(-1, 1, 6 * k).reshape(6, k),
        "function": uniform,
    }[heads]
    tails = ms.StudentT(dof=draw(st.floats(2.01, 50)))
    features = draw(st.sampled_from(["gaussian", "gaussian", "sphere", tails]))
    noise = draw(st.sampled_from([0.0, 0.3, 10.0]))
    spread = draw(st.sampled_from([0.0, 0.0, 1.0]))
    return ms.LinearTasks(d=d, k=k, noise=noise, heads=made, features=features, spread=spread)


@st.composite
def methods(draw):
    steps = {"beta": draw(st.sampled_from([0.0, 1e-13, 0.01, 0.1, 5.0]))}
    steps["privacy"] = draw(st.sampled_from([None, None, *PRIVACY]))
    name = draw(st.sampled_from([*METHODS, "average-risk"]))
    if name == "average-risk":
        return ms.AverageRisk(**steps)
    steps["alpha"] = draw(st.sampled_from([1e-13, 0.01, 0.1, 2.0]))
    return METHODS[name](inner_steps=draw(st.sampled_from([0, 1, 1, 2, 4])), **steps)


@st.composite
def runs(draw):
    """Draw arguments of train(). Most draws are valid combinations."""
    tasks, method = draw(laws()), draw(methods())
    options = {"rounds": draw(st.integers(0, 8)), "trials": draw(st.integers(1, 3))}
    options |= {"width": draw(st.none() | st.integers(1, max(1, min(6, tasks.d - tasks.k))))}
    options |= {"n": draw(st.integers(1, 20)), "m_in": draw(COUNTS), "m_out": draw(COUNTS)}
    sizes = draw(st.sampled_from(["new", "new", "shared", "tracked", "pool", "all", "infinite"]))
    if sizes == "shared":
        options |= {"shared_samples": True, "m_out": options["m_in"]}
    elif sizes == "pool":
        options |= {"pool": draw(st.integers(1, 6)), "m_in": 2, "m_out": draw(st.integers(1, 9))}
        options["n"] = draw(st.none() | st.integers(1, options["pool"]))
        if tasks.d in LARGE:  # a pool with noise is drawn at full size
            method = replace(method, privacy=None)
    elif sizes == "infinite":
        method = ms.ANIL(beta=method.beta, first_order=draw(st.booleans()))
        options["d_over_n"] = draw(st.sampled_from([None, 0.0, 0.5, 4.0]))
    options |= {"n": None} if sizes in ("all", "infinite") else {}
    options |= {"track_start": sizes == "tracked", "threads": draw(st.integers(1, 2)), "stop": None}
    options |= {"init": draw(st.sampled_from([ms.Init(scale=1.0), ms.Init(dist=0.5, scale=0.1)]))}
    if tasks.d < 30 and draw(st.booleans()):
        width = options["width"] or tasks.k
        B0 = np.random.default_rng(1).standard_normal((tasks.d, width))
        options |= {"init": (B0, draw(st.sampled_from([0.0, 1.0])) * np.ones(width))}
    options |= {"record": draw(st.lists(st.sampled_from(RECORDS), max_size=5))}
    options |= {"record_every": draw(st.integers(1, 4)), "seed": draw(st.integers(0, 2**64 - 1))}
    options |= {"dtype": draw(st.sampled_from([None, "float32", "float64"]))}
    return tasks, method, options


def check_end(r):
    """Check the properties that every result has, for any status."""
    config = r.config
    M, R, w = (part if len(config.trials) > 1 else part[None] for part in r.state)
    count, width = len(config.trials), config.width
    assert (M.shape, w.shape) == ((count, config.k_star, width), (count, width))
    assert R.shape[::2] == (count, width)
    assert all(np.isfinite(part).all() for part in (M, R, w))
    for place, outcome in enumerate(r.outcomes):
        assert outcome.status in (ms.Status.FINISHED, ms.Status.DIVERGED, ms.Status.UNDERFLOW)
        assert 0 <= outcome.round <= config.rounds
        if outcome != ms.Status.FINISHED:
            continue
        assert outcome.round == config.rounds
        for name, values in r.trace.items():
            row = values[place] if count > 1 and name != "round" else values
            assert np.isfinite(row).all(), (name, outcome)


@given(runs())
@settings(max_examples=100)
def test_any_run_ends_with_a_status_or_is_refused_in_one_sentence(case):
    tasks, method, options = case
    try:
        estimate = ms.estimate(tasks, method, **options)
    except ValueError as error:
        sentence = str(error)
        event(f"refused: {sentence[:40]}")
        assert "\n" not in sentence
        assert not re.search(r"\.\s+[A-Z]", sentence), sentence
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ms.DivergenceWarning)
        r = ms.train(tasks, method, **options)
        again = ms.train(tasks, method, **{**options, "threads": 3 - options["threads"]})
    pooled = "" if r.config.pool is None else ", pool"
    event(f"{r.config.engine}{pooled}: {r.outcomes[0].status.name}")
    assert estimate.engine == r.config.engine
    assert estimate.memory_bytes < 10**9
    check_end(r)
    if again.config.route == r.config.route:
        assert_same_bits(again, r)
