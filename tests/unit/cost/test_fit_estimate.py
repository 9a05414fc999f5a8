"""Estimates of the time and the memory of fits by every estimator."""

import tracemalloc

import numpy as np
import pytest
from scipy import sparse

import metaspan as ms
from metaspan._load import core
from metaspan.cost import machine as cost
from metaspan.estimators import in_law, on_arrays
from metaspan.estimators.configure import configure_fit
from metaspan.estimators.fit_costs import fit_cost
from metaspan.estimators.names import NAMES
from metaspan.estimators.pass_costs import sample_costs

ITERATIVE = ("altgdmin", "altmin", "altmin-gd", "burer-monteiro", "meta-sp", "trace-norm")
ANY_X = tuple(name for name in NAMES if name != "reduced-rank")
LAW = ms.LinearTasks(d=10**5, k=3, noise=0.1)
COUNTS = {"n": 40, "m": 10}


@pytest.fixture(autouse=True)
def known_machine(monkeypatch):
    """Set the rates of a machine; a test may change them."""
    rates = {
        **{"seconds_per_call": 3e-7, "flops_per_second": 3e10, "seconds_per_kernel": 1.6e-8},
        **{"read_1": 1.5e10, "read_all": 2e10, "cached_1": 2.5e10, "features_1": 4e10},
        **{"grams_1": 3e10, "seconds_per_task": 4e-7, "normals_1": 3e8},
    }
    monkeypatch.setattr(cost, "cost_model", lambda: rates)
    return rates


def batch(n=20, m=8, d=60, k=3, *, storage="dense", seed=0):
    rng = np.random.default_rng(seed)
    B_star = np.linalg.qr(rng.standard_normal((d, k)))[0]
    X = rng.standard_normal((n, m, d))
    if storage == "shared":
        X = [X[0]] * n
    heads = rng.standard_normal((n, k))
    y = [x @ (B_star @ v) + 0.1 * rng.standard_normal(m) for x, v in zip(X, heads, strict=True)]
    if storage == "sparse":
        X = [sparse.csr_array(np.where(rng.random(x.shape) < 0.2, x, 0.0)) for x in X]
    if storage == "float32":
        X, y, B_star = X.astype("float32"), np.array(y, "float32"), B_star.astype("float32")
    return ms.TaskBatch(X, y, B_star=B_star)


def fit_estimate(tasks, name, **options):
    return ms.estimate(tasks, name, call="fit", threads=1, **options)


@pytest.mark.parametrize("engine", ["law", "sampled"])
@pytest.mark.parametrize("name", ANY_X)
def test_every_estimator_has_an_estimate_for_tasks_from_a_law(name, engine):
    found = fit_estimate(LAW, name, engine=engine, **COUNTS)
    assert found.engine == engine
    assert found.unit == ("iteration" if name in ITERATIVE else "pass")
    assert found.seconds >= found.rounds * found.seconds_per_round > 0 or not found.rounds
    assert found.seconds > 0
    assert found.memory_bytes == sum(found.bytes.values())
    assert found.bytes["rows"] <= found.memory_bytes


@pytest.mark.parametrize("storage", ["dense", "float32", "sparse", "shared"])
@pytest.mark.parametrize("name", NAMES)
def test_every_estimator_has_an_estimate_for_a_batch(name, storage):
    data = batch(storage=storage)
    found = fit_estimate(data, name)
    assert (found.engine, found.round) == ("arrays", "n=20, m of the batch")
    assert found.memory_bytes > 8 * data.n * 8
    assert "rows" not in found.bytes


@pytest.mark.parametrize("name", ["moments", "split-spectral", "altmin", "single-task"])
def test_rows_have_the_bytes_of_the_samples(name):
    small = ms.LinearTasks(d=2000, k=3)
    assert fit_estimate(small, name, engine="sampled", **COUNTS).bytes["rows"] == 8 * 400 * 2000
    large = ms.LinearTasks(d=10**6, k=3)
    assert fit_estimate(large, name, engine="sampled", **COUNTS).bytes["rows"] == 8 * 10 * 10**6
    rows = (80, 0, 10.0**6 - 3) if name == "split-spectral" else (400, 3, 10.0**6)
    in_law = fit_estimate(large, name, engine="law", **COUNTS)
    assert in_law.bytes["rows"] == core.PackedRows.bytes(*rows)


def test_features_on_the_sphere_have_rows_of_samples_in_law():
    sphere = ms.LinearTasks(d=10**5, k=3, features="sphere")
    found = fit_estimate(sphere, "split-spectral", engine="law", **COUNTS)
    assert found.bytes["rows"] == core.PackedRows.bytes(400, 3, 10.0**5)


