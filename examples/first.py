"""Train by five methods.

The picture shows the distance to the true subspace over rounds, for the four methods of the paper
and average risk. The curves of the four methods coincide.
"""

import metaspan as ms

tasks = ms.LinearTasks(d=20, k=3)
steps = dict(alpha=0.1, beta=0.1)
methods = {
    "Exact ANIL": ms.ANIL(**steps),
    "FO-ANIL": ms.ANIL(**steps, first_order=True),
    "Exact MAML": ms.MAML(**steps),
    "FO-MAML": ms.MAML(**steps, first_order=True),
    "average risk": ms.AverageRisk(beta=0.1),
}
common = dict(rounds=1500, n=3, trials=20, stop=None)
runs = {name: ms.train(tasks, method, **common) for name, method in methods.items()}
ms.plot(runs).figure.savefig("first.png", dpi=200)
