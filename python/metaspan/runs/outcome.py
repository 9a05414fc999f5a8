r"""How trials end."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .result import Result


class Status(Enum):
    """How a trial ended; the value is a phrase that follows "the trial"."""

    FINISHED = "did all its rounds"
    CONVERGED = "met its stop rule"
    DIVERGED = "diverged: its gradient or state grew out of range"
    UNDERFLOW = "reached a distance below 1e-300, where double precision ends"
    INTERRUPTED = "was interrupted"
    NOT_CONVERGED = "did not converge"

    @property
    def text(self) -> str:
        """Phrase that follows "the trial", such as "did all its rounds"."""
        return self.value


@dataclass(frozen=True, eq=False)
class Outcome:
    r"""How a trial ended, and in which round; an outcome also compares equal to its `Status`.

    Parameters
    ----------
    status : Status
        How the trial ended.
    round : int
        Number of rounds that the trial had done at its end; for a fit, the number of iterations.
    detail : str
        A phrase that replaces the text of the status for this trial, such as the reason why an
        estimator did not converge. Outcomes that differ only in `detail` compare equal.

    Examples
    --------
    >>> Outcome(Status.CONVERGED, 812) == Status.CONVERGED
    True
    >>> print(Outcome(Status.CONVERGED, 812))
    met its stop rule (round 812)
    """

    status: Status
    round: int
    detail: str = ""

    @property
    def text(self) -> str:
        """Phrase that follows "the trial", with the round: "met its stop rule (round 812)"."""
        return f"{self.detail or self.status.text} (round {self.round})"

    def __str__(self) -> str:
        return self.text

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Status):
            return self.status is other
        if isinstance(other, Outcome):
            return (self.status, self.round) == (other.status, other.round)
        return NotImplemented

    def __hash__(self) -> int:
        return hash(self.status)


class DivergenceWarning(RuntimeWarning):
    """Issued when trials diverged: the gradient or the state of a trial grew out of range."""


class NotConvergedWarning(RuntimeWarning):
    """Issued when an estimator did not converge; the status of the result names the iteration."""


class FewSamplesWarning(UserWarning):
    """Issued when a run trains on fewer than d k / 10 samples: see `train`."""


class GrowingHeadWarning(UserWarning):
    """Issued when the head of a run probably grows on finite samples: see `train`."""


class LocalStepsWarning(UserWarning):
    """Issued when the local steps of a run are probably too long to be stable: see `train`."""


class _WithResult(BaseException):
    """An exception with a message and the `result` of a call."""

    def __init__(self, message: str, result: Any) -> None:
        super().__init__(message, result)
        self.result = result

    def __str__(self) -> str:
        return str(self.args[0])


class Diverged(_WithResult, RuntimeError):
    """Raised with ``on_failure="raise"`` when trials diverged; `result` has all trials."""


class NotConverged(_WithResult, RuntimeError):
    """Raised with ``on_failure="raise"`` when trials of a fit did not converge; see `result`."""


class Interrupted(_WithResult, KeyboardInterrupt):
    """Raised when Ctrl-C ends a run, a fit or `active`; `result` holds what is finished."""


def report_failures(finished: Result, unit: str) -> None:
    """Warn once, or raise, if trials diverged or did not converge, for the caller's caller.

    `unit` is the word for what `Outcome.round` counts: "round" or "iteration".
    """
    kinds: tuple[tuple[Status, type[Diverged | NotConverged], type[Warning]], ...] = (
        (Status.DIVERGED, Diverged, DivergenceWarning),
        (Status.NOT_CONVERGED, NotConverged, NotConvergedWarning),
    )
    config, outcomes = finished.config, finished.outcomes
    for status, raised, warning in kinds:
        failed = [
            f"trial {number} in {unit} {outcome.round}"
            for number, outcome in zip(config.trials, outcomes, strict=True)
            if outcome.status is status
        ]
        if not failed:
            continue
        shown = ", ".join(failed[:3]) + (", ..." if len(failed) > 3 else "")
        verb = status.text.partition(":")[0]
        message = f"{len(failed)} of {len(outcomes)} trials {verb} ({shown})"
        if config.on_failure == "raise":
            raise raised(message, finished)
        if config.is_root:
            warnings.warn(message, warning, stacklevel=3)
