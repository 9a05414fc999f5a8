"""The four methods of the paper, two of them here: distance to the true subspace against rounds."""

import metaspan as ms

tasks = ms.LinearTasks(d=20, k=3)
common = dict(rounds=1500, n=3, trials=20, stop=None)
runs = {
    "Exact ANIL": ms.train(tasks, ms.ANIL(alpha=0.1, beta=0.1), **common),
    "FO-MAML": ms.train(tasks, ms.MAML(alpha=0.1, beta=0.1, first_order=True), **common),
    "average risk": ms.train(tasks, ms.AverageRisk(beta=0.1), **common),
}
ms.plot(runs).figure.savefig("first.png", dpi=200)
