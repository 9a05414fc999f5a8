"""The compiled core. Private: the public functions check their arguments before they come here.

Common arguments: `threads` >= 1; matrices are C-contiguous, one row per feature; `trial`, `round`
and `stream` key the counter-based generator together with `seed`.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ._core_types import (
    CoreData,
    CoreMethod,
    DataSizes,
    FeatureLaw,
    HeadLaw,
    MethodNeeds,
    RoundSizes,
    RouteCost,
    SampledCost,
    SampleLaw,
    Stage,
)

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

# Random streams: independent families of numbers under one seed.
STREAM_HEADS: Final[int]
STREAM_NOISE_IN: Final[int]
STREAM_NOISE_OUT: Final[int]
STREAM_FEATURES_IN: Final[int]
STREAM_FEATURES_OUT: Final[int]
STREAM_B_STAR: Final[int]
STREAM_START: Final[int]
STREAM_FRAME: Final[int]
STREAM_POOL: Final[int]
STREAM_OFF_SPAN: Final[int]
STREAM_USER: Final[int]
ROW_BLOCK: Final[int]

# Sizes by which the core cuts its work; cpp/include/metaspan/base/sizes.hpp says what each is of.
PANEL_TASKS: Final[int]
LISTED_ROWS: Final[int]
SERIAL_FLOPS: Final[float]
SHORT_VECTORS: Final[int]
LARGE_B: Final[int]
STORE_BLOCK_BYTES: Final[int]
VECTOR_BLOCK_BYTES: Final[int]
MADE_BYTES: Final[int]
PANEL_BYTES: Final[int]
NEAR_BYTES: Final[int]
FAR_BYTES: Final[int]
KEPT_BYTES: Final[int]
TASK_BYTES: Final[int]
TWO_VECTORS_BYTES: Final[int]

def build_info() -> dict[str, Any]: ...
def available_cpus() -> int: ...
def default_threads() -> int:
    """The CPUs of this process, or fewer where OMP_NUM_THREADS or threadpoolctl say so."""

def pause_threads() -> bool:
    """Release the thread pool, so that a fork is safe; False where the run-time library cannot."""

def philox(
    key: tuple[int, int], counter: tuple[int, int, int, int]
) -> tuple[int, int, int, int]: ...
def derive_key(seed: int, trial: int, round: int, stream: int) -> int:
    """64 bits: a seed for a generator of the caller's own."""

def normals(
    seed: int, trial: int, round: int, stream: int, n: int, m: int, d: int, dtype: str, threads: int
) -> NDArray[Any]:
    """(n, m, d) standard normals keyed by (task, row, column); dtype "float32" or "float64"."""

def features(
    law: FeatureLaw,
    roots: F64 | None,  # (d,) of a diagonal covariance
    seed: int,
    trial: int,
    round: int,
    stream: int,
    n: int,
    m: int,
    d: int,
    dtype: str,
    threads: int,
) -> NDArray[Any]:
    """(n, m, d) samples with covariance I, keyed by (task, row, column)."""

def pooled_features(
    law: FeatureLaw,
    seed: int,
    trial: int,
    d: float,
    D: int,
    columns: int,
    first: int,
    stride: int,
    n: int,
    m: int,
    dtype: str,
    threads: int,
) -> NDArray[Any]:
    """(n, m, columns) samples of d dimensions in a basis of D given directions and those that they
    span themselves: of all samples those from first + task * stride on.
    """

def chi_square(dof: float, seed: int, trial: int, count: int) -> F64: ...
def panel_draws(
    seed: int,
    trial: int,
    round: int,
    set: int,
    dofs: Sequence[float],  # 0 for a normal, else degrees of freedom, at least 1
    first: int,
    n: int,
    threads: int,
) -> F64:
    """(n, len(dofs)): what the tasks [first, first + n) of a round draw for a set of samples."""

def bartlett(seed: int, trial: int, p: int, f: float, count: int) -> F64:
    """(count, p, min(p, f)) lower trapezoidal L with L L^T of the law of a Wishart matrix with f
    degrees of freedom, (16).
    """

