"""Section "Other methods in the limit" of docs/theory.md: one round of each method, (56)-(58).

A round takes the state C (D, k), w (k,) and the law of theta as rows (p, D) with weights (p,) of
sum 1. `m_in` and `m_out` are numbers of samples, None for infinitely many, and `variance` is that
of the label noise. Every function computes a task's expected contribution row by row, without
moments of the law, and returns the gradients by C and w and the second moment S (k, k) of a task's
gradient in one direction off the span.
"""

import numpy as np

from .differences import complex_step
from .explicit import outer


def inverse(m):
    return 0.0 if m is None else 1.0 / m


def mean(weights, terms):
    return np.tensordot(weights, terms, axes=1)


def average_risk(C, w, theta, weights, *, variance, m):
    """(56) with L = 0: the gradient of the loss on m samples at (C, w)."""
    e = C @ w - theta
    square = mean(weights, (e**2).sum(axis=1)) + variance
    return outer(mean(weights, e), w), C.T @ mean(weights, e), inverse(m) * square * outer(w, w)


def known_inner_set(C, w, theta, weights, adapt, *, exact, variance, m_out, solved=False):
    """(56): methods whose inner set is infinite; adapt(C, w, theta) is the adapted head.

    The exact gradient is the derivative of the mean outer loss, and so is the first-order gradient
    by w of a solved head, which w reaches through the penalty alone.
    """

    def loss(C, w):
        rows = [C @ adapt(C, w, row) - row for row in theta]
        return 0.5 * sum(p * (f * f).sum() for p, f in zip(weights, rows, strict=True))

    w_1 = np.stack([adapt(C, w, row) for row in theta])
    f = w_1 @ C.T - theta
    by_C, by_w = complex_step(loss, C, w)
    if not exact:
        by_C = mean(weights, outer(f, w_1))
        by_w = by_w if solved else C.T @ mean(weights, f)
    square = (f**2).sum(axis=1) + variance
    S = inverse(m_out) * mean(weights, square[:, None, None] * outer(w_1, w_1))
    return by_C, by_w, S


def gradient_steps(alpha, steps):
    """J inner steps on infinitely many samples, as `adapt` of `known_inner_set`."""

    def adapt(C, w, theta):
        for _ in range(steps):
            w = w - alpha * C.T @ (C @ w - theta)
        return w

    return adapt


def ridge_head(penalty):
    """The solved head of (26) on infinitely many samples, as `adapt` of `known_inner_set`."""

    def adapt(C, w, theta):
        return np.linalg.solve(C.T @ C + penalty * np.eye(len(w)), C.T @ theta + penalty * w)

    return adapt


def least_squares(C, theta, weights, *, variance, m_in, m_out, kind):
    """(57): least-squares heads; `kind` is "one set", "first order" or "exact".

    The two-set kinds need m_in > k + 3 and m_in > k + 5, and one set m_in > k + 1.
    """
    k = C.shape[1]
    G_inverse = np.linalg.inv(C.T @ C)
    b = theta @ C @ G_inverse
    off = theta - b @ C.T
    square = (off**2).sum(axis=1) + variance
    drift = -mean(weights, outer(off, b))
    known = mean(weights, square[:, None, None] * outer(b, b))
    spread = mean(weights, square**2) * G_inverse
    i, o = inverse(m_in), inverse(m_out)
    k1, k2 = i / (1 - (k + 1) * i), i / (1 - (k + 3) * i)
    zero = np.zeros(k)
    if kind == "one set":
        return (1 - k * i) * drift, zero, i * (1 - k * i) * (known + k1 * spread)
    S = o * ((1 + k * k1) * known + (k1 + (k + 2) * k1 * k2) * spread)
    if kind == "first order":
        return drift + k1 * mean(weights, square) * C @ G_inverse, zero, S
    if m_in is None:
        return drift, zero, S
    c, co = m_in - k, 1 + o
    p1 = k / (c - 1)
    p2 = (m_in - 1) * p1 / (c * (c - 3))
    p11 = (c - 2) * p2 - p1
    p3 = (m_in + k - 1) * p2 / ((c - 5) * (c + 1))
    p21 = (k * p2 + 4 * p3) / (c - 1)
    p111 = (k * p11 + 4 * p21) / (c - 1)
    S = S + c / k * (co * p3 + o * (p2 + p21)) * spread
    S = S + (co * p2 + o * (p1 + p11)) * known
    S = S + (co * (p21 + 2 * p3) + o * (p11 + p111 + 2 * p21)) / k * spread
    return (m_in - 1) * k1 * drift, zero, S


def chi_square_nodes(dof, count):
    """Gauss quadrature of a chi-square law, exact for polynomials of degree 2 count - 1."""
    order, j = dof / 2 - 1, np.arange(count)
    beside = np.sqrt(j[1:] * (j[1:] + order))
    roots, vectors = np.linalg.eigh(
        np.diag(2 * j + order + 1) + np.diag(beside, 1) + np.diag(beside, -1)
    )
    return 2 * roots, vectors[0] ** 2


def normal_nodes(count):
    """Gauss quadrature of N(0, 1), exact for polynomials of degree 2 count - 1."""
    points, weights = np.polynomial.hermite_e.hermegauss(count)
    return points, weights / weights.sum()


