r"""User-level differential privacy: every task is a user, whose influence on a round is bounded."""

from __future__ import annotations

from dataclasses import dataclass

from ._support import check


@dataclass(frozen=True, kw_only=True)
class UserDP:
    r"""Clipping of each task's contribution, and Gaussian noise in the mean over the tasks.

    .. math:: (\nabla_{B,i}, \omega_i) \leftarrow
              \min\bigl(1, c / \|(\nabla_{B,i}, \omega_i)\|\bigr)\, (\nabla_{B,i}, \omega_i), \qquad
              \operatorname{mean}_i (\nabla_{B,i}, \omega_i) + N(0, (z c / n)^2)

    See (29) and (30). The norm is that of all numbers that a task contributes: its gradients of `B`
    and `w` and, if the outer loop learns them, of step sizes (34) or of a second head (35). The
    noise is independent in every entry of the means of these gradients. Adding or removing one task
    changes the mean by at most c / n, which is the sensitivity to which `multiplier` refers;
    replacing one task changes the mean by at most 2 c / n.

    `train` adds noise; `meta_gradient` and `population_gradient` clip, and add none. The package
    does not compute (epsilon, delta): pass `multiplier`, the sampling rate of tasks and the number
    of rounds to an accountant of the Gaussian mechanism.

    Parameters
    ----------
    clip : float
        Largest norm c of a task's contribution, > 0. The norm of a gradient on finitely many
        samples grows like the square root of d, and c must grow likewise.
    multiplier : float
        Noise multiplier z, >= 0; 0 clips without noise.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range.

    References
    ----------
    McMahan, Ramage, Talwar, Zhang, "Learning differentially private recurrent language models",
    ICLR 2018.

    Examples
    --------
    >>> UserDP(clip=2.0, multiplier=1.1)
    UserDP(clip=2.0, multiplier=1.1)
    """

    clip: float
    multiplier: float

    def __post_init__(self) -> None:
        clip = check.real("clip", self.clip)
        if clip == 0.0:
            raise ValueError("clip must be positive; got 0")
        object.__setattr__(self, "clip", clip)
        object.__setattr__(self, "multiplier", check.real("multiplier", self.multiplier))
