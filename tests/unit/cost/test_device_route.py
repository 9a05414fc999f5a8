"""The route of rounds on a device, which the core chooses by counts of bytes and operations."""

from dataclasses import replace

import pytest

import metaspan as ms
from metaspan.cost.workload import work_of_batch


def work(method, m):
    """The work of a gradient on a batch whose inner and outer sets are said to have m samples."""
    batch = ms.LinearTasks(d=30, k=2).sample(4, 3, 3)
    counted = work_of_batch(batch, method, 2, losses=True)
    return replace(counted, sizes=counted.sizes._replace(d=10**5, m_in=float(m), m_out=float(m)))


@pytest.mark.parametrize(
    ("method", "m", "route"),
    [
        (ms.ANIL(alpha=0.01), 10**4, "gram"),  # no Gram matrix is formed
        (ms.MAML(alpha=0.01), 20, "gram"),  # the sweep that reads X also computes the matrix
        (ms.MAML(alpha=0.01), 5000, "vector"),  # the matrices of 32 tasks need 25 GB
        (ms.RidgeANIL(), 5000, "gram"),
    ],
)
def test_device_route_follows_the_counts(method, m, route):
    assert work(method, m).device_route == route
