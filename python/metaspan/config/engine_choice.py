r"""Chooses the engine of a run from its arguments, and checks what the engine supports."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .._load import core
from .._support import check
from .._support.types import F64
from ..methods import (
    ANIL,
    MAML,
    AverageRisk,
    FedAvg,
    Method,
    Reptile,
    RidgeANIL,
    adds_noise,
    block_count,
    core_method,
)
from ..solved_methods import AltGDmin, FedRep
from ..tasks.batch import TaskBatch
from ..tasks.heads import GaussianHeads, SphereHeads
from ..tasks.linear import LinearTasks
from .devices import check_device

CHOICES = ("auto", "population", "collapsed", "limit", "sampled", "arrays")


def choose_engine(
    engine: str,
    tasks: LinearTasks | TaskBatch,
    method: Method,
    *,
    counts: tuple[int | None, int | None],
    pool: int | None,
    n: int | None,
    width: int,
) -> str:
    """Choose the engine from the arguments; raise ValueError if the requested one cannot run."""
    check.choice("engine", engine, CHOICES)
    if isinstance(tasks, TaskBatch):
        if engine in ("auto", "arrays"):
            return "arrays"
        raise ValueError(f"engine must be 'auto' or 'arrays' for a batch; got {engine!r}")
    noisy, by_coordinate = adds_noise(method), _steps_by_coordinate(method)
    if by_coordinate and (counts == (None, None) or n is None):
        raise ValueError(
            "step must have rule='gradient' where infinitely many samples or tasks are computed in "
            f"the span of gradients; got {method.step}"
        )
    if n is None:
        return _choose_limit(engine)
    if engine == "limit":
        raise ValueError(f"n must be None for engine 'limit', infinitely many tasks; got {n}")
    if counts == (None, None):
        return _choose_population(engine, tasks, pool, noisy)
    # "collapsed" comes first: it is the only engine whose cost does not grow with d. It draws in
    # law the components of samples outside the span of B_star and B. This needs features whose law
    # is invariant under rotations, and a d that leaves room for the learner's columns outside the
    # span of B_star. "sampled" and "arrays" draw whole samples, so the numbers of samples must be
    # finite.
    # The noise of (30) leaves the space in which a pool is drawn in law.
    pooled = pool is not None
    if pooled and noisy and engine == "collapsed":
        raise ValueError(
            "engine must be 'arrays' for a pool and noise (30), which leaves the span of the pool; "
            "got 'collapsed'"
        )
    blocks = 1 if pooled else block_count(method)
    room = tasks.k + blocks * width
    fits = tasks.is_symmetric and tasks.d >= room and not by_coordinate
    drawn = None not in counts and not pooled
    able = (
        ["collapsed"] * (fits and not (pooled and noisy))
        + ["sampled"] * drawn
        + ["arrays"] * pooled
    )
    columns = "width" if blocks == 1 else f"{blocks} width"
    needs = f"d >= k + {columns} = {room} and features symmetric under rotations"
    if not able:
        raise ValueError(_describe_infinite(counts, needs, tasks, method))
    if engine == "auto":
        return able[0]
    if engine not in able:
        reason = " and steps by coordinate" if by_coordinate else ""
        if engine == "collapsed" and not (fits or by_coordinate):
            reason = f", since 'collapsed' needs {needs}"
        raise ValueError(
            f"engine must be {check.words(['auto', *able])} for these finite samples{reason}; "
            f"got {engine!r}"
        )
    return engine


def _choose_limit(engine: str) -> str:
    """Choose the engine for infinitely many tasks a round."""
    if engine not in ("auto", "limit"):
        raise ValueError(
            "engine must be 'auto' or 'limit' for infinitely many tasks (n is None); got "
            f"{engine!r}"
        )
    return "limit"


def _choose_population(engine: str, tasks: LinearTasks, pool: int | None, noisy: bool) -> str:
    """Choose the engine for infinitely many samples on both sides."""
    # Population losses depend on features through their covariance alone, and the coordinates
    # of the collapsed engine are those of covariance I. Noise has a part off the span of B_star
    # and B, for which the coordinates of the population engine have no rows.
    in_coordinates = tasks.spectrum is None
    able = ["population"] * (not (noisy and in_coordinates)) + ["collapsed"] * in_coordinates
    if tasks.spread > 0.0:
        # Every task has a direction of its own, so B does not stay in the span of B_star and
        # B_0, and the collapsed engine draws the new directions.
        check_population_spread(tasks, pool)
        able = ["collapsed"]
    if engine in ("auto", *able):
        return able[0] if engine == "auto" else engine
    raise ValueError(
        f"engine must be {check.words(['auto', *able])} for infinitely many samples (m_in and "
        f"m_out are None){' and noise (30)' if noisy else ''}"
        f"{' and tasks with a spread (33)' if tasks.spread else ''}; got {engine!r}"
    )


def check_population_spread(tasks: LinearTasks, pool: int | None) -> None:
    """Raise ValueError unless population losses of tasks with a spread can be run."""
    if tasks.spectrum is not None:
        raise ValueError(
            "spread must be 0 for population losses of features with a spectrum, where no finite "
            f"set of moments describes the tasks; got {tasks.spread:g}"
        )
    if pool is not None:
        raise ValueError(
            "spread must be 0 for population losses of a pool, whose tasks would span more "
            f"dimensions than the state has; got {tasks.spread:g}"
        )


def _steps_by_coordinate(method: Method) -> bool:
    """Return whether each coordinate of B steps by itself, which leaves the span of gradients."""
    return method.step is not None and method.step.by_coordinate


def _describe_infinite(
    counts: tuple[int | None, int | None], needs: str, tasks: LinearTasks, method: Method
) -> str:
    """Make the message for one infinite set of samples where "collapsed" cannot run."""
    missing, passed = ("m_in", "m_out") if counts[0] is None else ("m_out", "m_in")
    obstacle = f"d = {tasks.d}" if tasks.is_symmetric else f"features={tasks.features!r}"
    if _steps_by_coordinate(method):
        needs, obstacle = "a step with rule='gradient'", f"{method.step}"
    return (
        f"{missing} must be an integer, as {passed} is, where engine 'sampled' has to draw all "
        f"samples; 'collapsed' needs {needs}; got {obstacle}"
    )


# Several inner steps on finite inner sets: the quadrature nodes of (58) grow fast with both.
LIMIT_STEPS, LIMIT_WIDTH = 5, 2


def check_limit(
    tasks: LinearTasks,
    method: Method,
    shared: bool,
    lead: str = "n must be an integer except in the limit",
    *,
    m_in: int | None,
    width: int,
    w0: F64 | None = None,
) -> None:
    """Raise ValueError unless infinitely many tasks a round, n=None, have a limit, (51)-(58).

    `w0` is the head at the start, None for zeros. The message begins with `lead`.
    """
    wants = f"{lead}, which covers "
    if core_method(method).clip:
        raise ValueError(
            "n must be an integer where contributions are clipped (29), since clip / n bounds the "
            "influence of a task; got None"
        )
    moves_head = w0 is not None and bool(np.any(w0))
    if covered := _limit_of_method(method, tasks, m_in, width, moves_head):
        raise ValueError(f"{wants}{covered}; got {method}")
    law = tasks.heads
    if callable(law):
        raise ValueError(f"{wants}GaussianHeads, SphereHeads and arrays; got {check.show(law)}")
    if tasks.features not in ("gaussian", "sphere"):
        raise ValueError(f"{wants}features='gaussian' and 'sphere'; got {tasks.features!r}")
    if tasks.spectrum is not None:
        raise ValueError(f"{wants}features of covariance I; got a spectrum")
    if shared:
        raise ValueError(f"{wants}inner and outer samples apart; got shared_samples=True")


def _limit_of_method(
    method: Method, tasks: LinearTasks, m_in: int | None, width: int, has_head: bool
) -> str:
    """Return what the limit covers of a method that it does not cover, or "" if it does.

    `has_head` says whether the head is nonzero at the start.
    """
    if isinstance(method, ANIL) or (isinstance(method, MAML) and method.moves == "head"):
        return _limit_of_steps(method.inner_steps, m_in, width)
    if isinstance(method, MAML):
        return _limit_of_maml(method, tasks, m_in, has_head)
    if isinstance(method, (FedAvg, Reptile)):
        return f"{type(method).__name__} with local_steps=1" if method.local_steps > 1 else ""
    if isinstance(method, (RidgeANIL, FedRep, AltGDmin)):
        return _limit_of_solved_heads(method, m_in, width)
    if isinstance(method, AverageRisk):
        return ""
    return "ANIL, average risk, one local step of FedAvg, solved heads and MAML with w = 0"


def _limit_of_steps(inner_steps: int, m_in: int | None, width: int) -> str:
    """Return what the limit covers of ANIL, or ""."""
    if inner_steps <= 1 or m_in is None or (inner_steps <= LIMIT_STEPS and width <= LIMIT_WIDTH):
        return ""
    return (
        f"ANIL with inner_steps=1, with m_in=None, or with inner_steps <= {LIMIT_STEPS} and "
        f"width <= {LIMIT_WIDTH} (here {width})"
    )


def _limit_of_maml(method: MAML, tasks: LinearTasks, m_in: int | None, has_head: bool) -> str:
    """Return what the limit covers of MAML, or "": it is ANIL as long as w = 0, (55)."""
    if method.inner_steps == 0:
        return ""
    if has_head or method.inner_steps > 1 or method.moves != "both":
        return "MAML with inner_steps=1, moves='both' and w0 = 0"
    law = tasks.heads
    centred = isinstance(law, SphereHeads) or (
        isinstance(law, GaussianHeads) and (law.mean is None or not np.any(law.mean))
    )
    if core_method(method).beta_head == 0.0 or (m_in is None and centred):
        return ""
    return "MAML with outer='body', or with m_in=None and centred Gaussian or spherical heads"


def _limit_of_solved_heads(
    method: RidgeANIL | FedRep | AltGDmin, m_in: int | None, width: int
) -> str:
    """Return what the limit covers of solved heads, or ""; S is infinite for few samples, (57)."""
    name = type(method).__name__
    if not isinstance(method, RidgeANIL):
        if method.reduce == "sum":
            return f"{name} with reduce='mean'"
        least = width + (4 if method.separate else 2)
    elif method.lam > 0.0:
        return f"{name} with lam=0 or m_in=None" if m_in is not None else ""
    else:
        least = width + (4 if method.first_order else 6)
    if m_in is None or m_in >= least:
        return ""
    return f"{name} with m_in >= {least} at width={width} (here m_in={m_in})"


def check_limit_records(method: Method, names: Sequence[str]) -> None:
    """Raise ValueError for losses after local steps, which move B by vectors that grow with d."""
    lost = [name for name in ("loss_adapted", "loss_out") if name in names]
    if isinstance(method, (FedAvg, Reptile)) and lost:
        raise ValueError(
            f"record must be without losses after local steps where n=None, since they grow with "
            f"the dimension; got {lost[0]!r}"
        )


def check_room(
    tasks: LinearTasks | TaskBatch, method: Method, columns: int, d_over_n: float
) -> None:
    """Raise ValueError unless d has room for the rows that rounds of the limit add to R."""
    least = tasks.k + block_count(method) * columns
    if d_over_n and tasks.d < least:
        raise ValueError(
            f"d_over_n must be 0 for d < {least}, which has no room for the state; got "
            f"{d_over_n:g} with d = {tasks.d}"
        )


def check_track_start(engine: str, pool: int | None, d: int, least: int) -> None:
    """Raise ValueError unless the engine can track the start, for which it needs d >= least."""
    finite = engine in ("collapsed", "sampled") and pool is None
    if finite and d < least:
        raise ValueError(
            f"track_start=True needs d >= {least}, room for B_star, the start and the state; "
            f"got d = {d}"
        )
    if engine != "collapsed" or not finite:
        obstacle = f"pool={pool}" if engine == "collapsed" else f"engine {engine!r}"
        raise ValueError(
            "track_start=True needs engine 'collapsed' with new samples every round; got "
            f"{obstacle}"
        )


def check_sparse(tasks: LinearTasks | TaskBatch, accumulate: str) -> None:
    """Raise ValueError if sums over sparse data are to be accumulated in single precision."""
    if isinstance(tasks, TaskBatch) and tasks.is_sparse and accumulate == "float32":
        raise ValueError("accumulate must be 'float64' for sparse data; got 'float32'")


def has_route(route: str, method: Method, is_sparse: bool) -> bool:
    """Return whether a route serves a method on dense or sparse data.

    The vector route solves for heads from X B, which it does not compute for sparse rows. The dual
    route keeps B_0 plus combinations of samples, which the noise of (30) and steps by coordinate
    leave, and in which AltGDmin would change B_0.
    """
    if route == "dual":
        leaves_span = adds_noise(method) or _steps_by_coordinate(method)
        return not (leaves_span or isinstance(method, AltGDmin))
    return not (route == "vector" and is_sparse and core_method(method).solves_head)


def check_weights(tasks: LinearTasks | TaskBatch, method: Method) -> None:
    """Raise ValueError if tasks with weights meet privacy, whose sensitivity assumes equal ones."""
    if isinstance(tasks, TaskBatch) and tasks.core_weights is not None and method.privacy:
        raise ValueError("weights must be None for a method with privacy; got weights that differ")


def check_route(tasks: LinearTasks | TaskBatch, method: Method, route: str) -> None:
    """Raise ValueError if the route does not serve the method on these data."""
    is_sparse = isinstance(tasks, TaskBatch) and tasks.is_sparse
    if route == "auto" or has_route(route, method, is_sparse):
        return
    able = [name for name in ("gram", "vector", "dual") if has_route(name, method, is_sparse)]
    reason = {
        "vector": "heads are solved for on sparse data",
        "dual": "noise is added (30), which leaves the span of the data"
        if adds_noise(method)
        else "B does not stay B_0 plus combinations of samples",
    }
    raise ValueError(
        f"route must be {check.words(['auto', *able])} where {reason[route]}; got {route!r}"
    )


def check_accumulate(accumulate: str, route: str, dtype: str, engine: str = "arrays") -> None:
    """Raise ValueError unless the engine and the route can accumulate sums in this dtype."""
    check.choice("accumulate", accumulate, ("float64", "float32"))
    if accumulate == "float64":
        return
    if engine != "arrays" or dtype != "float32":
        if engine != "arrays":
            raise ValueError(
                f"accumulate='float32' needs engine 'arrays' and float32 data; got {engine!r}"
            )
        raise ValueError(f"accumulate='float32' needs float32 data; got {dtype} data")
    if route not in ("auto", "vector"):
        raise ValueError(f"accumulate='float32' needs the vector route; got {route!r}")


def check_device_run(
    where: tuple[str, str],
    tasks: LinearTasks | TaskBatch,
    *,
    route: str,
    accumulate: str,
    columns: int,
) -> None:
    """Raise an error if a device cannot run an engine on data; `where` is (device, engine)."""
    device, engine = where
    check_device(device, engine, getattr(tasks, "spectrum", None) is not None)
    if device == "cpu" or engine not in ("arrays", "sampled"):
        return
    if isinstance(tasks, LinearTasks) and callable(tasks.features):
        raise ValueError(
            "device must be 'cpu' for features that a function draws; got 'cuda' with "
            f"{check.show(tasks.features)}"
        )
    is_sparse = isinstance(tasks, TaskBatch) and tasks.is_sparse
    check_device_data(is_sparse, columns, route=route, accumulate=accumulate)


def check_device_data(
    is_sparse: bool, columns: int, *, route: str = "auto", accumulate: str = "float64"
) -> None:
    """Raise ValueError if a CUDA device cannot process data with all d features."""
    if is_sparse:
        raise ValueError("device must be 'cpu' for sparse data; got 'cuda'")
    if route == "dual":
        raise ValueError(
            "route must be 'auto', 'gram' or 'vector' for device='cuda', which does not form the "
            "Gram matrix of all samples; got 'dual'"
        )
    if accumulate != "float64":
        raise ValueError(
            "accumulate must be 'float64' for device='cuda', which computes all sums in float64; "
            f"got {accumulate!r}"
        )
    if columns > core.MOST_DEVICE_COLUMNS:
        raise ValueError(
            f"B must have at most {core.MOST_DEVICE_COLUMNS} columns for device='cuda'; got "
            f"{columns}"
        )
