"""Many runs side by side on samples drawn at full dimension; tests compare laws with them.

The axes of arrays are run, task, sample and feature. Coordinates of B are not used.
"""

import numpy as np

from .outer import Descent

OUTER_GRADIENT, INNER_MOVES, INNER_GRADIENT, ATTENTION = 0, 1, 2, 3


def rows(rng, features, dof, shape):
    """Samples (..., m, d) of a law with covariance I."""
    g = rng.standard_normal(shape)
    if features == "gaussian":
        return g
    if features == "sphere":
        return g * np.sqrt(shape[-1]) / np.linalg.norm(g, axis=-1, keepdims=True)
    assert features == "student-t"
    return g * np.sqrt((dof - 2.0) / rng.chisquare(dof, (*shape[:-1], 1)))


def data(rng, theta, m, noise, *, features="gaussian", dof=0.0):
    """X (..., m, d), y (..., m) and the noise variance that y leaves out; m = None is infinite."""
    if m is None:  # the design sqrt(d) I has E x x^T = I
        d = theta.shape[-1]
        X = np.broadcast_to(np.sqrt(d) * np.eye(d), (*theta.shape[:-1], d, d))
        return X, np.sqrt(d) * theta, noise**2
    X = rows(rng, features, dof, (*theta.shape[:-1], m, theta.shape[-1]))
    y = (X @ theta[..., None])[..., 0]
    return X, y + noise * rng.standard_normal(y.shape), 0.0


def times(A, v):
    return (A @ v[..., None])[..., 0]


def transposed_times(A, v):
    return (np.swapaxes(A, -1, -2) @ v[..., None])[..., 0]


def outer(u, v):
    return u[..., :, None] * v[..., None, :]


def loss(X, y, variance, B, w):
    r = times(X, times(B, w)) - y
    return 0.5 * (r**2).mean(axis=-1) + 0.5 * variance


def mean(by_B, by_w, method):
    """The means over tasks of contributions, each scaled to a norm of at most the method's clip."""
    if method.get("clip"):
        norm = np.sqrt((by_B**2).sum(axis=(-2, -1)) + (by_w**2).sum(axis=-1))
        factor = np.minimum(1.0, method["clip"] / norm)
        by_B, by_w = factor[..., None, None] * by_B, factor[..., None] * by_w
    return by_B.mean(axis=1), by_w.mean(axis=1)


def meta_gradient(B, w, inner, outer_set, method, *, losses=True):
    """Gradients by B (run, d, k) and w (run, k), adapted heads, and the three losses of tasks.

    Without `losses`, None takes their place.
    """
    X, y, variance = inner
    X_out, y_out, variance_out = outer_set
    n = X.shape[1]
    if method.get("solves_head"):
        return solved_gradient(B, w, inner, outer_set, method, losses=losses)
    if method.get("contribution") == ATTENTION:
        return attention_gradient(B, inner, outer_set, method, losses=losses)
    alpha, steps = method["alpha"], method["inner_steps"]
    moves_B, exact = method["adapt_B"], method["exact"]
    to_head = alpha if method.get("adapt_head", True) else 0.0
    Bs = [np.repeat(B[:, None], n, axis=1)]
    ws = [np.repeat(w[:, None], n, axis=1)]
    gs = []
    for _ in range(steps):
        g = transposed_times(X, times(X, times(Bs[-1], ws[-1])) - y) / X.shape[-2]
        gs.append(g)
        ws.append(ws[-1] - to_head * transposed_times(Bs[-1], g))
        Bs.append(Bs[-1] - alpha * outer(g, ws[-2]) if moves_B else Bs[-1])
    p = transposed_times(X_out, times(X_out, times(Bs[-1], ws[-1])) - y_out) / X_out.shape[-2]
    by_w, by_B = transposed_times(Bs[-1], p), outer(p, ws[-1])
    for j in reversed(range(steps if exact else 0)):
        # w' = w - alpha B^T g, B' = B - alpha g w^T, g = X^T (X B w - y) / m, backwards
        by_g = -to_head * times(Bs[j], by_w)
        old_w, old_B = by_w, by_B
        if moves_B:
            by_g = by_g - alpha * times(old_B, ws[j])
            by_w = by_w - alpha * transposed_times(old_B, gs[j])
        by_B = by_B - to_head * outer(gs[j], old_w)
        by_theta = transposed_times(X, times(X, by_g)) / X.shape[-2]
        by_w = by_w + transposed_times(Bs[j], by_theta)
        by_B = by_B + outer(by_theta, ws[j])
    values = losses and (
        loss(X, y, variance, Bs[0], ws[0]),
        loss(X, y, variance, Bs[-1], ws[-1]),
        loss(X_out, y_out, variance_out, Bs[-1], ws[-1]),
    )
    if method.get("contribution") == INNER_MOVES:
        by_B, by_w = Bs[0] - Bs[-1], ws[0] - ws[-1]
    return *mean(by_B, by_w, method), ws[-1], values or None