def add_frame(seed: int, trial: int, T: F64, A: F64, rest: float, count: int) -> F64:
    """(count, rows, k): R-factors of [T; 0] + U A with a Haar frame U in `rest` dimensions afresh
    for each, (17); T (t, k), A (r, k).
    """

def heads(law: HeadLaw, seed: int, trial: int, round: int, n: int, k_star: int) -> F64:
    """(n, k_star) heads of one round: of a table n rows without replacement, or all in order where
    it has n.
    """

def haar(
    seed: int, trial: int, stream: int, d: int, k: int, orthogonal_to: F64 | None, threads: int
) -> F64:
    """(d, k) orthonormal columns, Haar-distributed (in the orthogonal complement where one is
    given).
    """

def random_start(
    seed: int, trial: int, d: int, k_star: int, k: int, scale: float
) -> tuple[F64, F64]:
    """M (k_star, k) and R (min(k, d - k_star), k) of a Haar-random start with B^T B = scale^2 I,
    any d < 2^53.
    """

def coordinates(
    B: NDArray[Any], B_star: NDArray[Any], threads: int
) -> tuple[F64, F64, NDArray[Any]]:
    """M (k_star, k), R (e, k), E (d, e): B = B_star M + E R, (13); e is the numerical rank of B
    off B_star.
    """

def assemble(B_star: NDArray[Any], M: F64, E: NDArray[Any], R: F64, threads: int) -> NDArray[Any]:
    """B_star M + E R, (d, k), in the dtype of B_star (E has the same)."""

def project(X: NDArray[Any], B: NDArray[Any], threads: int) -> NDArray[Any]:
    """X B: (n, m, d), (d, k) -> (n, m, k), the same bits for any thread count."""

def r_factor(B: NDArray[Any], threads: int) -> F64:
    """S (min(d, k), k) upper triangular with B = Q S, Q^T Q = I."""

def gram(B: NDArray[Any], threads: int) -> F64:
    """B^T B, (k, k)."""

def prefault(x: NDArray[Any]) -> None:
    """Reads a number of every page, in order; the last axis is contiguous."""

def all_finite(x: NDArray[Any], threads: int) -> bool:
    """x of any number of axes, the last one contiguous; float32 or float64."""

def sparse_fault(starts: I64, columns: NDArray[np.int32], d: int, threads: int) -> str:
    """What is wrong with the columns of sparse rows: "", "order" (they do not rise) or "range"."""

def tangents(M: F64, R: F64) -> F64:
    """(min(k, k_star),) tangents of the principal angles, largest first; inf where an angle is a
    right one.
    """

def measure_state(M: F64, R: F64, w: F64, alpha: float, names: Sequence[str]) -> list[float]: ...
def gradient_population(
    method: CoreMethod, M: F64, R: F64, w: F64, heads: F64, noise: float, threads: int
) -> dict[str, F64]:
    """grad_M, grad_R, grad_w, loss_in, loss_adapted, loss_out (n,), heads (n, k): w_J."""

def gradient_arrays(
    method: CoreMethod,
    route: str,  # "gram", "vector" or, with sums in single precision, "vector_float32"
    B: NDArray[Any],
    w: F64,
    data: CoreData,
    threads: int,
    losses: bool,
) -> dict[str, NDArray[Any]]:
    """B (in the dtype of B: d, k), w (k,), loss_in, loss_adapted, loss_out
    (n,), heads (n, k).
    """

def adapt_arrays(
    method: CoreMethod,
    B: NDArray[Any],
    w: F64,
    data: CoreData,
    want_B: bool,
    threads: int,
) -> tuple[F64, NDArray[Any] | None]:
    """w_J (n, k), and B_J (n, d, k) where asked for."""

def method_needs(method: CoreMethod) -> MethodNeeds:
    """What the gradient of a method is made of."""

