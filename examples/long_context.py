"""Identify a linear system.

The system has low rank and many lags, and is identified from trajectories with few samples. The
next state is a linear combination of the last p states plus noise, x[t+1] = A [x[t]; ...; x[t-p+1]]
+ e[t], and the matrix A (d, p d) has the rank r. Every coordinate of the next state is a task. All
tasks have the same features, the p d coordinates of the lagged states, and the vectors of their p d
coefficients share a subspace of r dimensions. The printed tables show how the relative error of A
depends on the number of samples, the number of trajectories and the rank, and how it grows if the
model has fewer lags than the system.
"""

import numpy as np
from matplotlib.figure import Figure

import metaspan as ms

d, p, r, noise = 10, 3, 2, 1.0
ESTIMATORS = ("reduced-rank", "altmin")


def system(rank, seed):
    """Return a matrix A (d, p d) of the given rank, scaled so that the system is stable."""
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((d, rank)) @ rng.standard_normal((rank, p * d))
    companion = np.eye(p * d, k=-d)  # one step of the last p states, stacked
    companion[:d] = A
    # Lag l of A is multiplied by c^l, which multiplies all eigenvalues by c.
    c = 0.8 / np.abs(np.linalg.eigvals(companion)).max()
    return A * np.repeat(c ** np.arange(1, p + 1), d)


def simulate(A, steps, trajectories, lags, seed=1):
    """Return lagged states X (rows, lags d) and next states Y (rows, d) of all trajectories."""
    rng = np.random.default_rng(seed)
    X, Y = [], []
    for _ in range(trajectories):
        states = list(rng.standard_normal((p, d)))
        for _ in range(50 + steps):
            past = np.concatenate(states[: -p - 1 : -1])  # the latest state comes first
            states.append(A @ past + noise * rng.standard_normal(d))
        for t in range(len(states) - steps, len(states)):
            X.append(np.concatenate(states[t - lags : t][::-1]))
            Y.append(states[t])
    return np.array(X), np.array(Y)


def errors(steps, trajectories=1, rank=r, lags=p, estimators=ESTIMATORS):
    """Return the relative errors of A, that of least squares first; missing lags are zero in A."""
    A = system(rank, seed=0)
    X, Y = simulate(A, steps, trajectories, lags)
    batch = ms.TaskBatch([X] * d, list(np.ascontiguousarray(Y.T)))  # one X for all tasks
    estimates = [np.linalg.lstsq(X, Y, rcond=None)[0].T]
    for estimator in estimators:
        result = ms.fit(batch, estimator, width=rank)
        estimates.append(result.heads @ result.B.T)
    padded = [np.pad(estimate, ((0, 0), (0, (p - lags) * d))) for estimate in estimates]
    return [np.linalg.norm(estimate - A) / np.linalg.norm(A) for estimate in padded]


names = ("least squares", *ESTIMATORS)
print(f"{'relative error of A':<24}" + "".join(f"{name:>15}" for name in names))
lengths, rows = (100, 200, 400, 800), []
for steps in lengths:
    row = errors(steps)
    rows.append(row)
    print(f"{f'one trajectory, T = {steps}':<24}" + "".join(f"{value:>15.3f}" for value in row))
for trajectories in (1, 4, 16):
    row = errors(100, trajectories=trajectories)
    label = f"T = 100, {trajectories} trajectories"
    print(f"{label:<24}" + "".join(f"{value:>15.3f}" for value in row))
for rank in (1, 2, 4):
    row = errors(200, rank=rank)
    print(f"{f'T = 200, rank {rank}':<24}" + "".join(f"{value:>15.3f}" for value in row))
for lags in (1, 2, 3):
    row = errors(200, lags=lags)
    print(f"{f'T = 200, {lags} of {p} lags':<24}" + "".join(f"{value:>15.3f}" for value in row))

_, iterated = errors(400, estimators=["meta-sp"])
print(f"T = 400, Meta Subspace Pursuit: {iterated:.3f}, which takes hundreds of iterations")

figure = Figure(figsize=(5.2, 3.6), layout="constrained")
ax = figure.add_subplot(xscale="log")
styles = ("-", "-", "--")  # the errors of the two estimators nearly coincide
for name, values, style in zip(names, zip(*rows, strict=True), styles, strict=True):
    ax.plot(lengths, values, marker="o", ls=style, label=name)
ax.set(xlabel="length T of one trajectory", ylabel="relative error of A", ylim=(0, None))
ax.set_xticks(lengths, [str(steps) for steps in lengths])
ax.minorticks_off()
ax.legend(frameon=False)
figure.savefig("long_context.png", dpi=200)
