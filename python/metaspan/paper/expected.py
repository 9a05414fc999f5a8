r"""Claims about the runs that each panel draws."""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import combinations, pairwise

import numpy as np

from .._support.types import F64
from ..methods import ANIL, FedAvg
from ..runs.outcome import Status
from ..runs.result import Result
from ..tasks.linear import LinearTasks
from ..theory.rates import plateau, rate
from .claims import SIMULATION, Claim, near, near_on_logarithms
from .figures import Curve, Panel
from .floors import floors
from .predictions import population_dist
from .risks import risks

PAPER = "paper"
RATE = "(22)"
MANY_TASKS = "(23), many tasks a round"
FOUR = ("Exact ANIL", "FO-ANIL", "Exact MAML", "FO-MAML")
AVERAGE = "average risk"
LATE = 1e-2  # where dist is below this, log dist falls along a straight line

Shown = dict[tuple[str, str], tuple[Curve, Result]]  # keys: name of the view, label of the curve


def expect(name: str, panel: Panel, runs: list[list[Result]]) -> list[Claim]:
    r"""List the claims of the paper and the theory about a panel, each with the observed value.

    Parameters
    ----------
    name : str
        Name of the panel.
    panel : Panel
        The panel.
    runs : list of list of Result
        The results of each view, in the order of its curves.

    Returns
    -------
    list of Claim
        The claims; an empty list for a panel without claims.
    """
    if name == "floor":
        return list(_floor(panel, runs))
    if name == "linear-maml":
        return list(_linear_maml(runs[0]))
    shown = {
        (view.name, curve.label): (curve, result)
        for view, results in zip(panel.views, runs, strict=True)
        for curve, result in zip(view.curves, results, strict=True)
    }
    by_panel = {
        "methods": _methods,
        "diversity": _diversity,
        "start": _start,
        "fedavg": _fedavg,
    }
    return list(by_panel[name](shown)) if name in by_panel else []


def dist_at(result: Result, at: int) -> F64:
    r"""Return dist in the recorded round nearest to `at`, for the trials that did not diverge.

    Parameters
    ----------
    result : Result
        A run with ``"dist"``.
    at : int
        The round to look up.

    Returns
    -------
    ndarray of shape (trials,)
        Values of dist in that recorded round, for the trials that did not diverge.
    """
    return _kept(result)[:, int(np.abs(result.trace["round"] - at).argmin())]


def mean_at(result: Result, at: int) -> float:
    r"""Return the geometric mean of the values of `dist_at`; NaN if every trial diverged.

    Parameters
    ----------
    result : Result
        A run with ``"dist"``.
    at : int
        The round to look up.

    Returns
    -------
    float
        The geometric mean over the trials that did not diverge.
    """
    values = dist_at(result, at)
    return math.exp(float(np.log(values).mean())) if values.size else math.nan


def _kept(result: Result) -> F64:
    """Return the array (trials, rows) of dist for the trials that did not diverge."""
    alive = np.array([outcome.status != Status.DIVERGED for outcome in result.outcomes])
    values: F64 = np.atleast_2d(result.trace["dist"])[alive]
    return values


def _log_means(result: Result) -> F64:
    """Return the array (rows,) of means of log dist over the trials that did not diverge."""
    values = _kept(result)
    means: F64 = np.log(values).mean(axis=0) if len(values) else np.full(values.shape[1], np.nan)
    return means


def _error_at(result: Result, at: int) -> float:
    """Return the standard error of the mean over trials, for log dist in the row nearest `at`."""
    values = dist_at(result, at)
    return float(np.log(values).std(ddof=1) / math.sqrt(values.size)) if values.size > 1 else 0.0


