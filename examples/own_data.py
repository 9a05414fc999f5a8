"""Train on data of your own.

The samples are fixed, and the representation is evaluated on held-out tasks. Replace the arrays X
(n, m, d) and y (n, m) by your own, or pass lists with one array for each task. The example has
12,000 samples, forty times as many as the d k = 300 unknowns of the representation. If there were
fewer samples than unknowns, the training loss would still fall, but the error on new tasks would
not.
"""

import numpy as np

import metaspan as ms

rng = np.random.default_rng(0)
d, k, n, held_out, m = 100, 3, 300, 50, 40
B_star = np.linalg.qr(rng.standard_normal((d, k)))[0]
X = rng.standard_normal((n + held_out, m, d))
y = np.einsum("nmd,nd->nm", X, rng.standard_normal((n + held_out, k)) @ B_star.T)
y += 0.1 * rng.standard_normal(y.shape)

batch = ms.TaskBatch.split(X[:n], y[:n], m_in=20, B_star=B_star)
new = ms.TaskBatch.split(X[n:], y[n:], m_in=20)

method = ms.ANIL(alpha=0.1, beta=0.2, first_order=True)
call = dict(width=k, rounds=1000, record=("loss_out", "dist"))
print(ms.estimate(batch, method, **call))
r = ms.train(batch, method, **call)
print(f"{r.config.route} route: {r.timings['run']:.2f} s for {r.status.round} rounds")


def loss_on_new_tasks(heads):
    """Return the mean loss (1) on outer samples of the held-out tasks; each task has a head."""
    predicted = (new.X_out @ r.B @ heads[:, :, None])[:, :, 0]
    return 0.5 * np.mean((predicted - new.y_out) ** 2)


Z = new.X_in @ r.B
heads = {
    "zero": np.zeros((held_out, k)),
    "one inner step": ms.adapt(r.B, r.w, new.X_in, new.y_in, method),
    "least squares": np.array(
        [np.linalg.lstsq(z, t, rcond=None)[0] for z, t in zip(Z, new.y_in, strict=True)]
    ),
}
loss = r.trace["loss_out"]
print(f"training tasks, one inner step: loss {loss[0]:.3f} at the start, {loss[-1]:.3f} at the end")
for name, rows in heads.items():
    print(f"tasks held out, {name}: loss {loss_on_new_tasks(rows):.3f}")
print(f"distance to the span of B_star: {r.trace['dist'][-1]:.3f}")

r.plot(y="dist").figure.savefig("own_data.png", dpi=200)