def route_costs(method: CoreMethod, sizes: DataSizes, route: str, threads: int) -> RouteCost:
    """Count what rounds take by a route: "gram", "vector" or "dual"."""

def sampled_cost(
    method: CoreMethod, sizes: DataSizes, in_blocks: bool, threads: int
) -> SampledCost:
    """Count what a sampled round takes; `in_blocks` where a function of the user's makes rows."""

def coordinates_cost(rows: float, k: int, columns: int) -> list[Stage]:
    """Count what measuring so many rows of B takes, with so many columns of B_star and B."""

def haar_cost(d: float, columns: int, k: int) -> list[Stage]:
    """Count what orthonormal columns take beside their numbers, of a start with k columns."""

def measured_bytes(d: int, k: int) -> float:
    """Bytes that measuring B at full size takes, B in double included."""

# What a round of a trial takes: flops; bytes that the trial and, thread_bytes, every thread holds;
# pieces that threads share; and, as its time goes, operations, calls of kernels, random numbers and
# bytes that pass from memory.
RoundCost = dict[str, float]

def population_cost(method: CoreMethod, sizes: RoundSizes) -> RoundCost:
    """Of the population engine; rows of [M; R], and k more for k > k_star."""

def spectral_cost(method: CoreMethod, sizes: RoundSizes) -> RoundCost:
    """Of population losses with a spectrum; rows of B."""

def infinite_tasks_cost(sizes: RoundSizes) -> RoundCost:
    """Of rounds with infinitely many tasks, (23); rows of [M; R], and any n."""

def algebra_counts(method: CoreMethod, losses: float) -> tuple[float, float, float, float]:
    """What the task algebra asks for a panel of tasks: products with X, with B^T, terms of the
    gradient, and sums and products of two vectors; `losses` is the share of rounds that record
    them.
    """

def calls_of_record(record: str, k_star: int, k: int, n: int) -> float:
    """Calls of kernels that measuring a record takes as long as."""

def collapsed_round(
    method: CoreMethod,
    Z: F64,  # (D, k)  [M; R]
    w: F64,  # (k,)
    heads: F64,  # (n, k_star)
    noise: float,
    inner: F64,  # (n, m_in, D + q + 1): samples in an orthonormal basis, then standard noise
    outer: F64,  # (n, m_out, D + q + 1), unused where the samples are shared
    shared: bool,
) -> dict[str, Any]:
    """A round on given samples: grad_Z (D, k), grad_w (k,) and off_span, for every task a factor A
    (rows, k) of what it adds to n grad_B in the last q directions, up to an orthogonal factor from
    the left.
    """

def collapsed_cost(method: CoreMethod, samples: SampleLaw, sizes: RoundSizes) -> RoundCost:
    """Of the collapsed engine; rows of [M; R]."""

class TrialStatus(IntEnum):
    """How a trial stands."""

    LIVE = 0
    CONVERGED = 1
    DIVERGED = 2
    UNDERFLOW = 3

