"""Neither threads nor other trials change a run with infinitely many tasks, for every method that
has a limit.
"""

import numpy as np
import pytest

import metaspan as ms
from limit_methods import ALPHA, LAM, NOISE, many_steps
from matching import assert_same_bits

METHODS = {
    "average-risk": ms.AverageRisk(beta=0.3),
    "fedavg": ms.FedAvg(alpha=ALPHA, local_steps=1, server_step=0.7),
    "fo-anil": many_steps(1, True),
    "anil": many_steps(1, False),
    "several-steps-first-order": many_steps(2, True),
    "several-steps": many_steps(2, False),
    "ridge": ms.RidgeANIL(lam=LAM, beta=0.3),
    "least-squares-first-order": ms.RidgeANIL(lam=0.0, beta=0.2, first_order=True),
    "least-squares": ms.RidgeANIL(lam=0.0, beta=0.2),
    "fedrep": ms.FedRep(beta=0.3),
    "altgdmin": ms.AltGDmin(beta=0.3),
}
HEADS = ms.GaussianHeads(mean=np.array([0.5, 0.2]), cov=np.array([[1.0, 0.2], [0.2, 0.5]]))
RECORD = ("dist", "w_norm", "loss_in")
KNOWN_INNER_SET = ("average-risk", "ridge")  # have a limit for m_in=None alone


def run(name, **changes):
    tasks = ms.LinearTasks(d=12, k=2, noise=NOISE, heads=HEADS)
    options = {"n": None, "d_over_n": 2.0, "m_in": 16, "m_out": 4, "width": 2, "rounds": 6}
    options |= {"trials": 5, "seed": 7, "stop": None, "threads": 1, **changes}
    if name in KNOWN_INNER_SET:
        options["m_in"] = None
    if name != "altgdmin":
        options["init"] = ms.Init(scale=1.0)
    return ms.train(tasks, METHODS[name], record=RECORD, **options)


@pytest.mark.parametrize("name", METHODS)
def test_bits_depend_neither_on_threads_nor_on_other_trials(name):
    many = run(name)
    assert many.config.engine == "limit"
    assert set(many.status) == {ms.Status.FINISHED}
    assert len(np.unique(many.trace["dist"][:, -1])) == 5
    for threads in (2, 4):
        assert_same_bits(run(name, threads=threads), many, f"{threads} threads")
    alone = run(name, trials=range(3, 4), threads=2)
    for record in RECORD:
        np.testing.assert_array_equal(alone.trace[record], many.trace[record][3], err_msg=record)
