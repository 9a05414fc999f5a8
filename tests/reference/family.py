"""Methods whose tasks contribute moves, or solve for their heads, on the losses of `losses`."""

import numpy as np

from .differences import complex_step


def local_steps(B, w, inner, alpha, steps, *, adapt_head=True):
    """B and w of a task after gradient steps of size alpha on both, or on B alone."""
    for _ in range(steps):
        g = inner.feature_gradient(B, w)
        B, w = B - alpha * np.outer(g, w), w - float(adapt_head) * alpha * (B.T @ g)
    return B, w


def mean_move(B, w, tasks, alpha, steps):
    """Minus the mean over tasks of the changes of B and of w by the local steps."""
    ends = [local_steps(B, w, inner, alpha, steps) for inner, _ in tasks]
    return B - np.mean([end[0] for end in ends], axis=0), w - np.mean([e[1] for e in ends], axis=0)


def ridge_head(B, w, inner, lam):
    """The minimiser of the inner loss plus lam/2 ||v - w||^2, from its normal equations."""
    # The gradient of the loss is affine in the head, so its matrix is found column by column, after
    # its constant.
    k = len(w)
    zero = B.T @ inner.feature_gradient(B, np.zeros(k))
    columns = [B.T @ inner.feature_gradient(B, np.eye(k)[i]) - zero for i in range(k)]
    return np.linalg.solve(np.stack(columns, axis=1) + lam * np.eye(k), lam * w - zero)


def ridge_loss(B, w, tasks, lam):
    """The mean outer loss at the solved heads."""
    return sum(outer.loss(B, ridge_head(B, w, inner, lam)) for inner, outer in tasks) / len(tasks)


def ridge_gradient(B, w, tasks, lam):
    """The exact gradient of `ridge_loss`."""
    return complex_step(lambda B, w: ridge_loss(B, w, tasks, lam), B, w)


def first_order_ridge_gradient(B, w, tasks, lam):
    """The gradient in B at fixed solved heads, and the gradient in w through the penalty."""
    heads = [ridge_head(B, w, inner, lam) for inner, _ in tasks]
    by_B = sum(
        complex_step(outer.loss, B, head)[0] for (_, outer), head in zip(tasks, heads, strict=True)
    )
    return by_B / len(tasks), ridge_gradient(B, w, tasks, lam)[1]


def fedrep_gradient(B, tasks):
    """The derivative in B of the mean inner loss, minimised over the head of every task."""

    def least(B, w):
        return sum(inner.loss(B, ridge_head(B, w, inner, 0.0)) for inner, _ in tasks) / len(tasks)

    return complex_step(least, B, np.zeros(B.shape[1]))[0]
