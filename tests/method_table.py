"""The table of docs/choose.md that shows where each method runs, from runs of two rounds.

`python tests/method_table.py` prints it.
"""

import warnings

import numpy as np
from scipy import sparse

import metaspan as ms

METHODS = {
    "ANIL": [ms.ANIL(alpha=0.01)],
    "FO-ANIL": [ms.ANIL(alpha=0.01, first_order=True)],
    "MAML, FO-MAML": [ms.MAML(alpha=0.01), ms.MAML(alpha=0.01, first_order=True)],
    '`MAML(moves="body")`': [ms.MAML(alpha=0.01, moves="body")],
    "average risk": [ms.AverageRisk()],
    "FedAvg, Reptile": [ms.FedAvg(alpha=0.01), ms.Reptile(alpha=0.01)],
    "RidgeANIL": [ms.RidgeANIL(), ms.RidgeANIL(first_order=True)],
    "FedRep": [ms.FedRep(), ms.FedRep(separate=True)],
    "linear MAML": [ms.LinearMAML(alpha=-0.1), ms.LinearMAML(first_order=True)],
    "linear attention": [ms.LinearAttention(alpha=0.1)],
    "FedAvg with fresh steps": [ms.FedAvg(alpha=0.01, fresh_steps=True)],
    "Meta-SGD": [
        ms.MetaSGD(alpha=0.01, beta_alpha=1e-4),
        ms.MetaSGD(alpha=0.01, beta_alpha=1e-4, per="head", first_order=True),
        ms.MetaSGD(alpha=0.01, beta_alpha=1e-4, moves="both"),
    ],
    "co-learner": [ms.CoLearner(alpha=0.01), ms.CoLearner(alpha=0.01, moves="both")],
    "AltGDmin": [ms.AltGDmin(), ms.AltGDmin(separate=True)],
    "FO-ANIL with momentum, lookahead and average": [
        ms.ANIL(
            alpha=0.01,
            first_order=True,
            step=ms.OuterStep(momentum=0.5, lookahead=(2, 0.5), average=True),
        )
    ],
    'FO-ANIL with `rule="adam"` or `"sign"`': [
        ms.ANIL(alpha=0.01, first_order=True, step=ms.OuterStep(rule=rule))
        for rule in ("adam", "sign")
    ],
}
METHODS["`privacy=` without noise"] = [ms.ANIL(alpha=0.01, privacy=ms.UserDP(clip=1, multiplier=0))]
METHODS["`privacy=` with noise"] = [ms.ANIL(alpha=0.01, privacy=ms.UserDP(clip=1, multiplier=1))]
TASKS = {"d": 11, "k": 2, "noise": 0.1}
FINITE = {"n": 3, "m_in": 4, "m_out": 4}
SHARED = {"m_out": None, "shared_samples": True}
# The arguments of LinearTasks and train that make an engine run.
LAWS = {
    "population": ({}, {"n": 3}),
    "spectrum": ({"spectrum": 0.5}, {"n": 3}),
    "collapsed": ({}, {**FINITE, "engine": "collapsed"}),
    "inner infinite": ({}, {**FINITE, "m_in": None}),
    "outer infinite": ({}, {**FINITE, "m_out": None}),
    "shared": ({}, {**FINITE, **SHARED, "engine": "collapsed"}),
    "tasks infinite": ({}, {**FINITE, "n": None}),
    "pool": ({}, {"pool": 3, **FINITE, "engine": "collapsed"}),
    "sampled": ({"features": "uniform"}, FINITE),
}
ROUTES = ("gram", "vector", "dual")


def batch_of(is_sparse):
    """A batch of dense or sparse features."""
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((3, 8, 9)), rng.standard_normal((3, 8))
    if not is_sparse:
        return ms.TaskBatch.split(X, y, m_in=4)
    rows = [sparse.csr_matrix(task) for task in X]
    inner, outer = [r[:4] for r in rows], [r[4:] for r in rows]
    return ms.TaskBatch(inner, list(y[:, :4]), outer, list(y[:, 4:]))


def outcome(tasks, method, run):
    """Return "yes", or the error message if the run is refused."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            ms.train(tasks, method, rounds=2, **run)
        except ValueError as error:
            return str(error).partition("; got")[0]
    return "yes"


def width_of(methods):
    """The width of a learner: 1 for linear MAML, whose representation is one vector."""
    return 1 if isinstance(methods[0], ms.LinearMAML) else 2


def cells(methods):
    """The outcomes of all methods, by column of the table."""
    row = {}
    for column, (law, run) in LAWS.items():
        tasks = ms.LinearTasks(**TASKS, **law)
        row[column] = [outcome(tasks, method, run) for method in methods]
    for kind in ("arrays", "sparse"):
        batch = batch_of(kind == "sparse")
        for route in ROUTES:
            run = {"width": width_of(methods), "route": route}
            row[f"{kind}, {route}"] = [outcome(batch, method, run) for method in methods]
    return row


def table():
    """The Markdown of the table, and the numbered sentences to which its cells refer."""
    sentences: list[str] = []
    columns = [*LAWS, *(f"{kind}, {route}" for kind in ("arrays", "sparse") for route in ROUTES)]
    lines = [f"| | {' | '.join(columns)} |", f"|---|{'---|' * len(columns)}"]
    for name, methods in METHODS.items():
        row = cells(methods)
        shown = []
        for column in columns:
            marks = []
            for text in row[column]:
                if text == "yes":
                    marks.append("yes")
                    continue
                if text not in sentences:
                    sentences.append(text)
                marks.append(f"[{sentences.index(text) + 1}]")
            shown.append(marks[0] if len(set(marks)) == 1 else ", ".join(marks))
        lines.append(f"| {name} | {' | '.join(shown)} |")
    notes = [f"{i}. `{text}`" for i, text in enumerate(sentences, 1)]
    return "\n".join([*lines, "", *notes])


if __name__ == "__main__":
    print(table())
