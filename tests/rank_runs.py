"""Runs whose bits must not depend on the number of ranks: python rank_runs.py FILE on each rank.

`CASES` has a function for every case, which takes a communicator, or None in one process, and
returns arrays by name.
"""

import sys
import traceback
import warnings
from functools import partial

import numpy as np
from scipy import sparse

import metaspan as ms
from metaspan.config.engine_choice import has_route
from metaspan.estimators import sources
from metaspan.estimators.names import NAMES as ESTIMATORS
from method_table import METHODS

D, K = 8200, 3  # four leaves, the last of which is not a multiple of 256
ROUTES = ("gram", "vector", "dual")
TASKS = ms.LinearTasks(d=D, k=K, noise=0.1, spectrum=1.0)  # rows of length about 3
RUN = dict(rounds=3, stop=None, record=("dist", "loss_out", "sigma_min"), threads=1)
START = ms.Init(scale=1.0)


def data(n=5, m_in=4, m_out=6, dtype=np.float64):
    return TASKS.sample(n, m_in, m_out, seed=3, dtype=dtype, threads=1)


def part(comm, array, axis=-1):
    """This rank's columns, or rows, of an array of all."""
    if comm is None:
        return array
    lo, hi = ms.shard(D, comm)
    index = [slice(None)] * array.ndim
    index[axis] = slice(lo, hi)
    return np.ascontiguousarray(array[tuple(index)])


def batch_of(comm, whole, **changes):
    """Return a batch as one of the columns of a rank."""
    return ms.TaskBatch(
        *(part(comm, whole.X_in), whole.y_in, part(comm, whole.X_out), whole.y_out),
        B_star=part(comm, whole.B_star, 0),
        heads=whole.heads,
        comm=comm,
        **changes,
    )


def arrays_of(result):
    """Return B of all ranks, and what all ranks have, of a result."""
    arrays = {f"trace.{name}": values for name, values in result.trace.items()}
    arrays |= {name: array for name, array in result.parts.items() if name != "B"}
    arrays["state"] = np.concatenate(result.state[:2], axis=-2)
    whole = {"B": result.gather()}
    if isinstance(result.config.method, ms.LinearAttention):
        whole["A"] = result.gather("A")
    return arrays | whole


def on_arrays(comm, *, method, route, dtype=np.float64, weights=None, shared=False, **changes):
    whole = data(dtype=dtype)
    if shared:
        batch = ms.TaskBatch(part(comm, whole.X_in), whole.y_in, comm=comm)
        changes |= {"width": K, "record": ("loss_out", "sigma_min")}
    else:
        batch = batch_of(comm, whole, weights=weights)
    return arrays_of(ms.train(batch, method, route=route, **{**RUN, "init": START, **changes}))


def on_sparse(comm, *, method, route):
    rng = np.random.default_rng(8)
    X = [sparse.random(m, D, 0.03, "csr", random_state=rng) for m in (5, 6, 7)]
    y = [rng.standard_normal(m) for m in (5, 6, 7)]
    if comm is not None:
        lo, hi = ms.shard(D, comm)
        X = [task[:, lo:hi] for task in X]
    batch = ms.TaskBatch.split(X, y, m_in=3, comm=comm)
    given = {**RUN, "record": ("loss_out", "sigma_min"), "width": K, "init": START}
    return arrays_of(ms.train(batch, method, route=route, **given))


def on_ragged(comm, *, route):
    rng = np.random.default_rng(9)
    X = [part(comm, rng.standard_normal((m, D)) / 50) for m in (4, 7, 5)]
    y = [rng.standard_normal(m) for m in (4, 7, 5)]
    batch = ms.TaskBatch.split(X, y, m_in=2)  # without a comm, which the call has
    given = {**RUN, "record": ("loss_out",), "width": K, "init": START, "comm": comm}
    return arrays_of(ms.train(batch, "fo-maml", alpha=0.01, route=route, **given))


def on_given_start(comm, *, whole):
    """Start at arrays: all rows on every rank, or those of the rank."""
    rng = np.random.default_rng(10)
    B0, w0 = rng.standard_normal((D, K)) / 50, rng.standard_normal(K)
    init = (B0 if whole else part(comm, B0, 0), w0)
    batch = batch_of(comm, data())
    return arrays_of(ms.train(batch, "anil", init=init, alpha=0.01, route="gram", **RUN))


