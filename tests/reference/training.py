"""Training on fixed data: plain iteration at full size, and the dual form (24)."""

import numpy as np

from .losses import adapt
from .measure import (
    adapted_diversity,
    distance,
    head_spectrum,
    principal_sines,
    singular_values,
    step_defect,
)
from .recursion import meta_gradient


def data_round(B, w, tasks, method):
    """One outer step, (3), on the tasks (inner, outer) of a round."""
    grad_B, grad_w = meta_gradient(B, w, tasks, method)
    return B - method.beta * grad_B, w - method.beta * grad_w


def train_on_data(B, w, tasks, method, choices):
    """The states (B_t, w_t), t = 0..T: round t takes the tasks whose numbers are choices[t]."""
    states = [(B, w)]
    for chosen in choices:
        states.append(data_round(*states[-1], [tasks[i] for i in chosen], method))
    return states


def train_dual(B, w, tasks, method, choices):
    """(24): the states (A_t, w_t) of B_t = B + X_all^T A_t, by inner products of samples alone.

    X_all holds every task's inner and then its outer samples, task after task.
    """
    X_all, places = stacked(tasks)
    G, Z_0 = X_all @ X_all.T, X_all @ B
    A = np.zeros((len(X_all), B.shape[1]))
    states = [(A, w)]
    for chosen in choices:
        Z, step, next_w = Z_0 + G @ A, np.zeros_like(A), w.copy()
        for i in chosen:
            (inner, outer), (rows, rows_out) = tasks[i], places[i]
            C, C_out, omega = coefficients(
                (Z[rows], inner.y, G[rows, rows]),
                (Z[rows_out], outer.y, G[rows_out, rows]),
                w,
                method,
            )
            step[rows] += C / len(chosen)
            step[rows_out] += C_out / len(chosen)
            next_w -= method.beta * omega / len(chosen)
        A, w = A - method.beta * step, next_w
        states.append((A, w))
    return states


def stacked(tasks):
    """All samples stacked as rows, and the row numbers (inner, outer) of every task."""
    places, end = [], 0
    for inner, outer in tasks:
        middle, begin = end + len(inner.y), end
        end = middle + len(outer.y)
        places.append((slice(begin, middle), slice(middle, end)))
    return np.concatenate([samples.X for task in tasks for samples in task]), places


def coefficients(inner, outer, w, method):
    """(10) of one task: C (m_in, k), C' (m_out, k) and omega, from B_j = B + X^T A_j."""
    (Z, y, K), (Z_out, y_out, K_out) = inner, outer
    m, alpha, moves = len(y), method.alpha, float(method.adapt_B)
    A, path = np.zeros_like(Z), []
    for _ in range(method.inner_steps):  # (2)
        features = Z + K @ A  # X B_j
        g = (features @ w - y) / m
        path.append((w, features, g))
        A, w = A - moves * alpha * np.outer(g, w), w - alpha * (features.T @ g)
    features_out = Z_out + K_out @ A  # X' B_J
    s = (features_out @ w - y_out) / len(y_out)
    C, C_out, omega = np.zeros_like(Z), np.outer(s, w), features_out.T @ s
    if not method.exact:
        return C, C_out, omega
    for w_j, features, g in reversed(path):  # (9), Omega = X^T C + X'^T C'
        a_bar = -alpha * omega
        X_Omega = K @ C + K_out.T @ C_out
        r_bar = (features @ a_bar - moves * alpha * (X_Omega @ w_j)) / m
        omega = omega + features.T @ r_bar - moves * alpha * (X_Omega.T @ g)
        C = C + np.outer(r_bar, w_j) + np.outer(g, a_bar)
    return C, C_out, omega


def records(B, w, tasks, method, *, B_star=None, heads=None):
    """(20) and (21) of a state, by the name of the record, with the tasks of the round."""
    inner_sets = [inner for inner, _ in tasks]
    ends = [adapt(B, w, inner, method) for inner in inner_sets]
    sigma = singular_values(B)
    least, most = adapted_diversity(B, w, inner_sets, method)
    found = {
        "loss_in": np.mean([inner.loss(B, w) for inner in inner_sets]),
        "loss_adapted": np.mean([t.loss(*end) for t, end in zip(inner_sets, ends, strict=True)]),
        "loss_out": np.mean([t.loss(*end) for (_, t), end in zip(tasks, ends, strict=True)]),
        "w_norm": np.linalg.norm(w),
        "delta_norm": step_defect(B, method.alpha),
        "sigma_min": sigma[-1],
        "sigma_max": sigma[0],
        "diversity_min": least,
        "diversity_max": most,
    }
    if B_star is not None:
        smaller = min(B.shape[1], B_star.shape[1])
        found["dist"] = distance(B, B_star)
        found["angles"] = np.arcsin(np.minimum(principal_sines(B, B_star)[-smaller:], 1.0))
        signal = singular_values(B_star.T @ B)
        found["signal_min"], found["signal_max"] = signal[smaller - 1], signal[0]
        found["perp_norm"] = singular_values(B - B_star @ (B_star.T @ B))[0]
    if heads is not None:
        found["mu"], found["L"], found["eta"] = head_spectrum(heads)
    return found
