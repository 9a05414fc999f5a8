r"""What each estimator costs: the work before and in an iteration, and the memory at the peak."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..config.fit_config import FitConfig
from . import alternating, altgdmin, burer_monteiro, solvers, subspace_pursuit, trace_norm
from .names import algorithm_of
from .pass_costs import FRESH, NO_WORK, SampleCosts, Work, sample_costs
from .rank import FOLDS
from .reduced_rank import FORMED
from .reference_lines import GRAM_NUMBERS
from .ridge import PENALTIES

LONG_SEARCH = 40  # passes of a long search for eigenvectors, for its memory
USUAL_PASSES = 22  # of such a search, for its time
USUAL_FEW_PASSES = 14  # of such a search with wide blocks, for its time
CG_STEPS = 12  # of conjugate gradients in an iteration of AltMin
CORRECTIONS = 10  # of L-BFGS, each of which has two vectors
KRYLOV_PASSES = 5  # in a step of trace-norm or meta-sp
CG_STEPS_FEW = 50  # if the samples are few for the numbers of B
# Seconds of Python in a fit, and in one of its passes or iterations, whatever the sizes.
FIT_SECONDS, PASS_SECONDS = 2e-3, 4e-4
# Seconds of a task in a product, or in a decomposition, of a stack of small matrices in NumPy.
TASK_SECONDS, DECOMPOSED_SECONDS = 2.5e-6, 2e-5


@dataclass(frozen=True, kw_only=True)
class FitCost:
    r"""The cost of one trial of a fit.

    Parameters
    ----------
    unit : str
        "iteration" of an iterative estimator, "pass" of an estimator with a closed form.
    setup, each : Work
        Work before the first iteration, and in an iteration or pass.
    most, usual : int
        The largest number of iterations or passes, and a typical number.
    numbers : float
        Numbers in float64 that the estimator holds at its peak, in addition to the samples.
    """

    unit: str
    setup: Work
    each: Work
    most: int
    usual: int
    numbers: float

    @property
    def usual_seconds(self) -> float:
        """Seconds of a typical trial."""
        return self.setup.seconds + min(self.most, self.usual) * self.each.seconds


def fit_cost(config: FitConfig, costs: SampleCosts) -> FitCost:
    """Return the cost of one trial of a configured fit; the samples have the given costs."""
    algorithm, cost = algorithm_of(config.method), _unrecorded_cost(config, costs)
    # Recording an iterate copies it, and finds its coordinates (13).
    D, k = float(costs.dim), costs.width
    measured = D * k * (3 if config.measures_distance else 1)
    records = costs.dense(2 * D * k * (k + costs.k_star), 8 * measured) + costs.orthonormal(k)
    each = cost.each + records if algorithm.iterates else cost.each
    return replace(
        cost,
        setup=costs.opening() + cost.setup + records + Work(0.0, FIT_SECONDS),
        each=each + Work(0.0, PASS_SECONDS),
        numbers=max(cost.numbers, D * k + measured),
    )


def _unrecorded_cost(config: FitConfig, costs: SampleCosts) -> FitCost:
    """Return the cost of a fit on opened samples that records no iterate."""
    algorithm = algorithm_of(config.method)
    cost = COSTS[algorithm.name](algorithm, costs)
    if config.rounds is not None and algorithm.iterates:
        cost = replace(cost, most=config.rounds)
    return cost


def choice_cost(config: FitConfig, widths: Sequence[int]) -> tuple[float, float]:
    """Return the seconds and the numbers at the peak of the choice of a width by `choose_width`.

    All iterations or passes that the call allows are counted, and all widths, though the samples
    may determine fewer directions. The numbers come in addition to the samples.
    """
    algorithm = algorithm_of(config.method)
    nested = getattr(algorithm, "nested", False)
    seconds, peak, columns = 0.0, 0.0, 0  # columns of the representations of a fold so far
    for width in widths[-1:] if nested else widths:
        costs = _without_fold(sample_costs(replace(config, width=width)))
        cost = _unrecorded_cost(config, costs)
        each = cost.each.seconds + PASS_SECONDS
        seconds += FOLDS * (cost.setup.seconds + FIT_SECONDS + cost.most * each)
        peak = max(peak, cost.numbers + columns * costs.dim)
        columns += width
    of_samples = sample_costs(replace(config, width=widths[-1]))
    work, numbers = _held_out(algorithm, of_samples, widths)
    opening = of_samples.opening().seconds
    return opening + seconds + work.seconds, max(peak, numbers + columns * of_samples.dim)


def _without_fold(costs: SampleCosts) -> SampleCosts:
    """Return the costs of the samples of all folds but one."""
    share = 1 - 1 / FOLDS
    return replace(
        costs,
        n=max(1, round(share * costs.n)),
        N=max(1, round(share * costs.N)),
        entries=costs.entries if costs.reads_all_tasks else share * costs.entries,
    )


def _held_out(algorithm: Any, costs: SampleCosts, widths: Sequence[int]) -> tuple[Work, float]:
    """Return the work of the errors on the held-out tasks of all folds, and the numbers of one."""
    n, N, D = float(costs.n), float(costs.N), float(costs.dim)
    total = sum(widths)  # columns of the bases of all widths
    passes = FOLDS if costs.reads_all_tasks else 1
    work, numbers = costs.one_product(total).times(passes), 2.0 * D * total
    for width in widths:
        work = work + costs.orthonormal(width).times(FOLDS)
        if not algorithm.uses_averages:
            errors, memory = _loo_errors(costs, width)
            work = work + errors
            numbers = max(numbers, 2 * D * total + (N * total + memory) / FOLDS)
    if algorithm.uses_averages:
        numbers += 2 * n * total
    return work, numbers


def _loo_errors(costs: SampleCosts, width: int) -> tuple[Work, float]:
    """Return the work and the memory of leave-one-out errors of ridge heads of all tasks."""
    n, N = float(costs.n), float(costs.N)
    work = costs.dense(20 * N * width * width + 6 * N * width * PENALTIES, 0)
    work = work + costs.dense(0, FRESH * 8 * 8 * N * PENALTIES)
    work = work + Work(0.0, DECOMPOSED_SECONDS * n)
    return work, 4 * N * width + (4 * N + 3 * n * width) * PENALTIES


def _search(costs: SampleCosts, most: int = solvers.PASSES) -> FitCost:
    """Return the cost of a search for top eigenvectors by `solvers`, with at most `most` passes."""
    D, N, k = float(costs.dim), float(costs.N), costs.width
    c = solvers.start_columns(k, costs.wants_few_passes)
    pass_work = costs.both_products(c)
    if costs.dim <= solvers.FORMED:
        blocks = -(-costs.dim // solvers.COLUMNS)
        formed = pass_work.times(blocks * solvers.COLUMNS / c) + costs.dense(20 * D**3, 0)
        numbers = costs.rows_of_pass(solvers.COLUMNS) + 6 * D * D + 3 * D * solvers.COLUMNS
        return FitCost(unit="pass", setup=formed, each=NO_WORK, most=0, usual=0, numbers=numbers)
    columns = solvers.space_columns(costs.dim, c)
    usual = USUAL_FEW_PASSES if costs.wants_few_passes else USUAL_PASSES
    mean = (c + min(columns, c * min(most, usual))) / 2
    # Each new block is made orthogonal to the basis, of `mean` columns in the mean, twice.
    along = costs.dense(8 * D * mean * c, 8 * 4 * D * mean)
    each = pass_work + along + costs.orthonormal(c) + costs.dense(0, FRESH * 8 * 6 * D * c)
    # The factor G and its product with y for the start; then the basis and seven blocks.
    start = 2 * N * c + 3 * D * c
    if costs.draws_averages:
        start = 8 * costs.n * c + 4 * D * c
    running = D * columns + 7 * D * c + costs.rows_of_pass(c)
    if columns < c * min(most, LONG_SEARCH):  # restarts at half of the Ritz vectors
        running += D * max(columns // 2, k)
    setup = costs.one_product(c) + costs.orthonormal(c) + costs.dense(0, FRESH * 8 * D * columns)
    return FitCost(
        unit="pass",
        setup=setup,
        each=each,
        most=most,
        usual=usual,
        numbers=max(start, running),
    )


def _with_heads(costs: SampleCosts, search: FitCost, rows: float) -> FitCost:
    """Add least-squares heads, and `rows` numbers for each sample that the search holds."""
    n, N, k = float(costs.n), float(costs.N), costs.width
    heads = costs.dense(2 * N * k * (k + 4), 8 * 4 * N * k) + costs.one_product(k)
    return replace(
        search,
        setup=search.setup + heads,
        numbers=max(search.numbers + rows * N, _head_numbers(costs)) + 2 * n * k,
    )


def _head_numbers(costs: SampleCosts) -> float:
    """Return the numbers of features and least-squares heads at a representation."""
    n, N, k = float(costs.n), float(costs.N), costs.width
    return 2 * costs.dim * k + N * k + 3 * n * k * k + 4 * N


def _spectral(algorithm: Any, costs: SampleCosts) -> FitCost:
    """Cost of `Moments` and `Duchi`: a search in passes over the rows, and heads."""
    return _with_heads(costs, _search(costs, algorithm.passes), 2)


def _split_spectral(algorithm: Any, costs: SampleCosts) -> FitCost:
    """Cost of `SplitSpectral`: a search in passes over averages, which rows form in each pass."""
    n, N = float(costs.n), float(costs.N)
    c = solvers.start_columns(costs.width, costs.wants_few_passes)
    search = _search(costs, algorithm.passes)
    start = 0.0 if costs.draws_averages else 3 * N * c + 2 * n * c
    heads = costs.one_product(costs.width)
    rows = 0 if costs.draws_averages else 5
    return replace(
        search,
        setup=search.setup + heads,
        numbers=max(search.numbers, start) + rows * N + 2 * n * costs.width,
    )


def _start(algorithm: Any, costs: SampleCosts) -> tuple[Work, float]:
    """Return the work and the memory of the start of an iterative estimator."""
    if algorithm.start == "random":
        k = costs.width
        drawn = costs.dim * k / costs.machine.normals
        return Work(0.0, drawn) + costs.orthonormal(k), 3.0 * costs.dim * k
    return _finished(_with_heads(costs, _search(costs), 2))


def _finished(search: FitCost) -> tuple[Work, float]:
    """Return the work of a typical search, and its memory."""
    return search.setup + search.each.times(min(search.most, search.usual)), search.numbers


def _point(costs: SampleCosts) -> Work:
    """Return the work of `point_at`: heads, loss and gradient in one pass."""
    N, k = float(costs.N), costs.width
    return costs.both_products(k) + costs.dense(2 * N * k * (k + 4), 0)


def _turn(costs: SampleCosts) -> Work:
    """Return the work of an orthonormal basis, and of the angle to the previous one."""
    k = costs.width
    return costs.orthonormal(k).times(2) + costs.dense(
        4.0 * costs.dim * k * k, 48.0 * costs.dim * k
    )


def _alternating(algorithm: Any, costs: SampleCosts) -> FitCost:
    """Cost of `AltMin` and `AltMinGD`."""
    D, k = float(costs.dim), costs.width
    start, held = _start(algorithm, costs)
    along = costs.along_heads(k)
    if algorithm.name == "altmin":
        # The gradient is both the residual and its first direction; a step has six matrices.
        step = along + costs.dense(2 * D * k * k, 8 * 9 * D * k)
        steps = CG_STEPS_FEW if 2 * D * k > costs.N else CG_STEPS
        each, blocks, usual = _point(costs) + step.times(steps) + _turn(costs), 15, 20
    else:
        each, blocks, usual = _point(costs).times(9 / 8) + _turn(costs).times(1.5), 12, 200
        if algorithm.step is None:
            start = start + along.times(alternating.POWER_STEPS)
    running = blocks * D * k + 2 * float(costs.N) + costs.rows_of_pass(k)
    return FitCost(
        unit="iteration",
        setup=start + _point(costs),
        each=each,
        most=alternating.LIMIT,
        usual=usual,
        numbers=max(held, running) + 4 * costs.n * k,
    )


def _altgdmin(algorithm: Any, costs: SampleCosts) -> FitCost:
    """Cost of `AltGDmin` from its spectral start."""
    D, N, k = float(costs.dim), float(costs.N), costs.width
    search = _search(costs)
    start, held = _finished(search)
    return FitCost(
        unit="iteration",
        setup=start,
        each=_point(costs) + _turn(costs),
        most=altgdmin.LIMIT,
        usual=300,
        numbers=max(held + 6 * N, 12 * D * k + 2 * N + costs.rows_of_pass(k)),
    )


def _burer_monteiro(algorithm: Any, costs: SampleCosts) -> FitCost:
    """Cost of `BurerMonteiro`: L-BFGS on the factors, and passes with a transform in Python."""
    D, n, N, k = float(costs.dim), float(costs.n), float(costs.N), costs.width
    start, held = _start(algorithm, costs)
    size = (D + n) * k
    vectors = costs.dense(8 * CORRECTIONS * size, 8 * 25 * CORRECTIONS * size)
    rows = costs.dense(0, 8 * 12 * N * k) + Work(0.0, 2 * TASK_SECONDS * n)
    return FitCost(
        unit="iteration",
        setup=start + costs.called_products(k),
        each=costs.called_products(k).times(1.1) + rows + vectors,
        most=burer_monteiro.LIMIT,
        usual=150,
        numbers=max(held, (2 * CORRECTIONS + 24) * size + 4 * N + costs.rows_of_pass(k)),
    )


def _pursuit(algorithm: Any, costs: SampleCosts) -> FitCost:
    """Cost of `SubspacePursuit`: the leading singular vectors of all coefficients in each step."""
    D, n, N, k = float(costs.dim), float(costs.n), float(costs.N), costs.width
    c = k + subspace_pursuit.SPARE
    step = _krylov(costs, c).times(KRYLOV_PASSES) + costs.one_product(k)
    start = 2 * N * c + 3 * D * c
    running = 28 * (D + n) * c + 6 * N + N * k
    return FitCost(
        unit="iteration",
        setup=costs.one_product(c) + _krylov(costs, c).times(KRYLOV_PASSES),
        each=step,
        most=subspace_pursuit.LIMIT,
        usual=60,
        numbers=max(start + 2 * N, running) + costs.rows_of_pass(c),
    )


def _krylov(costs: SampleCosts, columns: int) -> Work:
    """Return the work of a call of the operator in `leading_singular`, and of its basis."""
    D, c = float(costs.dim), columns
    basis = 2 * c  # columns, in the mean
    along = costs.dense(20 * D * basis * c, FRESH * 8 * 10 * D * basis)
    rows = costs.dense(0, 8 * 4 * float(costs.N) * c) + Work(0.0, TASK_SECONDS * costs.n)
    return costs.called_products(c) + along + rows + costs.orthonormal(c).times(2)


def _trace_norm(algorithm: Any, costs: SampleCosts) -> FitCost:
    """Cost of `TraceNorm`; the rank of its coefficients, unknown before the fit, is bounded."""
    D, n, N, k = float(costs.dim), float(costs.n), float(costs.N), costs.width
    rank = min(costs.n, costs.dim)
    work, held = NO_WORK, 0.0
    if algorithm.solver == "proximal" and algorithm.lam is None and algorithm.noise is None:
        work, held = _finished(_with_heads(costs, _search(costs), 2))
    c = (rank if algorithm.solver == "proximal" else k) + trace_norm.SPARE
    step = _krylov(costs, c).times(KRYLOV_PASSES) + costs.one_product(c)
    running = 28 * (D + n) * c + N * c + 8 * N
    return FitCost(
        unit="iteration",
        setup=work + step,
        each=step,
        most=trace_norm.LIMIT,
        usual=60,
        numbers=max(held, running) + costs.rows_of_pass(c),
    )


def _reduced_rank(algorithm: Any, costs: SampleCosts) -> FitCost:
    """Cost of `ReducedRank`: a Gram matrix of the shared X, or passes if it is too large."""
    D, n, k = float(costs.dim), float(costs.n), costs.width
    m = float(costs.N) / n
    order = min(m, D)
    shared = replace(costs, n=1, N=int(m), entries=costs.entries / n)
    tail = shared.one_product(k).times(2) + shared.orthonormal(k)
    if order <= FORMED:
        gram = shared.dense(m * D * order + 25 * order**3 + 4 * order * order * n, 0)
        numbers = 5 * order * order + 4 * order * n + 2 * m * n + 5 * D * k
        return FitCost(
            unit="pass", setup=gram + tail, each=NO_WORK, most=0, usual=0, numbers=numbers
        )
    c = solvers.start_columns(k)
    solve = shared.both_products(c) + shared.dense(0, 8 * 8 * D * c)
    each = solve.times(30) + costs.dense(4 * m * n * c, 0)
    numbers = 2 * m * n + 7 * D * c + 2 * m * c + n * solvers.space_columns(costs.n, c)
    return FitCost(
        unit="pass",
        setup=tail,
        each=each,
        most=algorithm.passes,
        usual=USUAL_FEW_PASSES,
        numbers=numbers,
    )


def _oracle(algorithm: Any, costs: SampleCosts) -> FitCost:
    """Cost of `Oracle`: features of the true subspace and ridge heads."""
    D, n, N, k = float(costs.dim), float(costs.n), float(costs.N), costs.width
    work = costs.one_product(k) + costs.dense(2 * N * k * (k + 4), 0)
    numbers = D * k + _head_numbers(costs)
    if algorithm.ridge == "loo":
        errors, memory = _loo_errors(costs, k)
        work, numbers = work + errors, max(numbers, 2 * D * k + memory)
    return FitCost(
        unit="pass", setup=work, each=NO_WORK, most=0, usual=0, numbers=numbers + 2 * n * k
    )


def _single_task(algorithm: Any, costs: SampleCosts) -> FitCost:
    """Cost of `SingleTask`: Gram matrices and their spectra, then a search."""
    n, N, D = float(costs.n), float(costs.N), float(costs.dim)
    m = N / n
    search = _search(costs, algorithm.passes)
    order = min(m, D)
    work = costs.dense(2 * costs.entries * order + 20 * N * order * order, 0)
    penalties = PENALTIES if algorithm.ridge == "loo" else 1
    if m > D:
        grams, rows = 3 * N * D, N
    else:
        tasks = min(n, max(1.0, GRAM_NUMBERS // (m * m)))
        grams, rows = 3 * tasks * m * m, tasks * m
    work = work + costs.dense(6 * N * order * penalties, FRESH * 8 * 8 * N * penalties)
    work = work + Work(0.0, DECOMPOSED_SECONDS * n)
    spectra = grams + (6 * rows + N) * penalties
    return replace(
        search,
        setup=work + search.setup + costs.one_product(costs.width),
        numbers=max(spectra, search.numbers + 5 * N) + 2 * n * costs.width,
    )


def _pooled(algorithm: Any, costs: SampleCosts) -> FitCost:
    """Cost of `Pooled`: conjugate gradients with a single column."""
    D, n, N, k = float(costs.dim), float(costs.n), float(costs.N), costs.width
    each = costs.both_products(1) + costs.dense(0, 8 * 12 * D)
    return FitCost(
        unit="pass",
        setup=costs.one_product(1) + costs.orthonormal(k),
        each=each,
        most=algorithm.passes,
        usual=30,
        numbers=max(10 * D, 4 * D * k) + 3 * N + 2 * n * k + costs.rows_of_pass(1),
    )


COSTS: Mapping[str, Callable[[Any, SampleCosts], FitCost]] = {
    "moments": _spectral,
    "duchi": _spectral,
    "split-spectral": _split_spectral,
    "burer-monteiro": _burer_monteiro,
    "altmin": _alternating,
    "altmin-gd": _alternating,
    "altgdmin": _altgdmin,
    "trace-norm": _trace_norm,
    "meta-sp": _pursuit,
    "reduced-rank": _reduced_rank,
    "oracle": _oracle,
    "single-task": _single_task,
    "pooled": _pooled,
}