def on_stored(comm, *, folder, route):
    """Read a dataset and a memory-mapped array, of all columns."""
    import h5py  # noqa: PLC0415

    with h5py.File(f"{folder}/data.h5") as file:
        stacked = ms.TaskBatch.split(file["X"], file["y"], m_in=4, comm=comm)
        given = {**RUN, "record": ("loss_out",), "width": K, "init": START, "alpha": 0.01}
        first = ms.train(stacked, "anil", route=route, **given)
    mapped = np.load(f"{folder}/X.npy", mmap_mode="r")
    y = np.load(f"{folder}/y.npy")
    lo, hi = (0, D) if comm is None else ms.shard(D, comm)
    second = ms.TaskBatch.split(mapped[:, :, lo:hi], y, m_in=4, comm=comm)
    assert second.on_disk
    r = ms.train(second, "anil", route=route, **given)
    assert np.array_equal(r.B, first.B)
    return arrays_of(r)


def write_stored(folder):
    import h5py  # noqa: PLC0415

    whole = data()
    X = np.concatenate([whole.X_in, whole.X_out], axis=1)
    y = np.concatenate([whole.y_in, whole.y_out], axis=1)
    np.save(f"{folder}/X.npy", X)
    np.save(f"{folder}/y.npy", y)
    with h5py.File(f"{folder}/data.h5", "w") as file:
        file["X"], file["y"] = X, y


def on_new_samples(comm, *, tasks=TASKS, method="fo-anil", **changes):
    given = {**RUN, "n": 3, "m_in": 4, "m_out": 5, "engine": "sampled", "init": START, **changes}
    given |= {"alpha": 0.01} if isinstance(method, str) else {}
    return arrays_of(ms.train(tasks, method, comm=comm, **given))


def draw_rows(generator, m, d):
    return generator.standard_normal((m, d))


def gradient(comm, *, route, method):
    batch = batch_of(comm, data())
    rng = np.random.default_rng(11)
    B, w = part(comm, rng.standard_normal((D, K)) / 50, 0), rng.standard_normal(K)
    found = ms.meta_gradient(B, w, batch, method, route=route, threads=1)
    names = ("w", "heads", "loss_in", "loss_out")
    arrays = {name: getattr(found, name) for name in names}
    rows = [found.B] if comm is None else comm.allgather(found.B)
    return arrays | {"B": np.concatenate(rows)}


def risks(comm):
    batch = batch_of(comm, data())
    rng = np.random.default_rng(12)
    B, w = part(comm, rng.standard_normal((D, K)) / 50, 0), rng.standard_normal(K)
    found = ms.evaluate(B, w, batch, "anil", alpha=0.01, threads=1)
    values = {name: value for name, value in vars(found).items() if isinstance(value, ms.Risk)}
    return {name: np.array([v.mean, v.standard_error]) for name, v in values.items()} | {
        "penalties": np.array(list(found.penalties.values()))
    }


def fitted(comm, *, estimator, options, same_X=False, **changes):
    whole = data()
    B_star = part(comm, whole.B_star, 0)
    if same_X:  # one array for all tasks
        X = [part(comm, whole.X_in[0])] * whole.n
        batch = ms.TaskBatch(X, list(whole.y_in), B_star=B_star, comm=comm)
    else:
        weights = [1.0, 2.0, 3.0, 1.0, 5.0]
        batch = batch_of(comm, whole, weights=weights)
    given = {"rounds": 5, "stop": None, "threads": 1, **changes}
    result = ms.fit(batch, estimator, **options, **given)
    return arrays_of(result) | {"status": np.array(str(result.outcomes))}


def fitted_to_new_samples(comm, *, estimator, tasks=TASKS):
    """Fit to samples that every pass generates, in one process too."""
    kept, sources.KEPT_BYTES = sources.KEPT_BYTES, 0
    try:
        given = {"rounds": 4, "stop": None, "threads": 1, "engine": "sampled", "n": 6, "m": 9}
        return arrays_of(ms.fit(tasks, estimator, comm=comm, trials=2, **given))
    finally:
        sources.KEPT_BYTES = kept