def slope(result: Result, first: float = LATE, last: float = 0.0) -> float:
    r"""Return by how much log dist decreases per round while dist is between two values.

    Parameters
    ----------
    result : Result
        A run with ``"dist"``.
    first, last : float
        The decrease is measured over the rows whose geometric mean of dist is below `first` and
        above `last`, from the first to the last of these rows.

    Returns
    -------
    float
        The decrease of log dist per round; NaN if there are fewer than two such rows.
    """
    logs = _log_means(result)
    with np.errstate(divide="ignore"):
        rows = np.flatnonzero((logs < np.log(first)) & (logs > np.log(last)))
    if rows.size < 2:
        return math.nan
    rounds = result.trace["round"]
    begin, end = rows[0], rows[-1]
    return float((logs[begin] - logs[end]) / (rounds[end] - rounds[begin]))


def _rate_of(curve: Curve) -> float:
    return rate(LinearTasks(d=curve.d, k=curve.k, heads=curve.heads), curve.method)


def _falls(panel: str, where: str, curve: Curve, result: Result) -> Claim:
    """Claim the rate (22) within 5 %: with three tasks a round, rates of trials scatter."""
    least, most = near(value := _rate_of(curve), 0.05)
    quantity = f"{where}: fall of log dist per round"
    observed = slope(result)
    return Claim(
        panel=panel, quantity=quantity, expected=value, least=least, most=most, source=RATE,
        observed=observed,
    )  # fmt: skip


def _simulated(panel: str, where: str, at: int, value: float, result: Result) -> Claim:
    """Claim a value of dist from the independent simulation; log dist is accurate to 20 %."""
    least, most = near_on_logarithms(value, _error_at(result, at))
    return Claim(
        panel=panel, quantity=f"{where}: dist at round {at}", expected=value, least=least,
        most=most, source=SIMULATION, observed=mean_at(result, at),
    )  # fmt: skip


def _predicted(panel: str, where: str, at: int, curve: Curve, result: Result) -> Claim:
    """Claim the value of `population_dist`, although a round has only three tasks."""
    cov = np.eye(curve.k) if curve.heads.cov is None else np.asarray(curve.heads.cov)
    assert isinstance(curve.method, ANIL)
    assert curve.init is not None
    value = population_dist(curve.d, cov, curve.method, at, curve.init.dist)
    least, most = near_on_logarithms(value, _error_at(result, at))
    return Claim(
        panel=panel, quantity=f"{where}: dist at round {at}", expected=value, least=least,
        most=most, source=MANY_TASKS, observed=mean_at(result, at),
    )  # fmt: skip


def _stays(
    panel: str, where: str, value: float, ends: tuple[float, float], result: Result
) -> Claim:
    """Claim that average risk minimisation does not find the true subspace."""
    last = int(result.trace["round"][-1])
    return Claim(
        panel=panel, quantity=f"{where}{AVERAGE}: dist at round {last}", expected=value,
        least=ends[0], most=ends[1], source=PAPER, observed=mean_at(result, last),
    )  # fmt: skip


def _coincide(panel: str, results: list[Result]) -> Claim:
    """Claim that log dist is nearly equal for the four methods, as (22) predicts."""
    logs = [_log_means(r) for r in results]
    apart = max(float(np.abs(a - b).max() / np.abs(a).max()) for a, b in combinations(logs, 2))
    return Claim(
        panel=panel, quantity="the four methods: largest difference of log dist, relative",
        expected=0.0, least=0.0, most=0.05, source=RATE, observed=apart,
    )  # fmt: skip


def _methods(shown: Shown) -> Iterator[Claim]:
    panel = view = "methods"
    for label in FOUR:
        curve, result = shown[view, label]
        yield _falls(panel, label, curve, result)
        for at, value in ((150, 9e-1), (750, 5e-3), (1500, 3e-6)):
            yield _simulated(panel, label, at, value, result)
    yield _coincide(panel, [shown[view, label][1] for label in FOUR])
    yield _stays(panel, "", 1.0, (0.95, 1.0), shown[view, AVERAGE][1])


