r"""The knobs of the explorer: values, sliders, and the call of `train` that they stand for."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

import numpy as np

from .._support import check
from ..config.configure import configure
from ..methods import ANIL, MAML, AverageRisk, Method
from ..tasks.heads import GaussianHeads
from ..tasks.linear import LinearTasks

Value = int | float | str | None

METHODS = ("anil", "fo-anil", "maml", "fo-maml", "average-risk")
OUTER = ("both", "body")
INITS = ("random", "methodical")
LEAST_MU2 = 1e-6  # smallest accepted eigenvalue of the covariance of the heads
MOST_K = 10_000  # the moments of the heads are lists of this length; a round takes far too long
POINTS = 400  # most recorded rounds of a run: a curve has no more points than pixels
RECORDS = (
    *("dist", "w_norm", "diversity_min", "diversity_max"),
    *("sigma_min", "sigma_max", "signal_min", "signal_max", "perp_norm"),
)
INFINITE, SAME_AS_K = "inf", "k"  # texts of None, for counts and for the width


def _steps(low: int, high: int, digits: tuple[float, ...]) -> tuple[float, ...]:
    """Return the given leading digits at every power of ten from 10^low up to 10^high itself."""
    below = [float(f"{digit}e{power}") for power in range(low, high) for digit in digits]
    return (*below, 10.0**high)


def _counts(high: int) -> tuple[int, ...]:
    """Return 1, 2, 5, 10, 20, 50, ... up to 10^high."""
    return tuple(int(value) for value in _steps(0, high, (1, 2, 5)))


FINE = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)  # ten leading digits a decade


@dataclass(frozen=True, kw_only=True)
class Knob:
    r"""What a field of `Knobs` is on the page.

    Parameters
    ----------
    label : str
        Text beside the slider.
    positions : tuple
        Values at the positions of the slider, in order; None, if it is a value, is the first or the
        last.
    whole : bool
        Whether the value is an integer.
    none : str
        Text that stands for None; empty if None is not a value of the knob.
    """

    label: str
    positions: tuple[int | float | None, ...]
    whole: bool
    none: str = ""


def _knob(default: Any, label: str, positions: Any, *, whole: bool = True, none: str = "") -> Any:
    """Declare a field of `Knobs` that has a slider."""
    knob = Knob(label=label, positions=tuple(positions), whole=whole, none=none)
    return field(default=default, metadata={"knob": knob})


@dataclass(frozen=True, kw_only=True)
class Knobs:
    r"""The values of all knobs of the explorer.

    Parameters
    ----------
    method, outer, init : str
        Name of the method, the parameters that its outer step moves ("both" or "body"), and the
        start ("random" or "methodical").
    d, k : int
        Numbers of features and of columns of the truth.
    width : int or None
        Columns of the learner. None: k.
    n, m_in, m_out : int or None
        Tasks per round, and samples in the inner and the outer set of a task. None: infinitely
        many.
    noise, alpha, beta : float
        Standard deviation of the label noise, and the two step sizes.
    inner_steps : int
        Number of inner steps.
    mean : float
        Length of the mean head, which is along the first axis.
    mu2 : float
        Smallest eigenvalue of the covariance of the heads, up to 1. The covariance is diagonal,
        with the largest eigenvalue 1 for k > 1 and a constant ratio between neighbours.
    rounds : int
        Number of rounds.
    seed : int
        Key of all random numbers.

    Examples
    --------
    >>> print(Knobs(d=10**6, m_out=None).call())
    import metaspan as ms
    <BLANKLINE>
    tasks = ms.LinearTasks(d=10**6, k=3, noise=0.3)
    method = ms.ANIL(alpha=0.3, beta=0.1)
    r = ms.train(
        tasks, method, rounds=500, n=100, m_in=20, m_out=None,
        record=("dist", "w_norm", "diversity_min", "diversity_max", "sigma_min", "sigma_max",
                "signal_min", "signal_max", "perp_norm"),
        record_every=2,
    )
    """

    method: str = "anil"
    outer: str = "both"
    init: str = "random"
    d: int = _knob(1000, "features d", _counts(12)[3:])
    k: int = _knob(3, "true rank k", range(1, 21))
    width: int | None = _knob(None, "width", (None, *range(1, 31)), none=SAME_AS_K)
    n: int | None = _knob(100, "tasks a round n", (*_counts(5), None), none=INFINITE)
    m_in: int | None = _knob(20, "inner samples m_in", (*_counts(4), None), none=INFINITE)
    m_out: int | None = _knob(20, "outer samples m_out", (*_counts(4), None), none=INFINITE)
    noise: float = _knob(0.3, "label noise", (i / 20 for i in range(41)), whole=False)
    alpha: float = _knob(0.3, "inner step alpha", _steps(-3, 1, FINE), whole=False)
    beta: float = _knob(0.1, "outer step beta", _steps(-3, 1, FINE), whole=False)
    inner_steps: int = _knob(1, "inner steps", range(1, 11))
    mean: float = _knob(0.0, "mean head", (i / 10 for i in range(31)), whole=False)
    mu2: float = _knob(1.0, "diversity mu^2", _steps(-3, 0, FINE), whole=False)
    rounds: int = _knob(500, "rounds", _counts(5)[3:])
    seed: int = _knob(0, "seed", range(21))

    def tasks(self) -> LinearTasks:
        r"""Return the distribution of the tasks; raise TypeError or ValueError for wrong knobs."""
        heads = self._heads() or GaussianHeads()
        return LinearTasks(d=self.d, k=self.k, noise=self.noise, heads=heads)

    def learner(self) -> Method:
        r"""Return the method; raise TypeError or ValueError for wrong knobs."""
        check.choice("method", self.method, METHODS)
        return self._class()(**self._method_settings())

    def arguments(self) -> dict[str, Any]:
        r"""Return the keyword arguments of `train`; those that are its defaults are left out."""
        settings: dict[str, Any] = {"rounds": self.rounds, "n": self.n}
        settings |= {"m_in": self.m_in, "m_out": self.m_out}
        if self.n is None:  # infinitely many tasks: the limit in which d / n is 0
            settings["d_over_n"] = 0.0
        if self.width is not None:
            settings["width"] = self.width
        if self.init != "random":
            settings["init"] = self.init
        if self.seed:
            settings["seed"] = self.seed
        settings["record"] = RECORDS
        return settings | {"record_every": self.record_every}

    @property
    def record_every(self) -> int:
        """Rounds between recorded rows."""
        check.integer("rounds", self.rounds, 0)
        return max(1, -(-self.rounds // POINTS))

    def check(self) -> None:
        r"""Raise TypeError or ValueError, with one sentence, if `train` would refuse the knobs."""
        configure(self.tasks(), self.learner(), **self.arguments())

    def call(self) -> str:
        r"""Return a Python program that trains as the page does; it sets `tasks` and `r`."""
        tasks = f"d={_show(self.d)}, k={_show(self.k)}, noise={_show(self.noise)}"
        if (heads := self._heads()) is not None:
            tasks = f"\n    {tasks},\n    heads=ms.{_show(heads)},\n"
        steps = ", ".join(f"{name}={_show(v)}" for name, v in self._method_settings().items())
        named = self.arguments()
        record = _show(named.pop("record"))
        every = named.pop("record_every")
        settings = ", ".join(f"{name}={_show(value)}" for name, value in named.items())
        return (
            "import metaspan as ms\n\n"
            f"tasks = ms.LinearTasks({tasks})\n"
            f"method = ms.{self._class().__name__}({steps})\n"
            f"r = ms.train(\n    tasks, method, {settings},\n"
            f"    record={record},\n    record_every={every},\n)\n"
        )

    def _class(self) -> type[ANIL] | type[MAML] | type[AverageRisk]:
        """Return the class of the method."""
        if self.method == "average-risk":
            return AverageRisk
        return MAML if self.method.endswith("maml") else ANIL

    def _method_settings(self) -> dict[str, Any]:
        """Return the settings of the method that are not its defaults."""
        settings: dict[str, Any] = {}
        if self.method != "average-risk":
            settings["alpha"] = self.alpha
        settings["beta"] = self.beta
        if self.method != "average-risk" and self.inner_steps != 1:
            settings["inner_steps"] = self.inner_steps
        if self.method.startswith("fo-"):
            settings["first_order"] = True
        if self.outer != "both":
            settings["outer"] = self.outer
        return settings

    def _heads(self) -> GaussianHeads | None:
        """Return the distribution of the heads; None for N(0, I), which is the default."""
        mean = check.real("mean", self.mean)
        mu2 = check.real("mu2", self.mu2, LEAST_MU2, 1.0)
        k = check.integer("k", self.k, 1, MOST_K)
        moments: dict[str, list[float]] = {}
        if mu2 < 1.0:
            ratios = np.arange(k) / (k - 1) if k > 1 else np.ones(1)
            moments["cov"] = [float(f"{mu2**ratio:.6g}") for ratio in ratios]
        if mean:
            moments["mean"] = [mean] + (k - 1) * [0.0]
        return GaussianHeads(**moments) if moments else None


KNOBS: Mapping[str, Knob] = {
    part.name: part.metadata["knob"] for part in fields(Knobs) if part.metadata
}
CHOICES: Mapping[str, tuple[str, ...]] = {"method": METHODS, "outer": OUTER, "init": INITS}


def parse(name: str, text: str) -> int | float | None:
    r"""Convert the text in the field of a knob to the knob's value.

    Parameters
    ----------
    name : str
        Name of the knob.
    text : str
        The text: a number such as 1000, 1e6, 10^6, 10**6 or 0.3, or a text that stands for None.

    Returns
    -------
    int, float or None
        The value: an int for a knob that holds integers, a float for other knobs, or None.

    Raises
    ------
    ValueError
        If the text is not a value of the knob; the message is one sentence.

    Examples
    --------
    >>> parse("d", "10^6"), parse("n", "inf"), parse("alpha", "1/4")
    Traceback (most recent call last):
    ...
    ValueError: alpha must be a number such as 0.3; got '1/4'
    """
    knob = KNOBS[name]
    cleaned = text.strip().replace("\N{INFINITY}", INFINITE)
    if knob.none and cleaned.lower() in (knob.none, f"{knob.none}inite", "none"):
        return None
    expected = "an integer such as 1000 or 1e6" if knob.whole else "a number such as 0.3"
    if knob.none:
        expected += f", or {knob.none}"
    message = f"{name} must be {expected}; got {check.show(text)}"
    power = re.fullmatch(r"(\d{1,9})\s*(?:\^|\*\*)\s*(\d{1,3})", cleaned)
    try:
        number = int(power[1]) ** int(power[2]) if power else float(cleaned)
        if not math.isfinite(number) or (knob.whole and number != int(number)):
            raise ValueError(message)
        return int(number) if knob.whole else float(number)
    except (ValueError, OverflowError):  # an integer above all floats overflows
        raise ValueError(message) from None


def describe(name: str, value: Value) -> str:
    r"""Return the text of a knob's value, which `parse` converts back to this value.

    Parameters
    ----------
    name : str
        Name of the knob.
    value : int, float or None
        The value.

    Returns
    -------
    str
        The text.

    Examples
    --------
    >>> describe("d", 10**12), describe("d", 20_000), describe("m_in", None), describe("beta", 0.05)
    ('1e12', '20000', 'inf', '0.05')
    """
    if value is None:
        return KNOBS[name].none
    if isinstance(value, int) and value >= 10**5 and not value % 10**4:
        digits = len(str(value).rstrip("0"))
        if digits == 1:
            power = len(str(value)) - 1
            return f"{value // 10**power}e{power}"
    return repr(value)


def nearest_position(name: str, value: Value) -> int:
    r"""Return the position of a knob's slider that is nearest to a value, on a logarithmic scale.

    Parameters
    ----------
    name : str
        Name of the knob.
    value : int, float or None
        The value.

    Returns
    -------
    int
        Index into the positions of the knob.
    """
    positions = KNOBS[name].positions
    if value is None:
        return positions.index(None)
    assert not isinstance(value, str)

    def gap(i: int) -> float:
        at = positions[i]
        if at is None:
            return math.inf
        if at <= 0 or value <= 0:
            return abs(at - value)
        return abs(math.log(at / value))

    return min(range(len(positions)), key=gap)


def change(knobs: Knobs, **values: Value) -> Knobs:
    r"""Return the knobs with other values.

    Parameters
    ----------
    knobs : Knobs
        The knobs before.
    **values : int, float, str or None
        The new values by name.

    Returns
    -------
    Knobs
        The knobs after.

    Raises
    ------
    TypeError
        If a name is not that of a knob.
    """
    for name in values:
        if name not in KNOBS and name not in CHOICES:
            raise TypeError(
                f"explore has no knob {check.show(name)}; its knobs are "
                f"{check.words((*CHOICES, *KNOBS), 'and')}"
            )
    return replace(knobs, **values)  # type: ignore[arg-type]


def _show(value: object) -> str:
    """Return a Python expression for a value; powers of ten from 10^4 on are written as such."""
    if isinstance(value, GaussianHeads):
        named = {"cov": value.cov, "mean": value.mean}
        moments = [f"{n}={np.asarray(x).tolist()}" for n, x in named.items() if x is not None]
        return f"GaussianHeads({', '.join(moments)})"
    if isinstance(value, int) and value >= 10**4 and set(str(value)[1:]) == {"0"}:
        power = len(str(value)) - 1
        return f"10**{power}" if str(value)[0] == "1" else f"{str(value)[0]} * 10**{power}"
    if value == RECORDS:
        names = [f'"{name}"' for name in RECORDS]
        return f"({', '.join(names[:6])},\n            {', '.join(names[6:])})"
    if isinstance(value, str):
        return f'"{value}"'
    return repr(value)
