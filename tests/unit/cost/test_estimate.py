"""Estimates of time and memory; configurations; imports of optional packages."""

import subprocess
import sys

import numpy as np
import pytest
from scipy import sparse

import metaspan as ms
from metaspan._load import core
from metaspan._support import memory as _memory
from metaspan.cost import machine as cost
from metaspan.cost import routes

TASKS = ms.LinearTasks(d=10**12, k=5)


def test_estimate_takes_the_arguments_of_train_and_refuses_the_same():
    options = {"rounds": 10, "n": 5, "trials": 3, "record": ("dist", "angles")}
    assert ms.estimate(TASKS, "maml", alpha=0.1, **options).engine == (
        ms.train(TASKS, "maml", alpha=0.1, **options).config.engine
    )
    with pytest.raises(ValueError, match="n must be at least 1"):
        ms.estimate(TASKS, "maml", n=0)


def test_work_grows_with_trials_and_tasks():
    one = ms.estimate(TASKS, "anil", n=64)
    assert ms.estimate(TASKS, "anil", n=64, trials=6).flops_per_round == 6 * one.flops_per_round
    assert ms.estimate(TASKS, "anil", n=640).flops_per_round == 10 * one.flops_per_round
    assert ms.estimate(TASKS, "anil", n=64, rounds=5000).seconds == pytest.approx(5 * one.seconds)


def test_memory_names_what_it_is_made_of():
    found = ms.estimate(ms.LinearTasks(d=1000, k=5), "anil", init=(np.ones((1000, 6)), np.ones(6)))
    assert set(found.bytes) == {"state", "trace", "start"}
    assert found.memory_bytes == sum(found.bytes.values())
    assert found.bytes["start"] >= 8 * 1000 * 6
    assert "start" in str(found)
    assert "pool" in ms.estimate(TASKS, "anil", pool=1000).bytes


def test_the_blocks_of_an_outer_step_are_small_on_the_dual_route():
    rng = np.random.default_rng(0)
    data = ms.TaskBatch(rng.standard_normal((4, 3, 500)), rng.standard_normal((4, 3)))
    plain, heavy = (
        {
            route: ms.estimate(data, ms.ANIL(step=step), width=2, route=route).bytes["B"]
            for route in ("dual", "gram")
        }
        for step in (None, ms.OuterStep(momentum=0.5, average=True))
    )
    assert heavy["dual"] == plain["dual"]
    assert heavy["gram"] >= plain["gram"] + 2 * 8 * 500 * 2


def test_memory_does_not_know_d():
    assert ms.estimate(TASKS, "anil").memory_bytes == (
        ms.estimate(ms.LinearTasks(d=10**4, k=5), "anil").memory_bytes
    )


RATES = {
    "seconds_per_call": 3e-7,
    "flops_per_second": 3e10,
    "seconds_per_kernel": 1.6e-8,
    "read_1": 1.5e10,
    "read_all": 2e10,
    "cached_1": 2.5e10,
    "features_1": 4e10,
    "grams_1": 3e10,
    "seconds_per_task": 4e-7,
    "normals_1": 3e8,
}


@pytest.fixture
def known_machine(monkeypatch):
    """Set the rates of a machine on which the runs below were timed; a test may change them."""
    rates = dict(RATES)
    monkeypatch.setattr(cost, "cost_model", lambda: rates)
    routes.prices.cache_clear()
    yield rates
    routes.prices.cache_clear()


def microseconds(tasks, method, **options):
    return 1e6 * ms.estimate(tasks, method, threads=1, **options).seconds_per_round


SPECTRUM = np.linspace(0.5, 1.0, 3000)


