r"""The panel that maps where first-order ANIL levels off and where it diverges, by (59)."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .._support.looks import FONT, INK, PALETTE, new_axes
from .._support.tables import Row, format_csv
from .._support.types import F64, I64
from ..config.options import Init
from ..methods import ANIL
from ..runs.outcome import DivergenceWarning, Status
from ..runs.train import train
from ..tasks.linear import LinearTasks
from ..theory.floors import floor, largest_beta
from .claims import Claim, claim_floors
from .experiment import Findings, label_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "phase"
ROWS = 60  # recorded rounds of a run; the last half is averaged
# A run is compared with the theory if its alpha beta differs from the boundary by this factor or
# more: near the boundary a run on finitely many tasks takes long to settle or to diverge.
APART = 1.2
SIGNALS = ("signal_min", "signal_max")  # singular values of M; they are equal in a settled run
SETTLED = 0.1  # relative deviation of the signals of a settled run
LOST = 0.95  # the dist above which R grows, although the run has not yet diverged
LEAST_DIST = 0.003  # the lower end of the colours
DIVERGED_COLOR = "#D9D9D9"


@dataclass(frozen=True, kw_only=True)
class Map:
    r"""The runs of one heat map, and the predictions for them.

    Parameters
    ----------
    m_in : int or None
        Number of inner samples of a task; None: infinitely many.
    products : ndarray of shape (columns,)
        Values of alpha beta.
    d : ndarray of shape (rows,), int64
        Numbers of features.
    ratios, boundary : ndarray of shape (rows,)
        nu = (d - k) / (n m_out), and the largest stable alpha beta of the theory.
    dist : ndarray of shape (rows, columns)
        Geometric mean of dist over the last half of the recorded rounds; inf if the run diverged.
    settled : ndarray of shape (rows, columns), bool
        Whether the run neither diverged nor lost the subspace, and its part inside the true
        subspace no longer moves.
    predicted : ndarray of shape (rows, columns)
        The predicted dist; NaN unless alpha beta is clearly below the boundary.
    line : ndarray of shape (2, points)
        Values of nu up to the edges of the map, and the largest stable alpha beta for each.
    """

    m_in: int | None
    products: F64
    d: I64
    ratios: F64
    boundary: F64
    dist: F64
    settled: NDArray[np.bool_]
    predicted: F64
    line: F64


@dataclass(frozen=True, kw_only=True)
class Phase:
    r"""First-order ANIL with a frozen head over alpha beta and nu = (d - k) / (n m_out).

    A frozen head stays at w = 0. The run then depends on alpha and beta through their product
    alone, up to the scale of B.

    Parameters
    ----------
    k : int
        Rank of the truth, which is also the width.
    n, quick_n : int
        Numbers of tasks in a round, in a full and in a quick run.
    m_in : tuple of int or None
        Numbers of inner samples of a task, one for each map; None: infinitely many.
    m_out : int
        Number of outer samples of a task.
    noise : float
        Standard deviation of the label noise.
    alpha : float
        Inner step size.
    products, ratios : (float, float)
        The least and the largest alpha beta, and nu.
    cells, quick_cells : (int, int)
        Numbers of values of alpha beta and of nu, in a full and in a quick run.
    seed : int
        Key of all random numbers.
    """

    k: int = 2
    n: int = 1000
    quick_n: int = 300
    m_in: tuple[int | None, ...] = (None, 10)
    m_out: int = 10
    noise: float = 0.3
    alpha: float = 0.5
    products: tuple[float, float] = (0.01, 2.0)
    ratios: tuple[float, float] = (0.03, 30.0)
    cells: tuple[int, int] = (23, 18)
    quick_cells: tuple[int, int] = (12, 9)
    seed: int = 0

    about = "FO-ANIL over alpha beta and d/(n m_out): dist at the end, and the stability boundary"
    by_name = True
    takes_long = True

    def count(self) -> int:
        """Return how often `run` calls `advanced`: once for each value of nu in each map."""
        return len(self.m_in) * self.cells[1]

    def run(self, quick: bool, advanced: Callable[[], None]) -> Findings:
        """Train every cell, and compare the ends with the predicted floors and boundary."""
        maps = []
        for m_in in self.m_in:
            maps.append(self._map(m_in, quick, advanced))
            for _ in range(self.cells[1] - maps[-1].d.size):
                advanced()
        return Findings(
            figure=self._draw(maps),
            tables={".csv": self._table(maps), ".boundary.csv": self._boundary_table(maps)},
            claims=[
                claim
                for each in maps
                for claim in self._claims(each, self.quick_n if quick else self.n)
            ],
        )

    def _map(self, m_in: int | None, quick: bool, advanced: Callable[[], None]) -> Map:
        """Train the runs of one map, and predict their ends."""
        columns, rows = self.quick_cells if quick else self.cells
        n = self.quick_n if quick else self.n
        products = np.geomspace(*self.products, columns)
        # The boundary is drawn through the edges of the rows and their centres.
        ends = edges(np.geomspace(*self.ratios, rows))
        drawn = np.geomspace(float(ends[0]), float(ends[-1]), 2 * rows + 1)
        along = np.array([self._features(ratio, n) for ratio in drawn])
        line = np.array([self._boundary(each, n, m_in) for each in along])
        d, boundary = along[1::2], line[1::2]
        ratios = (d - self.k) / (n * self.m_out)
        dist, predicted = np.empty((rows, columns)), np.empty((rows, columns))
        settled = np.empty((rows, columns), dtype=bool)
        for i, features in enumerate(d):
            tasks = self._tasks(features)
            for j, product in enumerate(products):
                dist[i, j], settled[i, j] = self._train(tasks, product, n, m_in)
                predicted[i, j] = math.nan
                if product * APART <= boundary[i]:
                    sizes = {"n": n, "m_in": m_in, "m_out": self.m_out}
                    predicted[i, j] = float(floor(tasks, self._method(product), **sizes))
            advanced()
        return Map(
            m_in=m_in, products=products, d=d, ratios=ratios, boundary=boundary, dist=dist,
            settled=settled, predicted=predicted,
            line=np.array([(along - self.k) / (n * self.m_out), line]),
        )  # fmt: skip

    def _method(self, product: float) -> ANIL:
        """Return the method with the given alpha beta."""
        beta = float(product) / self.alpha
        return ANIL(alpha=self.alpha, beta=beta, first_order=True, outer="body")

    def _tasks(self, d: int) -> LinearTasks:
        """Return the tasks with d features."""
        return LinearTasks(d=int(d), k=self.k, noise=self.noise)

    def _features(self, ratio: float, n: int) -> int:
        """Return the number of features with about the given nu."""
        return self.k + max(1, round(ratio * n * self.m_out))

    def _train(
        self, tasks: LinearTasks, product: float, n: int, m_in: int | None
    ) -> tuple[float, bool]:
        """Train one cell for a number of rounds that is proportional to 1 / (alpha beta)."""
        # Recorded rounds at an odd distance show both values of a cycle of length two.
        every = 2 * math.ceil((16 / min(product, 1.0) + 60) / (2 * ROWS)) + 1
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DivergenceWarning)
            result = train(
                tasks, self._method(product), rounds=ROWS * every, n=n, m_in=m_in,
                m_out=self.m_out, init=Init(dist=0.5), record=("dist", *SIGNALS),
                record_every=every, seed=self.seed, stop=None,
            )  # fmt: skip
        if result.status == Status.DIVERGED:
            return math.inf, False
        late = slice(-(ROWS // 2), None)
        dist = math.exp(np.log(result.trace["dist"][late]).mean())
        if dist > LOST:
            return dist, False
        signals = np.concatenate([result.trace[name][late] for name in SIGNALS])
        return dist, bool(signals.std() < SETTLED * signals.mean())

    def _boundary(self, d: int, n: int, m_in: int | None) -> float:
        """Return the largest stable alpha beta of the theory."""
        tasks, method = self._tasks(d), self._method(1.0)
        return self.alpha * largest_beta(tasks, method, n=n, m_in=m_in, m_out=self.m_out)

    def _draw(self, maps: list[Map]) -> Figure:
        """Draw dist of every cell as a colour, with the boundary of the theory."""
        from matplotlib.colors import LogNorm  # noqa: PLC0415

        figure, axes = new_axes(len(maps), width=4.2, height=3.5)
        norm = LogNorm(LEAST_DIST, 1.0)
        for i, (ax, each) in enumerate(zip(axes, maps, strict=True)):
            ax.set_xscale("log")
            ax.set_yscale("log")
            ax.grid(False)
            ax.set_facecolor(DIVERGED_COLOR)
            x, y = edges(each.products), edges(each.ratios)
            mesh = ax.pcolormesh(
                x, y, np.ma.masked_invalid(each.dist), norm=norm, cmap="viridis", rasterized=True
            )
            ratios, line = each.line
            ax.plot(line, ratios, color="white", lw=3.6)
            ax.plot(line, ratios, color=PALETTE[3], lw=1.8, label="predicted boundary")
            ax.set_xlim(x[0], x[-1])
            ax.set_ylim(y[0], y[-1])
            m_in = r"\infty" if each.m_in is None else each.m_in
            ratio = r"$\nu = (d - k)\,/\,(n\,m_{\mathrm{out}})$" if i == 0 else ""
            title = rf"({'abc'[i]}) $m_{{\mathrm{{in}}}} = {m_in}$"
            label_axes(ax, r"$\alpha\,\beta$", ratio, title, legend=False)
        bar = figure.colorbar(mesh, ax=axes, pad=0.02)
        bar.ax.tick_params(which="both", color=INK, labelcolor=INK, labelsize=9.5)
        bar.ax.tick_params(labelfontfamily=FONT)
        bar.outline.set_visible(False)
        text = bar.ax.set_ylabel(r"$\mathrm{dist}$ at the end", family=FONT, color=INK)
        text.set_math_fontfamily("stix")
        self._add_legend(axes[0])
        return figure

    def _add_legend(self, ax: Axes) -> None:
        """Name the boundary and the colour of diverged runs."""
        from matplotlib.patches import Patch  # noqa: PLC0415

        handles = [ax.get_lines()[-1], Patch(color=DIVERGED_COLOR, label="diverged")]
        legend = ax.legend(
            handles=handles, loc="lower left", prop={"family": FONT, "size": 9}, framealpha=0.9,
            edgecolor="none", facecolor="white",
        )  # fmt: skip
        for text in legend.get_texts():
            text.set_color(INK)

    def _table(self, maps: list[Map]) -> str:
        """Format the cells as CSV; the prediction is empty near and beyond the boundary."""
        table: list[Row] = [["m_in", "alpha_beta", "nu", "d", "dist", "settled", "predicted"]]
        for each in maps:
            m_in = math.inf if each.m_in is None else each.m_in
            for (i, j), dist in np.ndenumerate(each.dist):
                known = math.isfinite(each.predicted[i, j])
                table.append(
                    [f"{m_in:g}", f"{each.products[j]:.9g}", f"{each.ratios[i]:.9g}", each.d[i],
                     f"{dist:.9g}", "yes" if each.settled[i, j] else "no",
                     f"{each.predicted[i, j]:.9g}" if known else ""]
                )  # fmt: skip
        return format_csv(table)

    def _boundary_table(self, maps: list[Map]) -> str:
        """Format the drawn boundaries as CSV."""
        table: list[Row] = [["m_in", "nu", "alpha_beta"]]
        for each in maps:
            m_in = math.inf if each.m_in is None else each.m_in
            for ratio, product in each.line.T:
                table.append([f"{m_in:g}", f"{ratio:.9g}", f"{product:.9g}"])
        return format_csv(table)

    def _claims(self, each: Map, n: int) -> Iterator[Claim]:
        """Claim that runs settle at the predicted floor below the boundary, and not above it."""
        name = "m_in = inf" if each.m_in is None else f"m_in = {each.m_in}"
        stable = each.products * APART <= each.boundary[:, None]
        unstable = each.products >= APART * each.boundary[:, None]
        for quantity, wrong in (
            (
                f"runs below the boundary by a factor of {APART} or more that do not settle",
                stable & ~each.settled,
            ),
            (
                f"runs above the boundary by a factor of {APART} or more that settle",
                unstable & each.settled,
            ),
        ):
            yield Claim(
                panel=NAME, quantity=f"{name}: {quantity}", expected=0.0, least=0.0, most=0.0,
                source="(59)", observed=float(wrong.sum()),
            )  # fmt: skip
        ratio = each.dist[stable] / each.predicted[stable]
        yield from claim_floors(NAME, name, ratio, n, widths=(1.0, 5.0))


def edges(centres: F64) -> F64:
    r"""Return the edges of cells on a logarithmic axis.

    Parameters
    ----------
    centres : ndarray of shape (cells,)
        Centres of the cells, in a geometric progression.

    Returns
    -------
    ndarray of shape (cells + 1,)
        The edges.
    """
    half = math.sqrt(centres[1] / centres[0])
    result: F64 = np.append(centres / half, centres[-1] * half)
    return result
