"""Derivatives of a function of (B, w), one entry at a time."""

import numpy as np

# Weights of f(x + h j) - f(x - h j), j = 1, 2, 3, in the sixth-order central difference.
_WEIGHTS = (3 / 4, -3 / 20, 1 / 60)


def complex_step(function, B, w, step=1e-100):
    """Im f(x + i h) / h for every entry of B and w; without subtraction no digits are lost."""

    def derivative(B_i, w_i):
        return function(B + 1j * step * B_i, w + 1j * step * w_i).imag / step

    return _entrywise(derivative, B, w)


def central_differences(function, B, w, step=3e-3):
    """Sixth-order differences for every entry of B and w; errors: h^6 and, by rounding, eps / h."""

    def derivative(B_i, w_i):
        slope = 0.0
        for j, weight in enumerate(_WEIGHTS, start=1):
            ahead = function(B + j * step * B_i, w + j * step * w_i)
            behind = function(B - j * step * B_i, w - j * step * w_i)
            slope += weight * (ahead - behind) / step
        return slope

    return _entrywise(derivative, B, w)


def _entrywise(derivative, B, w):
    grad_B, grad_w = np.zeros(B.shape), np.zeros(w.shape)
    for index in np.ndindex(*B.shape):
        direction = np.zeros(B.shape)
        direction[index] = 1
        grad_B[index] = derivative(direction, np.zeros(w.shape))
    for i in range(w.size):
        direction = np.zeros(w.shape)
        direction[i] = 1
        grad_w[i] = derivative(np.zeros(B.shape), direction)
    return grad_B, grad_w
