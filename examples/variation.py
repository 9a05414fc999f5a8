"""Vary the dimension.

What does a larger dimension cost in the example `first.py`, up to 10^12 features? From a random
start, dist begins to decrease after a number of rounds that grows like log(d). After this delay,
dist decreases at the same rate for every d. The time of a round does not depend on d.
"""

import metaspan as ms

runs = {}
for power in (2, 4, 6, 8, 10, 12):
    tasks = ms.LinearTasks(d=10**power, k=3, heads=ms.GaussianHeads(cov=[1.0, 1.0, 0.8]))
    method = ms.ANIL(alpha=0.1, beta=0.1, inner_steps=2)
    runs[f"d = 1e{power}"] = ms.train(tasks, method, rounds=4000, n=10, trials=10, stop=None)

for name, run in runs.items():
    below = (run.trace["dist"] < 1e-3).argmax(axis=1).mean()
    print(f"{name}: dist below 1e-3 after {below:.0f} rounds, in {run.timings['run']:.2f} s")
ms.plot(runs, labels="direct").figure.savefig("variation.png", dpi=200)
