"""Methods with a limit, and the functions of `reference.limit_models` that compute their rounds."""

from functools import partial

import metaspan as ms
from reference import limit_models

NOISE, ALPHA, LAM = 0.7, 0.2, 0.4


def many_steps(J, first_order):
    return ms.ANIL(alpha=ALPHA, inner_steps=J, first_order=first_order)


def reference_of(method):
    """The round of a method in `reference.limit_models`, given C, w, theta and its weights."""
    of = limit_models
    if isinstance(method, ms.AverageRisk) or getattr(method, "inner_steps", 1) == 0:
        return lambda *state, variance, m_in, m_out: of.average_risk(
            *state, variance=variance, m=m_out
        )
    if isinstance(method, (ms.FedAvg, ms.Reptile)):
        return lambda *state, variance, m_in, m_out: tuple(
            factor * part
            for factor, part in zip(
                (ALPHA, ALPHA, ALPHA**2),
                of.average_risk(*state, variance=variance, m=m_in),
                strict=True,
            )
        )
    if isinstance(method, ms.ANIL):
        exact = not method.first_order
        steps = partial(of.several_steps, alpha=ALPHA, steps=method.inner_steps, exact=exact)
        adapt = of.gradient_steps(ALPHA, method.inner_steps)

        def anil(*state, variance, m_in, m_out):
            if m_in is not None:
                return steps(*state, variance=variance, m_in=m_in, m_out=m_out)
            return of.known_inner_set(*state, adapt, exact=exact, variance=variance, m_out=m_out)

        return anil
    if isinstance(method, ms.RidgeANIL) and method.lam:
        adapt, exact = of.ridge_head(method.lam), not method.first_order
        return lambda *state, variance, m_in, m_out: of.known_inner_set(
            *state, adapt, exact=exact, variance=variance, m_out=m_out, solved=True
        )
    kind = "first order"
    if isinstance(method, (ms.FedRep, ms.AltGDmin)):
        kind = "first order" if method.separate else "one set"
    elif not method.first_order:
        kind = "exact"
    return lambda C, w, theta, p, **samples: of.least_squares(C, theta, p, kind=kind, **samples)