def _diversity(shown: Shown) -> Iterator[Claim]:
    panel = "diversity"
    simulated = {0.5: 1e-3, 0.1: 0.4, 0.01: 0.9}
    for view in dict.fromkeys(view for view, _ in shown):
        ends = []
        for (of, _), (curve, result) in shown.items():
            if of != view:
                continue
            mu2 = 1.0 if curve.heads.cov is None else float(np.diag(curve.heads.cov)[-1])
            where = f"{view}, mu^2 = {mu2:g}"
            ends.append(mean_at(result, 2000))
            if mean_at(result, 2000) < LATE / 10:
                yield _falls(panel, where, curve, result)
            if isinstance(curve.method, ANIL):
                yield _predicted(panel, where, 2000, curve, result)
            if mu2 in simulated:
                yield _few_seeds(panel, where, 1500, simulated[mu2], result)
        faster = sum(b <= a for a, b in pairwise(ends))
        yield Claim(
            panel=panel, quantity=f"{view}: values of mu^2 that are no slower than a larger one",
            expected=0, least=0, most=0, source=PAPER, observed=faster,
        )  # fmt: skip


def _few_seeds(panel: str, where: str, at: int, value: float, result: Result) -> Claim:
    """Claim a value of dist from the independent simulation, which may have used only one start."""
    error = _error_at(result, at) * math.sqrt(1 + dist_at(result, at).size)
    least, most = near_on_logarithms(value, error)
    return Claim(
        panel=panel, quantity=f"{where}: dist at round {at}", expected=value, least=least,
        most=most, source=SIMULATION, observed=mean_at(result, at),
    )  # fmt: skip


def _start(shown: Shown) -> Iterator[Claim]:
    panel = "start"
    curve, result = shown["random start", "FO-ANIL"]
    tasks = LinearTasks(d=curve.d, k=curve.k, heads=curve.heads)
    logs = _log_means(result)
    wait = plateau(tasks, curve.method)
    yield Claim(
        panel=panel, quantity="random start, FO-ANIL: round with dist = 1/2", expected=wait,
        least=wait, most=wait + 3 / _rate_of(curve), source="(22), leading order",
        observed=float(result.trace["round"][int((logs < np.log(0.5)).argmax())]),
    )  # fmt: skip
    where = "methodical start"
    for label in FOUR:
        curve, result = shown[where, label]
        yield Claim(
            panel=panel, quantity=f"{where}, {label}: dist at round 0", expected=0.7,
            least=0.7 - 1e-9, most=0.7 + 1e-9, source=PAPER, observed=mean_at(result, 0),
        )  # fmt: skip
        yield _falls(panel, f"{where}, {label}", curve, result)
    curve, result = shown[where, "FO-ANIL"]
    for at in (150, 750, 1500):
        yield _predicted(panel, f"{where}, FO-ANIL", at, curve, result)
    yield _stays(panel, f"{where}, ", 0.7, (0.65, 1.0), shown[where, AVERAGE][1])
    yield from _large_mean({label: shown["mean 10", label][1] for label in (*FOUR, AVERAGE)})


def _large_mean(results: dict[str, Result]) -> Iterator[Claim]:
    """Claim that, for heads N(10 * 1, I), ANIL converges and MAML is slower or diverges."""
    panel, where = "start", "mean 10"
    anil, maml = (0.6, 0.2, 0.05), (0.6, 0.3, 0.1)
    for label, values in (("Exact ANIL", anil), ("FO-ANIL", anil), ("Exact MAML", maml)):
        for at, value in zip((1000, 5000, 10_000), values, strict=True):
            yield _simulated(panel, f"{where}, {label}", at, value, results[label])
    ends = {label: mean_at(results[label], 10_000) for label in ("Exact ANIL", "Exact MAML")}
    yield Claim(
        panel=panel, quantity=f"{where}: dist of Exact MAML over that of Exact ANIL, round 10000",
        expected=2.0, least=1.2, most=math.inf, source=PAPER,
        observed=ends["Exact MAML"] / ends["Exact ANIL"],
    )  # fmt: skip
    outcomes = results["FO-MAML"].outcomes
    yield Claim(
        panel=panel, quantity=f"{where}, FO-MAML: share of trials that diverge", expected=1.0,
        least=0.3, most=1.0, source=SIMULATION,
        observed=sum(o.status == Status.DIVERGED for o in outcomes) / len(outcomes),
    )  # fmt: skip
    yield _stays(panel, f"{where}, ", 0.7, (0.6, 0.8), results[AVERAGE])


