r"""Types of the values that the compiled core takes and returns."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, TypedDict

import numpy as np
from numpy.typing import NDArray

F64 = NDArray[np.float64]


class Exchange(Protocol):
    """What the core calls to send numbers between the processes of a sharded run."""

    rank: int

    def gather(self, numbers: F64, counts: Sequence[int], all: F64) -> None:
        """Send `numbers` to all; write the counts[r] numbers of every process r to `all`."""

    def swap(self, numbers: F64, sent: Sequence[int], received: Sequence[int], out: F64) -> None:
        """Send sent[r] numbers to every process r, and write the received[r] of r to `out`."""


class CoreStep(NamedTuple):
    """What the outer step remembers of earlier rounds, (28)."""

    rule: int = 0  # 0: along the gradient; 1: Adam; 2: along the sign of the gradient
    momentum: float = 0.0
    nesterov: bool = False
    average: bool = False  # the result is the mean of the iterates
    lookahead: int = 0  # rounds from one synchronisation with the slow weights to the next; 0: none
    lookahead_size: float = 1.0
    orthonormal: bool = False  # B is replaced by its orthonormal factor after every step


class CoreMethod(NamedTuple):
    """A method as the core sees it: its step sizes, and what its inner and outer loops do."""

    alpha: float
    beta: float  # outer step size of B
    inner_steps: int  # 0: average risk minimisation
    adapt_B: bool  # the inner loop moves B: MAML
    exact: bool  # the gradient differentiates through the inner loop
    beta_head: float  # outer step size of w
    adapt_head: bool = True  # the inner loop moves w
    contribution: int = 0  # a task adds 0: outer gradient; 1: (25); 2: (27); 3: (32)
    solves_head: bool = False  # the inner loop solves for the head, (26)
    penalty: float = 0.0  # lambda of (26)
    clip: float = 0.0  # c of (29), the largest norm of a task's contribution; 0: no limit
    multiplier: float = 0.0  # z of (30): noise of standard deviation z c / n is added; 0: none
    step_sizes: int = 0  # 0: fixed; learned, (34): 1: one; 2: one for each entry of the head
    beta_alpha: float = 0.0  # outer step size of learned step sizes
    private_head: bool = False  # a second head v that no inner step moves, (35)
    private_weight: float = 0.0  # gamma of (35)
    fresh_steps: bool = False  # inner step j uses block j of the inner set, (25)
    step: CoreStep | None = None  # None: B <- B - beta G


class MethodNeeds(TypedDict):
    """What must be computed for the rounds of a method, (5)-(10)."""

    gram: bool  # K = X X^T, for inner steps after the first
    cross_gram: bool  # K' = X' X^T, if the inner loop moves B
    inner_part: bool  # the term X^T C of (10)
    passes_again: bool  # a round passes over an inner set more than once
    terms: int  # number of vectors of length d from which the gradient of a task is computed
    turns_frame: bool  # population rounds with k > k_star turn the frame of the learner, (14)


class FeatureLaw(NamedTuple):
    """How features are distributed."""

    name: str  # "gaussian", "student-t", "sphere", "rademacher" or "uniform"
    dof: float = 0.0  # degrees of freedom of "student-t"


class HeadLaw(NamedTuple):
    """How heads are distributed."""

    kind: str  # "gaussian", "sphere", "table", or "given" for heads that are passed per round
    mean: F64 | None = None  # (k_star,)
    factor: F64 | None = None  # of the covariance: (k_star,) or (k_star, k_star) lower triangular
    radius: float = 1.0
    table: F64 | None = None  # (N, k_star), or (trials, N, k_star)


class HeadMoments(NamedTuple):
    """The law of heads of which the limit computes moments, (52)."""

    kind: str  # "gaussian", "sphere" or "array"
    mean: F64 | None = None  # (k_star,) of "gaussian"
    covariance: F64 | None = None  # (k_star, k_star)
    radius: float = 1.0  # of "sphere"
    rows: F64 | None = None  # (N, k_star) of "array": heads that are equally likely


class SampleLaw(NamedTuple):
    """How the samples of tasks are distributed."""

    d: float
    m_in: int  # 0: infinitely many
    m_out: int
    shared: bool
    noise: float
    features: FeatureLaw
    spread: float = 0.0  # tau of (33)


class RoundSizes(NamedTuple):
    """The sizes that determine the cost of a round."""

    n: int
    rows: int  # number of rows of [M; R], or of B
    k: int
    k_star: int
    draws_heads: bool = False  # the core draws the heads; otherwise it copies them
    chooses: bool = False  # a round uses some of the tasks of a pool, or of the heads of a table
    losses: float = 0.0  # fraction of the rounds that record losses
    trials: int = 1  # trials that one thread computes, which may share panels


class DataSizes(NamedTuple):
    """The sizes that determine the cost of a round on samples, as means over the tasks."""

    d: int
    k: int
    k_star: int
    n: int  # tasks of a round
    all_tasks: int  # tasks that rounds choose from
    m_in: float  # inner samples per task
    m_out: float
    shared: bool  # inner and outer sets are the same samples
    number_bytes: int  # bytes of one entry of X
    B_number_bytes: int = 8  # bytes of one entry of B
    stored: bool = False  # the features are on disk
    made: bool = False  # rows of X are generated when they are needed
    entries: float | None = None  # entries of a sparse row; None: X is dense
    meeting: float = 0.0  # probability that two entries are in the same column
    copied: bool = False  # the Gram route copies sparse sets by bands if this saves time
    losses: float = 0.0  # share of the rounds that record losses
    geometry: float = 0.0  # share of the rounds that measure B
    record_calls: float = 0.0  # time of the records of a round, as a number of kernel calls


class Stage(TypedDict):
    """The work of one part of a round: the arithmetic, and the bytes that are read meanwhile."""

    features: float  # flops at the rate of X B; other work is converted to flops of equal time
    grams: float  # flops at the rate of X X^T
    memory: float  # bytes read from memory; other work is converted to bytes of equal time
    cached: float  # bytes read from a cache


class RouteCost(TypedDict):
    """The cost of rounds of the arrays engine on one route."""

    setup: list[Stage]  # work before the first round
    round: list[Stage]  # work of a gradient
    records: list[Stage]  # work of measuring B, on average over the rounds
    setup_reads: float  # bytes of X that the setup reads from a store
    reads: float  # bytes of X that a round reads from a store
    calls: float  # kernel calls of a round
    tasks: float  # overhead of a round, in units of one task's overhead on the vector route
    flops: float  # flops of a round
    numbers: float  # random numbers of a round: noise that is added to the gradient
    serial: bool  # a round is too small for more than one thread
    busiest: float  # work of the busiest thread, as a multiple of an even share
    bytes: float  # bytes held by a trial in addition to the data and B
    released_bytes: float  # part of `bytes` that is freed when the gradient is complete
    shared_bytes: float  # bytes shared by the trials of a run
    opening_bytes: float  # bytes held while the run is opened, before its first trial
    copies_of_B: int  # arrays of the size of B that a trial holds, its gradient included
    copy_bytes: float  # bytes of copies of sparse sets by bands, which are optional


class DeviceCost(TypedDict):
    """The cost of a round at full size on a device, and the device memory of a run."""

    bytes: float  # of device memory that the kernels move
    flops: float  # of the kernels
    launches: float  # of kernels
    host_bytes: float  # of features that a round copies from the host
    memory: float  # bytes of device memory, except those of features
    features: float  # bytes of device memory for features
    pinned: float  # bytes of pinned host memory, through which features are copied
    keeps: bool  # the features stay on the device


class SampledCost(TypedDict):
    """The cost of generating samples, which is added to the cost of the vector route."""

    vectors: float  # bytes of the vectors of length d
    rows: float  # bytes of generated rows
    truth: float  # bytes of B_star
    stay: bool  # inner sets are generated once a round
    numbers: float  # random numbers of a round
    calls: float  # kernel calls of a round


class CoreData(NamedTuple):
    """The arrays of a batch of tasks.

    The samples of all tasks are one array with a leading axis of tasks, or a sequence with one
    array per task. If the rows of a task's X are sparse, X is a tuple (starts, columns, values). If
    there are no outer samples, X_out and y_out are None.
    """

    X_in: Any  # X_in and X_out are None if there is a reader
    y_in: Any
    X_out: Any = None
    y_out: Any = None
    B_star: NDArray[Any] | None = None  # (d, k_star)
    heads: NDArray[Any] | None = None  # (N, k_star)
    reader: Any = None  # reads features on disk
    weights: F64 | None = None  # (n,), with mean 1; None: all weights are 1
    shard: Any = None  # core.Shard: the columns of X that the arrays hold; None: all of them
