"""Gradients do not copy the data, and training in coordinates holds no array of size d."""

import subprocess
import sys
import textwrap

import numpy as np
import pytest

import metaspan as ms

MIB = 2**20


def in_new_process(source):
    """Runs a script of its own, since peaks of memory never fall; its words of output."""
    head = textwrap.dedent("""\
        from pathlib import Path
        import numpy as np
        import metaspan as ms

        # A process begins with the peak of its parent: forget it.
        Path("/proc/self/clear_refs").write_text("5")

        def peak():
            text = Path("/proc/self/status").read_text()
            return 1024 * int(text.split("VmHWM:")[1].split()[0])
    """)
    script = head + textwrap.dedent(source)
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def parts(batch):
    return batch.X_in, batch.y_in, batch.X_out, batch.y_out


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_batches_are_views_of_the_data(rng, dtype):
    X = rng.standard_normal((4, 7, 9)).astype(dtype)
    y = rng.standard_normal((4, 7)).astype(dtype)
    for part, source in zip(parts(ms.TaskBatch(X, y, X, y)), (X, y, X, y), strict=True):
        assert part is source or np.shares_memory(part, source)
        assert part.ctypes.data == source.ctypes.data
    split = ms.TaskBatch.split(X, y, m_in=3)
    for part, source in zip(parts(split), (X, y, X[:, 3:], y[:, 3:]), strict=True):
        assert part.ctypes.data == source.ctypes.data
        assert part.strides == source.strides


def test_ragged_batches_are_views_of_their_arrays(rng):
    X = [rng.standard_normal((m, 9)) for m in (3, 6)]
    y = [rng.standard_normal(m) for m in (3, 6)]
    for part, sources in zip(parts(ms.TaskBatch(X, y, X, y)), (X, y, X, y), strict=True):
        assert all(np.shares_memory(a, b) for a, b in zip(part, sources, strict=True))


def test_data_are_left_as_they_were(rng):
    X, y = rng.standard_normal((4, 7, 9)), rng.standard_normal((4, 7))
    B, w = rng.standard_normal((9, 2)), rng.standard_normal(2)
    before = [array.copy() for array in (X, y, B, w)]
    ms.meta_gradient(B, w, ms.TaskBatch.split(X, y, m_in=3), ms.MAML(inner_steps=2))
    ms.adapt(B, w, X, y, ms.MAML(), return_B=True)
    for array, copy in zip((X, y, B, w), before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.peak_memory
@pytest.mark.parametrize("strided", [False, True])
@pytest.mark.parametrize(("route", "limit"), [("gram", 32), ("vector", 80)])
def test_a_gradient_does_not_copy_the_batch(route, limit, strided):
    """The data are 192 MiB of float32; the peak grows by much less, for unusual strides as well.

    The vector route keeps three doubles for 32 floats here, in blocks of up to 64 MiB.
    """
    view = "X = X.transpose(1, 0, 2); y = np.ascontiguousarray(y.T)" if strided else ""
    before, after, size = in_new_process(f"""\
        X = np.empty((48, 32, 32768), np.float32)
        np.random.default_rng(0).standard_normal(out=X, dtype=np.float32)
        y = np.ones((48, 32), np.float32)
        {view}
        B, w = np.full((32768, 4), 0.01), np.ones(4)
        before = peak()
        batch = ms.TaskBatch.split(X, y, m_in=10)
        found = ms.meta_gradient(B, w, batch, ms.MAML(alpha=1e-3), threads=2, route="{route}")
        assert np.isfinite(found.B).all()
        print(before, peak(), X.nbytes)
    """)
    assert int(size) == 192 * MIB
    assert int(after) - int(before) < limit * MIB


@pytest.mark.peak_memory
@pytest.mark.parametrize(
    "options",
    [
        "alpha=0.1, beta=0.1, n=1000, width=20",
        "alpha=1e-13, beta=1e-13, n=1000, m_in=5, m_out=7",
        "alpha=1e-13, beta=1e-13, n=1000, m_in=5, m_out=7, track_start=True",
        "alpha=1e-13, beta=1e-13, n=50, m_in=5, m_out=7, pool=100",
    ],
    ids=["population", "collapsed", "tracked", "pool"],
)
def test_training_holds_nothing_of_size_d(options):
    """d = 10^12, where one column would be 8 TB, at a large width and many tasks."""
    before, after = in_new_process(f"""\
        before = peak()
        tasks = ms.LinearTasks(d=10**12, k=20)
        init = ms.Init(scale=1.0)
        r = ms.train(tasks, "maml", init=init, rounds=5, stop=None, threads=2, {options})
        assert np.isfinite(r.trace["dist"]).all()
        print(before, peak())
    """)
    assert int(after) - int(before) < 100 * MIB


@pytest.mark.peak_memory
def test_a_long_run_holds_its_rows_alone():
    """A hundred thousand rounds with one row in a thousand: no memory grows with the rounds."""
    before, after = in_new_process("""\
        tasks = ms.LinearTasks(d=20, k=3)
        ms.train(tasks, "fo-anil", rounds=1000, n=3, stop=None, threads=1)
        before = peak()
        ms.train(tasks, "fo-anil", rounds=300_000, n=3, stop=None, threads=1, record_every=1000,
                 record=("loss_out",), alpha=0.01, beta=0.01)
        print(before, peak())
    """)
    assert int(after) - int(before) < 4 * MIB


@pytest.mark.peak_memory
def test_trials_share_the_memory_for_samples():
    """Forty trials need the memory for the samples of one thread, a megabyte, and not forty."""
    of_all, estimated = in_new_process("""\
        tasks, sizes = ms.LinearTasks(d=1500, k=10, features="student-t"), dict(m_in=300, m_out=300)
        call = dict(rounds=1, n=8, trials=40, threads=1, record=(), **sizes)
        ms.train(tasks, "anil", **{**call, "trials": 2})  # what the package itself needs
        before = peak()
        ms.train(tasks, "anil", **call)
        print(peak() - before, ms.estimate(tasks, "anil", **call).memory_bytes)
    """)
    assert int(of_all) < int(estimated) + 8 * MIB


@pytest.mark.peak_memory
def test_fits_hold_the_samples_of_one_trial():
    of_one, of_three = in_new_process("""\
        tasks, call = ms.LinearTasks(d=30, k=3, noise=0.1), dict(n=20_000, m=10, threads=1)
        ms.fit(tasks, "moments", **{**call, "n": 20})  # what the package itself needs
        before, peaks = peak(), []
        for trials in (1, 3):
            ms.fit(tasks, "moments", trials=trials, **call)
            peaks.append(peak() - before)
        print(*peaks)
    """)
    assert int(of_three) < int(of_one) + 24 * MIB  # the samples of a trial take 48
