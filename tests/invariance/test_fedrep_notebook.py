"""FedRep at the setting of its authors' notebook: geometric decay to a floor set by the noise.

The notebook has d = 20, k = 2, 100 clients with m = 5, 10 or 20 samples each, noise 1e-3, a step of
0.1 along the sum of the clients' gradients, and shows dist^2.
"""

import numpy as np
import pytest

import metaspan as ms


def squared_distances(m, noise, **settings):
    """dist^2 of 400 rounds, the mean of four runs."""
    r = ms.train(
        ms.LinearTasks(d=20, k=2, noise=noise),
        ms.FedRep(**settings),
        pool=100,
        engine="arrays",
        n=100,
        m_in=m,
        shared_samples=True,
        init=ms.Init(scale=1.0),
        rounds=400,
        trials=4,
        seed=1,
        stop=None,
    )
    return (r.trace["dist"] ** 2).mean(axis=0)


@pytest.mark.filterwarnings("ignore::metaspan.FewSamplesWarning")
@pytest.mark.parametrize("m", [5, 10, 20])
def test_the_distance_decays_geometrically_to_a_floor_of_the_noise(m):
    curve = squared_distances(m, 1e-3, beta=0.1, reduce="sum")
    first, then = curve[10] / curve[0], curve[20] / curve[10]
    assert first < 0.2
    assert then < 0.4
    floor = curve[-50:].mean()
    assert floor < 2e-7
    np.testing.assert_allclose(curve[-50:], floor, rtol=0.2)
    lower = squared_distances(m, 1e-4, beta=0.1, reduce="sum")[-50:].mean()
    assert 60 < floor / lower < 160  # the square of the ratio of the noises is 100
    np.testing.assert_array_equal(squared_distances(m, 1e-3, beta=10.0), curve)
