r"""The panel on first-order ANIL with as many columns in B as features, after Yuksel et al."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .._support.looks import DASHES, PALETTE, PREDICTED, new_axes
from .._support.tables import Row, format_csv
from .._support.types import F64
from ..evaluate import Evaluation, evaluate
from ..fit import fit
from ..methods import ANIL
from ..runs.outcome import NotConvergedWarning
from ..runs.result import Result
from ..runs.train import train
from ..tasks.heads import GaussianHeads
from ..tasks.linear import LinearTasks
from ..theory.rates import fading, fixed_point
from .claims import Claim, near
from .comparison import LABELS
from .experiment import Findings, label_axes
from .predictions import surplus_of_pool

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

NAME = "overparametrised"
INFINITE, POOL = "infinitely many tasks", "fixed tasks"
RECORD = ("signal_min", "signal_max", "perp_norm")
# Learners in the table: the name, the field of an `Evaluation`, and the run.
ROWS = (
    ("one gradient step", "adapted"),
    ("ridge on the features", "ridge"),
    ("oracle ridge", "oracle_ridge"),
    ("single-task ridge", "single_task_ridge"),
)
OF_TASKS = ("oracle_ridge", "single_task_ridge")  # risks that do not depend on the representation


@dataclass(frozen=True, kw_only=True)
class Overparametrised:
    r"""First-order ANIL with k' = d columns, on fixed tasks and on infinitely many tasks.

    Up to the scale of `B`, a run depends on alpha and beta only through their product. Thus alpha
    sets the scale of `B`, and the product sets the speed.

    Parameters
    ----------
    d, k : int
        Number of features, which is also the learner's width, and rank of the truth.
    n : int
        Number of fixed tasks.
    m : (int, int)
        Numbers of inner and outer samples of a task.
    noise : float
        Standard deviation of the label noise.
    alpha, beta : float
        Step sizes.
    rounds : int
        Number of rounds on the fixed tasks.
    rounds_infinite : int
        Number of rounds on infinitely many tasks; each takes microseconds.
    m_test : tuple of int
        Number of samples of a new task, for each column of the table.
    seed : int
        Key of all random numbers.
    """

    d: int = 50
    k: int = 5
    n: int = 5000
    m: tuple[int, int] = (20, 10)
    noise: float = 2.0
    alpha: float = 0.25
    beta: float = 0.5
    rounds: int = 800
    rounds_infinite: int = 20_000
    m_test: tuple[int, ...] = (20, 30, 100)
    seed: int = 0

    about = "FO-ANIL wider than the truth: it learns the subspace, and surplus directions fade"
    by_name = True
    takes_long = True

    @property
    def tasks(self) -> LinearTasks:
        """The tasks; their heads have the covariance diag(1, ..., k), scaled to trace k."""
        growing = np.arange(1.0, self.k + 1)
        heads = GaussianHeads(cov=growing * self.k / growing.sum())
        B_star = np.ascontiguousarray(np.eye(self.d)[:, : self.k])
        return LinearTasks(d=self.d, k=self.k, noise=self.noise, heads=heads, B_star=B_star)

    @property
    def method(self) -> ANIL:
        """First-order ANIL with one inner step."""
        return ANIL(alpha=self.alpha, beta=self.beta, first_order=True)

    def count(self) -> int:
        """Return how often `run` calls `advanced`: once per run of training."""
        return 2

    def run(self, quick: bool, advanced: Callable[[], None]) -> Findings:
        """Train on both kinds of tasks, and measure the risks on new tasks."""
        tasks, m_in, m_out = self.tasks, *self.m
        options: dict[str, Any] = dict(width=self.d, seed=self.seed, record=RECORD, stop=None)
        rounds = self.rounds // 4 if quick else self.rounds
        batch = tasks.sample(self.n, m_in, m_out, seed=self.seed)
        runs = {POOL: train(batch, self.method, rounds=rounds, record_every=2, **options)}
        advanced()
        runs[INFINITE] = train(
            tasks, self.method, rounds=self.rounds_infinite, n=None, m_in=m_in, m_out=m_out,
            record_every=2, **options,
        )  # fmt: skip
        advanced()
        risks = {name: self._evaluate(run.state[:2], run.w, tasks) for name, run in runs.items()}
        fitted = {}
        for name in ("moments",) if quick else ("moments", "burer-monteiro"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotConvergedWarning)
                B = fit(batch, name, width=self.k, seed=self.seed).B
            fitted[LABELS[name]] = self._evaluate(B, np.zeros(self.k), tasks)
        rows = risk_rows(risks, fitted)
        return Findings(
            figure=self._draw(runs),
            tables={".csv": self._curves(runs), ".risks.csv": self._risks(rows)},
            claims=self._claims(runs, risks, quick),
            text=self._text(rows),
        )

    def _evaluate(self, B: Any, w: F64, tasks: LinearTasks) -> list[Evaluation]:
        """Return the risks of a representation, one `Evaluation` for each number in `m_test`."""
        return [evaluate(B, w, tasks, self.method, m=m, seed=self.seed) for m in self.m_test]

    def _limit(self) -> F64:
        """Return alpha times the eigenvalues of the limit of M M^T, (23), in rising order."""
        limit = fixed_point(self.tasks, self.method, m_in=self.m[0])
        values: F64 = np.linalg.eigvalsh(limit).astype(np.float64)
        return self.alpha * values

    def _floor(self) -> float:
        """Return the bound (49) on sqrt(alpha) times the norm of the surplus on fixed tasks."""
        return math.sqrt(self.alpha) * surplus_of_pool(self.tasks, self.alpha, self.n, *self.m)

    def _scaled(self, run: Result) -> dict[str, F64]:
        """Return the records: squares multiplied by alpha, and norms by sqrt(alpha)."""
        return {
            "round": run.trace["round"],
            "signal_max": self.alpha * run.trace["signal_max"] ** 2,
            "signal_min": self.alpha * run.trace["signal_min"] ** 2,
            "perp_norm": math.sqrt(self.alpha) * run.trace["perp_norm"],
        }

    def _draw(self, runs: Mapping[str, Result]) -> Figure:
        """Draw the signal and the surplus against rounds, with the predictions of (23)."""
        figure, (signal, surplus) = new_axes(2, width=4.2, height=3.3)
        for color, (name, run) in zip(PALETTE, runs.items(), strict=False):
            label = f"{self.n:,} fixed tasks" if name == POOL else name
            values = self._scaled(run)
            later = values["round"] > 0
            rounds = values["round"][later]
            for dash, record in zip(DASHES, ("signal_max", "signal_min"), strict=False):
                shown = label if record == "signal_max" else None
                signal.plot(
                    rounds, values[record][later], color=color, ls=dash, lw=1.4, label=shown
                )
            surplus.plot(rounds, values["perp_norm"][later], color=color, lw=1.4, label=label)
        self._draw_predictions(signal, surplus)
        squares = r"squared singular values of $\sqrt{\alpha}\,B_{\mathrm{*}}^\top B$"
        label_axes(signal, "round", squares, "(a) largest (solid) and smallest (dashed)")
        label_axes(surplus, "round", r"$\|\sqrt{\alpha}\,B_\perp^\top B\|$", "(b) surplus")
        return figure

    def _draw_predictions(self, signal: Axes, surplus: Axes) -> None:
        """Draw the predictions (23) of the limits and of the fading surplus, and the bound (49)."""
        limit, rounds = self._limit(), np.geomspace(8, self.rounds_infinite, 100)
        for value, label in ((limit[-1], "limit (23)"), (limit[0], None)):
            signal.axhline(value, color=PREDICTED, lw=1.0, ls=(0, (1, 2)), label=label)
        fades = math.sqrt(self.alpha) * fading(self.tasks, self.method, self.m[0], rounds)
        line = (0, (1, 2))
        surplus.plot(rounds, fades, color=PREDICTED, lw=1.2, ls=line, label="fading (23)")
        surplus.axhline(self._floor(), color=PREDICTED, lw=1.0, ls=(0, (7, 3)), label="bound (49)")
        signal.set_xscale("log")
        surplus.set_xscale("log")
        surplus.set_yscale("log")

    def _curves(self, runs: Mapping[str, Result]) -> str:
        """Format the drawn curves as CSV, in the same units as in the figure."""
        table: list[Row] = [["tasks", "round", "signal_max", "signal_min", "perp_norm", "fading"]]
        for name, run in runs.items():
            values = self._scaled(run)
            fades = fading(self.tasks, self.method, self.m[0], values["round"])
            columns = (values["signal_max"], values["signal_min"], values["perp_norm"])
            for i, at in enumerate(values["round"]):
                numbers = [*(column[i] for column in columns), math.sqrt(self.alpha) * fades[i]]
                table.append([name, int(at), *(f"{x:.9g}" for x in numbers)])
        return format_csv(table)

    def _risks(self, rows: Rows) -> str:
        """Format the table of risks as CSV."""
        table: list[Row] = [
            ["learner", "representation", "m_test", "excess_risk", "standard_error"]
        ]
        for (learner, representation), risks in rows.items():
            for m, (mean, error) in zip(self.m_test, risks, strict=True):
                table.append([learner, representation, m, f"{mean:.9g}", f"{error:.9g}"])
        return format_csv(table)

    def _text(self, rows: Rows) -> str:
        """Format the table of risks for a terminal."""
        columns = "".join(f"{f'm = {m}':>11}" for m in self.m_test)
        lines = [f"{'excess risk on new tasks':<48}{columns}"]
        for (learner, representation), risks in rows.items():
            name = f"{learner} ({representation})" if representation else learner
            lines.append(f"{name:<48}" + "".join(f"{mean:>11.4g}" for mean, _ in risks))
        return "\n".join(lines)

    def _claims(
        self, runs: Mapping[str, Result], risks: Mapping[str, list[Evaluation]], quick: bool
    ) -> list[Claim]:
        """Claim that the subspace is learned, surplus fades, and one step is close to the oracle.

        A quick run ends before the surplus of the fixed tasks has reached its floor.
        """
        limit, claims = self._limit(), []

        def claim(
            quantity: str, expected: float, ends: tuple[float, float], source: str, observed: float
        ) -> None:
            claims.append(
                Claim(
                    panel=NAME,
                    quantity=quantity,
                    expected=expected,
                    least=ends[0],
                    most=ends[1],
                    source=source,
                    observed=observed,
                )
            )

        for name, allowed in ((INFINITE, 1e-6), (POOL, 0.1 if quick else 0.03)):
            values = self._scaled(runs[name])
            for record, value in (("signal_max", limit[-1]), ("signal_min", limit[0])):
                observed = float(values[record][-1])
                claim(f"{name}: {record}^2", float(value), near(value, allowed), "(23)", observed)
        values = self._scaled(runs[INFINITE])
        end = values["round"][-1]
        fades = math.sqrt(self.alpha) * float(fading(self.tasks, self.method, self.m[0], end))
        observed = float(values["perp_norm"][-1])
        claim(f"{INFINITE}: surplus at round {end}", fades, near(fades, 0.01), "(23)", observed)
        bound = self._floor()
        observed = float(self._scaled(runs[POOL])["perp_norm"][-1])
        ends = (0.6 * bound, 1.2 * bound if quick else bound)
        claim(f"{POOL}: surplus at the end", 0.84 * bound, ends, "(49)", observed)
        for name, evaluations in risks.items():
            first = evaluations[0]
            for other, ends in (("oracle_ridge", (1.0, 2.0)), ("single_task_ridge", (0.25, 0.5))):
                ratio = first.adapted.mean / getattr(first, other).mean
                quantity = f"{name}: one step over {other.replace('_', ' ')}, m = {first.m}"
                claim(quantity, math.sqrt(ends[0] * ends[1]), ends, "Yuksel et al.", ratio)
        last = risks[INFINITE][-1]
        ratio = last.ridge.mean / last.oracle_ridge.mean
        quantity = f"{INFINITE}: ridge on the features over oracle ridge, m = {last.m}"
        claim(quantity, 1.0, (0.85, 1.15), "Yuksel et al.", ratio)
        return claims


Rows = dict[tuple[str, str], Sequence[tuple[float, float]]]
"""Mean and standard error for each number of samples, by learner and tasks of the representation"""


def risk_rows(
    risks: Mapping[str, Sequence[Evaluation]], fitted: Mapping[str, Sequence[Evaluation]]
) -> Rows:
    r"""Arrange the risks of several representations as rows of a table.

    Parameters
    ----------
    risks : mapping of str to sequence of Evaluation
        For each trained representation, its risks for each number of samples of a new task.
    fitted : mapping of str to sequence of Evaluation
        The same for representations from estimators, for which no gradient step is evaluated.

    Returns
    -------
    dict of (str, str) to sequence of (float, float)
        Mean excess risk and its standard error for each number of samples; the keys are the name of
        the learner and the name of the representation, which is empty if the risk does not depend
        on it.
    """
    rows: Rows = {}
    for learner, field in ROWS:
        for name, evaluations in risks.items():
            key = (learner, "" if field in OF_TASKS else name)
            values = [getattr(evaluation, field) for evaluation in evaluations]
            rows.setdefault(key, [(value.mean, value.standard_error) for value in values])
        for name, evaluations in fitted.items() if field == "ridge" else ():
            values = [evaluation.ridge for evaluation in evaluations]
            rows[learner, name] = [(value.mean, value.standard_error) for value in values]
    return rows
