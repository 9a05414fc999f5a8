"""
Does sharing help on my data?
=============================

Many small regressions, such as one for each customer, sensor or patient, can share what they learn:
if their coefficients are close to combinations of a few common directions, these directions can be
found from the rows of all tasks, and a task then needs only a few more rows than there are
directions. This script makes three data sets that look the same, with 60 tasks, 30 features, and
coefficients and noise of the same size:

- the coefficients of all tasks *share two directions*;
- the tasks share *nothing*;
- the coefficients *share a mean*: each task has the mean of all tasks plus a part of its own.

Sharing components helps on the first data set, and harms or does not help on the other two. The
cross-validation of ``sharing_gain`` tells these cases apart. On the third, the right method is
linear MAML, with which the script ends. The script digits.py asks the same question about images.
"""

import argparse

import matplotlib.pyplot as plt
import numpy as np

import metaspan as ms

parser = argparse.ArgumentParser(description="Does sharing help on my data?")
parser.add_argument("--quick", action="store_true", help="fewer numbers of rows per task")
quick = parser.parse_args().quick
n, d, noise = 60, 30, 0.5

# %%
# Three data sets that look the same
# ----------------------------------
#
# ``LinearTasks`` describes all three: k directions, along which coefficients have a mean and a
# variance, and a spread, which is the size of each task's own part. In all three, the coefficients
# of a task have a mean squared length of 1. ``hold_out`` sets 200 tasks aside as new tasks, and
# leaves n tasks at hand. Each task also has 50 test rows, on which the model of a new task is
# judged.

laws = {
    "two directions": ms.LinearTasks(d=d, k=2, noise=noise, heads=ms.GaussianHeads(cov=[0.5, 0.5])),
    "nothing": ms.LinearTasks(d=d, k=1, noise=noise, heads=ms.GaussianHeads(cov=[0.0]), spread=1.0),
    "a mean": ms.LinearTasks(
        d=d,
        k=1,
        noise=noise,
        heads=ms.GaussianHeads(cov=[0.0], mean=[0.8**0.5]),
        spread=0.2**0.5,
    ),
}


def draw(name, m):
    """Return the tasks at hand and the new tasks, with m rows and 50 test rows each."""
    return laws[name].sample(n + 200, m, 50, seed=m).hold_out(tasks=200, seed=0)


# %%
# The verdict
# -----------
#
# ``sharing_gain`` leaves out rows of each task, and predicts them in three ways: with shared
# components, by ridge regression of each task alone, and by one ridge regression for all tasks. An
# error of 1 is that of predicting the mean of a task. The gain compares shared components with the
# better of the other two, and its standard error is computed from the scatter over the tasks. Look
# at three things:
#
# - the *gain*, which should exceed two standard errors;
# - the *rank* that ``rank="cv"`` chooses: a small one if few directions are shared, and close to
#   the largest that is tried, 10, if every task has a direction of its own;
# - ``explained_``, the share of the variance of the responses that each component explains, and
#   ``mean_head_``: the mean of the heads over the tasks, in units of their standard deviation. A
#   mean of several units says that the tasks have the same coefficients, not the same directions.
#
# The components are the first principal directions of the tasks' ridge regressions
# (``method="single-task"``), which takes a fraction of a second, also with ``rank="cv"``.

options = dict(rank="cv", method="single-task", fit_intercept=False)
verdicts, models = {}, {}
for name in laws:
    batch, _ = draw(name, 20)
    X, y = list(batch.X_in), list(batch.y_in)
    model = ms.SharedRepresentation(**options).fit(X, y)
    verdicts[name], models[name] = model.sharing_gain(X, y), model
    print(f"{name}: {verdicts[name]}")
    explained = ", ".join(f"{share:.2f}" for share in model.explained_)
    print(f"  rank {model.rank_}, explained [{explained}], ", end="")
    print(f"largest mean of a head {np.abs(model.mean_head_).max():.1f}")

# %%
# Once the rank is known, the default method, alternating least squares, finds the components more
# accurately if the rows of a task are several times the number of components.

batch, _ = draw("two directions", 20)
refined = ms.SharedRepresentation(models["two directions"].rank_, fit_intercept=False)
refined.sharing_gain(list(batch.X_in), list(batch.y_in))
print(f"two directions, default method: {refined.sharing_gain_}")