def assert_memory(data, name, call):
    """Compare with what Python allocates; the core's own matrices, about a tenth, come on top."""
    ms.fit(batch(), name, **call)  # the first call imports modules
    tracemalloc.start()
    try:
        ms.fit(data, name, **call)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    said = ms.estimate(data, name, call="fit", **call).memory_bytes
    assert peak < 1.05 * said + 2**18
    assert said < 2 * peak + 2**20


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("moments", {}),
        ("duchi", {}),
        ("split-spectral", {}),
        ("single-task", {}),
        ("pooled", {}),
        ("oracle", {}),
        ("altmin", {"start": "random"}),
        ("altmin-gd", {"start": "random"}),
        ("altgdmin", {}),
        ("burer-monteiro", {}),
        ("meta-sp", {}),
    ],
)
@pytest.mark.filterwarnings("ignore::metaspan.NotConvergedWarning")
@pytest.mark.parametrize("sizes", [(12, 8, 20_000), (1500, 10, 200)], ids=["wide", "long"])
def test_arrays_of_a_fit_take_the_estimated_memory(name, options, sizes):
    n, m, d = sizes
    call = {"threads": 1, "width": 3, **options}
    if name in ITERATIVE:
        call["rounds"] = 2
    assert_memory(batch(n, m, d), name, call)


@pytest.mark.parametrize("name", ["duchi", "split-spectral", "altgdmin"])
@pytest.mark.filterwarnings("ignore::metaspan.NotConvergedWarning")
@pytest.mark.parametrize("sizes", [(12, 8, 6000), (400, 10, 200)], ids=["wide", "long"])
def test_the_choice_of_a_width_takes_the_estimated_memory(name, sizes):
    n, m, d = sizes
    call = {"threads": 1, "width": "cv"}
    if name in ITERATIVE:
        call["rounds"] = 2
    assert_memory(batch(n, m, d), name, call)


@pytest.mark.parametrize("name", NAMES)
def test_the_choice_of_a_width_costs_the_fits_of_all_folds(name):
    """A nested estimator is fitted once a fold, and others once for each of ten widths.

    The errors on held-out tasks take less than 0.03 s here.
    """
    data = batch(n=60, d=400, storage="shared" if name == "reduced-rank" else "dense")
    rest = batch(n=48, d=400, storage="shared" if name == "reduced-rank" else "dense")
    found, widest = (fit_estimate(data, name, width=width) for width in ("cv", 10))
    assert found.round == f"{widest.round}, width at most 10"
    assert (found.rounds, found.unit) == (widest.rounds, widest.unit)
    assert found.memory_bytes == sum(found.bytes.values()) >= widest.memory_bytes
    nested = name in ("moments", "duchi", "split-spectral", "single-task", "reduced-rank")
    widths = (10,) if nested else range(1, 11)
    fits = sum(5 * fit_estimate(rest, name, width=width).seconds for width in widths)
    assert 0.9 * fits < found.seconds - widest.seconds < 1.1 * fits + 0.03


@pytest.mark.parametrize("engine", ["law", "sampled"])
@pytest.mark.parametrize("name", ANY_X)
def test_costs_grow_with_every_size(name, engine):
    def costs(d=10_000, k=3, **sizes):
        counts = {"n": 60, "m": 20, "engine": engine} | sizes
        found = fit_estimate(ms.LinearTasks(d=d, k=k), name, **counts)
        return found.memory_bytes, found.seconds

    base = costs()
    for larger in ({"n": 90}, {"m": 30}, {"k": 4}, {"trials": 2}):
        more = costs(**larger)
        assert more[0] >= base[0]
        assert more[1] > base[1]
    wider = costs(d=20_000)
    if engine == "sampled":
        assert wider[0] > base[0]
        assert wider[1] > base[1]
    else:
        assert wider[0] == base[0]


@pytest.mark.parametrize("name", ITERATIVE)
def test_time_counts_the_iterations_that_the_call_allows(name):
    one, many = (fit_estimate(LAW, name, rounds=rounds, **COUNTS) for rounds in (1, 101))
    assert (one.rounds, many.rounds) == (1, 101)
    assert many.seconds - one.seconds == pytest.approx(100 * one.seconds_per_round)
    assert fit_estimate(LAW, name, **COUNTS).rounds == (15000 if name == "burer-monteiro" else 1000)


