"""Seeded runs of every engine, method, route and law, which together take a second or two.

`recorded_bits.json` holds the hashes of the results of these runs for each build, that is, for each
combination of instruction-set level, compiler and C library; `invariance/test_recorded_bits.py`
compares them. `python tests/recorded_runs.py` records the hashes of the present build again. After
a change that is meant to change bits, record the hashes again, and list the change in the
changelog. A hash is null until a processor of its level has recorded it.
"""

import hashlib
import json
import platform
from functools import partial
from pathlib import Path

import numpy as np
from scipy import sparse

import metaspan as ms

FILE = Path(__file__).with_name("recorded_bits.json")
METHODS = {
    "anil": ms.ANIL(alpha=0.02, beta=0.01),
    "anil-3": ms.ANIL(alpha=0.02, beta=0.01, inner_steps=3),
    "fo-anil": ms.ANIL(alpha=0.02, beta=0.01, first_order=True),
    "maml": ms.MAML(alpha=0.01, beta=0.01),
    "maml-3": ms.MAML(alpha=0.01, beta=0.01, inner_steps=3),
    "fo-maml": ms.MAML(alpha=0.01, beta=0.01, first_order=True),
    "average-risk": ms.AverageRisk(beta=0.01),
}
CLIPPED = ms.UserDP(clip=0.5, multiplier=0.3)
FAMILY = {
    "fedavg": ms.FedAvg(alpha=0.01, local_steps=3, beta_head=0.5),
    "fresh-steps": ms.FedAvg(alpha=0.01, local_steps=5, fresh_steps=True),
    "fedrep": ms.FedRep(beta=0.05),
    "altgdmin": ms.AltGDmin(beta=0.05),
    "ridge-anil": ms.RidgeANIL(lam=0.2, beta=0.05),
    "fo-ridge-anil": ms.RidgeANIL(lam=0.2, beta=0.05, first_order=True),
    "linear-maml": ms.LinearMAML(alpha=-0.02, beta=0.05),
    "linear-attention": ms.LinearAttention(alpha=0.1, beta=0.05),
    "meta-sgd": ms.MetaSGD(alpha=0.01, beta=0.01, beta_alpha=1e-4, moves="both"),
    "meta-sgd-head": ms.MetaSGD(alpha=0.02, beta=0.01, beta_alpha=1e-3, per="head"),
    "co-learner": ms.CoLearner(alpha=0.02, beta=0.01, gamma=0.5),
    "momentum": ms.MAML(alpha=0.01, beta=0.01, step=ms.OuterStep(momentum=0.8, nesterov=True)),
    "average": ms.ANIL(alpha=0.02, beta=0.01, step=ms.OuterStep(average=True, lookahead=(2, 0.5))),
    "adam": ms.ANIL(alpha=0.02, beta=0.01, step=ms.OuterStep(rule="adam")),
    "user-dp": ms.ANIL(alpha=0.02, beta=0.01, privacy=CLIPPED),
    "user-dp-maml": ms.MAML(alpha=0.01, beta=0.01, privacy=CLIPPED),
}
BY_COORDINATE = ("adam",)  # cannot run in coordinates or in the dual form
NOT_DUAL = ("adam", "altgdmin", "user-dp", "user-dp-maml")
RECORDS = ("dist", "angles", "loss_in", "loss_adapted", "loss_out", "w_norm", "delta_norm")
RECORDS += ("sigma_min", "sigma_max", "perp_norm", "diversity_min", "diversity_max", "mu", "L")
SAMPLES = dict(m_in=20, m_out=15)
RNG = np.random.default_rng(20)
D, K, N = 23, 3, 9
B_STAR = np.eye(D, K)
X, Y = RNG.standard_normal((N, 11, D)), RNG.standard_normal((N, 11))
RAGGED = [5, 9, 7, 5, 8, 11, 6, 10, 5]
START = (0.5 * RNG.standard_normal((D, K)), RNG.standard_normal(K))
FIXED = RNG.standard_normal((12, K))


def uniform_heads(generator, n, k):
    return generator.uniform(-1.0, 1.0, (n, k))


def signs(generator, m, d):
    return generator.choice([-1.0, 1.0], (m, d))


SKEWED = [[2.0, 0.5, 0.0], [0.5, 1.0, 0.1], [0.0, 0.1, 0.3]]
LAWS = {
    "gaussian": ms.GaussianHeads(),
    "skewed": ms.GaussianHeads(
        cov=[[2.0, 0.5, 0.0], [0.5, 1.0, 0.1], [0.0, 0.1, 0.3]], mean=[1, 0, 0]
    ),
    "sphere": ms.SphereHeads(radius=1.5),
    "fixed": FIXED,
    "function": uniform_heads,
}
FEATURES = ("gaussian", "student-t", "sphere", "rademacher", "uniform", signs)


