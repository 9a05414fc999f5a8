"""(51)-(55): one round of ANIL with one inner step for n, d to infinity, by quadrature.

The expectations are those of the definition of a task: a task's gradient is written down for its
inner sample covariance S and its gradient of the features g, and averaged over nodes of the laws of
the head, of the inner residuals and of g. Every integrand is a polynomial, and the rules integrate
all polynomials of its degree, so that the results are exact up to rounding. No formula for a moment
of order 3 or 4 occurs.

Coordinates are those of (13): C = [M; R] is (D, k), and a parameter theta has the entries [w_star;
0]. The number of nodes is 3^D for g, so these functions are for D up to about 6.
"""

import itertools

import numpy as np

NODES = 3  # of a Gaussian rule: exact up to degree 5, and the integrands have degree 4


def gauss(diagonal, off):
    """Nodes and weights (sum 1) of the Gaussian rule whose Jacobi matrix is given."""
    nodes, vectors = np.linalg.eigh(np.diag(diagonal) + np.diag(off, 1) + np.diag(off, -1))
    return nodes, vectors[0] ** 2


def normal_nodes(dimension, count=NODES):
    """A grid of nodes (count**dimension, dimension) and weights of N(0, I)."""
    x, p = gauss(np.zeros(count), np.sqrt(np.arange(1.0, count)))
    grid = np.array(list(itertools.product(x, repeat=dimension))).reshape(-1, dimension)
    weights = np.array(list(itertools.product(p, repeat=dimension))).reshape(-1, dimension)
    return grid, weights.prod(axis=1)


def chi_square_nodes(m, count=NODES):
    """Nodes and weights of chi^2 with m degrees of freedom: a rule of Gauss and Laguerre."""
    a, j = m / 2 - 1, np.arange(count)
    nodes, weights = gauss(2.0 * j + a + 1, np.sqrt(j[1:] * (j[1:] + a)))
    return 2 * nodes, weights


def gaussian_heads(mean, cov):
    """Nodes (., k_star) and weights of N(mean, cov)."""
    values, vectors = np.linalg.eigh(np.asarray(cov, float))
    x, p = normal_nodes(len(mean))
    return mean + x @ (vectors * np.sqrt(values.clip(0))).T, p


def sphere_heads(radius, k_star):
    """Nodes and weights of the uniform law on a sphere, exact up to degree 4.

    On the sphere an even polynomial of degree at most 4 is homogeneous of degree 4, and odd ones
    vanish. For a normal g, E |g|^4 p(g / |g|) is E |g|^4 times the mean of p over the sphere.
    """
    x, p = normal_nodes(k_star)
    length = np.linalg.norm(x, axis=1)
    x, p, length = x[length > 1e-9], p[length > 1e-9], length[length > 1e-9]
    return radius * x / length[:, None], p * length**4 / (k_star * (k_star + 2))


def array_heads(rows, weights=None):
    """Nodes and weights of a law on finitely many heads (., k_star)."""
    rows = np.asarray(rows, float)
    weights = np.ones(len(rows)) if weights is None else np.asarray(weights, float)
    return rows, weights / weights.sum()


def targets(heads, D, isotropic=0.0):
    """Nodes theta (., D) and weights: heads with zeros below, plus N(0, isotropic I_D)."""
    rows, p = heads
    theta = np.hstack([rows, np.zeros((len(rows), D - rows.shape[1]))])
    if isotropic == 0:
        return theta, p
    x, q = normal_nodes(D)
    theta = theta[:, None] + np.sqrt(isotropic) * x
    return theta.reshape(-1, D), (p[:, None] * q).ravel()


def inner_nodes(e, variance, m):
    """Nodes of what one task's inner set shows: g (., D), S (., D, D), rho (.) and weights.

    `e` (D) is B w - theta, the residuals are r_j = x_j . e - z_j ~ N(0, v), v = |e|^2 + variance;
    g = X^T r / m, S = E[X^T X / m | r, g], rho = |r|^2 / m. With |r|^2 = v t, t ~ chi^2_m, and the
    unit vector of r, which is independent of t, rows are x_j = e r_j / v + N(0, I - e e^T / v).
    Hence X^T r / |r| = sqrt(t) q + nu with q = e / sqrt(v) and nu ~ N(0, I - q q^T), and the other
    m - 1 directions of the space of samples add (m - 1) (I - q q^T) to the mean of X^T X.
    """
    D, v = len(e), e @ e + variance
    if m is None:
        return e[None], np.eye(D)[None], np.array([v]), np.ones(1)
    q = e / np.sqrt(v) if v > 0 else e
    rest = np.eye(D) - np.outer(q, q)
    values, vectors = np.linalg.eigh(rest)
    x, px = normal_nodes(D)
    nu = x @ (vectors * np.sqrt(values.clip(0))).T
    t, pt = chi_square_nodes(m)
    along = (np.sqrt(t)[:, None, None] * q + nu).reshape(-1, D)
    t, p = np.repeat(t, len(nu)), np.outer(pt, px).ravel()
    S = (along[:, :, None] * along[:, None, :] + (m - 1) * rest) / m
    return np.sqrt(v * t)[:, None] / m * along, S, v * t / m, p


