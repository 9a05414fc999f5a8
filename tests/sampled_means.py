"""Compare means of samples with expected values, all entries of all arrays at once."""

import numpy as np
from scipy import stats

from collapsed_runs import refused


def refused_means(sampled, expected, error=1e-3):
    """Return the entries (name, number) whose expected value Holm's procedure rejects.

    `sampled` has arrays (N, ...) of N independent samples by name, `expected` the means. The chance
    that any correct mean is rejected is at most `error`, with p-values of a normal law. An entry
    that is the same in all samples is rejected if it differs from its mean by more than rounding.
    """
    p = {}
    for name, values in sampled.items():
        flat, means = values.reshape(len(values), -1), np.ravel(expected[name])
        differences = abs(flat.mean(axis=0) - means)
        errors = flat.std(axis=0, ddof=1) / np.sqrt(len(flat))
        for j, (difference, deviation) in enumerate(zip(differences, errors, strict=True)):
            if deviation < 1e-12 * abs(means[j]):
                p[name, j] = float(difference < 1e-9 * abs(means[j]))
            else:
                p[name, j] = 2 * stats.norm.sf(difference / deviation) if deviation else 1.0
    return refused(p, error)
