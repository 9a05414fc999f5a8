r"""Rounds of the deterministic limit at single states, from which floors and boundaries follow."""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

from .._load import core
from .._support.types import F64
from ..methods import Method, core_method
from ..tasks import heads
from ..tasks.linear import LinearTasks
from .fixed_points import Rounds


class LimitRound(NamedTuple):
    r"""A round of the limit at one state.

    Parameters
    ----------
    grad_C : ndarray of shape (D, k), float64
        Mean gradient with respect to C = [M; R].
    grad_w : ndarray of shape (k,), float64
        Mean gradient with respect to w.
    S : ndarray of shape (k, k), float64
        Second moment of a task's gradient of B in one direction off the span of [B_star, B].
    """

    grad_C: F64
    grad_w: F64
    S: F64


def limit_round(
    tasks: LinearTasks, method: Method, C: F64, w: F64, *, m_in: int | None, m_out: int | None
) -> LimitRound:
    """Compute a round of the limit, (52)-(54), at C = [M; R] of shape (D, k) and w (k,).

    `m_in` and `m_out` are the samples of a task; None means infinitely many. The method and the
    tasks must have a limit, which `config.engine_choice.check_limit` checks.
    """
    rounds = rounds_of(tasks, method, m_in=m_in, m_out=m_out)
    (grad_C,), (grad_w,), (S,) = rounds(C[None], w[None])
    return LimitRound(grad_C, grad_w, S)


def rounds_of(tasks: LinearTasks, method: Method, *, m_in: int | None, m_out: int | None) -> Rounds:
    """Return a function that computes rounds as `limit_round` does, at stacks of C and w."""
    rounds = partial(
        core.limit_rounds,
        method=core_method(method),
        m_in=m_in or 0,
        m_out=m_out or 0,
        noise=tasks.noise,
        spread=tasks.spread,
        d=float(tasks.d),
        heads=heads.core_moments(tasks.heads, tasks.k),
        k_star=tasks.k,
    )
    return lambda C, w: rounds(C=C, w=w)
