"""A variation of one's own: a billion features, a learner that is too wide, more inner steps.

Population training does not depend on the dimension, so nothing here is large. The learner has
width 5 where the truth has rank 3; its subspace still comes to contain the true one.
"""

import numpy as np

import metaspan as ms

tasks = ms.LinearTasks(d=10**9, k=3, heads=ms.GaussianHeads(cov=np.diag([1.0, 1.0, 0.5])))
runs = {}
for steps in (1, 2, 3):
    method = ms.ANIL(alpha=0.05, beta=0.1, inner_steps=steps)
    runs[f"{steps} inner steps"] = ms.train(
        tasks, method, rounds=6000, n=10, width=5, trials=8, record=("dist", "loss_out"), stop=None
    )

for name, run in runs.items():
    last = run.trace["dist"][:, -1]
    print(f"{name}: dist {np.exp(np.log(last).mean()):.1e} after {run.trace['round'][-1]} rounds")
ms.plot(runs, y="dist").figure.savefig("variation.png", dpi=200)
