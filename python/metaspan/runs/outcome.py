r"""How trials end."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .result import Result


class Status(Enum):
    """How a trial ended."""

    FINISHED = "did all its rounds"
    CONVERGED = "met its stop rule"
    DIVERGED = "diverged: its gradient or state grew out of range"
    UNDERFLOW = "reached a distance below 1e-300, where double precision ends"
    INTERRUPTED = "was interrupted"

    @property
    def text(self) -> str:
        """What happened, to be read after "the trial"."""
        return self.value


@dataclass(frozen=True, eq=False)
class Outcome:
    r"""How and when a trial ended; equal to its `Status` alone, too.

    Parameters
    ----------
    status : Status
        How it ended.
    round : int
        Rounds that it had done.

    Examples
    --------
    >>> Outcome(Status.CONVERGED, 812) == Status.CONVERGED
    True
    >>> print(Outcome(Status.CONVERGED, 812))
    met its stop rule (round 812)
    """

    status: Status
    round: int

    @property
    def text(self) -> str:
        """What happened, with the round."""
        return f"{self.status.text} (round {self.round})"

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
    """Some trials of a run diverged."""


class FewSamplesWarning(UserWarning):
    """A run trains on far fewer samples than its representation has unknowns."""


class Diverged(RuntimeError):
    """Raised for ``on_failure="raise"`` when a trial diverged; `result` is what there is."""

    def __init__(self, message: str, result: Result) -> None:
        super().__init__(message, result)
        self.result = result

    def __str__(self) -> str:
        return str(self.args[0])


class Interrupted(KeyboardInterrupt):
    """Raised when Ctrl-C ends a run; `result` holds the rounds that were finished."""

    def __init__(self, message: str, result: Result) -> None:
        super().__init__(message, result)
        self.result = result

    def __str__(self) -> str:
        return str(self.args[0])
