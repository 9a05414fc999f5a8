"""Gradients of (3): the recursion (8)-(9) written out on vectors of length d."""

import numpy as np

from .losses import adapt, inner_loop


def first_order_gradient(B, w, tasks, method):
    """(3), first-order: the mean gradient of the outer loss in (B_J, w_J); (d, k), (k,)."""
    grad_B, grad_w = np.zeros_like(B), np.zeros_like(w)
    for inner, outer in tasks:
        B_J, w_J = adapt(B, w, inner, method)
        p = outer.feature_gradient(B_J, w_J)
        grad_B += np.outer(p, w_J) / len(tasks)
        grad_w += B_J.T @ p / len(tasks)
    return grad_B, grad_w


def exact_gradient(B, w, tasks, method):
    """Gradient of (3) in (B, w) by the chain rule, backwards through (2); (d, k), (k,)."""
    grad_B, grad_w = np.zeros_like(B), np.zeros_like(w)
    for inner, outer in tasks:
        task_B, task_w = _through_inner_loop(B, w, inner, outer, method)
        grad_B += task_B / len(tasks)
        grad_w += task_w / len(tasks)
    return grad_B, grad_w


def meta_gradient(B, w, tasks, method):
    """The gradient that a method uses: the exact or the first-order one."""
    gradient = exact_gradient if method.exact else first_order_gradient
    return gradient(B, w, tasks, method)


def _through_inner_loop(B, w, inner, outer, method):
    """Propagate cotangents back through w' = w - alpha B^T g, B' = B - alpha g w^T, g = g(B w)."""
    path = inner_loop(B, w, inner, method)
    B_J, w_J = path[-1]
    p = outer.feature_gradient(B_J, w_J)
    B_bar, w_bar = np.outer(p, w_J), B_J.T @ p
    for B_j, w_j in reversed(path[:-1]):
        g = inner.feature_gradient(B_j, w_j)
        g_bar = -method.alpha * (B_j @ w_bar)
        from_head = -method.alpha * np.outer(g, w_bar)  # B^T g in the head's step
        w_next = w_bar
        if method.adapt_B:
            g_bar = g_bar - method.alpha * (B_bar @ w_j)
            w_next = w_next - method.alpha * (B_bar.T @ g)
        v_bar = inner.curvature(g_bar)
        w_bar = w_next + B_j.T @ v_bar
        B_bar = B_bar + from_head + np.outer(v_bar, w_j)
    return B_bar, w_bar
