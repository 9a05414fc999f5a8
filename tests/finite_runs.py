"""One short run of every kind that draws sums over samples from their law, or takes their limit."""

import numpy as np

import metaspan as ms

RECORD = ("dist", "loss_in", "loss_out", "w_norm", "diversity_max", "mu")


def uniform(generator, n, k):
    return generator.uniform(-1.5, 1.5, (n, k))


def truth():
    """B_star (30, 3) and a start (B_0, w_0) of width 4."""
    rng = np.random.default_rng(8)
    B_star = np.linalg.qr(rng.standard_normal((30, 3)))[0]
    return B_star, (0.3 * rng.standard_normal((30, 4)), 0.1 * np.ones(4))


B_STAR, START = truth()
METHOD = ms.MAML(alpha=0.02, beta=0.05, inner_steps=2)
ANIL = ms.ANIL(alpha=0.05, beta=0.05)
FIRST_ORDER = ms.ANIL(alpha=0.05, beta=0.05, first_order=True)
POOL = {"pool": 7, "route": "gram"}
CLIPPED = ms.UserDP(clip=0.5, multiplier=0.0)
PRIVATE = ms.UserDP(clip=0.5, multiplier=0.5)
# The arguments of LinearTasks, of the method and of train that define each kind, beside the sizes
# of `run`.
KINDS = {
    "gaussian": {},
    "anil": {"method": ms.ANIL(alpha=0.05, beta=0.05, inner_steps=2)},
    "average-risk": {"method": ms.AverageRisk(beta=0.05)},
    "fedavg": {"method": ms.FedAvg(alpha=0.02, local_steps=3)},
    "ridge-anil": {"method": ms.RidgeANIL(lam=0.2, beta=0.05)},
    "fedrep": {"method": ms.FedRep(beta=0.05), "m_in": 9},
    "body": {"method": ms.MAML(alpha=0.02, beta=0.05, moves="body", outer="body")},
    "pool-ridge": {"method": ms.RidgeANIL(lam=0.2, beta=0.05, first_order=True), **POOL},
    "clipped": {"method": ms.ANIL(alpha=0.05, beta=0.05, privacy=CLIPPED)},
    "private": {"method": ms.MAML(alpha=0.02, beta=0.05, privacy=PRIVATE)},
    "private-population": {
        "method": ms.ANIL(alpha=0.05, beta=0.05, privacy=PRIVATE),
        "m_in": None,
        "m_out": None,
        "width": 4,
    },
    "private-tracked": {
        "method": ms.ANIL(alpha=0.05, beta=0.05, privacy=PRIVATE),
        "track_start": True,
        "B_star": B_STAR,
        "init": START,
    },
    "pool-clipped": {"method": ms.ANIL(alpha=0.05, beta=0.05, privacy=CLIPPED), **POOL},
    "meta-sgd": {"method": ms.MetaSGD(alpha=0.02, beta=0.05, beta_alpha=1e-3, inner_steps=2)},
    "step-per-entry": {
        "method": ms.MetaSGD(alpha=0.02, beta=0.05, beta_alpha=1e-3, per="head"),
        "width": 5,
    },
    "co-learner": {"method": ms.CoLearner(alpha=0.02, beta=0.05, gamma=0.5, moves="both")},
    "pool-co-learner": {"method": ms.CoLearner(alpha=0.05, beta=0.05, privacy=CLIPPED), **POOL},
    "fresh": {"method": ms.FedAvg(alpha=0.02, local_steps=3, fresh_steps=True)},
    "inner-infinite": {"m_in": None},
    "outer-infinite": {"m_out": None},
    "shared": {"m_out": None, "shared_samples": True},
    "student-t": {"features": ms.StudentT(dof=6)},
    "sphere": {"features": "sphere"},
    "callable": {"heads": uniform},
    "fixed": {"heads": np.random.default_rng(4).standard_normal((9, 3))},
    "fixed-pool": {"heads": np.random.default_rng(4).standard_normal((9, 3)), **POOL},
    "given": {"B_star": B_STAR, "init": START},
    "tracked": {"track_start": True},
    "tracked-given": {"track_start": True, "B_star": B_STAR, "init": START, "features": "sphere"},
    "wide": {"width": 5},
    "narrow": {"width": 2},
    "nothing-left": {"d": 6},
    "pool": POOL,
    "pool-dual": {**POOL, "route": "dual", "features": "sphere", "heads": uniform},
    "pool-vector": {**POOL, "route": "vector", "features": ms.StudentT(dof=6), "width": 5},
    "pool-shared": {**POOL, "m_out": None, "shared_samples": True, "dtype": "float32"},
    "spread": {"spread": 1.0},
    "spread-anil": {"spread": 1.0, "method": ms.ANIL(alpha=0.05, beta=0.05, inner_steps=2)},
    "spread-population": {"spread": 1.0, "m_in": None, "m_out": None},
    "pool-spread": {"spread": 1.0, **POOL},
    "infinite-tasks-spread": {"spread": 1.0, "method": FIRST_ORDER, "n": None},
    "infinite-tasks": {"method": FIRST_ORDER, "n": None},
    "infinite-tasks-wide": {"method": FIRST_ORDER, "n": None, "width": 5, "m_in": None},
    "limit": {"method": ANIL, "n": None, "d_over_n": 3.0},
    "limit-wide": {"method": FIRST_ORDER, "n": None, "d_over_n": 3.0, "width": 5},
    "limit-fixed": {
        "method": ANIL,
        "n": None,
        "d_over_n": 0.0,
        "heads": np.random.default_rng(4).standard_normal((9, 3)),
    },
    "limit-given": {
        "method": FIRST_ORDER,
        "n": None,
        "d_over_n": 0.5,
        "B_star": B_STAR,
        "init": START,
        "spread": 0.5,
    },
}
OF_TASKS = ("d", "k", "noise", "heads", "features", "spectrum", "B_star", "spread")


def arguments(kind, **changes):
    """The arguments of train for a run of a kind; `changes` may replace any of them."""
    chosen = {"d": 30, "k": 3, "noise": 0.2, "method": METHOD, "rounds": 40, "n": 5}
    chosen |= {"m_in": 4, "m_out": 6, "init": ms.Init(scale=1.0), "seed": 9, "stop": None}
    chosen |= {"record": RECORD, "threads": 1, **KINDS[kind], **changes}
    of_tasks = {name: chosen.pop(name) for name in OF_TASKS if name in chosen}
    return {"tasks": ms.LinearTasks(**of_tasks), **chosen}


def run(kind, **changes):
    """Train a short run of one kind."""
    return ms.train(**arguments(kind, **changes))
