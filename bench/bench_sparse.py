"""Times sweeps over sparse samples, compared with SciPy and with the time to read the entries.

By default, gradients and heads are computed on the route that the package estimates to be the
cheapest. Three further cases force products with all columns of B. In one case, heads after several
steps, adaptation computes X B, because passes with one vector at a time would cost more. In the
other two cases, the Gram route computes X B and X^T C, in one gradient and in a run of a few
rounds. A run may copy the entries.

The floor of a call is the time in which all cores read the entries over which the call must pass: a
column and a value, 12 bytes for each entry. The time to read the rows of B and of the gradient at
these columns is not part of the floor.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

import metaspan as ms
from bench.harness import Figure, Options, beside_peers, cpus, relative, show, side_by_side
from bench.machine import limits

ALPHA = 1e-3
STEPS = 3  # number of inner steps; the features X B are computed once for all steps
BETA = 1e-3
ROUNDS = 4  # number of rounds of a run
ENTRY_BYTES = 12  # a column of four bytes, a value of eight
SHARE = 0.5  # target for the rate of a call, as a share of the rate of reading


class Shape(NamedTuple):
    """Numbers of features, columns of B, tasks, samples in each set of a task, entries per row."""

    d: int
    k: int
    n: int
    m: int
    entries: int


SHAPES = (
    Shape(1_000, 10, 40, 2_000, 50),
    Shape(10_000, 4, 40, 2_000, 50),
    Shape(10_000, 10, 40, 2_000, 50),
    Shape(10_000, 10, 40, 500, 200),
    Shape(10_000, 32, 40, 1_000, 50),
    Shape(100_000, 10, 40, 1_000, 100),
    Shape(100_000, 32, 40, 1_000, 100),
    Shape(1_000_000, 10, 40, 1_000, 100),
    Shape(1_000_000, 32, 40, 1_000, 100),
)
QUICK = SHAPES[2:3]


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Matrices and responses of the inner and outer sets of all tasks, and a start."""

    inner: tuple[list[Any], list[np.ndarray]]
    outer: tuple[list[Any], list[np.ndarray]]
    B: np.ndarray
    w: np.ndarray


def problem(shape: Shape, matrix: Callable[..., Any]) -> Problem:
    """Make a problem with random sparse matrices whose rows all have the same number of entries."""
    d, k, n, m, entries = shape
    rng = np.random.default_rng(3)
    part = d // entries

    def sets() -> tuple[list[Any], list[np.ndarray]]:
        X, starts = [], np.arange(m + 1, dtype=np.int32) * entries
        for _ in range(n):
            columns = rng.integers(part, size=(m, entries)) + part * np.arange(entries)
            values = rng.standard_normal(m * entries)
            X.append(matrix((values, columns.astype(np.int32).ravel(), starts), shape=(m, d)))
        return X, [rng.standard_normal(m) for _ in range(n)]

    B = rng.standard_normal((d, k)) / entries**0.5
    return Problem(inner=sets(), outer=sets(), B=B, w=rng.standard_normal(k))


def run(options: Options) -> list[Figure]:
    """Time every shape on all cores that this process may use."""
    missing: dict[str, str] = {}
    try:
        from scipy import sparse  # noqa: PLC0415  (a peer may be absent)
    except ImportError:
        return [
            Figure(
                bench="sparse", case="all", who="SciPy", value=None, unit="ms", note="not installed"
            )
        ]
    figures: list[Figure] = []
    for shape in QUICK if options.quick else SHAPES:
        inputs = problem(shape, sparse.csr_matrix)
        for what, (passes, calls) in _calls(inputs).items():
            timings = side_by_side(calls, options.repeats)
            entries = passes * shape.n * shape.m * shape.entries
            floor = ENTRY_BYTES * entries / limits(options.repeats)["read"] / 1e6
            took = {who: timing.median * 1e3 for who, timing in timings.items()}
            figures += beside_peers(
                "metaspan",
                timings,
                took,
                floor=floor,
                missing=missing,
                bench="sparse",
                case=f"{what}, (d, k, n, m, entries) = {tuple(shape)}, cores: {len(cpus())}",
                unit="ms",
            )
            figures.append(_share(what, shape, took["metaspan"], floor, entries))
    return figures


