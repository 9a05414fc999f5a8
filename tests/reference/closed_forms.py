"""(15): population gradients for one inner step, computed task by task from theta (d,)."""

import numpy as np


def fo_anil(B, w, theta, alpha):
    w_i = w - alpha * (B.T @ (B @ w - theta))
    v_i = B @ w_i - theta
    return np.outer(v_i, w_i), B.T @ v_i


def fo_maml(B, w, theta, alpha):
    e_i = B @ w - theta
    w_i = w - alpha * (B.T @ e_i)
    B_i = B - alpha * np.outer(e_i, w)
    v_i = B_i @ w_i - theta
    return np.outer(v_i, w_i), B_i.T @ v_i


def exact_anil(B, w, theta, alpha):
    e_i = B @ w - theta
    v_i = B @ (w - alpha * (B.T @ e_i)) - theta
    grad_B = (
        np.outer(v_i - alpha * (B @ (B.T @ v_i)), w)
        - alpha * np.outer(v_i, B.T @ e_i)
        - alpha * np.outer(e_i, B.T @ v_i)
    )
    p_i = B.T @ v_i
    return grad_B, p_i - alpha * (B.T @ (B @ p_i))