def tasks(d=D, k=K, **options):
    return ms.LinearTasks(d=d, k=k, noise=0.1, **options)


def train(source, name, rounds=6, **options):
    """Train, and return the arrays of the trace and of the final state."""
    given = dict(rounds=rounds, seed=7, stop=None, record_every=2, threads=1) | options
    method = METHODS.get(name) or FAMILY[name]
    if isinstance(method, ms.LinearMAML):
        given["width"] = 1
    if name == "fresh-steps":  # one sample a step: stable from a small start only
        given["init"] = ms.Init(scale=0.5)
    if isinstance(source, ms.LinearTasks) and "record" not in options:
        given["record"] = RECORDS
    r = ms.train(source, method, **given)
    return [*r.trace.values(), *r.parts.values()]


def batch(kind, dtype=np.float64):
    """Build a batch with one kind of storage."""
    x, y = X.astype(dtype), Y.astype(dtype)
    if kind == "ragged":
        xs = [task[:m] for task, m in zip(x, RAGGED, strict=True)]
        ys = [task[:m] for task, m in zip(y, RAGGED, strict=True)]
        return ms.TaskBatch.split(xs, ys, m_in=4, B_star=B_STAR.astype(dtype))
    if kind == "shared":
        return ms.TaskBatch(x, y, x, y, B_star=B_STAR.astype(dtype))
    if kind == "sparse":
        kept = [sparse.csr_array(np.where(abs(task) > 0.8, task, 0.0)) for task in x]
        return ms.TaskBatch.split(kept, list(y), m_in=5, B_star=B_STAR.astype(dtype))
    return ms.TaskBatch.split(x, y, m_in=5, B_star=B_STAR.astype(dtype))


def gradient(method, kind, route, dtype=np.float64):
    B, w = START[0].astype(dtype), START[1]
    g = ms.meta_gradient(B, w, batch(kind, dtype), METHODS[method], route=route, threads=1)
    return [g.B, g.w, g.loss_in, g.loss_adapted, g.loss_out]


def population_gradient(method):
    g = ms.population_gradient(*START, B_STAR, FIXED, METHODS[method], threads=1)
    return [g.B, g.w, g.loss_in, g.loss_adapted, g.loss_out]


def _population():
    for name in METHODS:
        yield f"population/{name}", partial(train, tasks(), name, n=4)
    for law, heads in LAWS.items():
        yield f"population/heads-{law}", partial(train, tasks(heads=heads), "anil", n=4)
    for width in (2, 5):
        wide = partial(train, tasks(), n=4, width=width)
        yield f"population/anil-width-{width}", partial(wide, "anil")
        yield f"population/maml-width-{width}", partial(wide, "maml")
    yield "population/pool", partial(train, tasks(), "anil", n=4, pool=9, trials=3)
    yield "population/given-start", partial(train, tasks(), "maml", n=4, init=START)
    yield "population/methodical", partial(train, tasks(d=10**12), "anil", n=4, init="methodical")
    for name in METHODS:
        spectral = tasks(spectrum=0.7)
        yield f"spectral/{name}", partial(train, spectral, name, n=4)
    for m_in in (None, 5):
        for d in (D, 10**9):
            run = partial(train, tasks(d=d), "fo-anil", n=None, m_in=m_in)
            yield f"limit/m_in-{m_in}-d-{d}", partial(run, record=("dist", "loss_out"))
    for law, heads in LAWS.items():
        if not callable(heads):
            run = partial(train, tasks(heads=heads), "anil", n=None, d_over_n=2.0, **SAMPLES)
            yield f"limit/heads-{law}", run


