r"""The protocol of estimators, and the estimate that an estimator returns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Protocol

import numpy as np

from .._support.types import F64
from .samples import Samples
from .space import Space


@dataclass(frozen=True, kw_only=True, eq=False)
class Estimate:
    """An estimate of the representation and of the heads of the tasks."""

    B: F64  # (dim, width); orthonormal columns unless the estimator says otherwise
    heads: F64 | None  # (n, width), the heads that belong to B; None for an estimator without heads
    iterations: int = 0  # 0 for a closed form
    converged: bool = True
    reason: str = ""  # why it did not converge: a clause that ends a sentence


class Monitor(Protocol):
    """The object to which an iterative estimator reports its iterates."""

    @property
    def rounds(self) -> int | None:
        """The most iterations; None: the estimator's own limit."""

    def record(self, B: F64, heads: F64 | None = None, objective: float | None = None) -> bool:
        """Record an iterate, in the first call the start; return whether the estimator must stop.

        B need not be orthonormal. Raises `Interrupted` after Ctrl-C.
        """


@dataclass(frozen=True)
class Unrecorded:
    """A monitor that records nothing, and stops an estimator only if it diverges."""

    rounds: int | None = None
    space: Space | None = None  # of the iterates, if their rows may be spread over ranks

    def record(self, B: F64, heads: F64 | None = None, objective: float | None = None) -> bool:
        """Return whether an entry of the iterate is infinite or NaN."""
        finite = bool(np.isfinite(B).all()) if self.space is None else self.space.is_finite(B)
        return not finite


class Estimator(Protocol):
    """An algorithm with its options: a frozen dataclass with keyword-only fields."""

    name: ClassVar[str]  # the name that `ms.fit` accepts
    iterates: ClassVar[bool]  # whether it has iterations to record
    uses_averages: ClassVar[bool]  # whether it reads the samples only as `Samples.averages`

    def check(self, samples: Samples, width: int) -> None:
        """Raise ValueError, with a message of one sentence, if these samples do not suit it."""

    def estimate(self, samples: Samples, width: int, monitor: Monitor) -> Estimate:
        """Estimate the representation and the heads."""