def solved_gradient(B, w, inner, outer_set, method, *, losses):
    """Such gradients for solved heads, by the implicit function theorem."""
    X, y, variance = inner
    X_out, y_out, variance_out = outer_set
    m, lam = X.shape[-2], method["penalty"]
    Bs, w_0 = B[:, None], np.repeat(w[:, None], X.shape[1], axis=1)
    Z, Z_out = X @ Bs, X_out @ Bs
    system = np.swapaxes(Z, -1, -2) @ Z / m + lam * np.eye(B.shape[-1])
    w_1 = np.linalg.solve(system, (transposed_times(Z, y) / m + lam * w_0)[..., None])[..., 0]
    r, r_out = times(Z, w_1) - y, times(Z_out, w_1) - y_out
    if method.get("contribution") == INNER_GRADIENT:
        by_B, by_w = outer(transposed_times(X, r) / m, w_1), lam * (w_0 - w_1)
    else:
        p = transposed_times(X_out, r_out) / X_out.shape[-2]
        by_B, by_w_1 = outer(p, w_1), transposed_times(Bs, p)
        a = np.linalg.solve(system, by_w_1[..., None])[..., 0]
        if method["exact"]:
            by_B = by_B - outer(transposed_times(X, r) / m, a)
            by_B = by_B - outer(transposed_times(X, times(Z, a)) / m, w_1)
        by_w = lam * a
    values = losses and (
        loss(X, y, variance, Bs, w_0),
        loss(X, y, variance, Bs, w_1),
        loss(X_out, y_out, variance_out, Bs, w_1),
    )
    return *mean(by_B, by_w, method), w_1, values or None


def attention_gradient(S, inner, outer_set, method, *, losses):
    """Such gradients for linear attention at S = [A, B]; the heads [h; 0] stand for w_J."""
    X, y, variance = inner
    X_out, y_out, variance_out = outer_set
    k, alpha = S.shape[-1] // 2, method["alpha"]
    A, B = S[:, None, :, :k], S[:, None, :, k:]
    moment = transposed_times(X, y) / X.shape[-2]
    h = alpha * transposed_times(B, moment)
    r_out = times(X_out, times(A, h)) - y_out
    p = transposed_times(X_out, r_out) / X_out.shape[-2]
    by_A, by_B = outer(p, h), alpha * outer(moment, transposed_times(A, p))
    values = losses and (
        loss(X, y, variance, A, np.zeros_like(h)),
        loss(X, y, variance, A, h),
        loss(X_out, y_out, variance_out, A, h),
    )
    by_S = np.concatenate([by_A, by_B], axis=-1)
    heads = np.concatenate([h, np.zeros_like(h)], axis=-1)
    return *mean(by_S, np.zeros_like(heads), method), heads, values or None


def dist(B, B_star):
    """Sine of the largest principal angle of every run."""
    Q = np.linalg.qr(B)[0]
    if B.shape[-1] < B_star.shape[-1]:
        return np.ones(len(B))
    off = B_star - Q @ (np.swapaxes(Q, -1, -2) @ B_star)
    return np.linalg.norm(off, 2, axis=(-2, -1))


def train(rng, *, runs, rounds, n, d, k_star, B, w, method, m_in, m_out, noise, **law):
    """Each run's final dist, w_norm, perp_norm, sigma_max, and mean losses of one more round.

    B (d, k) and w (k,) are the start of every run; heads are standard normal. With a `spread`,
    (33), the entries of theta have further normals of variance spread^2 / d. `step` has the options
    of `outer.Descent`.
    """
    shared, spread = law.pop("shared", False), law.pop("spread", 0.0)
    B_star = np.eye(d, k_star)
    step = {"beta": method["beta"], **law.pop("step", {})}
    descent = Descent(np.repeat(B[None], runs, axis=0), np.repeat(w[None], runs, axis=0), **step)
    for round in range(rounds + 1):
        theta = rng.standard_normal((runs, n, k_star)) @ B_star.T
        if spread:
            theta += spread / np.sqrt(d) * rng.standard_normal((runs, n, d))
        inner = data(rng, theta, m_in, noise, **law)
        outer_set = inner if shared else data(rng, theta, m_out, noise, **law)
        by_B, by_w, _, losses = meta_gradient(
            *descent.now, inner, outer_set, method, losses=round == rounds
        )
        if method.get("multiplier"):
            s = method["multiplier"] * method["clip"] / n
            by_B = by_B + s * rng.standard_normal(by_B.shape)
            by_w = by_w + s * rng.standard_normal(by_w.shape)
        if round < rounds:
            descent.step(by_B, by_w)
    B, w = descent.result
    if method.get("contribution") == ATTENTION:
        B = B[..., B.shape[-1] // 2 :]
    return {
        "dist": dist(B, B_star),
        "w_norm": np.linalg.norm(w, axis=-1),
        "perp_norm": np.linalg.norm(B[:, k_star:], 2, axis=(-2, -1)),
        "sigma_max": np.linalg.norm(B, 2, axis=(-2, -1)),
        "loss_in": losses[0].mean(axis=1),
        "loss_adapted": losses[1].mean(axis=1),
        "loss_out": losses[2].mean(axis=1),
    }