def _samples():
    for name in METHODS:
        for features in FEATURES[:3]:
            law = tasks(d=90, features=features)
            yield f"collapsed/{name}-{features}", partial(train, law, name, n=4, **SAMPLES)
    for law, heads in LAWS.items():
        run = partial(train, tasks(heads=heads), "maml", n=4, **SAMPLES)
        yield f"collapsed/heads-{law}", run
    shared = dict(m_in=5, shared_samples=True)
    yield "collapsed/shared", partial(train, tasks(), "maml", n=4, **shared)
    yield "collapsed/outer-infinite", partial(train, tasks(), "maml", n=4, m_in=5)
    yield "collapsed/inner-infinite", partial(train, tasks(), "anil", n=4, m_out=5)
    yield "collapsed/track-start", partial(train, tasks(), "anil", n=4, track_start=True, **SAMPLES)
    yield "collapsed/wide", partial(train, tasks(), "maml", n=4, width=5, **SAMPLES)
    yield "collapsed/trials", partial(train, tasks(), "fo-maml", n=4, trials=3, **SAMPLES)
    for route in ("gram", "vector", "dual"):
        for name in METHODS:
            run = partial(train, tasks(d=300), name, n=4, pool=6, route=route, **SAMPLES)
            yield f"pooled/{route}-{name}", run
    for features in FEATURES:
        label = features if isinstance(features, str) else "function"
        law = tasks(features=features)
        run = partial(train, law, "maml", n=4, engine="sampled", **SAMPLES)
        yield f"sampled/{label}", run
    for name in METHODS:
        run = partial(train, tasks(), name, n=4, engine="sampled", **SAMPLES)
        yield f"sampled/{name}", run
        yield f"sampled/{name}-float32", partial(run, dtype=np.float32)
    spectrum = tasks(spectrum=1.0)
    yield "sampled/spectrum", partial(train, spectrum, "anil", n=4, **SAMPLES)


def _arrays():
    for route in ("gram", "vector", "dual"):
        for name in METHODS:
            for kind in ("dense", "ragged", "sparse"):
                run = partial(train, batch(kind), name, width=K, route=route)
                yield f"arrays/{route}-{name}-{kind}", run
            single = batch("dense", np.float32)
            yield (
                f"arrays/{route}-{name}-float32",
                partial(train, single, name, width=K, route=route),
            )
        few = partial(train, batch("dense"), "anil", width=5, route=route, n=4, trials=2)
        yield f"arrays/{route}-minibatch", few
        shared = partial(train, batch("shared"), "maml", width=K, route=route)
        yield f"arrays/{route}-shared", shared
        drawn = partial(train, tasks(), "maml", n=4, pool=6, route=route, **SAMPLES)
        yield f"arrays/{route}-drawn-pool", partial(drawn, engine="arrays")
    rough = partial(train, batch("dense", np.float32), "maml", width=K, accumulate="float32")
    yield "arrays/vector-float32-sums", rough
    for name in METHODS:
        for route in ("gram", "vector"):
            for kind in ("dense", "ragged", "sparse"):
                yield f"gradient/{route}-{name}-{kind}", partial(gradient, name, kind, route)
            single = partial(gradient, name, "dense", route, np.float32)
            yield f"gradient/{route}-{name}-float32", single
        yield f"gradient/{name}-population", partial(population_gradient, name)


def _family():
    for name in FAMILY:
        if name not in BY_COORDINATE:
            yield f"population/{name}", partial(train, tasks(), name, n=4)
            yield f"spectral/{name}", partial(train, tasks(spectrum=0.7), name, n=4)
            for d in (D, 90):
                yield f"collapsed/{name}-d-{d}", partial(train, tasks(d=d), name, n=4, **SAMPLES)
        sampled = partial(train, tasks(), name, n=4, engine="sampled", **SAMPLES)
        yield f"sampled/{name}", sampled
        for route in ("gram", "vector") if name in NOT_DUAL else ("gram", "vector", "dual"):
            yield (
                f"arrays/{route}-{name}",
                partial(train, batch("dense"), name, width=K, route=route),
            )
    for name in ("anil", "fo-anil", "maml", "fedrep", "user-dp"):
        law = tasks(d=90, spread=0.8)
        yield f"spread/population-{name}", partial(train, law, name, n=4)
        yield f"spread/collapsed-{name}", partial(train, law, name, n=4, **SAMPLES)
        sampled = partial(train, law, name, n=4, engine="sampled", **SAMPLES)
        yield f"spread/sampled-{name}", sampled


PARTS = (_population, _samples, _arrays, _family)
RUNS = {name: run for part in PARTS for name, run in part()}


def digest(name):
    """Hash all arrays of a run."""
    content = hashlib.blake2b(digest_size=8)
    for array in RUNS[name]():
        content.update(f"{array.dtype} {array.shape}".encode())
        content.update(np.ascontiguousarray(array))
    return content.hexdigest()


def recorded():
    """Return the recorded hashes by build."""
    return json.loads(FILE.read_text()) if FILE.exists() else {}


def build():
    """Describe the present build by the properties on which the bits of results depend."""
    config = ms.show_config()
    library = " ".join(platform.libc_ver())
    return f"{config['instruction_set']}, compiler {config['compiler']}, {library}"


if __name__ == "__main__":
    kept = recorded() | {build(): {name: digest(name) for name in RUNS}}
    FILE.write_text(json.dumps(kept, indent=1, sort_keys=True) + "\n")
    print(f"{len(RUNS)} runs at {build()}")
