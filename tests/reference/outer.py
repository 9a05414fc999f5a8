"""(28): outer steps with memory, one line of the equation after another, on arrays of full size.

Arrays may have leading axes, such as one of independent runs.
"""

import numpy as np


class Descent:
    """B (..., d, k) and w (..., k) of a run, `now`; `result` is what the run reports."""

    def __init__(
        self,
        B,
        w,
        *,
        beta,
        beta_head=None,
        momentum=0.0,
        nesterov=False,
        average=False,
        lookahead=None,
        factor=lambda t: 1.0,
        rule="gradient",
        orthonormal=False,
    ):
        self.now, self.t = [B, w], 0
        self.beta = [beta, beta if beta_head is None else beta_head]
        self.momentum, self.nesterov, self.average = momentum, nesterov, average
        self.lookahead, self.factor, self.rule = lookahead, factor, rule
        self.orthonormal = orthonormal
        self.velocity = [np.zeros_like(B), np.zeros_like(w)]
        self.squares = [np.zeros_like(B), np.zeros_like(w)]
        self.slow = [B, w]
        self.iterates = [(B, w)]

    def direction(self, i, gradient):
        if self.rule == "adam":
            self.velocity[i] = 0.9 * self.velocity[i] + 0.1 * gradient
            self.squares[i] = 0.999 * self.squares[i] + 0.001 * gradient**2
            first = self.velocity[i] / (1.0 - 0.9 ** (self.t + 1))
            second = self.squares[i] / (1.0 - 0.999 ** (self.t + 1))
            return first / (np.sqrt(second) + 1e-8)
        self.velocity[i] = self.momentum * self.velocity[i] + gradient
        if self.rule == "sign":
            return np.sign(self.velocity[i])
        if self.nesterov:
            return gradient + self.momentum * self.velocity[i]
        return self.velocity[i]

    def step(self, by_B, by_w):
        for i, gradient in enumerate((by_B, by_w)):
            size = self.beta[i] * self.factor(self.t)
            self.now[i] = self.now[i] - size * self.direction(i, gradient)
        if self.orthonormal:
            Q, S = np.linalg.qr(self.now[0])
            signs = np.sign(np.diagonal(S, axis1=-2, axis2=-1))
            self.now[0] = Q * signs[..., None, :]
        self.t += 1
        if self.lookahead is not None and self.t % self.lookahead[0] == 0:
            size = self.lookahead[1]
            self.slow = [s + size * (x - s) for s, x in zip(self.slow, self.now, strict=True)]
            self.now = list(self.slow)
        self.iterates.append(tuple(self.now))

    @property
    def result(self):
        """The iterate, or the mean of those after each step."""
        if not self.average or self.t == 0:
            return self.iterates[-1]
        return tuple(np.mean(part, axis=0) for part in zip(*self.iterates[1:], strict=True))


def train(B, w, gradient, rounds, **step):
    """Results after 0, ..., `rounds` rounds; gradient(t, B, w) is the mean gradient of round t."""
    descent = Descent(B, w, **step)
    results = [descent.result]
    for t in range(rounds):
        descent.step(*gradient(t, *descent.now))
        results.append(descent.result)
    return results