def wishart_nodes(k, m, degree):
    """Nodes (N, k, k) and weights of Wishart_k(m, I) / m, exact for polynomials of this degree.

    The entries of Bartlett's factor have product rules. The rule of a diagonal entry is that of its
    square: the odd powers of an entry below it have mean 0.
    """
    entries = [(p, q) for p in range(k) for q in range(p + 1)]
    rules = []
    for p, q in entries:
        if p == q:
            square, weights = chi_square_nodes(m - p, degree // 2 + 1)
            rules.append((np.sqrt(square), weights))
        else:
            rules.append(normal_nodes(degree + 1))
    grids = np.meshgrid(*[points for points, _ in rules], indexing="ij")
    L = np.zeros((grids[0].size, k, k))
    for (p, q), grid in zip(entries, grids, strict=True):
        L[:, p, q] = grid.ravel()
    weights = np.ones(1)
    for _, factor in rules:
        weights = np.outer(weights, factor).ravel()
    return L @ L.transpose(0, 2, 1) / m, weights


def dot(u, v):
    return (u * v).sum(axis=-1)


def several_steps(C, w, theta, weights, *, alpha, steps, exact, variance, m_in, m_out):
    """(58): ANIL with any number of steps, by quadrature over A = Z^T Z / m_in.

    Given A and a head, the inner set enters through the k normals xi of Z^T r_0 and through the
    squared length of the part of r_0 orthogonal to Z, of which only the mean is needed. The rule
    for xi is exact to degree 5. Axes: node of A, head, node of xi.
    """
    k, i, o = C.shape[1], 1.0 / m_in, inverse(m_out)
    G = C.T @ C
    root = np.linalg.cholesky(G)
    A, A_weights = wishart_nodes(k, m_in, 4 * steps)
    A = root @ A @ root.T
    half = np.linalg.cholesky(A)[:, None, None]
    A = A[:, None, None]
    one, one_weights = normal_nodes(3)
    xi = np.stack(np.meshgrid(*[one] * k, indexing="ij"), axis=-1).reshape(-1, k)
    xi_weights = np.ones(1)
    for _ in range(k):
        xi_weights = np.outer(xi_weights, one_weights).ravel()
    P = A_weights[:, None, None] * weights[:, None] * xi_weights

    def expect(terms):
        return np.einsum("apq,apq...->...", P, np.broadcast_to(terms, P.shape + terms.shape[3:]))

    e = C @ w - theta
    b = e @ C @ np.linalg.inv(G)
    off = (e - b @ C.T)[None, :, None]
    s = np.sqrt(dot(off, off) + variance)
    eta_0 = np.sqrt(i) * (half @ xi[..., None])[..., 0]  # Z^T of the rest of r_0 / (m_in s)
    c = [np.broadcast_to(b[None, :, None], (*P.shape, k))]
    g = []
    for _ in range(steps):
        g.append((A @ c[-1][..., None])[..., 0] + s[..., None] * eta_0)
        c.append(c[-1] - alpha * g[-1])
    heads = [w - b[None, :, None] + c_j for c_j in c]
    f, phi = off + c[-1] @ C.T, c[-1] @ G
    square = s**2 + dot(c[-1], phi)
    by_C, by_w = outer(f, heads[-1]), phi
    S = o * square[..., None, None] * outer(heads[-1], heads[-1])
    if not exact:
        return expect(by_C), expect(by_w), expect(S)
    V = np.eye(k) - alpha * A
    powers = [np.broadcast_to(np.eye(k), A.shape)]
    for _ in range(steps):
        powers.append(powers[-1] @ V)
    both = (1 + o) * outer(phi, phi) + o * square[..., None, None] * G  # E omega omega^T
    span = C @ np.linalg.inv(G)
    r_square = i * (dot(xi, xi) + m_in - k)  # of the rest of r_0, / (m_in s^2)
    for j in range(steps):
        left = powers[steps - 1 - j]
        back = (left @ phi[..., None])[..., 0]
        XZ = span @ A + outer(off / s[..., None], eta_0)
        Xr = g[j] @ span.T + off / s[..., None] * (dot(eta_0, c[j]) + s * r_square)[..., None]
        by_C = by_C - alpha * (outer((XZ @ back[..., None])[..., 0], heads[j]) + outer(Xr, back))
        for q in range(steps):
            right = powers[steps - 1 - q]
            omegas = left @ both @ right  # of omega_{j+1} omega_{q+1}^T
            rr = dot(c[j], (A @ c[q][..., None])[..., 0]) + s * dot(eta_0, c[j] + c[q])
            rr = rr + s**2 * r_square
            cross = outer(heads[j], (np.swapaxes(omegas, -1, -2) @ g[q][..., None])[..., 0])
            S = S + alpha**2 * i * (
                np.einsum("...xy,...yx->...", A, omegas)[..., None, None]
                * outer(heads[j], heads[q])
                + rr[..., None, None] * omegas
                + cross
                + np.swapaxes(cross, -1, -2)
            )
    return expect(by_C), expect((powers[-1] @ phi[..., None])[..., 0]), expect(S)