def of_head(theta, C, w, *, alpha, variance, m_in, m_out, exact):
    """Means over the samples of one task: grad_C, grad_w, S off the span, and E w_1 w_1^T.

    Given the inner set and w_1, the outer gradient p = X'^T r' / m_out has the mean f and the
    second moment (1 + o) f f^T + o v' I, o = 1 / m_out, v' = |f|^2 + variance; off the span, each
    entry of p has the mean square o v' and is independent of the rest. The gradient in a direction
    h off the span is p_h w_1 - alpha (g_h omega + (S B omega)_h w), omega = C^T p.
    """
    i, o = (0.0 if m is None else 1.0 / m for m in (m_in, m_out))
    g, S_in, rho, p = inner_nodes(C @ w - theta, variance, m_in)
    u = g @ C
    w_1 = w - alpha * u
    f = w_1 @ C.T - theta
    v_out = (f**2).sum(axis=1) + variance
    phi = f @ C
    grad_C, grad_w = np.einsum("a,ad,ak->dk", p, f, w_1), p @ phi
    S = o * np.einsum("a,a,ak,al->kl", p, v_out, w_1, w_1)
    if exact:
        back = np.einsum("ade,ek,ak->ad", S_in, C, phi)  # S B phi
        grad_C = grad_C - alpha * np.einsum("a,ad,ak->dk", p, g, phi)
        grad_C = grad_C - alpha * np.outer(p @ back, w)
        grad_w = grad_w - alpha * C.T @ (p @ back)
        second = (1 + o) * phi[:, :, None] * phi[:, None, :] + o * v_out[:, None, None] * (C.T @ C)
        # Row j of the inner set adds x_jh (r_j omega + (x_j . C omega) w) / m_in.
        cross = np.einsum("a,akl,al->k", p, second, u)
        whole = np.einsum("a,akl,akl->", p, second, C.T @ S_in @ C)
        T = np.einsum("a,a,akl->kl", p, rho, second) + np.outer(cross, w) + np.outer(w, cross)
        S = S + alpha**2 * i * (T + whole * np.outer(w, w))
    return grad_C, grad_w, S, np.einsum("a,ak,al->kl", p, w_1, w_1)


def expectations(C, w, heads, *, alpha, noise, m_in, m_out, exact, spread=0.0, d=None):
    """Means over tasks of the results of `of_head`.

    The part xi of a parameter, (33), has D coordinates here; the others act as noise.
    """
    D = len(C)
    isotropic = spread**2 / d if spread else 0.0
    variance = noise**2 + spread**2 - D * isotropic
    settings = {"alpha": alpha, "m_in": m_in, "m_out": m_out, "exact": exact}
    theta, p = targets(heads, D, isotropic)
    sums = [0.0, 0.0, 0.0, 0.0]
    for node, weight in zip(theta, p, strict=True):
        parts = of_head(node, C, w, variance=variance, **settings)
        sums = [total + weight * part for total, part in zip(sums, parts, strict=True)]
    return sums


def gradient(C, w, heads, **settings):
    """(53), (54): grad_C (D, k), grad_w (k), and S (k, k) for one direction off the span."""
    return expectations(C, w, heads, **settings)[:3]


def diversity(C, w, heads, **settings):
    """Return E w_1 w_1^T (k, k), the second moment of adapted heads."""
    return expectations(C, w, heads, **settings)[3]


def root(S):
    """A root, (root)^T root = S, of a symmetric S whose eigenvalues may be rounded below 0."""
    values, vectors = np.linalg.eigh(S)
    return np.sqrt(values.clip(0))[:, None] * vectors.T


def descend(M, R, w, gradient, rounds, *, beta, d_over_n, beta_head=None):
    """(55): the state (M, R, w) after `rounds` rounds; gradient(C, w) is grad_C, grad_w and S."""
    beta_head = beta if beta_head is None else beta_head
    for _ in range(rounds):
        grad_C, grad_w, S = gradient(np.vstack([M, R]), w)
        M, R = M - beta * grad_C[: len(M)], R - beta * grad_C[len(M) :]
        w = w - beta_head * grad_w
        if d_over_n:
            R = np.linalg.qr(np.vstack([R, beta * np.sqrt(d_over_n) * root(S)]), mode="r")
    return M, R, w
