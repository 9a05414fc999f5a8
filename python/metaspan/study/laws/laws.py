r"""Defines fitted laws, which make predictions and can be printed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike

from ..._support import check
from ..._support.numbers import rounded, with_interval
from ..._support.types import F64
from .curves import bend
from .resampling import EXACT, Interval, interval_ends, require_positive

LEAST_TO_COMPARE = 4  # number of distinct x: two for the parameters, one to hold out, and one more


LEAST_LOG = -750.0  # log y of a logarithm that is not positive; exp of it is 0


@dataclass(frozen=True, kw_only=True)
class Solution:
    r"""The x at which a fitted law reaches a value of y; ``float`` gives x, ``print`` reports it.

    Parameters
    ----------
    y : float
        The value of y.
    x : float
        The value of x at which the fitted law equals y; it may overflow to infinity.
    interval : tuple of float
        Ends of the interval of x. If the interval of b contains 0, the law may reach y nowhere, and
        the interval is the whole range of x. The ends are NaN if the law has no intervals.
    band : float
        Coverage of the interval.
    x_range : tuple of float
        Least and largest x that the law is fitted to.
    name : str
        Name of the variable x.
    """

    y: float
    x: float
    interval: Interval
    band: float
    x_range: Interval
    name: str = "x"

    @property
    def extrapolated(self) -> bool:
        """Whether x is outside the range that the law is fitted to."""
        return not self.x_range[0] <= self.x <= self.x_range[1]

    def __float__(self) -> float:
        return self.x

    def __str__(self) -> str:
        text = f"{self.name} = {rounded(self.x, 4)}"
        if all(math.isfinite(end) for end in self.interval):
            text = f"{self.name} = {' '.join(with_interval(self.x, self.interval))}"
        elif not any(math.isnan(end) for end in self.interval):
            text += f" with an unbounded {100 * self.band:g} % interval"
        text += f" for y = {rounded(self.y, 4)}"
        if self.extrapolated:
            low, high = (rounded(end, 4) for end in self.x_range)
            text += f", outside the measured {self.name} = {low} .. {high}"
        return text


@dataclass(frozen=True, kw_only=True)
class Law:
    r"""A fitted law of one variable; a call of the law predicts y.

    Parameters
    ----------
    name : str
        ``"power"``, y = a x^b; ``"exponential"``, y = a exp(b x); ``"logarithm"``, y = a + b log x.
    a, b : float
        Fitted parameters.
    a_interval, b_interval : tuple of float
        Ends of the intervals of a and of b; NaN if there are at most two rows.
    held_out : float
        Root mean square error of log y at held-out x. The error is infinite if the law predicted a
        value that is not positive, and NaN if there are fewer than three distinct x.
    misfit : float
        Root mean square distance between the logarithm of the law and the means of log y, per
        degree of freedom and in standard errors of these means. The misfit is about 1 if the law
        holds, and NaN if no x has repeated rows.
    center : tuple of float
        A point (x, y) on the curve of the law. Predictions are computed from this point, since the
        parameter a may overflow.
    band : float
        Coverage of the intervals.
    x_range : tuple of float
        Least and largest x that the law is fitted to.
    resampled : ndarray of shape (2, resamples)
        For each resample, the logarithm of y at the x of `center`, and the slope there: b for a
        power or an exponential, b / y for a logarithm. All entries are NaN if there are at most two
        rows.
    """

    name: str
    a: float
    b: float
    a_interval: Interval
    b_interval: Interval
    held_out: float
    misfit: float
    center: tuple[float, float]
    band: float
    x_range: Interval
    resampled: F64 = field(repr=False, compare=False)

    def __call__(self, x: ArrayLike) -> F64:
        r"""Predict y.

        Parameters
        ----------
        x : array_like, any shape
            Values of the variable; positive unless the law is an exponential.

        Returns
        -------
        ndarray, shape of `x`
            Predictions of y; the predictions of a logarithm may be negative.

        Raises
        ------
        ValueError
            If the law is a power or a logarithm and a value in `x` is not positive.
        """
        at, (x0, y0) = np.asarray(x, dtype=np.float64), self.center
        if self.name == "exponential":
            return np.asarray(y0 * np.exp(self.b * (at - x0)))
        require_positive("x", at, f"for the law is a {self.name}")
        if self.name == "power":
            return np.asarray(y0 * np.exp(self.b * np.log(at / x0)))
        return np.asarray(y0 + self.b * np.log(at / x0))

    def interval(self, x: ArrayLike) -> tuple[F64, F64]:
        r"""Compute the interval of the fitted y at each x; it covers the curve, not single runs.

        Parameters
        ----------
        x : array_like, any shape
            Values of the variable; positive unless the law is an exponential.

        Returns
        -------
        low, high : ndarray, shape of `x`
            Ends of the intervals, from the same resamples as the interval of b; NaN if there are at
            most two rows. The ends for a logarithm are at least 0.

        Raises
        ------
        TypeError, ValueError
            If `x` does not hold real numbers, or if the law is a power or a logarithm and a value
            in `x` is not positive.

        Notes
        -----
        The interval is valid if the law holds, also where it is extrapolated. The time is
        proportional to the number of resamples times the number of x.
        """
        at = check.reals("x", x)
        if self.name != "exponential":
            require_positive("x", at, f"for the law is a {self.name}")
        level, slope = self.resampled
        distance = np.array([self._distance(value) for value in at.ravel()])
        low, high = np.empty(at.size), np.empty(at.size)
        with np.errstate(over="ignore"):
            for i, v in enumerate(distance):
                logs = np.maximum(level + bend(self.name, slope * v), LEAST_LOG)
                low[i], high[i] = np.exp(interval_ends(logs, self.band))
        return low.reshape(at.shape), high.reshape(at.shape)

    def solve(self, y: float) -> Solution:
        r"""Find the x at which the fitted law reaches a value of y.

        Parameters
        ----------
        y : float
            The value of y; positive, or 0 for a logarithm.

        Returns
        -------
        Solution
            x with its interval; ``float`` gives x alone. The interval holds the x at which the laws
            that are fitted to the resamples reach y. As for the parameters, it is valid if the law
            holds, also beyond the measured x.

        Raises
        ------
        TypeError, ValueError
            If y is not a finite number, if y is not positive and the law is a power or an
            exponential, or if the law does not vary with x.

        Examples
        --------
        >>> import numpy as np
        >>> from metaspan.study import fit_laws
        >>> n = np.array([100, 200, 400, 800])
        >>> law = fit_laws(n, 5 / np.sqrt(n))["power"]
        >>> round(float(law.solve(0.05)))
        10000
        """
        y = check.real("y", y)
        if self.name != "logarithm" and y <= 0:
            raise ValueError(f"y must be positive, for the law is a {self.name}; got {y:g}")
        if self.b == 0.0:
            raise ValueError("the law must vary with x to be solved; its b is 0")
        x0, y0 = self.center
        with np.errstate(all="ignore"):
            if self.name == "logarithm":
                steps, moved = (y - y0) / self.b, y * np.exp(-self.resampled[0]) - 1.0
            else:
                steps = (math.log(y) - math.log(y0)) / self.b
                moved = math.log(y) - self.resampled[0]
            moved = _reached(moved / self.resampled[1], self.resampled[1] * self.b, steps)
            linear = self.name == "exponential"
            x = float(x0 + steps if linear else x0 * np.exp(steps))
            ends: Interval = (-math.inf if linear else 0.0, math.inf)
            low, high = self.b_interval
            if not low <= 0.0 <= high:
                ends = interval_ends(x0 + moved if linear else x0 * np.exp(moved), self.band)
        return Solution(y=y, x=x, interval=ends, band=self.band, x_range=self.x_range)

    def _distance(self, x: float) -> float:
        """Return v of x minus v of the center; v is x for an exponential, and otherwise log x."""
        x0 = self.center[0]
        return x - x0 if self.name == "exponential" else math.log(x) - math.log(x0)

    @property
    def formula(self) -> str:
        r"""The fitted law as a formula, with the interval of b in brackets."""
        (b, ends), a = with_interval(self.b, self.b_interval), rounded(self.a)
        if self.name == "power":
            return f"y = {a} x^{b} {ends}"
        if self.name == "exponential":
            return f"y = {a} exp({b} x) {ends}"
        sign, size = ("-", b[1:]) if b.startswith("-") else ("+", b)
        return f"y = {a} {sign} {size} log x {ends}"


@dataclass(frozen=True, kw_only=True)
class Laws:
    r"""Laws that are fitted to the same measurements; ``print`` reports them.

    Parameters
    ----------
    laws : tuple of Law
        The laws, least held-out error first.
    told_apart : bool
        Whether the first law had the least held-out error in at least a fraction `band` of the
        resamples. `told_apart` is false if there is only one law, or if there are fewer than four
        distinct x.
    support : mapping of str to float
        For each law, the fraction of the resamples in which the law had the least held-out error;
        NaN if there are fewer than three distinct x, or at most two rows.
    band : float
        Coverage of the intervals, and the fraction of the resamples that the first law must win for
        `told_apart`.
    rows, distinct, left_out : int
        Number of rows that were used, number of distinct x in these rows, and number of rows
        without a value of y.
    x_range : tuple of float
        Least and largest x.
    advice : str
        If the first law misses the means of log y by more than 2 standard errors, by how much and
        what to do about it; otherwise empty.
    """

    laws: tuple[Law, ...]
    told_apart: bool
    support: Mapping[str, float]
    band: float
    rows: int
    distinct: int
    left_out: int
    x_range: Interval
    advice: str = ""

    @property
    def best(self) -> Law:
        r"""The first law, which has the least held-out error."""
        return self.laws[0]

    def __getitem__(self, name: str) -> Law:
        r"""Return the law of a given name; raise KeyError if no such law was fitted."""
        for law in self.laws:
            if law.name == name:
                return law
        known = check.words(law.name for law in self.laws)
        raise KeyError(f"name must be {known}; got {check.show(name)}")

    def solve(self, y: float) -> Solution:
        r"""Find the x at which the first law reaches a value of y; see `Law.solve`.

        Parameters
        ----------
        y : float
            The value of y; positive, or 0 for a logarithm.

        Returns
        -------
        Solution
            x with its interval.

        Raises
        ------
        TypeError, ValueError
            If `Law.solve` raises the error.
        """
        return self.best.solve(y)

    @property
    def rivals(self) -> tuple[Law, ...]:
        r"""The best law, and the other laws that the measurements do not exclude.

        In at least a fraction `band` of the resamples, one of the rivals had the least held-out
        error.
        """
        if self.distinct < LEAST_TO_COMPARE or math.isnan(self.support[self.best.name]):
            return self.laws
        # The best law is taken first. Then the law with the largest support among the others is
        # taken, and so on, until the sum of the supports reaches `band`.
        taken, share = {self.best.name}, self.support[self.best.name]
        for name in sorted(self.support, key=lambda name: -self.support[name]):
            if share < self.band and name not in taken:
                taken.add(name)
                share += self.support[name]
        return tuple(law for law in self.laws if law.name in taken)

    def __str__(self) -> str:
        """Report each law on a line, then the data, then which laws the data cannot tell apart."""
        width = max(len(law.formula) for law in self.laws)
        lines = []
        for law in self.laws:
            line = f"{law.name:<11}  {law.formula:<{width}}"
            if not math.isnan(law.held_out):
                line += f"  held-out error {_format_error(law.held_out)}"
            if len(self.laws) > 1 and self.distinct >= LEAST_TO_COMPARE:
                line += f", least in {100 * self.support[law.name]:.3g} % of the resamples"
            lines.append(line.rstrip())
        lines.append(
            f"{100 * self.band:g} % intervals of b; {self.rows:,} rows at {self.distinct:,} values "
            f"of x{_left_out(self.left_out)}"
        )
        if self.advice:
            lines.append(self.advice)
        if len(self.laws) > 1 and not self.told_apart:
            lines.append(self._explain_rivals())
        return "\n".join(lines)

    def _explain_rivals(self) -> str:
        """Return a sentence that says why the laws are not told apart."""
        low, high = (rounded(end, 4) for end in self.x_range)
        if self.distinct < LEAST_TO_COMPARE:
            return f"{self.distinct} values of x tell no laws apart: {LEAST_TO_COMPARE} are needed"
        names = [law.name for law in self.rivals]
        errors = _join([_format_error(law.held_out) for law in self.rivals])
        return (
            f"x = {low} .. {high} cannot tell {names[0]} from {_join(names[1:], 'or')}: "
            f"held-out errors {errors}"
        )


@dataclass(frozen=True, kw_only=True)
class Powers:
    r"""A fitted product of powers, y = a x_1^b_1 x_2^b_2 ...; ``print`` reports it.

    Parameters
    ----------
    exponents, intervals : mapping of str to float and to tuple of float
        For each variable, its exponent, and the ends of the interval of the exponent.
    factor : float
        The factor a, which is the value of y where all variables are 1.
    factor_interval : tuple of float
        Ends of the interval of the factor. All intervals are NaN if there are no more rows than
        parameters (the factor and the exponents).
    r_squared : float
        Share of the variance of log y that the fitted product explains; NaN if y does not vary.
    band : float
        Coverage of the intervals.
    rows, left_out : int
        Number of rows that were used, and number of rows without a value of y.
    misfit : float
        Root mean square distance between the logarithm of the product and the means of log y, as
        for a `Law`.
    ranges : mapping of str to tuple of float
        For each variable, its least and its largest value.
    resampled : ndarray of shape (resamples, 1 + variables)
        For each resample, the logarithm of the factor, and the exponents.
    advice : str
        If the misfit is above 2, by how much the product misses the means and what to do about it;
        otherwise empty.
    """

    exponents: Mapping[str, float]
    intervals: Mapping[str, Interval]
    factor: float
    factor_interval: Interval
    r_squared: float
    band: float
    rows: int
    left_out: int
    misfit: float
    ranges: Mapping[str, Interval]
    resampled: F64 = field(repr=False, compare=False)
    advice: str = ""

    def solve(self, y: float, **values: float) -> Solution:
        r"""Find the value of one variable at which the product reaches a value of y.

        Parameters
        ----------
        y : float
            The value of y, positive.
        **values : float
            Values of all variables but one, positive.

        Returns
        -------
        Solution
            The value of the remaining variable, with its interval.

        Raises
        ------
        TypeError, ValueError
            If a number is not positive, if not exactly one variable is left, or if its exponent
            is 0.

        Examples
        --------
        >>> import numpy as np
        >>> from metaspan.study import fit_powers
        >>> d, n = np.array([100, 100, 1000, 1000]), np.array([10, 40, 10, 40])
        >>> powers = fit_powers({"d": d, "n": n}, 3 * np.sqrt(d / n))
        >>> round(float(powers.solve(0.3, d=100)))
        10000
        """
        names = list(self.exponents)
        free = [name for name in names if name not in values]
        if len(free) != 1 or len(values) != len(names) - 1:
            raise ValueError(
                f"values of all but one of {', '.join(names)} must be given; got "
                f"{', '.join(values) or 'none'}"
            )
        (name,) = free
        number = check.real("y", y)
        at = {other: check.real(other, value) for other, value in values.items()}
        for other, value in {"y": number, **at}.items():
            require_positive(other, np.array(value), "for a product of powers")
        if self.exponents[name] == 0.0:
            raise ValueError(f"the exponent of {name} must not be 0 to solve for {name}")
        place = names.index(name)
        known = np.array([math.log(at.get(other, 1.0)) for other in names])
        with np.errstate(all="ignore"):
            measured = np.array([np.log(self.factor), *self.exponents.values()])
            log_x, logs = (
                (math.log(number) - fits[:, 0] - fits[:, 1:] @ known) / fits[:, 1 + place]
                for fits in (measured[None], self.resampled)
            )
            away = float(log_x[0]) - 0.5 * sum(math.log(end) for end in self.ranges[name])
            slopes = self.resampled[:, 1 + place] * self.exponents[name]
            x, xs = np.exp(log_x[0]), np.exp(_reached(logs, slopes, away))
        low, high = self.intervals[name]
        unbounded = low <= 0.0 <= high
        return Solution(
            y=number,
            x=float(x),
            interval=(0.0, math.inf) if unbounded else interval_ends(xs, self.band),
            band=self.band,
            x_range=self.ranges[name],
            name=name,
        )

    def __str__(self) -> str:
        """Report the product, then each exponent on a line, then the data."""
        shown = {
            name: with_interval(self.exponents[name], self.intervals[name])
            for name in self.exponents
        }
        product = " ".join(f"{name}^{exponent}" for name, (exponent, _) in shown.items())
        width = max(map(len, shown))
        lines = [f"y = {rounded(self.factor)} {product}"]
        lines += [f"{name:<{width}}  {b} {ends}".rstrip() for name, (b, ends) in shown.items()]
        lines.append(
            f"{100 * self.band:g} % intervals; {self.rows:,} rows, R^2 = {self.r_squared:.4g}"
            f"{_left_out(self.left_out)}"
        )
        if self.advice:
            lines.append(self.advice)
        return "\n".join(lines)


def _reached(at: F64, slopes: F64, away: float) -> F64:
    r"""Return where resampled laws reach y, as distances from the middle of the data.

    A law whose slope has not the sign of the fitted law's, so that its product with the latter in
    `slopes` is not positive, does not reach y on the side of the solution, at the distance `away`.
    It counts as one that reaches y at an infinite distance on that side.
    """
    return np.where(slopes <= 0.0, math.copysign(math.inf, away), at)


def _left_out(rows: int) -> str:
    """Return the words that count the rows which were left out; empty if there are none."""
    return f", {rows:,} rows left out" if rows else ""


def _format_error(error: float) -> str:
    """Format a root mean square error of log y as a percentage or a factor."""
    if error == math.inf:
        return "unbounded"
    if error < EXACT:
        return "0 %"
    return (
        f"{100 * error:.2g} %"
        if error < 0.5
        else f"a factor of {rounded(math.exp(min(error, 700)), 2)}"
    )


def _join(items: Sequence[str], conjunction: str = "and") -> str:
    """Join items with commas, and the last two with a conjunction."""
    *others, last = items
    return f"{', '.join(others)} {conjunction} {last}" if others else last