def _share(what: str, shape: Shape, took: float, floor: float, entries: int) -> Figure:
    """Make a row: the rate of a call, as a share of the rate at which all cores read."""
    return Figure(
        bench="sparse",
        case=f"{what}, (d, k, n, m, entries) = {tuple(shape)}, cores: {len(cpus())}",
        who="share of the rate of reading",
        value=floor / took,
        unit="x",
        target=SHARE,
        more_is_better=True,
        note=f"{show(took / entries * 1e6)} ns per entry and pass",
    )


Calls = dict[str, Callable[[], object]]


def _calls(inputs: Problem) -> dict[str, tuple[int, Calls]]:
    """Return, for each case, its number of passes over one set, and calls with equal results."""
    (X_in, y_in), (X_out, y_out) = inputs.inner, inputs.outer
    B, w = inputs.B, inputs.w
    # If no losses are recorded, average risk reads only the outer sets.
    few = ([x[:1] for x in X_in], [y[:1] for y in y_in])
    alone = ms.TaskBatch(*few, X_out, y_out)
    both = ms.TaskBatch(X_in, y_in, X_out, y_out)

    def adapted(steps: int) -> Calls:
        method = ms.ANIL(alpha=ALPHA, inner_steps=steps)
        return {
            "metaspan": lambda: ms.adapt(B, w, both.X_in, both.y_in, method, check_finite=False),
            "SciPy": lambda: _adapted(X_in, y_in, B, w, steps)[0],
        }

    def risk(route: str) -> Calls:
        return {
            "metaspan": lambda: (
                ms.meta_gradient(B, w, alone, "average-risk", losses=False, route=route).B
            ),
            "SciPy": lambda: _gradient(X_out, y_out, B, [w] * len(X_out)),
        }

    def steps() -> np.ndarray:
        moved, head = B.copy(), w
        for _ in range(ROUNDS):
            grad_B, grad_w = _gradients(X_out, y_out, moved, [head] * len(X_out))
            moved -= BETA * grad_B
            head = head - BETA * grad_w
        return moved

    trained = {
        "init": (B, w),
        "rounds": ROUNDS,
        "route": "gram",
        "record": "w_norm",
        "stop": None,
    }
    rounds = {
        "metaspan": lambda: ms.train(alone, ms.AverageRisk(beta=BETA), **trained).B,
        "SciPy": steps,
    }
    cases = {
        f"heads after {STEPS} steps of ANIL": (1, adapted(STEPS)),
        "heads after a step of ANIL": (1, adapted(1)),
        "X B and X^T C": (2, risk("gram")),
        f"{ROUNDS} rounds of X B and X^T C": (2 * ROUNDS, rounds),
        "a gradient of average risk": (2, risk("auto")),
        "a gradient of first-order ANIL": (
            3,
            {
                "metaspan": lambda: (
                    ms.meta_gradient(B, w, both, "fo-anil", alpha=ALPHA, losses=False).B
                ),
                "SciPy": lambda: _gradient(X_out, y_out, B, _adapted(X_in, y_in, B, w)[0]),
            },
        ),
    }
    for what, (_, calls) in cases.items():
        assert relative(calls["metaspan"](), calls["SciPy"]()) < 1e-9, what
    return cases


def _adapted(
    X: list[Any], y: list[np.ndarray], B: np.ndarray, w: np.ndarray, steps: int = 1
) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the heads of all tasks after some inner steps, and the features X B."""
    Z, heads = [x @ B for x in X], []
    for z, v in zip(Z, y, strict=True):
        head = w
        for _ in range(steps):
            head = head - ALPHA * z.T @ (z @ head - v) / len(v)
        heads.append(head)
    return np.array(heads), Z


def _gradient(X: list[Any], y: list[np.ndarray], B: np.ndarray, heads: Any) -> np.ndarray:
    """Return the mean over tasks of (X^T r) w^T / m, where X^T r is computed first."""
    return _gradients(X, y, B, heads)[0]


def _gradients(
    X: list[Any], y: list[np.ndarray], B: np.ndarray, heads: Any
) -> tuple[np.ndarray, np.ndarray]:
    """Return the means over tasks of X^T r w^T / m and of B^T X^T r / m."""
    total, pulled = np.zeros_like(B), np.zeros(B.shape[1])
    for x, v, head in zip(X, y, heads, strict=True):
        Z = x @ B
        residual = Z @ head - v
        total += np.outer(x.T @ residual, head) / len(v)
        pulled += Z.T @ residual / len(v)
    return total / len(X), pulled / len(X)