def fits():
    """Return the cases of fits by name."""
    options = {
        "altmin-gd": [{}, {"step": 0.5}],
        "altgdmin": [{"beta": 0.5}],
        "trace-norm": [{}, {"solver": "frank-wolfe", "radius": 5.0}],
    }
    named = {
        f"fit {name} {i}": partial(fitted, estimator=name, options=each)
        for name in ESTIMATORS
        if name not in ("burer-monteiro", "reduced-rank")
        for i, each in enumerate(options.get(name, [{}]))
    }
    of_law = ms.LinearTasks(d=D, k=K, noise=0.1, features="sphere", spectrum=1.0, spread=0.2)
    return named | {
        "fit reduced-rank": partial(
            fitted, estimator="reduced-rank", options={"ridge": 0.1}, same_X=True
        ),
        "fit with a chosen width": partial(
            fitted, estimator="duchi", options={}, width="cv", record=("dist", "angles")
        ),
        "fit from a random start": partial(
            fitted, estimator="altmin-gd", options={"start": "random"}, trials=2
        ),
        "fit to new samples": partial(fitted_to_new_samples, estimator="altmin-gd"),
        "fit to new samples of a law": partial(
            fitted_to_new_samples, estimator="single-task", tasks=of_law
        ),
        "start at an estimator": partial(
            on_arrays, method="fo-anil", route="gram", alpha=0.01, init="duchi"
        ),
    }


def cases(folder):
    """Return all cases by name."""
    named = {
        f"{name} {i} {route}": partial(on_arrays, method=method, route=route)
        for name, methods in METHODS.items()
        for i, method in enumerate(methods)
        for route in ROUTES
        if has_route(route, method, False)
    }
    maml, private = ms.MAML(alpha=0.01), ms.UserDP(clip=1.0, multiplier=0.5)
    for route in ROUTES:
        named |= {
            f"float32 {route}": partial(on_arrays, method=maml, route=route, dtype=np.float32),
            f"weights {route}": partial(
                on_arrays, method=maml, route=route, weights=[1.0, 2.0, 3.0, 1.0, 5.0]
            ),
            f"one data set {route}": partial(on_arrays, method=maml, route=route, shared=True),
            f"several trials {route}": partial(
                on_arrays, method=maml, route=route, trials=range(2, 4), n=3
            ),
            f"distance of the start {route}": partial(
                on_arrays, method=maml, route=route, init=ms.Init(dist=0.7)
            ),
            f"sparse {route}": partial(on_sparse, method=maml, route=route),
            f"ragged {route}": partial(on_ragged, route=route),
            f"on disk {route}": partial(on_stored, folder=folder, route=route),
        }
    named |= {
        f"private {route}": partial(
            on_arrays, method=ms.ANIL(alpha=0.01, privacy=private), route=route
        )
        for route in ("gram", "vector")
    }
    named |= {
        "single precision": partial(
            on_arrays, method=maml, route="vector", dtype=np.float32, accumulate="float32"
        ),
        "start of all rows": partial(on_given_start, whole=True),
        "start of the rank's rows": partial(on_given_start, whole=False),
    }
    for law in ("gaussian", "sphere", "student-t", "uniform", "rademacher", draw_rows):
        tasks = ms.LinearTasks(d=D, k=K, noise=0.1, features=law, spectrum=1.0)
        named[f"samples {getattr(law, '__name__', law)}"] = partial(on_new_samples, tasks=tasks)
    named |= {
        f"samples {name} {i}": partial(on_new_samples, method=method)
        for name, methods in METHODS.items()
        for i, method in enumerate(methods)
    }
    named |= {
        "samples of covariance I": partial(
            on_new_samples, tasks=ms.LinearTasks(d=D, k=K, spread=0.3), method=ms.ANIL(beta=1e-4)
        ),
        "samples with a given truth": partial(
            on_new_samples,
            tasks=ms.LinearTasks(d=D, k=K, B_star=np.eye(D, K, -D // 2), spectrum=1.0),
        ),
        "samples of several trials": partial(on_new_samples, trials=2),
        "samples for both loops": partial(on_new_samples, m_out=None, shared_samples=True),
        "risks": risks,
    }
    named |= fits()
    for route in ("gram", "vector"):
        for method in ("anil", "maml"):
            named[f"gradient {method} {route}"] = partial(gradient, route=route, method=method)
    return named


def results(folder, comm):
    """Return the arrays of all cases on rank 0, and the error of a case that failed."""
    found = {}
    for name, case in cases(folder).items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                arrays = case(comm)
            except Exception:
                arrays = {"error": np.array(traceback.format_exc(limit=-3))}
        found |= {f"{name}/{key}": array for key, array in arrays.items() if array is not None}
    return found


if __name__ == "__main__":
    from mpi4py import MPI

    arrays = results(sys.argv[1], MPI.COMM_WORLD)
    if MPI.COMM_WORLD.rank == 0:
        np.savez(sys.argv[2], **arrays)