class Run:
    """Trials of one training run, each with its state. Advances rounds; knows no clock and no
    file.
    """

    @staticmethod
    def population(
        *,
        method: CoreMethod,
        M: F64,  # (trials, k_star, k)
        R: F64,  # (trials, e, k)
        w: F64,  # (trials, k)
        # "given": heads come with each call; a table may be (trials, N, k_star)
        law: HeadLaw,
        n: int,
        noise: float,
        seed: int,
        trials: Sequence[int],
        rounds: Sequence[int],  # where each trial stands
        records: Sequence[str],
        # (trials, k, k): M, R and w are in the frames that state() once returned
        frames: F64 | None = None,
    ) -> Run: ...
    @staticmethod
    def collapsed(
        *,
        method: CoreMethod,
        samples: SampleLaw,
        M: F64,  # (trials, k_star, k)
        R: F64,  # (trials, kept - k_star + min(k, d - kept), k)
        w: F64,  # (trials, k)
        kept: int,  # rows of [M; R] whose directions stay: k_star, or more
        law: HeadLaw,
        n: int,
        seed: int,
        trials: Sequence[int],
        rounds: Sequence[int],
        records: Sequence[str],
    ) -> Run: ...
    @staticmethod
    def infinite_tasks(
        *,
        method: CoreMethod,  # first-order ANIL with one inner step
        m_in: int,  # 0: infinitely many inner samples
        noise: float,
        covariance: F64,  # (k_star, k_star), of heads with mean 0
        M: F64,  # (trials, k_star, k)
        R: F64,  # (trials, e, k)
        rounds: Sequence[int],
        records: Sequence[str],
    ) -> Run: ...
    @staticmethod
    def arrays(
        *,
        method: CoreMethod,
        route: str | None,  # "gram", "vector", "vector_float32" or "dual"
        data: CoreData,
        # "B" (trials, d, k), of the dual route the one of round 0; "w" (trials, k); and, where the
        # dual route goes on, "A" (trials, samples, k)
        state: Mapping[str, NDArray[Any]],
        n: int,
        seed: int,
        trials: Sequence[int],
        rounds: Sequence[int],
        records: Sequence[str],
        threads: int,
    ) -> Run: ...
    @staticmethod
    def sampled(
        *,
        method: CoreMethod,
        samples: SampleLaw,
        roots: F64 | None,  # (d,) of a diagonal covariance of the features
        # (trial, stream, round, task, first, count) -> (count, d), instead of a law: blocks of
        # ROW_BLOCK rows
        rows: Callable[[int, int, int, int, int, int], F64] | None,
        B_star: Sequence[F64],  # (d, k_star) of every trial
        B: NDArray[Any],  # (trials, d, k)
        w: F64,  # (trials, k)
        law: HeadLaw,
        n: int,
        seed: int,
        trials: Sequence[int],
        rounds: Sequence[int],
        records: Sequence[str],
    ) -> Run: ...
    @staticmethod
    def spectral(
        *,
        method: CoreMethod,
        roots: F64,  # (d,) of a diagonal covariance of the features
        noise: float,
        B_star: Sequence[F64],  # (d, k_star) of every trial
        B: NDArray[Any],  # (trials, d, k)
        w: F64,  # (trials, k)
        law: HeadLaw,
        n: int,
        seed: int,
        trials: Sequence[int],
        rounds: Sequence[int],
        records: Sequence[str],
    ) -> Run: ...
    def advance(
        self,
        end: int,
        record_every: int,
        stop_dist: float,  # 0: never
        stop_loss: float,  # 0: never; compared with loss_out
        # (trials, rounds, n, k_star) of "given", from the earliest live trial's round on
        heads: F64 | None,
        threads: int,
    ) -> None:
        """Every live trial to round `end`: before the round t is run, a row is recorded if
        record_every divides t.
        A Python signal handler's exception passes through, with the rounds finished until
        then kept."""

    def measure(self, heads: F64 | None, threads: int) -> None:
        """Record one row of every live trial where it stands, without a step."""

    def rows(self) -> list[tuple[I64, F64]]:
        """Per trial: rounds (rows,), values (rows, columns), recorded since drop_rows()."""

    def drop_rows(self) -> None: ...
    @property
    def columns(self) -> list[str]:
        """A name per column of the rows; angles: "angles" repeated min(k, k_star) times."""

    @property
    def rounds(self) -> list[int]: ...
    @property
    def status(self) -> list[TrialStatus]: ...
    def state(self) -> dict[str, NDArray[Any]]:
        """Copies. In coordinates: M Q "M" (trials, k_star, k), R Q "R" (trials, e, k), Q^T w "w"
        (trials, k) and Q "frames" (trials, k, k), orthogonal, the identity for k <= k_star. On
        arrays: "w", and "B" (trials, d, k) or, on the dual route, "A" (trials, samples, k).
        """

    def representation(self, threads: int) -> NDArray[Any]:
        """B (trials, d, k) of a run on arrays."""
