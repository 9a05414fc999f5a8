r"""Finds the components of the tasks, by an estimator of `fit` or by training with a method."""

from __future__ import annotations

import sys
import warnings
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np

from .._support import check
from .._support.blas import one_blas_thread
from .._support.types import F64
from ..estimators.estimator import Estimate, Estimator, Monitor, Unrecorded
from ..estimators.names import NAMES, algorithm_of, is_estimator, resolve_estimator
from ..estimators.rank import choose_width
from ..estimators.samples import Samples
from ..estimators.solvers import WidthError, check_lengths
from ..linear_methods import LinearAttention, LinearMAML
from ..methods import Method, resolve
from ..runs.outcome import NotConvergedWarning, Status
from ..runs.train import train
from ..solved_methods import AltGDmin
from ..tasks.batch import TaskBatch
from .task_rows import Contrasts

ROUNDS = 1000  # rounds of training, unless `rounds` is given
LAST, SMALL, ALMOST_ZERO, MOST = 10, 1e-3, 1e-6, 100  # see EarlyStop
REFUSED = ("oracle", "pooled")  # one needs the ground truth, and the other finds one direction
OF_TRAIN = ("anil", "fo-anil", "maml", "fo-maml", "fedavg", "reptile", "ridge-anil", "fedrep")
METHODS = (*(name for name in NAMES if name not in REFUSED), *OF_TRAIN)


class EarlyStop:
    """A monitor that stops an iterative estimator once more iterations hardly lower the loss.

    Iterations beyond that hardly change the errors of predictions. The estimator stops once its
    last `LAST` iterations together have lowered the loss by at most the fraction `SMALL`, and at
    the latest after `MOST` iterations. It also stops once its loss is almost zero: if tasks have
    fewer rows than features, the loss may fall towards zero without end.
    """

    rounds = None

    def __init__(self) -> None:
        self._losses: list[float] = []

    def record(self, B: F64, heads: F64 | None = None, objective: float | None = None) -> bool:
        """Record the loss of an iterate; return whether the estimator must stop."""
        if objective is None or not np.isfinite(objective):
            return not bool(np.isfinite(B).all())
        losses = self._losses
        losses.append(objective)
        if objective <= ALMOST_ZERO * losses[0]:
            return True
        if len(losses) > MOST:
            return True
        return len(losses) > LAST and losses[-1 - LAST] - objective <= SMALL * objective


@dataclass(frozen=True)
class Trained:
    """Training with a meta-learning method, in the form of an estimator.

    The rows of each task are shuffled, and split into two halves, the inner and the outer samples
    of every round.
    """

    name: ClassVar[str] = "trained"
    iterates: ClassVar[bool] = False
    uses_averages: ClassVar[bool] = False

    method: Method
    seed: int

    def check(self, samples: Samples, width: int) -> None:
        """Raise ValueError, in one sentence, if the method cannot train on these samples."""
        check_lengths("training", samples, 2)
        if width > samples.dim:
            raise WidthError(samples.dim, width)

    def estimate(self, samples: Samples, width: int, monitor: Monitor) -> Estimate:
        """Train on copies of the rows of all tasks, and return the last B."""
        self.check(samples, width)
        X = samples.features(np.eye(samples.dim))
        rng = np.random.default_rng(self.seed)
        inner, outer = [], []
        for first, end in zip(samples.offsets[:-1], samples.offsets[1:], strict=True):
            shuffled = first + rng.permutation(int(end - first))
            half = len(shuffled) // 2
            inner.append(shuffled[:half])
            outer.append(shuffled[half:])
        batch = TaskBatch(
            [X[rows] for rows in inner],
            [samples.y[rows] for rows in inner],
            [X[rows] for rows in outer],
            [samples.y[rows] for rows in outer],
        )
        rounds = ROUNDS if monitor.rounds is None else monitor.rounds
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            r = train(
                batch,
                self.method,
                rounds=rounds,
                width=width,
                seed=self.seed,
                threads=samples.threads,
                record=(),
            )
        assert r.B is not None
        B, reason = np.asarray(r.B, dtype=np.float64), ""
        if r.outcomes[0].status is Status.DIVERGED:  # the last B may still be finite
            B = np.full_like(B, np.nan)
            reason = (
                f"training diverged in round {r.outcomes[0].round}; a smaller step size, or "
                "features of variance 1, may help"
            )
        return Estimate(B=B, heads=None, iterations=rounds, converged=not reason, reason=reason)


def resolve_finder(method: Any, seed: int) -> Estimator:
    """Return the estimator that `method` names, or an estimator that trains with that method.

    Raises TypeError or ValueError if `method` is neither an estimator nor a method that learns
    components.
    """
    if isinstance(method, str):
        if method in REFUSED:
            raise ValueError(f"method must find components from data alone; got {method!r}")
        check.choice("method", method, METHODS)
        if method in OF_TRAIN:
            return Trained(resolve(method, {}), seed)
        return algorithm_of(resolve_estimator(method, {}))
    if isinstance(method, AltGDmin) or is_estimator(method):
        if getattr(method, "name", "") in REFUSED:
            raise ValueError(
                f"method must find components from data alone; got {check.show(method)}"
            )
        return algorithm_of(method)
    trained = resolve(method, {})
    if isinstance(trained, (LinearMAML, LinearAttention)):
        raise ValueError(f"method must learn a representation; got {check.show(method)}")
    return Trained(trained, seed)


@one_blas_thread()
def find(
    finder: Estimator, samples: Samples, rank: int | str, seed: int, rounds: int | None
) -> F64:
    """Return orthonormal components of the tasks, (dim, k).

    If `rank` is "cv", the number k is chosen by cross-validation on held-out tasks.

    Warns
    -----
    NotConvergedWarning
        If the estimator did not converge.

    Raises
    ------
    ValueError
        If the samples do not determine `rank` components, or do not suit the estimator.
    """
    monitor = EarlyStop if rounds is None else partial(Unrecorded, rounds)
    try:
        if isinstance(rank, str):
            rank = choose_width(finder, samples, seed=seed, monitor=monitor).width
        finder.check(samples, rank)
        estimate = finder.estimate(samples, rank, monitor())
    except WidthError as error:
        if isinstance(rank, str):
            message = "rank='cv' tries at least one component, and the tasks determine none"
            raise ValueError(message) from None
        raise ValueError(
            f"rank must be at most {error.most}, the number of components that the tasks "
            f"determine; got {rank}"
        ) from None
    except ValueError as error:  # estimators call the rank width
        message = str(error).replace("width", "rank")
        if isinstance(samples, Contrasts) and "sample" in message:
            message += " (the intercept of a task takes one of its samples)"
        raise ValueError(message) from None
    if not np.isfinite(estimate.B).all():
        raise ValueError(f"no components were found: {estimate.reason or 'they are not finite'}")
    if not estimate.converged:
        message = f"the components did not converge: {estimate.reason}"
        warnings.warn(message, NotConvergedWarning, stacklevel=_level_of_user())
    return np.linalg.qr(estimate.B)[0]


def _level_of_user() -> int:
    """Return the `stacklevel` with which the caller's warning names the user's line of code.

    Frames of this package, of scikit-learn and of decorators do not count as the user's code.
    """
    frame, level = sys._getframe(1), 1
    while frame.f_back is not None and _is_inside(frame.f_globals.get("__name__", "")):
        frame, level = frame.f_back, level + 1
    return level


def _is_inside(module: str) -> bool:
    """Return whether a module is of the package, or of a library that calls it for the user."""
    return module.partition(".")[0] in {__name__.partition(".")[0], "contextlib", "sklearn"}