def test_time_counts_the_passes_that_the_estimator_allows():
    few, many = (ms.estimate(LAW, ms.Duchi(passes=p), **COUNTS) for p in (10, 15))
    assert (few.rounds, many.rounds, few.unit) == (10, 15, "pass")
    assert many.seconds > few.seconds
    assert fit_estimate(LAW, "duchi", passes=15, **COUNTS).rounds == 15
    assert fit_estimate(LAW, "pooled", **COUNTS).rounds == 500
    assert fit_estimate(LAW, "oracle", **COUNTS).rounds == 0


@pytest.mark.parametrize(
    ("samples", "tasks", "counts"),
    [
        (on_arrays.ArraySamples, batch(300, 20, 400), {}),
        (in_law.LawSamples, ms.LinearTasks(d=10**6, k=3, noise=0.1), {"n": 300, "m": 20}),
    ],
    ids=["arrays", "law"],
)
@pytest.mark.parametrize("name", ["moments", "duchi"])
def test_a_typical_number_of_passes_is_what_searches_take(
    name, samples, tasks, counts, monkeypatch
):
    passes = 0
    product = samples.combine_features

    def counted(self, *arguments):
        nonlocal passes
        passes += 1
        return product(self, *arguments)

    monkeypatch.setattr(samples, "combine_features", counted)
    ms.fit(tasks, name, threads=1, **counts)  # warnings are errors: the search converges
    config = configure_fit(tasks, name, threads=1, **counts)
    usual = fit_cost(config, sample_costs(config)).usual
    assert usual / 2 <= passes <= 2 * usual, f"{passes} passes"


def test_flops_of_a_pass_are_those_of_two_products():
    n, m, d, c = 40, 10, 10**5, 3 + 5
    found = fit_estimate(LAW, "pooled", engine="sampled", **COUNTS)
    assert found.flops_per_round == 4 * n * m * d
    moments = fit_estimate(LAW, "moments", engine="sampled", **COUNTS)
    assert moments.flops_per_round > 4 * n * m * d * c


def test_random_numbers_are_priced_in_every_pass_that_draws_rows(known_machine):
    large = ms.LinearTasks(d=10**6, k=3)
    before = fit_estimate(large, "pooled", engine="sampled", **COUNTS).seconds_per_round
    known_machine["normals_1"] /= 2
    after = fit_estimate(large, "pooled", engine="sampled", **COUNTS).seconds_per_round
    assert after - before == pytest.approx(400 * 10**6 / 3e8)


def test_methods_are_runs_and_estimators_are_fits():
    data = batch()
    assert ms.estimate(data, "altgdmin", width=3).unit == "round"
    assert ms.estimate(data, ms.AltGDmin(), width=3, call="fit").unit == "iteration"
    assert ms.estimate(LAW, "altgdmin", **COUNTS).unit == "iteration"
    assert ms.estimate(data, "moments").unit == ms.estimate(data, ms.Moments()).unit == "pass"
    assert ms.estimate(LAW, "anil", rounds=7).rounds == 7


def test_an_estimate_of_a_fit_reads_as_lines():
    lines = str(fit_estimate(LAW, "altmin", rounds=30, **COUNTS)).splitlines()
    assert lines[:2] == ["engine           law", "samples          n=40, m=10"]
    assert lines[2].startswith("time             at most ")
    assert lines[2].endswith(" s an iteration, 30 iterations)")
    assert "s a pass, 80 passes)" in str(fit_estimate(LAW, "moments", **COUNTS))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"n": 0}, ValueError, "n must be at least 1"),
        ({"m": None}, ValueError, "m must be an integer"),
        ({"width": "best"}, ValueError, "width must be 'cv'; got 'best'"),
        ({"m_in": 5}, ValueError, "m_in must be left out for a fit"),
        ({"record_every": 2}, ValueError, "record_every must be left out for a fit"),
        ({"ranks": 2}, ValueError, "ranks must be 1 for the estimate of a fit; got 2"),
        ({"ranks": 0}, ValueError, "ranks must be at least 1"),
        ({"device": "cuda", "engine": "sampled"}, ValueError, "device must be 'cpu'"),
        ({"call": "both"}, ValueError, "call must be 'auto', 'train' or 'fit'; got 'both'"),
        ({"start": "no"}, TypeError, "unknown keyword 'start'"),
    ],
)
def test_arguments_are_refused_in_a_sentence(options, error, message):
    with pytest.raises(error, match=message):
        ms.estimate(LAW, "moments", **{**COUNTS, **options})


def test_runs_have_no_m():
    with pytest.raises(ValueError, match="m must be None for a training run"):
        ms.estimate(LAW, "anil", m=5)
    with pytest.raises(ValueError, match="method must be"):
        ms.estimate(LAW, "moments", call="train")