# %%
# How the gain depends on the rows per task
# -----------------------------------------
#
# Where two directions are shared, the gain first grows with the rows of a task, since components
# have to be found before they can help, and then shrinks: a task with many rows needs no help. On
# the other two data sets, shared components are not better at any number of rows.

sizes = [6, 20, 80] if quick else [6, 10, 20, 40, 80]
gains = {name: [] for name in laws}
for name, of_name in gains.items():
    for m in sizes:
        batch, _ = draw(name, m)
        model = ms.SharedRepresentation(**options)
        of_name.append(model.sharing_gain(list(batch.X_in), list(batch.y_in)))
print("\n| rows per task | " + " | ".join(laws) + " |")
for i, m in enumerate(sizes):
    shown = (
        f"{100 * g[i].gain:.0f} % +/- {100 * g[i].standard_error:.0f} %" for g in gains.values()
    )
    print(f"| {m} | {' | '.join(shown)} |")

# %%
# Linear MAML for tasks that share a mean
# ---------------------------------------
#
# On the third data set, one model for all tasks has the least error: the tasks share a point, not a
# subspace. A single component can express this point, since its direction spans a subspace of one
# dimension. The model of a task can then move only along this direction, whereas the task's own
# part points anywhere. Linear MAML learns the point, and moves from it by one gradient step in all
# directions. ``linear_maml_step`` computes the best step size from the spread and the noise.
#
# All methods learn from the rows of the n tasks at hand, adapt to the m rows of each new task, and
# are judged by the mean squared error on its test rows, where the noise alone gives 0.25.

new_errors = {}
print("\n| rows per task | linear MAML | one model for all | shared components | each task alone |")
for m in (10, 40) if quick else (10, 20, 40):
    batch, new = draw("a mean", m)
    on_half, on_all = (ms.theory.linear_maml_step(laws["a mean"], m=rows) for rows in (m // 2, m))
    halves = ms.TaskBatch.split(batch.X_in, batch.y_in, m_in=m // 2)
    run = ms.train(halves, ms.LinearMAML(alpha=on_half, beta=0.1), rounds=500, record_every=500)
    risk = ms.evaluate(run.B, run.w, new, ms.LinearMAML(alpha=on_all))
    whole = ms.TaskBatch(batch.X_in, batch.y_in)
    pooled = ms.fit(whole, "pooled", width=1)
    point = pooled.B[:, 0] * pooled.heads[0, 0]
    model = ms.SharedRepresentation(**options).fit(list(batch.X_in), list(batch.y_in))
    shared = np.mean(
        [
            np.square(model.adapt(X, y).predict(X_test) - y_test).mean()
            for X, y, X_test, y_test in zip(new.X_in, new.y_in, new.X_out, new.y_out, strict=True)
        ]
    )
    new_errors[m] = {
        "linear MAML": 2 * risk.adapted.mean,  # losses (1) are half of the squared error
        "one model for all": float(np.square(new.X_out @ point - new.y_out).mean()),
        "shared components": float(shared),
        "each task alone": 2 * risk.single_task_ridge.mean,
    }
    print(f"| {m} | " + " | ".join(f"{error:.3f}" for error in new_errors[m].values()) + " |")

# %%
# With 10 rows, linear MAML is as good as one model for all tasks. Its lead grows with the rows of
# the new task, from which it learns this task's own part. Shared components gain much less from
# more rows, and never become clearly better than one model for all tasks.
#
# The picture shows the gains, with bands of two standard errors.

fig, ax = plt.subplots(figsize=(5.5, 3.6), layout="constrained")
for (name, of_name), marker in zip(gains.items(), "os^", strict=True):
    gain = 100 * np.array([g.gain for g in of_name])
    band = 200 * np.array([g.standard_error for g in of_name])
    (line,) = ax.plot(sizes, gain, marker=marker, label=name)
    ax.fill_between(sizes, gain - band, gain + band, color=line.get_color(), alpha=0.2, lw=0)
ax.axhline(0.0, color="0.35", ls="--", lw=1.0)
ax.set(xscale="log", xticks=sizes, xticklabels=sizes, ylim=(-120, 80))
ax.minorticks_off()
ax.set(xlabel="rows per task", ylabel="gain of shared components (%)")
ax.legend(title="tasks share", frameon=False, loc="lower left")
fig.savefig("sharing.png", dpi=200)
