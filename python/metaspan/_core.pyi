"""Type stubs of the compiled core, which is private: callers must check arguments first.

Common arguments: `threads` is at least 1; matrices are C-contiguous, with a row per feature;
`seed`, `trial`, `round` and `stream` key the counter-based generator. Equation numbers are those of
docs/equations.md.
"""

from collections.abc import Callable, Mapping, Sequence
from enum import IntEnum
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ._core_types import (
    CoreData,
    CoreMethod,
    CoreStep,
    DataSizes,
    DeviceCost,
    Exchange,
    FeatureLaw,
    HeadLaw,
    HeadMoments,
    MethodNeeds,
    RoundSizes,
    RouteCost,
    SampledCost,
    SampleLaw,
    Stage,
)

F64 = NDArray[np.float64]
I64 = NDArray[np.int64]

# Random streams: independent families of random numbers under one seed.
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
STREAM_PRIVACY: Final[int]
STREAM_SPREAD: Final[int]
ROW_BLOCK: Final[int]  # largest number of rows in one call of a user's function of features

# Sizes by which the core splits its work, described in cpp/include/metaspan/base/sizes.hpp.
PANEL_TASKS: Final[int]
SHORT_VECTORS: Final[int]
LARGE_B: Final[int]
STORE_BLOCK_BYTES: Final[int]
VECTOR_BLOCK_BYTES: Final[int]
MADE_BYTES: Final[int]
PANEL_BYTES: Final[int]
BAND_BYTES: Final[int]
NEAR_BYTES: Final[int]
FAR_BYTES: Final[int]
KEPT_BYTES: Final[int]
TASK_BYTES: Final[int]
TWO_VECTORS_BYTES: Final[int]
MOST_DEVICE_COLUMNS: Final[int]

class Shard:
    def __init__(
        self, d: int, rank: int = 0, ranks: int = 1, exchange: Exchange | None = None
    ) -> None: ...
    @property
    def d(self) -> int: ...
    @property
    def first(self) -> int: ...
    @property
    def size(self) -> int: ...
    @property
    def rank(self) -> int: ...
    @property
    def ranks(self) -> int: ...
    @property
    def is_shared(self) -> bool: ...
    @property
    def nodes(self) -> list[int]: ...
    def largest(self, number: float) -> float: ...
    def gather_rows(self, rows: F64) -> F64: ...
    def pieces(self, most: int) -> list[int]: ...
    def sum(self, parts: F64, most: int) -> F64: ...
    @staticmethod
    def leaves(d: int) -> int: ...
    @staticmethod
    def edges(d: int, ranks: int) -> list[int]: ...

def build_info() -> dict[str, Any]:
    """Return the versions, instruction-set level and thread support of the build."""

def available_cpus() -> int:
    """Return the number of CPUs that this process may use, or 1 in a build without threads."""

def default_threads() -> int:
    """Return the number of CPUs of this process, or the limit of OMP_NUM_THREADS or threadpoolctl
    if it is lower.
    """

def pause_threads() -> bool:
    """Release the thread pool, so that a fork is safe. Return False if the run-time library cannot
    release it.
    """

class Device:
    """The device of a device module, whose `module()` returns the capsule.

    Raises ImportError for a module of another version, and RuntimeError if there is no driver or
    no device.
    """

    def __init__(self, module: object) -> None: ...
    @property
    def free_bytes(self) -> int: ...
    @property
    def info(self) -> dict[str, Any]: ...

