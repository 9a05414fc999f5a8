r"""Defines the panels: simulations of the paper and of related work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..config.options import Init
from ..linear_methods import LinearMAML
from ..methods import ANIL, MAML, AverageRisk, FedAvg, Method
from ..tasks.heads import GaussianHeads
from .comparison import estimators, few_samples
from .experiment import Experiment
from .limit_curves import LimitCurves
from .overparametrised import Overparametrised
from .phase import Phase
from .shaping import ShapingRisks
from .split import Split

D, K, N = 20, 3, 3  # sizes in the paper: number of features, rank and width, tasks in a round
HEADS = GaussianHeads()
FEW_DIFFERENCES = GaussianHeads(mean=[1.0, 1.0], cov=[0.05, 0.05])  # tasks near their mean
LOCAL_STEPS = (1, 2, 5, 10)  # numbers of local steps in the panel on FedAvg


@dataclass(frozen=True, kw_only=True)
class Curve:
    r"""One training run of a panel.

    Parameters
    ----------
    label : str
        Name of the run in the figure.
    method : ANIL, MAML or another method
        Method of the run.
    init : Init or None
        Start of the run; None: the start of the method.
    heads : GaussianHeads
        Distribution of the heads of the tasks.
    rounds : int
        Number of rounds.
    d, k, n : int
        Number of features, rank (which is also the width), and number of tasks in a round.
    m : (int, int) or None
        Numbers of inner and outer samples of a task. None: infinitely many samples.
    trials : int
        Number of independent trials.
    noise : float
        Standard deviation of the label noise.
    pool : int or None
        Number of tasks that a trial draws once. None: every round draws new tasks.
    """

    label: str
    method: Method
    init: Init | None
    heads: GaussianHeads
    rounds: int
    d: int = D
    k: int = K
    n: int = N
    m: tuple[int, int] | None = None
    trials: int = 20
    noise: float = 0.0
    pool: int | None = None


@dataclass(frozen=True, kw_only=True)
class View:
    r"""One set of axes of a panel.

    Parameters
    ----------
    name : str
        Name of the axes in the data file.
    title : str
        Text above the axes; an empty text is not drawn.
    curves : tuple of Curve
        Curves in these axes.
    ordered : bool
        Whether the curves differ in the value of one parameter. If so, the curves are drawn in
        shades from dark to light, and their names are written beside their ends.
    floors : bool
        Whether the axes show only the dist at the end of each curve, against the scale that theory
        gives. Curves with equal labels form one series.
    risks : bool
        Whether the axes show only the excess risk at the end of each curve, against its inner step
        size, with the closed form (31).
    """

    name: str
    title: str
    curves: tuple[Curve, ...]
    ordered: bool = False
    floors: bool = False
    risks: bool = False


@dataclass(frozen=True, kw_only=True)
class Panel:
    r"""One figure of the paper or of related work.

    Parameters
    ----------
    about : str
        Description in one line, which ``--list`` prints.
    views : tuple of View
        Axes from left to right.
    by_name : bool
        Whether the figure is made only if its name or ``--all`` is given.
    """

    about: str
    views: tuple[View, ...]
    by_name: bool = False

    def count(self) -> int:
        """Return the number of training runs: one for each curve of each view."""
        return sum(len(view.curves) for view in self.views)


def _five(
    alpha: float, beta: float, dist: float | None, heads: GaussianHeads, rounds: int
) -> tuple[Curve, ...]:
    """Return runs of the four methods and of average risk; all start at alpha B^T B = I, w = 0."""
    methods: dict[str, Method] = {
        "Exact ANIL": ANIL(alpha=alpha, beta=beta),
        "FO-ANIL": ANIL(alpha=alpha, beta=beta, first_order=True),
        "Exact MAML": MAML(alpha=alpha, beta=beta),
        "FO-MAML": MAML(alpha=alpha, beta=beta, first_order=True),
        "average risk": AverageRisk(beta=beta),
    }
    init = Init(dist=dist, scale=1 / math.sqrt(alpha))
    return tuple(
        Curve(label=label, method=method, init=init, heads=heads, rounds=rounds)
        for label, method in methods.items()
    )


def _diversities(method: Method, values: Sequence[float], rounds: int) -> tuple[Curve, ...]:
    """Return a run of a method for each mu^2; heads have the covariance diag(1, ..., 1, mu^2)."""
    return tuple(
        Curve(
            label=f"$\\mu^2 = {value:g}$",
            method=method,
            init=Init(),
            heads=GaussianHeads(cov=np.diag([1.0] * (K - 1) + [value])),
            rounds=rounds,
        )
        for value in values
    )


def _on_samples(label: str, method: Method, d: int) -> Curve:
    """Return a run on fresh finite samples that is long enough for dist to level off.

    The number of rounds that a run needs is proportional to 1 / (alpha beta), so a large `beta`
    makes the run short. At the largest d, however, a run with a large `beta` diverges unless n
    m_out is large. If ANIL is sampled in law, the cost of a round grows linearly with the number n
    of tasks and does not depend on the numbers of samples. The cheapest way to make n m_out large
    is therefore a large m_out.
    """
    return Curve(
        label=label,
        method=method,
        init=Init(dist=0.7),
        heads=HEADS,
        rounds=1500,
        d=d,
        n=100,
        m=(1000, 1000),
        trials=4,
    )


def _floor() -> Panel:
    """Return the panel of error floors: the values at which dist levels off on finite samples."""
    dimensions = [10**power for power in range(2, 7)]
    on_samples = {
        "FO-ANIL": ANIL(alpha=0.1, beta=0.1, first_order=True),
        "Exact ANIL": ANIL(alpha=0.1, beta=0.1),
    }
    return Panel(
        about="finite samples: the error floor over d = 10^2 .. 10^6",
        views=(
            View(
                name="rounds",
                title="FO-ANIL",
                curves=tuple(
                    _on_samples(f"$d = 10^{power}$", on_samples["FO-ANIL"], d)
                    for power, d in enumerate(dimensions, start=2)
                ),
                ordered=True,
            ),
            View(
                name="floor",
                title="where it stops falling",
                curves=tuple(
                    _on_samples(label, method, d)
                    for label, method in on_samples.items()
                    for d in dimensions
                ),
                floors=True,
            ),
        ),
    )


def _fedavg() -> Panel:
    """Return the panel on FedAvg, which learns the subspace only with several local steps."""
    return Panel(
        about="FedAvg: one local step learns nothing, more learn the subspace",
        views=(
            View(
                name="fedavg",
                title="",
                curves=tuple(
                    Curve(
                        label=f"$\\tau = {steps}$",
                        method=FedAvg(alpha=0.1, local_steps=steps),
                        init=Init(dist=0.7),
                        heads=HEADS,
                        rounds=300,
                        d=100,
                        k=5,
                        n=100,
                    )
                    for steps in LOCAL_STEPS
                ),
                ordered=True,
            ),
        ),
        by_name=True,
    )


def _linear_maml() -> Panel:
    """Return the panel of linear MAML: its best inner step of training is negative."""
    steps = (-0.8, -0.6, -0.5, -0.4, -0.3, -0.2, -0.1, 0.0, 0.1, 0.2, 0.3, 0.4, 0.5)
    d, m = 10, 10
    return Panel(
        about="linear MAML: risk against the inner step of training, negative values included",
        views=(
            View(
                name="linear-maml",
                title="",
                curves=tuple(
                    Curve(
                        label=f"$\\alpha = {alpha:g}$",
                        # The mean slope of the gradient is h of (31), so these steps converge fast.
                        method=LinearMAML(
                            alpha=alpha, beta=0.9 / (1 - 2 * alpha + alpha**2 * (1 + (d + 1) / m))
                        ),
                        init=None,
                        heads=FEW_DIFFERENCES,
                        rounds=60,
                        d=d,
                        k=2,
                        n=200,
                        m=(m, m),
                        trials=40,
                        noise=1.0,
                        pool=200,
                    )
                    for alpha in steps
                ),
                risks=True,
            ),
        ),
        by_name=True,
    )


def panels() -> dict[str, Panel | Experiment]:
    r"""List the panels that can be reproduced.

    Returns
    -------
    dict of str to Panel or Experiment
        The panels by name, in the order in which `reproduce` makes them.
    """
    centred = HEADS
    values = (1.0, 0.5, 0.25, 0.1, 0.01)
    return {
        "methods": Panel(
            about="the four methods and average risk, centred heads",
            views=(View(name="methods", title="", curves=_five(0.1, 0.1, None, centred, 1500)),),
        ),
        "diversity": Panel(
            about="the rate falls with the task diversity mu^2",
            views=tuple(
                View(
                    name=title,
                    title=title,
                    curves=_diversities(method, values, 2000),
                    ordered=True,
                )
                for title, method in (
                    ("FO-ANIL", ANIL(alpha=0.1, beta=0.1, first_order=True)),
                    ("Exact MAML", MAML(alpha=0.1, beta=0.1)),
                )
            ),
        ),
        "start": Panel(
            about="random start, methodical start, and heads with a large mean",
            views=(
                View(
                    name="random start",
                    title="random start",
                    curves=_five(0.1, 0.1, None, centred, 1500),
                ),
                View(
                    name="methodical start",
                    title="methodical start",
                    curves=_five(0.1, 0.1, 0.7, centred, 1500),
                ),
                View(
                    name="mean 10",
                    title=r"methodical start, heads $N(10\cdot\mathbf{1},\, I)$",
                    curves=_five(0.03, 0.01, 0.7, GaussianHeads(mean=np.full(K, 10.0)), 10_000),
                ),
            ),
        ),
        "floor": _floor(),
        "fedavg": _fedavg(),
        "linear-maml": _linear_maml(),
        "overparametrised": Overparametrised(),
        "estimators": estimators(),
        "few-samples": few_samples(),
        "limit": LimitCurves(),
        "phase": Phase(),
        "split": Split(),
        "shaping": ShapingRisks(),
    }
