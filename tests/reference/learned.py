"""Learned step sizes (34), a co-learner (35) and fresh local steps (25), written out."""

import numpy as np

from .explicit import data, dist, loss, outer, times, transposed_times


def adapt(B, w, inner, alpha, steps, *, moves_B=False):
    """B and w of a task after steps of size alpha, a number or a vector with an entry for each w_i.

    Arrays may be complex.
    """
    for _ in range(steps):
        g = inner.feature_gradient(B, w)
        B, w = B - alpha * np.outer(g, w) if moves_B else B, w - alpha * (B.T @ g)
    return B, w


def learned_loss(B, w, alpha, tasks, steps, *, moves_B=False):
    """(3) as a function of the step sizes too."""
    ends = [adapt(B, w, inner, alpha, steps, moves_B=moves_B) for inner, _ in tasks]
    return sum(o.loss(*end) for (_, o), end in zip(tasks, ends, strict=True)) / len(tasks)


def co_learner_loss(B, w, v, tasks, *, alpha, steps, gamma, moves_B=False):
    """(3) plus gamma times average risk (4) at (B, v)."""
    private = sum(outer.loss(B, v) for _, outer in tasks) / len(tasks)
    return learned_loss(B, w, alpha, tasks, steps, moves_B=moves_B) + gamma * private


def first_order_alpha(B, w, alpha, tasks, steps, *, moves_B=False, per_entry=False):
    """(34) with the adjoints of (B_J, w_J) at every step."""
    total = 0.0
    for inner, outer_set in tasks:
        B_J, w_J = adapt(B, w, inner, alpha, steps, moves_B=moves_B)
        p = outer_set.feature_gradient(B_J, w_J)
        omega, Omega = B_J.T @ p, np.outer(p, w_J)
        for j in range(steps):
            B_j, w_j = adapt(B, w, inner, alpha, j, moves_B=moves_B)
            g = inner.feature_gradient(B_j, w_j)
            part = -omega * (B_j.T @ g)
            total = total + (part if per_entry else part.sum())
            if moves_B:
                total = total - w_j @ (Omega.T @ g)
    return np.atleast_1d(total / len(tasks))


def fresh_steps(B, w, inner, alpha, steps):
    """B and w after local steps, each on a block of its own of the inner set."""
    m = len(inner.y) // steps
    for j in range(steps):
        block = type(inner)(inner.X[j * m : (j + 1) * m], inner.y[j * m : (j + 1) * m])
        B, w = adapt(B, w, block, alpha, 1, moves_B=True)
    return B, w


def means(parts, method):
    """The means over tasks of gradients, clipped by the norm of what the method learns, (29)."""
    if method.get("clip"):
        is_learned = (True, True, method["step_sizes"] > 0, method["private_head"])
        square = sum(
            (part**2).sum(axis=tuple(range(2, part.ndim)))
            for part, counts in zip(parts, is_learned, strict=False)
            if counts
        )
        factor = np.minimum(1.0, method["clip"] / np.sqrt(square))
        parts = [factor.reshape(*factor.shape, *(1,) * (part.ndim - 2)) * part for part in parts]
    return tuple(part.mean(axis=1) for part in parts)


