"""Gradients of (3) without a vector of length d between the two sweeps over the data, (5)-(10)."""

import numpy as np


def sample_space_gradient(B, w, tasks, method):
    """(10): mean over tasks of X^T C + X'^T C' and of omega; (d, k), (k,)."""
    parts = [_task(B, w, inner, outer, method) for inner, outer in tasks]
    return sum(part[0] for part in parts) / len(parts), sum(part[1] for part in parts) / len(parts)


def _task(B, w, inner, outer, method):
    X, y, X_out, y_out = inner.X, inner.y, outer.X, outer.y
    m, rate = len(y), method.alpha / len(y) * method.adapt_B
    Z, Z_out, K, K_out = X @ B, X_out @ B, X @ X.T, X_out @ X.T  # (5)
    heads, residuals = [w], []

    def forward(features, gram, j, v):  # (6): X B_j v or X' B_j v
        past = zip(heads[:j], residuals[:j], strict=True)
        return features @ v - rate * sum((w_l @ v) * (gram @ r_l) for w_l, r_l in past)

    def backward(features, gram, j, a):  # (6): B_j^T X^T a or B_j^T X'^T a
        past = zip(heads[:j], residuals[:j], strict=True)
        return features.T @ a - rate * sum(w_l * (r_l @ (gram.T @ a)) for w_l, r_l in past)

    for j in range(method.inner_steps):  # (2)
        residuals.append(forward(Z, K, j, heads[j]) - y)
        heads.append(heads[j] - method.alpha / m * backward(Z, K, j, residuals[j]))
    J, w_J = method.inner_steps, heads[-1]
    s_out = (forward(Z_out, K_out, J, w_J) - y_out) / len(y_out)  # (7)
    omega = backward(Z_out, K_out, J, s_out)
    pairs = []  # Omega = X'^T s' w_J^T + sum of X^T s c^T
    if method.exact:  # (9)
        for j in reversed(range(J)):
            a_bar, r_bar = -method.alpha * omega, forward(Z, K, j, -method.alpha * omega)
            carried = 0
            if method.adapt_B:
                X_Omega_w = K_out.T @ s_out * (w_J @ heads[j])
                X_Omega_w = X_Omega_w + sum(K @ s * (c @ heads[j]) for s, c in pairs)
                r_bar = r_bar - method.alpha * X_Omega_w
                carried = w_J * (s_out @ (K_out @ residuals[j]))
                carried = (carried + sum(c * (s @ (K @ residuals[j])) for s, c in pairs)) / m
            r_bar = r_bar / m
            omega = omega + backward(Z, K, j, r_bar) - method.alpha * carried
            pairs += [(r_bar, heads[j]), (residuals[j] / m, a_bar)]
    grad_B = X_out.T @ np.outer(s_out, w_J)
    return grad_B + sum(X.T @ np.outer(s, c) for s, c in pairs), omega
