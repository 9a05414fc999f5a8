r"""The panel on representations for few samples: risk against rank, by (65), and sampled."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .._support.blas import one_blas_thread
from .._support.looks import DASHES, MARKERS, PALETTE, new_axes, set_log_ticks
from .._support.tables import Row, format_csv
from .._support.types import F64
from ..evaluate import regression_risk
from ..tasks.linear import LinearTasks
from ..theory.few_shot import few_shot_risk
from ..theory.shaping import optimal_shaping
from .claims import Claim, near
from .experiment import Findings, draw_legend, label_axes

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "shaping"
FAR = 10**6  # number of features of the sampled tasks, beyond those of the prior
BEST = "best, with its penalty"
STEEP = 0.9  # largest sum of theta^2 / m at which (65) and sampled means are compared


@dataclass(frozen=True)
class Representation:
    """A shaping of one prior at one rank, and its label risk by (65)."""

    prior: F64
    shaping: F64
    penalty: float
    risk: float
    load: float  # sum of theta^2 / m


@dataclass(frozen=True)
class Sampled:
    """Mean label risk of sampled regressions, and the standard error of this mean."""

    mean: float
    error: float


Curves = dict[str, dict[int, Representation]]
Points = dict[tuple[str, int], Sampled]


@dataclass(frozen=True, kw_only=True)
class ShapingRisks:
    r"""Risk of regression on m samples against the rank of the representation.

    The first axes show shapings of one prior :math:`\lambda_i = i^{-1.2}`, and the second axes show
    families of tasks that share the representation of least mean risk.

    Parameters
    ----------
    d : int
        Number of directions of the prior.
    m : int
        Samples of a new task.
    noise : float
        Standard deviation of the label noise.
    sampled : tuple of int
        Ranks at which regressions on sampled tasks are run; a quick run takes every second one.
    tasks, quick_tasks : int
        Number of sampled tasks for each point.
    seed : int
        Key of all random numbers.
    """

    d: int = 200
    m: int = 60
    noise: float = 0.5
    sampled: tuple[int, ...] = (5, 15, 30, 45, 80, 110, 150, 200)
    tasks: int = 400
    quick_tasks: int = 50
    seed: int = 0

    about = "risk of few-shot regression against the rank of the representation, for shapings"
    by_name = True
    takes_long = True

    @property
    def families(self) -> dict[str, F64]:
        """Second moments of three families of tasks, by direction."""
        i = np.arange(1, 3 * self.d // 5 + 1)
        low = 0.002
        return {
            "directions 1 to 20": np.where(i <= 20, 0.5, 0.0) + low,
            "directions 13 to 40": np.where((i > 12) & (i <= 40), 0.25, 0.0) + low,
            "all directions": np.full(i.size, 0.05),
        }

    def count(self) -> int:
        """Return how often `run` calls `advanced`: once for each rank with samples."""
        return len(self.sampled)

    def run(self, quick: bool, advanced: Callable[[], None]) -> Findings:
        """Compute the curves, and sample regressions at some of their ranks."""
        curves = (self._shapings(), self._families())
        points: Points = {}
        n = self.quick_tasks if quick else self.tasks
        for i, rank in enumerate(self.sampled):
            with one_blas_thread():
                for group in curves if i % 2 or not quick else ():
                    for name, curve in group.items():
                        if rank in curve and math.isfinite(curve[rank].risk):
                            points[name, rank] = self._sample(curve[rank], n)
            advanced()
        return Findings(
            figure=self._draw(curves, points),
            tables={".csv": self._table(curves, points)},
            claims=self._claims(curves, points),
        )

    def _shapings(self) -> Curves:
        """Return four shapings of one prior at every rank."""
        prior = np.arange(1.0, self.d + 1) ** -1.2
        names = ("equal lengths, no penalty", "prior, no penalty", "best, no penalty", BEST)
        curves: Curves = {name: {} for name in names}
        for rank in range(1, self.d + 1):
            top = np.arange(self.d) < rank
            ridgeless = optimal_shaping(prior, self.m, self.noise, rank=rank, ridgeless=True)
            ridge = optimal_shaping(prior, self.m, self.noise, rank=rank)
            shapes = (top.astype(float), top * prior, ridgeless.shaping, ridge.shaping)
            for name, shaping in zip(names, shapes, strict=True):
                penalty = ridge.penalty if name == BEST else 0.0
                curves[name][rank] = self._represent(prior, shaping, penalty)
        return curves

    def _families(self) -> Curves:
        """Return the families' risks on the representation that is best for their mean."""
        families = self.families
        curves: Curves = {name: {} for name in families}
        priors = list(families.values())
        for rank in range(1, len(priors[0]) + 1):
            shared = optimal_shaping(priors, self.m, self.noise, rank=rank, ridgeless=True)
            for name, prior in families.items():
                curves[name][rank] = self._represent(prior, shared.shaping, 0.0)
        return curves

    def _represent(self, prior: F64, shaping: F64, penalty: float) -> Representation:
        """Compute the risk of a shaping by (65)."""
        risk = few_shot_risk(prior, self.m, self.noise, shaping=shaping, penalty=penalty)
        load = float((risk.shrinkage**2).sum()) / self.m
        return Representation(prior, shaping, penalty, risk.risk, load)

    def _sample(self, at: Representation, n: int) -> Sampled:
        """Run regressions on sampled tasks, whose span holds all directions of the prior.

        The heads are drawn by a function, so that `evaluate` uses no closed form of their law.
        """
        k, lengths = at.prior.size, np.sqrt(at.prior)

        def draw(generator: np.random.Generator, n: int, k: int) -> F64:
            return generator.standard_normal((n, k)) * lengths

        tasks = LinearTasks(d=FAR, k=k, noise=self.noise, heads=draw)
        kept = at.shaping > 0.0
        B = np.diag(np.sqrt(at.shaping))[:, kept]
        risk = regression_risk(
            (B, np.zeros((0, B.shape[1]))), tasks, m=self.m, seed=self.seed, ridge=at.penalty, n=n
        )
        return Sampled(self.noise**2 + 2.0 * risk.mean, 2.0 * risk.standard_error)

    def _draw(self, curves: Sequence[Curves], points: Points) -> Figure:
        """Draw the risks against the rank, and the sampled means with two standard errors."""
        figure, axes = new_axes(2, width=4.4, height=3.6)
        titles = (r"(a) one prior, $\lambda_i = i^{-1.2}$", "(b) three families, one shared basis")
        for ax, group, title in zip(axes, curves, titles, strict=True):
            ax.set_yscale("log")
            for i, (name, curve) in enumerate(group.items()):
                self._draw_curve(ax, i, name, curve, points)
            ax.axvline(self.m, color="#CCCCCC", lw=0.8, zorder=0)
            y = f"risk after {self.m} samples" if ax is axes[0] else ""
            label_axes(ax, "rank of the representation", y, title, legend=False)
            place = "upper right" if ax is axes[0] else "upper left"
            draw_legend(ax, *ax.get_legend_handles_labels(), loc=place)
        for ax, ends in zip(axes, ((1.0, 8.0), (0.5, 90.0)), strict=True):
            ax.set_ylim(*ends)
            ax.set_xlim(0, None)
            set_log_ticks(ax)
        return figure

    def _draw_curve(
        self, ax: Axes, i: int, name: str, curve: Mapping[int, Representation], points: Points
    ) -> None:
        """Draw a curve and its sampled means."""
        ranks = np.array(list(curve))
        risks = np.array([at.risk for at in curve.values()])
        style: dict[str, Any] = {"color": PALETTE[i], "lw": 1.3, "ls": DASHES[i % len(DASHES)]}
        ax.plot(ranks, np.where(np.isfinite(risks), risks, np.nan), label=name, **style)
        means = [(rank, points[name, rank]) for rank in curve if (name, rank) in points]
        ax.errorbar(
            [rank for rank, _ in means],
            [point.mean for _, point in means],
            yerr=[2 * point.error for _, point in means],
            fmt=MARKERS[i],
            color=PALETTE[i],
            ms=4,
            mfc="white",
            capsize=2,
            clip_on=False,
        )

    def _claims(self, curves: Sequence[Curves], points: Points) -> list[Claim]:
        """Claim the checked risks, that samples agree with the curves, and that families compete.

        The largest difference is that of some 40 means, less four standard errors each.
        """
        shapings, families = curves
        claims = []
        if (self.d, self.m, self.noise) == (200, 60, 0.5):
            for name, value in (
                (BEST, 1.2861),
                ("best, no penalty", 1.3191),
                ("prior, no penalty", 1.3353),
            ):
                least, most = near(value, 1e-4)
                claims.append(
                    Claim(panel=NAME, quantity=f"{name}, all directions: risk", expected=value,
                          least=least, most=most, source="separate minimisation",
                          observed=shapings[name][self.d].risk)
                )  # fmt: skip
        surplus = [
            max(abs(point.mean / at.risk - 1) - 4 * point.error / at.risk, 0.0)
            for group in curves
            for name, curve in group.items()
            for rank, at in curve.items()
            if (point := points.get((name, rank))) is not None and at.load < STEEP
        ]
        claims.append(
            Claim(panel=NAME, quantity="largest relative difference beyond 4 standard errors",
                  expected=0.0, least=0.0, most=1.5 / self.m, source="(65)",
                  observed=max(surplus, default=math.nan))
        )  # fmt: skip
        for (name, curve), expected in zip(
            families.items(), (20, 40, 3 * self.d // 5), strict=True
        ):
            risks = [at.risk for at in curve.values()]
            best = list(curve)[int(np.argmin(risks))]
            claims.append(
                Claim(panel=NAME, quantity=f"{name}: rank of least risk", expected=expected,
                      least=expected, most=expected, source="(66)", observed=best)
            )  # fmt: skip
        return claims

    def _table(self, curves: Sequence[Curves], points: Points) -> str:
        """Format the curves and the sampled means as CSV."""
        table: list[Row] = [["view", "curve", "rank", "risk", "sampled", "standard_error"]]
        for view, group in zip(("shapings", "families"), curves, strict=True):
            for name, curve in group.items():
                for rank, at in curve.items():
                    point = points.get((name, rank))
                    ends = ["", ""] if point is None else [point.mean, point.error]
                    cells = [x if x == "" else f"{x:.9g}" for x in (at.risk, *ends)]
                    table.append([view, name, rank, *cells])
        return format_csv(table)