def explicit_gradient(state, inner, outer_set, method):
    """Gradients by B, w, alpha (run, 1 or k) and v of many runs, as in `explicit.meta_gradient`."""
    B, w, alpha, v = state
    X, y, variance = inner
    X_out, y_out, variance_out = outer_set
    steps, moves_B, exact = method["inner_steps"], method["adapt_B"], method["exact"]
    n, a = X.shape[1], alpha[:, None]
    rows = X.shape[-2] // steps if method["fresh_steps"] else X.shape[-2]
    Bs, ws, gs = [np.repeat(B[:, None], n, axis=1)], [np.repeat(w[:, None], n, axis=1)], []
    for j in range(steps):
        taken = slice(j * rows, (j + 1) * rows) if method["fresh_steps"] else slice(None)
        X_j, y_j = X[..., taken, :], y[..., taken]
        gs.append(transposed_times(X_j, times(X_j, times(Bs[j], ws[j])) - y_j) / rows)
        ws.append(ws[j] - a * transposed_times(Bs[j], gs[j]))
        Bs.append(Bs[j] - outer(gs[j], a * ws[j]) if moves_B else Bs[j])
    losses = (
        loss(X, y, variance, Bs[0], ws[0]),
        loss(X, y, variance, Bs[-1], ws[-1]),
        loss(X_out, y_out, variance_out, Bs[-1], ws[-1]),
    )
    if method["contribution"] == 1:
        return *means((Bs[0] - Bs[-1], ws[0] - ws[-1]), method), 0 * alpha, 0 * v, losses
    p = transposed_times(X_out, times(X_out, times(Bs[-1], ws[-1])) - y_out) / X_out.shape[-2]
    by_w, by_B, by_alpha = transposed_times(Bs[-1], p), outer(p, ws[-1]), 0.0
    for j in reversed(range(steps)):
        part = -by_w * transposed_times(Bs[j], gs[j])
        if moves_B:
            part = part - ws[j] * transposed_times(by_B, gs[j])
        by_alpha = by_alpha + (part if alpha.shape[-1] > 1 else part.sum(axis=-1, keepdims=True))
        if not exact:
            continue
        by_g = -times(Bs[j], a * by_w)
        if moves_B:
            by_g = by_g - times(by_B, a * ws[j])
        through = transposed_times(X, times(X, by_g)) / X.shape[-2]
        new_w = by_w + transposed_times(Bs[j], through)
        if moves_B:
            new_w = new_w - a * transposed_times(by_B, gs[j])
        by_B = by_B - outer(gs[j], a * by_w) + outer(through, ws[j])
        by_w = new_w
    q = transposed_times(X_out, times(X_out, times(Bs[0], v[:, None])) - y_out) / X_out.shape[-2]
    gamma = method["private_weight"]
    by_B = by_B + gamma * outer(q, np.broadcast_to(v[:, None], q.shape[:-1] + v.shape[-1:]))
    by_v = gamma * transposed_times(Bs[0], q)
    return *means((by_B, by_w, by_alpha, by_v), method), losses


def train(rng, *, runs, rounds, n, d, k_star, B, w, alpha, v, method, m_in, m_out, noise, **law):
    """Records of runs at their end, as `explicit.train` returns them.

    The starts B, w, alpha and v are those of every run. With a `spread`, (33), the entries of theta
    have further normals of variance spread^2 / d.
    """
    shared, B_star = law.pop("shared", False), np.eye(d, k_star)
    spread = law.pop("spread", 0.0)
    method = {**method, "fresh_steps": method["fresh_steps"] and m_in is not None}
    B, w, alpha, v = (np.repeat(part[None], runs, axis=0) for part in (B, w, alpha, v))
    for round in range(rounds + 1):
        theta = rng.standard_normal((runs, n, k_star)) @ B_star.T
        if spread:
            theta += spread / np.sqrt(d) * rng.standard_normal((runs, n, d))
        inner = data(rng, theta, m_in, noise, **law)
        outer_set = inner if shared else data(rng, theta, m_out, noise, **law)
        *by, losses = explicit_gradient((B, w, alpha, v), inner, outer_set, method)
        if round == rounds:
            break
        if method.get("multiplier"):
            s = method["multiplier"] * method["clip"] / n
            by = [part + s * rng.standard_normal(part.shape) for part in by]
        B, w = B - method["beta"] * by[0], w - method["beta_head"] * by[1]
        alpha, v = alpha - method["beta_alpha"] * by[2], v - method["beta_head"] * by[3]
    return {
        "dist": dist(B, B_star),
        "w_norm": np.linalg.norm(w, axis=-1),
        "perp_norm": np.linalg.norm(B[:, k_star:], 2, axis=(-2, -1)),
        "sigma_max": np.linalg.norm(B, 2, axis=(-2, -1)),
        "loss_in": losses[0].mean(axis=1),
        "loss_adapted": losses[1].mean(axis=1),
        "loss_out": losses[2].mean(axis=1),
    }