class DeviceArray:
    """An array in device memory, or a view of one, which shares its memory.

    The array that a capsule of DLPack lends, made for the legacy default stream; `library` is the
    function that converts an array to the kind of its lender, or None.

    Raises TypeError for a dtype other than float32 and float64, and ValueError for an array
    elsewhere; the message begins after the name of the argument.
    """

    def __init__(
        self, device: Device, capsule: Any, library: Callable[[Any], Any] | None
    ) -> None: ...
    @staticmethod
    def from_numpy(device: Device, numbers: NDArray[Any]) -> DeviceArray:
        """Copy a C-contiguous array of float32 or float64 numbers to device memory."""

    @property
    def library(self) -> Callable[[Any], Any] | None: ...
    @property
    def shape(self) -> tuple[int, ...]: ...
    @property
    def ndim(self) -> int: ...
    @property
    def dtype(self) -> np.dtype[Any]: ...
    @property
    def address(self) -> int: ...
    @property
    def is_contiguous(self) -> bool: ...
    @property
    def has_contiguous_rows(self) -> bool: ...
    @property
    def is_read_only(self) -> bool: ...
    def __len__(self) -> int: ...
    def __getitem__(self, index: Any) -> DeviceArray: ...
    def __dlpack__(
        self,
        *,
        stream: int | None = None,
        max_version: tuple[int, int] | None = None,
        dl_device: tuple[int, int] | None = None,
        copy: bool | None = None,
    ) -> Any: ...
    def __dlpack_device__(self) -> tuple[int, int]: ...
    def assign(self, other: DeviceArray) -> None:
        """Copy the numbers of another array; both are contiguous and of one shape and dtype."""

    def is_finite(self, device: Device) -> bool:
        """Return whether all numbers are finite; the rows are contiguous."""

    def is_same_view(self, other: DeviceArray) -> bool:
        """Return whether both have the same memory, shape and strides."""

    def to_numpy(self) -> NDArray[Any]:
        """Copy the array to NumPy, in C order."""

class DeviceRows:
    """The rows X (N, d) of a batch on a device: those of each task, inner rows before outer rows.

    Factors have 1 to 256 columns.
    """

    def __init__(self, device: Device, data: Batch) -> None: ...
    def features(self, B: F64, threads: int) -> F64:
        """Compute X B, (N, k)."""

    def combine(self, C: F64, threads: int) -> F64:
        """Compute X^T C, (d, k), for C (N, k)."""

    def combine_features(
        self, B: F64, transform: Callable[[F64, int, int], F64], threads: int
    ) -> F64:
        """Compute X^T transform(X B), (d, k), as batch_combine_features does."""

    def grams(self, first: int, end: int, threads: int) -> list[F64]:
        """Compute the Gram matrices of the tasks from `first` to `end`."""

def philox(key: tuple[int, int], counter: tuple[int, int, int, int]) -> tuple[int, int, int, int]:
    """Return the Philox4x32-10 block of a counter under a key."""

def derive_key(seed: int, trial: int, round: int, stream: int) -> int:
    """Derive a key as a 64-bit integer, which can seed any other generator."""

def normals(
    seed: int,
    trial: int,
    round: int,
    stream: int,
    n: int,
    m: int,
    d: int,
    dtype: str,
    threads: int,
    first_task: int = 0,
    first_column: int = 0,
) -> NDArray[Any]:
    """Draw (n, m, d) standard normals, "float32" or "float64", keyed by (task, row, column), of the
    n tasks starting at `first_task` and the columns starting at `first_column`, which is even.
    """