@pytest.mark.parametrize(
    ("ran", "tasks", "method", "options"),
    [
        (33, {"d": 20, "k": 3, "noise": 0.1}, "fo-anil", {"n": 1000}),
        (1.0, {"d": 100, "k": 3}, "fo-anil", {"n": 3}),
        (20.6, {"d": 100, "k": 20}, "fo-anil", {"n": 3}),
        (593, {"d": 100, "k": 20}, "maml", {"n": 1000}),
        (6.5, {"d": 1000, "k": 10}, "fo-anil", {"n": None, "m_in": 10}),
        (168, {"d": 1000, "k": 3}, "fo-anil", {"n": 300, "m_in": 10, "m_out": 10}),
        (1730, {"d": 1000, "k": 20}, "maml", {"n": 100, "m_in": 20, "m_out": 20}),
        (2200, {"d": 1000, "k": 20, "features": "sphere"}, "anil",
         {"n": 100, "m_in": 20, "m_out": 20}),
        (280, {"d": 3000, "k": 3, "spectrum": SPECTRUM}, "fo-anil", {"n": 8}),
        (1810, {"d": 50, "k": 20}, "fo-anil",
         {"n": 100, "m_in": 20, "m_out": 20, "engine": "sampled"}),
    ],
)  # fmt: skip
def test_seconds_of_a_known_machine_are_those_that_runs_took(
    known_machine, ran, tasks, method, options
):
    """Compares estimates for a recorded machine with the times of runs on it."""
    assert ran / 2 < microseconds(ms.LinearTasks(**tasks), method, **options) < 2 * ran


@pytest.mark.parametrize(("k", "share"), [(3, 0.7), (20, 1.0)])
def test_small_trials_share_panels(known_machine, k, share):
    """Many of them on a thread, and states of a few numbers."""
    tasks = ms.LinearTasks(d=100, k=k)
    one = microseconds(tasks, "maml", n=3)
    assert microseconds(tasks, "maml", n=3, trials=4) == pytest.approx(4 * one)
    many = microseconds(tasks, "maml", n=3, trials=1000)
    assert many == pytest.approx(1000 * one) if share == 1 else many < share * 1000 * one


@pytest.mark.parametrize("samples", [{}, {"m_in": 5, "m_out": 5}], ids=["infinite", "finite"])
def test_rounds_too_small_to_share_take_one_thread(known_machine, samples):
    tasks = ms.LinearTasks(d=100, k=3)
    one, many = (
        ms.estimate(tasks, "fo-anil", n=100, threads=threads, **samples) for threads in (1, 8)
    )
    assert many.seconds == one.seconds
    assert many.memory_bytes == one.memory_bytes
    trials = ms.estimate(tasks, "fo-anil", n=100, threads=8, trials=8, **samples)
    assert trials.seconds == pytest.approx(one.seconds)


def test_random_numbers_are_priced(known_machine):
    tasks = ms.LinearTasks(d=100, k=4)
    before = microseconds(tasks, "fo-anil", n=160)
    known_machine["normals_1"] /= 2
    assert microseconds(tasks, "fo-anil", n=160) - before == pytest.approx(160 * 4 / 300)
    fixed = ms.LinearTasks(d=100, k=4, heads=np.ones((160, 4)))
    assert microseconds(fixed, "fo-anil", n=160) < before
    chosen = ms.LinearTasks(d=100, k=4, heads=np.ones((500, 4)))
    assert microseconds(fixed, "fo-anil", n=160) < microseconds(chosen, "fo-anil", n=160)


def test_records_are_priced_as_often_as_they_are_taken(known_machine):
    tasks = ms.LinearTasks(d=100, k=20)
    least = microseconds(tasks, "anil", n=8, record="w_norm", stop=None)
    every = microseconds(tasks, "anil", n=8, record="angles", stop=None) - least
    tenth = microseconds(tasks, "anil", n=8, record="angles", record_every=10, stop=None) - least
    assert every > 5 * least
    assert tenth == pytest.approx(every / 10, rel=0.01)
    stopped = microseconds(tasks, "anil", n=8, record="w_norm", stop=ms.Stop(dist=1e-3))
    assert least < stopped < least + every
    losses = microseconds(tasks, "anil", n=8, record="loss_out", stop=None)
    assert least < losses < 2 * least


def test_samples_at_full_size_and_pools_are_priced_before_the_first_round(known_machine):
    tasks = ms.LinearTasks(d=10_000, k=3)
    options = {"m_in": 5, "m_out": 5, "pool": 50, "n": 50, "engine": "arrays", "rounds": 0}
    assert ms.estimate(tasks, "anil", **options).seconds > 500 * 10_000 / 3e8 / 8
    spectrum = ms.LinearTasks(d=10_000, k=3, spectrum=np.ones(10_000))
    assert ms.estimate(spectrum, "anil", rounds=0).seconds > 6 * 10_000 / 3e8 / 8


