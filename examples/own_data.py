"""Data of one's own: a thousand rounds on fixed samples in a hundred thousand dimensions.

Replace the arrays by your own, (n, m, d) and (n, m) or lists of them. What the rounds need of the
data is its Gram matrix, computed once; after that a round does not depend on d.
"""

import numpy as np

import metaspan as ms

rng = np.random.default_rng(0)
d, k, n, m = 100_000, 3, 20, 24
B_star = np.linalg.qr(rng.standard_normal((d, k)))[0]
X = rng.standard_normal((n, m, d))
y = np.einsum("nmd,nd->nm", X, rng.standard_normal((n, k)) @ B_star.T)
batch = ms.TaskBatch.split(X, y, m_in=12, B_star=B_star)

method = ms.ANIL(alpha=0.1, beta=0.0005, first_order=True)
call = dict(width=k, rounds=1000, record="loss_out")
print(ms.estimate(batch, method, **call))
r = ms.train(batch, method, **call)
print(f"{r.config.route} route: {r.timings['run']:.2f} s for {r.status.round} rounds")
loss = r.trace["loss_out"]
print(f"outer loss {loss[0]:.3g} at the start, {loss[-1]:.3g} at the end")

r.plot(y="loss_out").figure.savefig("own_data.png", dpi=200)
