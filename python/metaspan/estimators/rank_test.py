r"""Tests how many directions the tasks share, on tasks that did not choose the directions (50)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .._support import check
from .._support.blas import one_blas_thread
from .._support.types import F64
from ..tasks.batch import TaskBatch
from .on_arrays import ArraySamples, draw_normals
from .samples import I64, HalfAverages, lengths, task_sums
from .solvers import largest_eigenvectors, start_columns

LEAST_TASKS = 20  # ten scored tasks have 2^10 sign patterns: p-values down to 0.001
FLIPS_AT_ONCE = 256
START = 30  # stream of the start of the search for the directions


@dataclass(frozen=True, kw_only=True, eq=False)
class RankTest:
    r"""Result of `rank_test`.

    Parameters
    ----------
    p_values : ndarray of shape (max_rank,)
        Entry j is the p-value of the hypothesis that the tasks share at most j directions. Entries
        after the first p-value above `level` do not affect the chosen rank.
    rank : int
        The smallest j whose hypothesis is not rejected; `max_rank` if all of them are rejected.
    level : float
        Level of the tests.
    signal : ndarray of shape (max_rank,)
        For each direction, the mean over the scored tasks of the products of its two scores, less
        the part that the directions before it explain. For features of covariance I, it estimates
        the fraction of the mean square of a task's responses that the direction explains, averaged
        over the tasks.
    directions : ndarray of shape (d, max_rank)
        The orthonormal directions, computed from the half of the tasks that is not scored.
    """

    p_values: F64
    rank: int
    level: float
    signal: F64
    directions: F64

    def __str__(self) -> str:
        values = ", ".join(f"{value:.2g}" for value in self.p_values)
        return f"rank {self.rank} at level {self.level:g}; p-values of at most 0, 1, ...: {values}"


@one_blas_thread()
def rank_test(
    batch: TaskBatch,
    max_rank: int = 10,
    *,
    level: float = 0.05,
    flips: int = 999,
    seed: int = 0,
    threads: int | None = None,
) -> RankTest:
    r"""Test, for each number j, whether the tasks share more than j directions; choose the rank.

    One half of the tasks chooses directions, and the other half tests them (50). Every task gives
    two averages of its samples, :math:`u_i` over the first half and :math:`v_i` over the second
    half. The directions are the leading eigenvectors of the mean of :math:`(u_i v_i^\top + v_i
    u_i^\top) / 2` over the choosing tasks. A task is weighted by the inverse of the mean square of
    its responses, so that no task with large responses outweighs the others. On the scored tasks,
    the products :math:`(u_i^\top q)(v_i^\top q)` have mean zero if q is orthogonal to the true
    subspace. The p-value compares the mean of these products with its values under random changes
    of the signs of :math:`v_i`.

    Parameters
    ----------
    batch : TaskBatch
        At least 20 tasks with at least 2 samples each; inner and outer samples are used together.
    max_rank : int
        Number of directions to test, 1 <= max_rank < d.
    level : float
        Level of every test, in (0, 1).
    flips : int
        Number of random changes of signs; the smallest possible p-value is ``1 / (flips + 1)``.
    seed : int
        Key of the random split of the tasks and of the signs.
    threads : int or None
        Number of threads; None: the CPUs that this process may use. The result does not depend on
        it.

    Returns
    -------
    RankTest
        The p-values and the chosen rank; ``print`` shows both.

    Raises
    ------
    TypeError, ValueError
        If an argument is of the wrong kind or out of range, or the batch has too few tasks or
        samples.

    Notes
    -----
    *Level.* If the tasks share no direction, the test is exact for noise that is symmetric about
    zero. Directions are chosen from noisy data, so even a direction after the last true one has a
    small part in the true subspace. Its products of scores are therefore replaced by those of the
    Schur complement in (50); the level then holds up to terms that vanish as the number of tasks
    grows. The numbers j are tested in rising order until a test does not reject, so the probability
    that the chosen rank is too large is at most about `level`.

    *Cost.* The search for the directions takes tens of passes over X, and all p-values together
    take one pass. The memory is that of at most 45 blocks of d x 1.5 `max_rank` numbers, and no
    d x d matrix is formed for d above 128.

    Examples
    --------
    >>> import metaspan as ms
    >>> batch = ms.LinearTasks(d=30, k=2, noise=0.5).sample(200, 5, 5)
    >>> ms.rank_test(batch, max_rank=4).rank
    2
    """
    if not isinstance(batch, TaskBatch):
        raise TypeError(f"batch must be a TaskBatch; got {check.show(batch)}")
    max_rank = check.integer("max_rank", max_rank, 1)
    if max_rank >= batch.d:
        raise ValueError(f"max_rank must be below the {batch.d} features; got {max_rank}")
    level = check.real("level", level, 0.0, 1.0)
    if not 0.0 < level < 1.0:
        raise ValueError(f"level must lie between 0 and 1; got {level:g}")
    flips = check.integer("flips", flips, 19, 10**7)
    seed = check.integer("seed", seed, 0, 2**64 - 1)
    if batch.n < LEAST_TASKS:
        raise ValueError(f"batch must hold at least {LEAST_TASKS} tasks; got {batch.n}")
    samples = ArraySamples(batch, seed, threads=threads)
    sizes = lengths(samples)
    if sizes.min() < 2:
        task = int(sizes.argmin())
        raise ValueError(f"every task needs at least 2 samples; task {task} has {sizes[task]}")
    squares = task_sums((samples.y * samples.y)[:, None], samples.offsets)[:, 0] / sizes
    weights = np.divide(samples.weights, squares, out=np.zeros(batch.n), where=squares > 0)
    return rank_of_averages(
        samples.averages(), weights, max_rank, level=level, flips=flips, seed=seed
    )


def rank_of_averages(
    averages: HalfAverages, weights: F64, max_rank: int, *, level: float, flips: int, seed: int
) -> RankTest:
    """Test the ranks from the averages of the halves of all tasks, with task weights (n,)."""
    generator = np.random.default_rng([seed, LEAST_TASKS])
    choosing, scored = _split(averages.n, generator)
    chosen_weights = np.zeros(averages.n)
    chosen_weights[choosing] = weights[choosing] / (2 * len(choosing))
    # A tolerance of 1e-4 suffices, and so does a search that has not reached it: the level holds
    # for any directions that depend only on the choosing tasks.
    Q = largest_eigenvectors(
        lambda P: averages.mean_products(P, chosen_weights),
        averages.space,
        lambda: draw_normals(
            (seed, 0, START), averages.space, start_columns(max_rank, averages.wants_few_passes)
        ),
        max_rank,
        tol=1e-4,
    ).vectors
    of_first, of_second = averages.products(Q)
    scores = of_first[scored], of_second[scored]
    weights, rank, ended = weights[scored], 0, False
    p_values, signal = np.empty(max_rank), np.empty(max_rank)
    for j in range(max_rank):
        products = weights * _products(scores, weights, rank, j)
        signal[j] = products.mean()
        p_values[j] = _sign_test(products, flips, generator)
        ended = ended or p_values[j] > level
        rank += not ended
    return RankTest(p_values=p_values, rank=rank, level=level, signal=signal, directions=Q)


def _products(scores: tuple[F64, F64], weights: F64, rank: int, j: int) -> F64:
    r"""Return the products (n,) of both scores on direction j, corrected for known directions.

    Direction j comes from noisy data, so it has a part in the span of the directions before it. Let
    A be the symmetric part of the mean of the products of scores. From both scores on direction j,
    multiples of the first `rank` scores are subtracted, such that the mean of the products becomes
    the Schur complement ``A_jj - A_jr A_rr^{-1} A_rj``. To second order, its expectation is zero if
    the first `rank` directions hold the whole signal.
    """
    first, second = scores
    if rank == 0:
        return first[:, j] * second[:, j]
    columns = [*range(rank), j]
    A = (first[:, columns] * weights[:, None]).T @ second[:, columns]
    A = A + A.T
    multiples = np.linalg.lstsq(A[:rank, :rank], A[:rank, rank], rcond=None)[0]
    of_first, of_second = (side[:, j] - side[:, :rank] @ multiples for side in scores)
    products: F64 = of_first * of_second
    return products


def _split(n: int, generator: np.random.Generator) -> tuple[I64, I64]:
    """Split the tasks at random into one half that chooses directions and one that is scored."""
    order = generator.permutation(n)
    return np.sort(order[: n // 2]), np.sort(order[n // 2 :])


def _sign_test(products: F64, flips: int, generator: np.random.Generator) -> float:
    """Return the one-sided p-value of the sum of the products (n,) under random signs."""
    # A sum under signs that are all +1 must not be smaller than the sum itself by rounding errors.
    threshold = products.sum() - 1e-12 * np.abs(products).sum()
    as_large = 1
    for first in range(0, flips, FLIPS_AT_ONCE):
        count = min(FLIPS_AT_ONCE, flips - first)
        signs = 2.0 * generator.integers(0, 2, (count, len(products))) - 1.0
        as_large += int((signs @ products >= threshold).sum())
    return as_large / (flips + 1)
