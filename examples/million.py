"""Train in a million dimensions.

The run has a thousand rounds, with new samples in every round. Each round has 2,000 tasks with
5,025 samples of a million features, which would be 80 terabytes of numbers. The samples are never
drawn: the package draws only those sums over the samples that a round needs, from their exact
distribution, in which d is only a parameter. For comparison, the script times such a round on drawn
samples, at a size at which the samples fit in memory.
"""

import time

import numpy as np

import metaspan as ms

d, k, n, m_in, m_out, noise, alpha, rounds = 10**6, 3, 2000, 25, 5000, 0.1, 0.1, 1000
tasks = ms.LinearTasks(d=d, k=k, noise=noise)
method = ms.ANIL(alpha=alpha, beta=0.2, first_order=True)
r = ms.train(tasks, method, rounds=rounds, n=n, m_in=m_in, m_out=m_out, stop=None)
seconds = r.timings["run"]
dist = r.trace["dist"]
print(f"metaspan: {rounds:,} rounds at d = {d:,} in {seconds:.1f} s ({r.config.engine} engine)")
print(f"dist {dist[0]:.4f} at the start, {dist[-1]:.4f} at the end")

# For comparison: first-order ANIL on samples that are drawn at full dimension, in PyTorch or, if
# PyTorch is not installed, in NumPy.
try:
    import torch

    name, eye = "PyTorch", torch.eye(10**4, k, dtype=torch.float64)

    def draw(*shape):
        return torch.randn(shape, dtype=torch.float64)

except ImportError:
    name, eye = "NumPy", np.eye(10**4, k)
    rng = np.random.default_rng(0)

    def draw(*shape):
        return rng.standard_normal(shape)


def explicit_gradient(B, w, B_star, n):
    """Return the gradients with respect to B and to w, each averaged over n tasks."""
    grad_B, grad_w = 0 * B, 0 * w
    for _ in range(n):
        theta = B_star @ draw(k)
        X = draw(m_in, len(B))
        r = X @ (B @ w - theta) - noise * draw(m_in)
        adapted = w - alpha / m_in * (B.T @ (X.T @ r))
        X = draw(m_out, len(B))
        p = X.T @ (X @ (B @ adapted - theta) - noise * draw(m_out)) / m_out
        grad_B, grad_w = grad_B + p[:, None] * adapted / n, grad_w + B.T @ p / n
    return grad_B, grad_w


few, times = 1, []
for _ in range(3):
    began = time.perf_counter()
    explicit_gradient(eye / alpha**0.5, 0 * eye[0], eye, few)
    times.append(time.perf_counter() - began)
measured = min(times)
size = f"d = {len(eye):,} and n = {few}"
print(f"{name}: {measured:.2f} s for one round with the drawing of its samples, at {size}")
days = measured * (n / few) * (d / len(eye)) * rounds / 86_400
print(f"{name}, EXTRAPOLATED to d = {d:,}, n = {n:,} and {rounds:,} rounds: {days:,.0f} days")
print("(not measured: taken as linear in the tasks, in d and in the rounds)")

# The limit of many tasks and dimensions predicts the whole curve, and the floor at which it ends.
lines = {"limit": ms.theory.limit_line(r), "floor": ms.theory.floor_line(r)}
try:
    ms.plot({f"FO-ANIL, {seconds:.1f} s": r}, predictions=lines).figure.savefig(
        "million.png", dpi=200
    )
except ImportError as error:
    print(f"no figure: {error}")