def test_features_on_disk_come_from_memory_where_it_has_room(known_machine, tmp_path, monkeypatch):
    path = tmp_path / "X.npy"
    np.save(path, np.zeros((4, 10, 10_000)))
    X, y = np.load(path, mmap_mode="r"), np.zeros((4, 10))
    batch = ms.TaskBatch(X, y, X, y)

    def seconds(free):
        monkeypatch.setattr(_memory, "available_bytes", lambda: free)
        routes.prices.cache_clear()
        return ms.estimate(batch, "anil", width=3, route="vector", threads=1).seconds_per_round

    data = 8 * 4 * 10 * 10_000
    assert seconds(data) == seconds(None) > data / 1e9
    assert seconds(100 * data) < seconds(data)


def test_sparse_sets_are_copied_where_memory_has_room(known_machine, monkeypatch):
    d, entries, rng = 300_000, 400, np.random.default_rng(0)
    columns = np.sort(rng.choice(d, entries, replace=False)).astype(np.int32)
    X = sparse.csr_matrix((np.ones(entries), columns, [0, entries]), shape=(1, d))
    batch = ms.TaskBatch([X], [np.ones(1)], [X], [np.ones(1)])

    def copies(free, **options):
        monkeypatch.setattr(_memory, "available_bytes", lambda: free)
        options = {"width": 8, "route": "gram", "threads": 1} | options
        return ms.estimate(batch, "anil", **options).bytes.get("copies", 0)

    bands, taken = -(-8 * 8 * d // core.BAND_BYTES), copies(None)
    assert taken == 2 * ((4 + 2 + 8) * entries + 8 * (bands + 1))
    assert copies(2**40) == taken
    assert copies(2**20) == copies(None, route="vector") == copies(None, rounds=1) == 0


def test_configuration_is_a_mapping_that_prints():
    config = ms.show_config()
    assert config["version"] == ms.__version__
    assert {"compiler", "instruction_set", "threads", "numpy", "flops_per_second"} <= set(config)
    assert len(str(config).splitlines()) == len(config)


def test_import_takes_no_optional_package():
    code = (
        "import sys, metaspan; "
        "print([m for m in ('pandas', 'matplotlib', 'tqdm', 'scipy') if m in sys.modules])"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


@pytest.mark.parametrize("engine", ["sampled", "arrays"])
def test_ranks_share_the_memory_and_the_time(engine):
    law = ms.LinearTasks(d=400_000, k=4)
    tasks, counts = law, {"n": 5, "m_in": 10, "m_out": 10, "engine": engine}
    if engine == "arrays":
        X, y = np.zeros((5, 20, 40_000)), np.zeros((5, 20))
        tasks, counts = ms.TaskBatch.split(X, y, m_in=10), {"route": "vector", "width": 4}
    alone, two, four = (
        ms.estimate(tasks, "fo-maml", rounds=10, threads=1, ranks=ranks, **counts)
        for ranks in (1, 2, 4)
    )
    assert [e.ranks for e in (alone, two, four)] == [1, 2, 4]
    assert alone == ms.estimate(tasks, "fo-maml", rounds=10, threads=1, **counts)
    for name in ("B", "exchange"):
        assert two.bytes[name] == pytest.approx(alone.bytes[name] / 2, rel=0.1, abs=1e4)
        assert four.bytes[name] == pytest.approx(alone.bytes[name] / 4, rel=0.1, abs=1e4)
    assert four.memory_bytes < two.memory_bytes < alone.memory_bytes
    assert four.seconds_per_round < alone.seconds_per_round
    assert "ranks            4" in str(four)
    assert "ranks" not in str(alone)


def test_ranks_are_refused_where_no_run_is_shared():
    tasks = ms.LinearTasks(d=10**6, k=4)
    with pytest.raises(ValueError, match=r"^ranks must be 1 for the engine 'population', .* got 2"):
        ms.estimate(tasks, "anil", ranks=2)
    counts = {"n": 5, "m_in": 10, "m_out": 10}
    with pytest.raises(ValueError, match=r"^pool must be None for a run with ranks"):
        ms.estimate(tasks, "anil", ranks=2, pool=9, engine="arrays", **counts)
    with pytest.raises(ValueError, match=r"^ranks must be at most 128 for d = 1000000"):
        ms.estimate(tasks, "anil", ranks=2**11, engine="sampled", **counts)
    with pytest.raises(TypeError, match=r"^ranks must be an integer"):
        ms.estimate(tasks, "anil", ranks=2.0)