def features(
    law: FeatureLaw,
    roots: F64 | None,  # (d,) square roots of a diagonal covariance; None: I
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
    """Draw (n, m, d) samples keyed by (task, row, column)."""

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
    """Draw the samples (n, m, columns) of a pool of tasks with d features, in a basis, (24).

    The basis is orthonormal. Its first D vectors are fixed, and the others span the components of
    the pool's samples that are orthogonal to the fixed vectors. Task i takes the m samples that
    start at first + i * stride.
    """

def chi_square(dof: float, seed: int, trial: int, count: int) -> F64:
    """Draw (count,) chi-squares with dof > 0 degrees of freedom."""

def power_roots(a: float, first: int, count: int) -> F64:
    """Return the roots (count,) of the eigenvalues j^-a, for j = first + 1, ..., first + count."""

def panel_draws(
    seed: int,
    trial: int,
    round: int,
    set: int,
    dofs: Sequence[float],  # 0: a normal; otherwise a chi-square of at least 1 degree of freedom
    first: int,
    n: int,
    threads: int,
) -> F64:
    """Draw the random numbers (n, len(dofs)) from which a set of samples is computed, (16), for the
    tasks first to first + n - 1 of a round.
    """

def bartlett(seed: int, trial: int, p: int, f: float, count: int) -> F64:
    """Draw `count` Bartlett factors L (p, min(p, f)), (16): L is lower trapezoidal, and L L^T is a
    Wishart matrix with f degrees of freedom.
    """

def add_frame(seed: int, trial: int, T: F64, A: F64, rest: float, count: int) -> F64:
    """Draw `count` R-factors (rows, k) of [T; 0] + U A, (17), for T (t, k) and A (r, k). Each
    R-factor has a new Haar-distributed U (rest, r) with orthonormal columns.
    """

def heads(law: HeadLaw, seed: int, trial: int, round: int, n: int, k_star: int) -> F64:
    """Draw the heads (n, k_star) of a round. From a table, n rows are chosen without replacement;
    if it has exactly n rows, they are returned in order.
    """

# In a sharded run, the matrices with d rows have the rows of this process, and all processes make
# the same calls. Small results are the same on all of them.

def haar(
    seed: int,
    trial: int,
    stream: int,
    d: int,
    k: int,
    orthogonal_to: F64 | None,
    threads: int,
    shard: Shard | None = None,
) -> F64:
    """Draw Haar-distributed orthonormal columns (d, k), in the orthogonal complement of
    `orthogonal_to` unless it is None. d counts the rows of all processes.
    """

def random_start(
    seed: int, trial: int, d: int, k_star: int, k: int, scale: float
) -> tuple[F64, F64]:
    """Draw M (k_star, k) and R (min(k, d - k_star), k) of a Haar-distributed start with B^T B =
    scale^2 I, (19), for any d < 2^53.
    """

def coordinates(
    B: NDArray[Any], B_star: NDArray[Any], threads: int, shard: Shard | None = None
) -> tuple[F64, F64, NDArray[Any]]:
    """Return M (k_star, k), R (e, k) and E (d, e) with B = B_star M + E R, (13). e is the numerical
    rank of the part of B that is orthogonal to B_star.
    """

def assemble(
    B_star: NDArray[Any],
    M: F64,
    E: NDArray[Any],
    R: F64,
    threads: int,
    shard: Shard | None = None,
) -> NDArray[Any]:
    """Return B_star M + E R (d, k), (13), in double precision."""

def project(X: NDArray[Any], B: NDArray[Any], threads: int) -> NDArray[Any]:
    """Return X B, (n, m, d) by (d, k) -> (n, m, k). The bits do not depend on `threads`."""

def r_factor(B: NDArray[Any], threads: int, shard: Shard | None = None) -> F64:
    """Return the R-factor S (min(d, k), k) of B = Q S with Q^T Q = I."""

def inner(A: F64, B: F64, threads: int, shard: Shard | None = None) -> F64:
    """Return A^T B, (p, q), for A (d, p) and B (d, q)."""

def column_products(A: F64, B: F64, threads: int, shard: Shard | None = None) -> F64:
    """Return the sums over all rows of A * B, (q,), for A and B (d, q)."""

def times(A: F64, S: F64, threads: int, shard: Shard | None = None) -> F64:
    """Return A S, (d, q), for A (d, p) and a small S (p, q)."""

def factor(A: F64, threads: int, shard: Shard | None = None) -> tuple[F64, F64]:
    """Return Q (d, q) and R (q, q) of A = Q R, with q <= d, Q^T Q = I and a nonnegative diagonal
    of R. The diagonal entry is 0 if the column of A depends on those before it up to rounding
    errors; the column of Q is then a fixed pseudorandom one.
    """

def deviation(B: NDArray[Any], threads: int, shard: Shard | None = None) -> float:
    """Return the largest entry of |B^T B - I|, or NaN if one of its entries is NaN."""

def prefault(x: NDArray[Any]) -> None:
    """Load a memory-mapped array by reading every page in order; its last axis is contiguous."""

def all_finite(x: NDArray[Any], threads: int) -> bool:
    """Return whether all elements of x are finite. x is float32 or float64 and has any number of
    axes, the last of them contiguous.
    """

def is_plain_matrix(x: object, rows: int, columns: int) -> bool:
    """Return whether x is a plain, C-contiguous matrix of this shape; -1 admits any size.

    A plain array is a `numpy.ndarray`, not of a subclass, of float32 or float64 in the byte order
    of this machine. It is aligned, and NumPy allocated its memory, so no file is mapped to it.
    """

def is_plain_small(x: object, shape: Sequence[int]) -> bool:
    """Return whether x is a plain, C-contiguous and finite array of float64 of a shape, in which -1
    admits any size.
    """

def is_plain_point(B: object, w: object, d: int, threads: int) -> bool:
    """Return whether B (d, k) and w (k,) are plain, C-contiguous and finite, w is float64, and 1 <=
    k <= d; d = -1 admits any number of rows.
    """

def are_plain_sets(X: object, y: object) -> bool:
    """Return whether X (n, m, d) and y (n, m), or two lists or tuples of (m_i, d) and (m_i,), are
    plain arrays of one dtype with contiguous rows, none of them empty.
    """

class Batch:
    """The data of a batch, converted once for any number of calls. Calls on data in memory may run
    at the same time. The arrays are not copied, and must not change their shapes.
    """

    def __init__(self, data: CoreData, d: int) -> None: ...

def sparse_fault(starts: I64, columns: NDArray[np.int32], d: int, threads: int) -> str:
    """Return what is wrong with the columns of sparse rows: "order" if they are not strictly
    increasing within a row, "range" if one is outside [0, d), otherwise "".
    """

def tangents(M: F64, R: F64) -> F64:
    """Return the tangents (min(k, k_star),) of the principal angles, largest first; inf for a right
    angle.
    """

def measure_state(M: F64, R: F64, w: F64, alpha: float, names: Sequence[str]) -> list[float]:
    """Return the values of the records `names`, (20) and (21), in this order. The records must be
    functions of the state alone.
    """

def gradient_population(
    method: CoreMethod,
    B: NDArray[Any],
    w: F64,
    B_star: NDArray[Any],
    heads: F64,
    noise: float,
    threads: int,
) -> dict[str, F64]:
    """Compute one round at B and w for tasks with the heads (n, k_star). Return the gradient "B"
    and "w", the losses "loss_in", "loss_adapted", "loss_out" (n,), and the adapted "heads" (n, k).
    """

def gradient_arrays(
    method: CoreMethod,
    route: str,  # "gram", "vector" or, with sums in single precision, "vector_float32"
    B: NDArray[Any],
    w: F64,
    data: Batch,
    threads: int,
    losses: bool,
    device: Device | None = None,
) -> dict[str, NDArray[Any]]:
    """Compute one round on all tasks of a batch. Return the gradient "B" (d, k), in the dtype of B,
    and "w" (k,), the adapted "heads" (n, k) and, with `losses`, "loss_in", "loss_adapted",
    "loss_out" (n,).
    """

# X (N, d) has all rows of a batch: of each task the inner samples, then the outer samples, unless
# both loops use the same samples.
def batch_rows(data: Batch) -> tuple[I64, F64]:
    """Return the first row of every task and N, (n + 1,), and the responses of all rows, (N,)."""

def batch_features(data: Batch, B: F64, threads: int) -> F64:
    """Compute X B, (N, k)."""

def batch_combine(data: Batch, C: F64, threads: int) -> F64:
    """Compute X^T C, (d, k), for C (N, k)."""

def batch_combine_features(
    data: Batch, B: F64, transform: Callable[[F64, int, int], F64], threads: int
) -> F64:
    """Compute X^T transform(X B), (d, k). `transform` is called with the rows of X B of the tasks
    from `first` to `end`, and with `first` and `end`, for consecutive ranges of tasks.
    """

def batch_combine_forms(
    data: Batch, B: F64, scales: F64, left: F64, right: F64, threads: int
) -> F64:
    """Compute X^T C, (d, k), for C_i = diag(scales_i) Z_i + left_i right_i^T Z_i and Z = X B.

    `scales` is (N,), and `left` and `right` are (N, rank).
    """

def batch_fit_heads(
    data: Batch, B: F64, y: F64, shares: F64, intercepts: bool, threads: int
) -> tuple[F64, F64, float] | None:
    """Solve for the heads v_i of least squares at B.

    Return the gradient in B of sum_i shares_i ||y_i - X_i B v_i||^2 / 2, (d, k), the heads (n, k)
    and this loss; or None if X_i B of a task is near-singular. With intercepts c_i, the loss is
    sum_i shares_i ||y_i - c_i - X_i B v_i||^2 / 2 at the best c_i.
    """

def batch_curvature(
    data: Batch, P: F64, heads: F64, scales: F64, intercepts: bool, threads: int
) -> F64:
    """Compute sum_i scales_i X_i^T X_i P v_i v_i^T, (d, k), for heads v (n, k) and dense X."""

def batch_grams(data: Batch, first: int, end: int, threads: int) -> list[F64]:
    """Compute the Gram matrices of the rows of each task from `first` to `end`."""

def task_products(
    B: NDArray[Any], data: Batch, threads: int, device: Device | None = None
) -> list[tuple[F64, F64, F64, F64]]:
    """Return X B, X' B, X X^T and X' X^T of every task of a batch, in double precision."""

class MadeSamples:
    """The inner samples of round 0 of n tasks, m of each, which are generated again in every
    product. X (N, d) has their rows in order, before multiplication by their radii.
    """

    def __init__(
        self,
        law: FeatureLaw,
        roots: F64 | None,
        seed: int,
        trial: int,
        n: int,
        m: int,
        d: int,
        shard: Shard | None = None,
    ) -> None: ...
    def rows(self, first: int, end: int, threads: int) -> F64:
        """Return the rows of the tasks from `first` to `end`."""

    def responses(self, B_star: F64, heads: F64, xi_std: float, threads: int) -> tuple[F64, F64]:
        """Return the responses without noise, and the radii, (N,) each."""

    def features(self, B: F64, threads: int) -> F64:
        """Compute X B, (N, k)."""

    def combine(self, C: F64, threads: int) -> F64:
        """Compute X^T C, (d, k), for C (N, k)."""

    def combine_features(
        self, B: F64, transform: Callable[[F64, int, int], F64], threads: int
    ) -> F64:
        """Compute X^T transform(X B), (d, k), as batch_combine_features does."""

def adapt_arrays(
    method: CoreMethod,
    B: NDArray[Any],
    w: F64,
    data: Batch,
    want_B: bool,
    threads: int,
    device: Device | None = None,
) -> tuple[F64, NDArray[Any] | None]:
    """Run the inner loop (2) alone and return w_J (n, k), and B_J (n, d, k) or None."""

def method_needs(method: CoreMethod) -> MethodNeeds:
    """Return what must be computed for the gradient of a method."""

def step_memory(step: CoreStep) -> list[str]:
    """Return the names of the blocks beside B that an outer step remembers, in their order."""

def route_costs(method: CoreMethod, sizes: DataSizes, route: str, threads: int) -> RouteCost:
    """Count the work and the memory of rounds by a route: "gram", "vector" or "dual"."""

def device_route(method: CoreMethod, sizes: DataSizes) -> str:
    """Return the route that takes less time on a device: "gram" or "vector"."""

def device_cost(
    device: Device,
    route: str,
    method: CoreMethod,
    sizes: DataSizes,
    trials: int,
    lent: bool,
    free: float,
) -> DeviceCost:
    """Count the work of a round on a device, and the device memory of a run.

    `lent` says that the features are in device memory already; `free` is the free device memory.
    """

def sampled_cost(
    method: CoreMethod, sizes: DataSizes, in_blocks: bool, threads: int, with_xi: bool = False
) -> SampledCost:
    """Count the cost of generating rows; `in_blocks` says that a user's function supplies them, and
    `with_xi` that tasks have parts of their own, (33).
    """

def coordinates_cost(rows: float, k: int, columns: int) -> list[Stage]:
    """Count the work of measuring `rows` rows of B (rows, k), where B_star and B have `columns`
    columns together.
    """

def haar_cost(d: float, columns: int, k: int) -> list[Stage]:
    """Count the work of drawing `columns` orthonormal columns for a start with k columns, without
    the work of drawing their random numbers.
    """

def measured_bytes(d: int, k: int) -> float:
    """Return the bytes that measuring B at full size needs, including B in double precision."""

# The cost of a round of one trial: "flops"; "bytes" that the trial and "thread_bytes" that each
# thread holds; "pieces" of work that threads share; and the counts that determine its time:
# "operations", "calls" of kernels, random "numbers" and bytes of "memory" traffic.
RoundCost = dict[str, float]

def population_cost(method: CoreMethod, sizes: RoundSizes) -> RoundCost:
    """Return the cost of the population engine; sizes.rows is the number of rows of [M; R], plus k
    if k > k_star.
    """

def spectral_cost(method: CoreMethod, sizes: RoundSizes) -> RoundCost:
    """Return the cost of the spectral engine; sizes.rows is the number of rows of B."""

def limit_cost(method: CoreMethod, sizes: RoundSizes, m_in: int, adds_rows: bool) -> RoundCost:
    """Return the cost of a round of the limit, (55). sizes.rows is the number of rows of [M; R],
    sizes.n is not used, and `m_in` is 0 for an infinite inner set. `adds_rows` says whether rounds
    add rows off the span.
    """

def limit_rounds(
    *,
    method: CoreMethod,
    m_in: int,  # inner samples; 0: infinitely many
    m_out: int,
    noise: float,
    spread: float,  # tau of (33)
    d: float,
    heads: HeadMoments,
    k_star: int,
    C: F64,  # (states, D, k)  [M; R]
    w: F64,  # (states, k)
) -> tuple[F64, F64, F64]:
    """Compute a round of the limit at each of some states: the gradients by C (states, D, k) and by
    w (states, k), (53), and the second moments S (states, k, k) of a task's gradient in one
    direction off the span of C, (54).
    """

def algebra_counts(method: CoreMethod, losses: float) -> tuple[float, float, float, float]:
    """Count the operations of the task algebra for a panel of tasks: products X v, products B^T v,
    terms of the gradient, and sums and inner products of two vectors. `losses` is the share of the
    rounds that record losses.
    """

def calls_of_record(record: str, k_star: int, k: int, n: int) -> float:
    """Return the time that measuring a record takes, as a number of kernel calls."""

def collapsed_round(
    method: CoreMethod,
    Z: F64,  # (D, k)  [M; R]
    w: F64,  # (k,)
    heads: F64,  # (n, k_star)
    noise: float,
    inner: F64,  # (n, m_in, D + q + 1): samples in an orthonormal basis, then standard noise
    outer: F64,  # (n, m_out, D + q + 1), unused if the samples are shared
    shared: bool,
) -> dict[str, Any]:
    """Compute a round on samples that the caller passes: "grad_Z" (D, k), "grad_w" (k,) and
    "off_span". "off_span" has for every task a matrix A (rows, k): what the task adds to n grad_B
    in the last q coordinates of the basis, up to an orthogonal matrix that multiplies A from the
    left.
    """

class PackedRows:
    """The rows of a pool of N samples in a basis of D given vectors and of directions off them.

    Row i is 0 in every column after column D + i, and these zeros are not stored. The numbers are
    those of pooled_features().
    """

    def __init__(
        self, law: FeatureLaw, seed: int, trial: int, d: float, D: int, N: int, threads: int
    ) -> None: ...
    @staticmethod
    def bytes(N: int, D: int, d: float) -> float:
        """Return the bytes that the rows need."""

    @property
    def count(self) -> int:
        """N."""

    @property
    def columns(self) -> int:
        """D + min(N, d - D)."""

    def features(self, B: F64, first: int, last: int, threads: int) -> F64:
        """Return X B, (last - first, k), for B (columns, k) and the rows [first, last)."""

    def combine(self, C: F64, first: int, out: F64, threads: int) -> None:
        """Add X^T C to the first rows of `out`, for C (rows, k) and the rows that begin at `first`.

        The bits of a sum over consecutive ranges of rows are those of one call for all of them.
        """

    def grams(self, first: int, m: int, tasks: int, threads: int) -> F64:
        """Return the Gram matrices (tasks, m, m) of consecutive sets of m rows."""

    def first_columns(self, count: int) -> F64:
        """Return the first columns of all rows, (N, count)."""

def collapsed_cost(method: CoreMethod, samples: SampleLaw, sizes: RoundSizes) -> RoundCost:
    """Return the cost of the collapsed engine; sizes.rows is the number of rows of [M; R]."""

class TrialStatus(IntEnum):
    """The status of a trial; only a live one advances."""

    LIVE = 0
    CONVERGED = 1
    DIVERGED = 2
    UNDERFLOW = 3

class Run:
    """The trials of one training run, each with its state. A run uses neither a clock nor files.

    Each static method opens a run of one engine. In coordinates, M, R and w hold the c blocks of
    the outer step, (28), side by side: for c > 1 they have c k columns.
    """

    @staticmethod
    def population(
        *,
        method: CoreMethod,
        M: F64,  # (trials, k_star, k)
        R: F64,  # (trials, e, k)
        w: F64,  # (trials, k)
        # kind "given": heads are passed to each call; a table may be (trials, N, k_star)
        law: HeadLaw,
        n: int,
        noise: float,
        seed: int,
        trials: Sequence[int],
        rounds: Sequence[int],  # the next round of each trial
        records: Sequence[str],
        # (trials, k, k) of a resumed run: the frames of M, R and w that state() returned
        frames: F64 | None = None,
        device: Device | None = None,  # computes the rounds; None: the CPU
    ) -> Run: ...
    @staticmethod
    def collapsed(
        *,
        method: CoreMethod,
        samples: SampleLaw,
        M: F64,  # (trials, k_star, k)
        R: F64,  # (trials, kept - k_star + min(k, d - kept), k)
        w: F64,  # (trials, k)
        kept: int,  # rows of [M; R] with fixed directions, at least k_star
        law: HeadLaw,
        n: int,
        seed: int,
        trials: Sequence[int],
        rounds: Sequence[int],
        records: Sequence[str],
        device: Device | None = None,  # computes the gradients; None: the CPU
    ) -> Run: ...
    @staticmethod
    def limit(
        *,
        method: CoreMethod,
        m_in: int,  # inner samples; 0: infinitely many
        m_out: int,
        noise: float,
        spread: float,  # tau of (33)
        d: float,
        d_over_n: float,  # gamma of (55)
        heads: HeadMoments,
        M: F64,  # (trials, k_star, c k)
        R: F64,  # (trials, e, c k); e >= c k if rounds add rows off the span
        w: F64,  # (trials, c k)
        rounds: Sequence[int],
        records: Sequence[str],
    ) -> Run: ...
    @staticmethod
    def arrays(
        *,
        method: CoreMethod,
        route: str | None,  # "gram", "vector", "vector_float32" or "dual"
        data: Batch,
        # "B" (trials, d, k), which on the dual route is B at round 0; "w" (trials, k); if a dual
        # run is resumed, "A" (trials, samples, k); and the c - 1 blocks of (28) beside each as
        # "memory" (trials, c - 1, d, k), "w_memory" and "A_memory"
        state: Mapping[str, NDArray[Any]],
        n: int,
        seed: int,
        trials: Sequence[int],
        rounds: Sequence[int],
        records: Sequence[str],
        copies: bool,  # whether the Gram route copies sparse sets by bands
        threads: int,
        device: Device | None = None,  # computes the rounds; None: the CPU
    ) -> Run: ...
    @staticmethod
    def sampled(
        *,
        method: CoreMethod,
        samples: SampleLaw,
        roots: F64 | None,  # (d,) square roots of a diagonal covariance of the features; None: I
        # a function that replaces the law of features: (trial, stream, round, task, first, count)
        # -> (count, d) for blocks of at most ROW_BLOCK rows
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
        memory: NDArray[Any] | None = None,  # (trials, c - 1, d, k)  blocks beside B, (28)
        w_memory: F64 | None = None,  # (trials, c - 1, k)
        route: str = "vector",  # or, on a device, "gram"
        device: Device | None = None,  # computes the rounds; None: the CPU
        # the features to which roots, rows, B_star, B and memory belong; None: all
        shard: Shard | None = None,
    ) -> Run: ...
    @staticmethod
    def spectral(
        *,
        method: CoreMethod,
        roots: F64,  # (d,) square roots of a diagonal covariance of the features
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
        memory: NDArray[Any] | None = None,  # (trials, c - 1, d, k)  blocks beside B, (28)
        w_memory: F64 | None = None,  # (trials, c - 1, k)
    ) -> Run: ...
    def advance(
        self,
        end: int,
        record_every: int,
        stop_dist: float,  # stop once dist is at most this; 0: never
        stop_loss: float,  # stop once loss_out is at most this; 0: never
        # (trials, rounds, n, k_star) for kind "given"; the first round is the next one of the live
        # trial that is furthest behind
        heads: F64 | None,
        threads: int,
        factors: F64 | None = None,  # (rounds,) of the step sizes, from the same round
    ) -> None:
        """Advance every live trial to round `end`.

        A row is recorded before every round that is a multiple of record_every. An exception of a
        Python signal handler is passed on; the rounds finished before it are kept.
        """

    def measure(self, heads: F64 | None, threads: int) -> None:
        """Record one row of every live trial in its current state, without a step."""

    def rows(self) -> list[tuple[I64, F64]]:
        """Return rounds (rows,) and values (rows, columns) of every trial since drop_rows()."""

    def drop_rows(self) -> None:
        """Discard the rows recorded so far."""

    @property
    def columns(self) -> list[str]:
        """The record of every column of the rows; "angles" is repeated min(k, k_star) times."""

    @property
    def rounds(self) -> list[int]:
        """The next round of every trial."""

    @property
    def status(self) -> list[TrialStatus]:
        """The status of every trial."""

    def state(self) -> dict[str, NDArray[Any]]:
        """Return copies of the state of every trial.

        In coordinates: "M" (trials, k_star, k), "R" (trials, e, k) and "w" (trials, k). The
        population engine returns M Q, R Q and Q^T w under these names, and the orthogonal Q as
        "frames" (trials, k, k); Q is the identity for k <= k_star. At full size: "w" and "B"
        (trials, d, k) or, on the dual route, "A" (trials, samples, k). The blocks of (28) beside
        these are "w_memory" and "memory" or "A_memory", with the number of the block as the second
        axis.
        """

    def representation(self, threads: int) -> NDArray[Any]:
        """Return B (trials, d, k) of a run at full size; None otherwise."""