def _fedavg(shown: Shown) -> Iterator[Claim]:
    """Claim that FedAvg fails with one local step, and that dist falls faster with more steps."""
    panel = "fedavg"
    results = {curve.method.local_steps: result for curve, result in shown.values()
               if isinstance(curve.method, FedAvg)}  # fmt: skip
    yield Claim(
        panel=panel, quantity="1 local step: dist at round 300", expected=0.7, least=0.69,
        most=0.75, source=PAPER, observed=mean_at(results[1], 300),
    )  # fmt: skip
    for steps, value in ((2, 0.138), (5, 7.1e-4), (10, 5.9e-7)):
        yield _simulated(panel, f"{steps} local steps", 200, value, results[steps])
    slopes = [slope(results[steps], first=0.5, last=1e-9) for steps in (2, 5, 10)]
    yield Claim(
        panel=panel, quantity="numbers of local steps that fall no faster than a smaller one",
        expected=0, least=0, most=0, source="(25)",
        observed=sum(not b > a > 0 for a, b in pairwise(slopes)),
    )  # fmt: skip


def _linear_maml(results: list[Result]) -> Iterator[Claim]:
    """Claim that the risks are those of (31), and that the best inner step is negative."""
    panel, measured = "linear-maml", risks(results)
    apart = np.abs(measured.mean - measured.predicted) / measured.error
    yield Claim(
        panel=panel, quantity="largest difference from the closed form, in standard errors",
        expected=0.0, least=0.0, most=4.0, source="(31)", observed=float(apart.max()),
    )  # fmt: skip
    steps = measured.alpha
    yield Claim(
        panel=panel, quantity="inner step of training with the least risk",
        expected=float(steps[measured.predicted.argmin()]), least=-0.6, most=-0.1, source="(31)",
        observed=float(steps[measured.mean.argmin()]),
    )  # fmt: skip
    excess = [values - measured.least for values in (measured.mean, measured.predicted)]
    ratio, predicted = (float(x[steps == 0.4][0] / x[steps == -0.4][0]) for x in excess)
    least, most = near(predicted, 0.25)
    yield Claim(
        panel=panel, quantity="risk above that of the mean vector: alpha = 0.4 over alpha = -0.4",
        expected=predicted, least=least, most=most, source="(31)", observed=ratio,
    )  # fmt: skip


def _floor(panel: Panel, runs: list[list[Result]]) -> Iterator[Claim]:
    """Claim that runs level off at the predicted floors, which grow like sqrt(d k / (n m_out)).

    The k sines are equal in the limit. In a run their squares scatter, and dist, the largest sine,
    exceeds the floor by a share of up to about sqrt(k / d).
    """
    ends = next(i for i, view in enumerate(panel.views) if view.floors)
    by_label: dict[str, list[tuple[Curve, Result]]] = {}
    for curve, result in zip(panel.views[ends].curves, runs[ends], strict=True):
        by_label.setdefault(curve.label, []).append((curve, result))
    for label, pairs in by_label.items():
        measured = floors([result for _, result in pairs])
        yield Claim(
            panel="floor", quantity=f"{label}: runs that level off", expected=len(pairs),
            least=len(pairs), most=len(pairs), source="sqrt(d k / (n m_out))",
            observed=measured.d.size,
        )  # fmt: skip
        yield Claim(
            panel="floor", quantity=f"{label}: exponent of the floor over its scale", expected=1.0,
            least=0.95, most=1.05, source="sqrt(d k / (n m_out))", observed=measured.exponent,
        )  # fmt: skip
        for i, d in enumerate(measured.d):
            value = float(measured.predicted[i])
            least, most = near(value, 0.03)
            most += value * math.sqrt(pairs[0][0].k / d)
            yield Claim(
                panel="floor", quantity=f"{label}, d = 10^{math.log10(d):.0f}: floor of dist",
                expected=value, least=least, most=most, source="(59)",
                observed=float(measured.dist[i]),
            )  # fmt: skip
