r"""Defines fitted laws, which make predictions and can be printed."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from ..._support import check
from ..._support.types import F64
from .resampling import EXACT, Interval, require_positive

LEAST_TO_COMPARE = 4  # number of distinct x: two for the parameters, one to hold out, and one more


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
    """

    name: str
    a: float
    b: float
    a_interval: Interval
    b_interval: Interval
    held_out: float
    misfit: float
    center: tuple[float, float]

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

    @property
    def formula(self) -> str:
        r"""The fitted law as a formula, with the interval of b in brackets."""
        b, ends = _format_with_interval(self.b, self.b_interval)
        if self.name == "power":
            return f"y = {self.a:.3g} x^{b} {ends}"
        if self.name == "exponential":
            return f"y = {self.a:.3g} exp({b} x) {ends}"
        sign, size = ("-", b[1:]) if b.startswith("-") else ("+", b)
        return f"y = {self.a:.3g} {sign} {size} log x {ends}"


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
    """

    laws: tuple[Law, ...]
    told_apart: bool
    support: Mapping[str, float]
    band: float
    rows: int
    distinct: int
    left_out: int
    x_range: tuple[float, float]

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
            f"{100 * self.band:g} % intervals of b; {self.rows} rows at {self.distinct} values of x"
            + (f", {self.left_out} rows left out" if self.left_out else "")
        )
        # If the misfit is above 2, the scatter over seeds is so small that even the best law
        # clearly misses the means. The intervals of the law, however, assume that the law is exact.
        if self.best.misfit > 2:
            lines.append(
                f"{self.best.name} misses the means of log y by {self.best.misfit:.2g} standard "
                "errors: it is at most an approximation"
            )
        if len(self.laws) > 1 and not self.told_apart:
            lines.append(self._explain_rivals())
        return "\n".join(lines)

    def _explain_rivals(self) -> str:
        """Return a sentence that says why the laws are not told apart."""
        low, high = self.x_range
        if self.distinct < LEAST_TO_COMPARE:
            return f"{self.distinct} values of x tell no laws apart: {LEAST_TO_COMPARE} are needed"
        names = [law.name for law in self.rivals]
        errors = _join([_format_error(law.held_out) for law in self.rivals])
        return (
            f"x = {low:g} .. {high:g} cannot tell {names[0]} from {_join(names[1:], 'or')}: "
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
    """

    exponents: Mapping[str, float]
    intervals: Mapping[str, Interval]
    factor: float
    factor_interval: Interval
    r_squared: float
    band: float
    rows: int
    left_out: int

    def __str__(self) -> str:
        """Report the product, then each exponent on a line, then the data."""
        shown = {
            name: _format_with_interval(self.exponents[name], self.intervals[name])
            for name in self.exponents
        }
        product = " ".join(f"{name}^{exponent}" for name, (exponent, _) in shown.items())
        width = max(map(len, shown))
        lines = [f"y = {self.factor:.3g} {product}"]
        lines += [f"{name:<{width}}  {b} {ends}".rstrip() for name, (b, ends) in shown.items()]
        lines.append(
            f"{100 * self.band:g} % intervals; {self.rows} rows, R^2 = {self.r_squared:.4g}"
            + (f", {self.left_out} rows left out" if self.left_out else "")
        )
        return "\n".join(lines)


def _format_with_interval(value: float, ends: Interval) -> tuple[str, str]:
    """Format a number and its interval, rounded to two digits of the width of the interval."""
    low, high = ends
    scale, width = max(abs(value), abs(low), abs(high)), high - low
    if not math.isfinite(width) or scale == 0.0:
        return f"{value:.4g}", ""
    places = 1 - math.floor(math.log10(max(width, 1e-4 * scale)))
    first = math.floor(math.log10(scale))
    form = f".{places}f" if 0 <= places <= 6 and first < 6 else f".{max(1, first + places)}e"
    return f"{value:{form}}", f"[{low:{form}}, {high:{form}}]"


def _format_error(error: float) -> str:
    """Format a root mean square error of log y as a percentage or a factor."""
    if error == math.inf:
        return "unbounded"
    if error < EXACT:
        return "0 %"
    return f"{100 * error:.2g} %" if error < 0.5 else f"a factor of {math.exp(min(error, 700)):.2g}"


def _join(items: Sequence[str], conjunction: str = "and") -> str:
    """Join items with commas, and the last two with a conjunction."""
    *others, last = items
    return f"{', '.join(others)} {conjunction} {last}" if others else last
