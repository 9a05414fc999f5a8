"""Chi-square draws with any number of degrees of freedom.

Seeds are fixed. With fresh seeds each comparison would fail with a probability of 10^-5.
"""

import numpy as np
import pytest
from scipy import stats

from metaspan._load import core

COUNT = 200_000
SIGMAS = 4.42
ERROR_RATE = 1e-5
DOFS = [0.5, 1, 2, 3, 7, 40, 1e3, 1e6]


@pytest.mark.parametrize("dof", DOFS)
@pytest.mark.parametrize("trial", [0, 5])
def test_distribution_is_chi_square(dof, trial):
    x = core.chi_square(dof, 11, trial, COUNT)
    assert stats.kstest(x, "chi2", args=(dof,)).pvalue > ERROR_RATE


@pytest.mark.parametrize("dof", [*DOFS, 1e12, 1e15])
def test_mean_and_variance(dof):
    z = (core.chi_square(dof, 12, 0, COUNT) - dof) / np.sqrt(2 * dof)
    kurtosis = 3 + 12 / dof
    assert abs(z.mean()) < SIGMAS / np.sqrt(COUNT)
    assert abs((z**2).mean() - 1) < SIGMAS * np.sqrt((kurtosis - 1) / COUNT)


@pytest.mark.parametrize("dof", [1e12, 1e15])
def test_many_degrees_of_freedom_look_normal(dof):
    """The skewness, sqrt(8 / dof), is too small for a sample of this size to show."""
    z = (core.chi_square(dof, 13, 0, COUNT) - dof) / np.sqrt(2 * dof)
    assert stats.kstest(z, "norm").pvalue > ERROR_RATE


def test_draws_are_independent_of_one_another():
    x = core.chi_square(3.0, 14, 0, COUNT)
    u = stats.norm.ppf(stats.chi2.cdf(x, 3.0))
    for lag in (1, 2, 3):
        assert abs((u[lag:] * u[:-lag]).mean()) * np.sqrt(COUNT) < SIGMAS
    assert not np.isin(x[:1000], core.chi_square(3.0, 14, 1, 1000)).any()
