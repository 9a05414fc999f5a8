"""(51)-(54) as docs/theory.md states them: closed forms of the moments, for any k.

`limit.py` computes the same expectations by quadrature, without these formulas. A test can change
the constants c_1, c_2, c_3, c_o by `constants=` to see whether a comparison notices.
"""

from types import SimpleNamespace

import numpy as np


def sym(X):
    return X + X.T


def constants(m_in, m_out):
    """Return i, o, c1, c2, c3 and co; None stands for infinitely many samples."""
    i, o = (0.0 if m is None else 1.0 / m for m in (m_in, m_out))
    return {"i": i, "o": o, "c1": 1 + i, "c2": 1 + 2 * i, "c3": 1 + 3 * i, "co": 1 + o}


def moments_of_u(F, G, v, c):
    """(51): the contractions of moments of u for one head, by name."""
    i, c1, c2, c3 = c["i"], c["c1"], c["c2"], c["c3"]
    a, b, g2, FF = F @ G @ F, F @ F, np.trace(G @ G), np.outer(F, F)
    inner = c1 * a * FF + i * v * (a * G + g2 * FF + 2 * sym(G @ G @ FF))
    return {
        "u": F,
        "uu": c1 * FF + i * v * G,
        "(F.u) u": c1 * b * F + i * v * G @ F,
        "u'Gu": c1 * a + i * v * g2,
        "(u'Gu) u": c2 * (c1 * a * F + i * v * (g2 * F + 2 * G @ G @ F)),
        "(F.u) uu": c2 * (c1 * b * FF + i * v * (b * G + sym(G @ FF))),
        "(u'Gu) uu": c2 * (c3 * inner + i**2 * v**2 * (g2 * G + 2 * G @ G @ G)),
        "t u": c2 * F,
        "t uu": c2 * (c3 * FF + i * v * G),
    }


def moments_of_W(F, G, v, c):
    """(51): the joint moments of W = Z^T Z / m and u, (k, k, k) and (k, k, k, k)."""
    i, c1 = c["i"], c["c1"]
    once = np.einsum("ab,c->abc", G, F)
    once += i * (np.einsum("a,bc->abc", F, G) + np.einsum("b,ac->abc", F, G))
    twice = c1 * np.einsum("ab,c,d->abcd", G, F, F)
    for pairs in ("ac,b,d", "bd,a,c", "ad,b,c", "bc,a,d"):
        twice += i * c1 * np.einsum(pairs + "->abcd", G, F, F)
    twice += 2 * i**2 * np.einsum("a,b,cd->abcd", F, F, G)
    twice += i * v * np.einsum("ab,cd->abcd", G, G)
    twice += i**2 * v * (np.einsum("ac,bd->abcd", G, G) + np.einsum("ad,bc->abcd", G, G))
    return {"W u": once, "W uu": twice}


class GaussianResiduals:
    """(52): moments of e = C w - theta for heads N(mean, cov); `kappa` is that of the sphere."""

    def __init__(self, mean, cov, C, w, kappa=0.0):
        D, self.k_star, self.kappa = len(C), len(mean), kappa
        self.mean = C @ w - np.concatenate([mean, np.zeros(D - self.k_star)])
        self.cov = np.zeros((D, D))
        self.cov[: self.k_star, : self.k_star] = cov
        self.A = self.cov + np.outer(self.mean, self.mean)

    def q(self, N):
        return np.trace(N @ self.A)

    def q1(self, N):
        return self.q(N) * self.mean + 2 * self.cov @ N @ self.mean

    def q2(self, N):
        level = self.mean @ N @ self.mean
        second = self.A @ N @ self.A - level * np.outer(self.mean, self.mean)
        result = self.q(N) * self.A + 2 * second
        top = N[: self.k_star, : self.k_star]
        more = np.trace(top) * np.eye(self.k_star) + 2 * top
        result[: self.k_star, : self.k_star] += self.kappa * more
        return result


def sphere_residuals(radius, k_star, C, w):
    """(52): heads on the sphere of radius `radius`."""
    kappa = -2 * radius**4 / (k_star**2 * (k_star + 2))
    return GaussianResiduals(np.zeros(k_star), radius**2 / k_star * np.eye(k_star), C, w, kappa)


class ArrayResiduals:
    """(52): heads that are rows (., k_star), with probabilities."""

    def __init__(self, rows, p, C, w):
        self.p = p
        self.e = C @ w - np.hstack([rows, np.zeros((len(rows), len(C) - rows.shape[1]))])
        self.mean, self.A = p @ self.e, np.einsum("a,ad,af->df", p, self.e, self.e)

    def q(self, N):
        return np.trace(N @ self.A)

    def q1(self, N):
        return np.einsum("a,ad,de,ae,af->f", self.p, self.e, N, self.e, self.e)

    def q2(self, N):
        return np.einsum("a,ad,de,ae,af,ag->fg", self.p, self.e, N, self.e, self.e, self.e)


class SpreadResiduals:
    """(52): residuals with a part N(0, s I) of theta in addition, of which `law` knows nothing."""

    def __init__(self, law, s):
        self.law, self.s, self.mean = law, s, law.mean
        self.A = law.A + s * np.eye(len(law.A))

    def q(self, N):
        return np.trace(N @ self.A)

    def q1(self, N):
        s = self.s
        return self.law.q1(N) + s * np.trace(N) * self.mean + 2 * s * N @ self.mean

    def q2(self, N):
        s, unit = self.s, np.eye(len(N))
        result = self.law.q2(N) + s * self.law.q(N) * unit + s * np.trace(N) * self.law.A
        result += 2 * s * sym(self.law.A @ N)
        return result + s**2 * (np.trace(N) * unit + 2 * N)


def of_heads(law, C, variance, c):
    """Return the means over heads that (53) and (54) use, by the names of (52)."""
    P, unit = C @ C.T, np.eye(len(C))
    P2 = P @ P
    square, by_P, by_P2 = law.q2(unit), law.q2(P), law.q2(P2)
    m = SimpleNamespace(G=C.T @ C, P=P, e=law.mean, A=law.A, c=c)
    m.v, m.F, m.QF = np.trace(law.A) + variance, C.T @ law.mean, C.T @ law.A @ C
    m.b, m.a, m.a2, m.a3 = law.q(P), law.q(P2), law.q(P2 @ P), law.q(P2 @ P2)
    m.V2 = np.trace(square) + 2 * variance * np.trace(law.A) + variance**2
    m.Fv, m.Qv = C.T @ (law.q1(unit) + variance * law.mean), C.T @ (square + variance * law.A) @ C
    m.Fb, m.Fa, m.Qb, m.Qa = C.T @ law.q1(P), C.T @ law.q1(P2), C.T @ by_P @ C, C.T @ by_P2 @ C
    m.bv, m.av = np.trace(by_P) + variance * m.b, np.trace(by_P2) + variance * m.a
    m.g2, m.g4 = np.trace(m.G @ m.G), np.trace(np.linalg.matrix_power(m.G, 4))
    return m


def in_span(m, C, w, alpha, exact):
    """(53): grad_C (D, k) and grad_w (k)."""
    i, c1, unit = m.c["i"], m.c["c1"], np.eye(len(C))
    if not exact:
        grad_C = np.outer(m.e - alpha * C @ m.F, w) - alpha * m.A @ C
        grad_C = grad_C + alpha**2 * C @ (c1 * m.QF + i * m.v * m.G)
        return grad_C, C.T @ (m.e - alpha * C @ m.F)
    K = unit - 2 * alpha * m.P + alpha**2 * c1 * m.P @ m.P + alpha**2 * i * m.g2 * unit
    grad_C = np.outer(K @ m.e, w) - 2 * alpha * m.A @ C
    grad_C = grad_C + alpha**2 * c1 * (m.P @ m.A + m.A @ m.P) @ C
    return grad_C + 2 * alpha**2 * i * m.v * m.P @ C, C.T @ K @ m.e


def of_products(m):
    """(54): x_1, X_1, x_2, U_2 and X_2."""
    i, c1, c2, c3, G = m.c["i"], m.c["c1"], m.c["c2"], m.c["c3"], m.G
    x1 = c1 * m.Fb + i * G @ m.Fv
    X1 = c2 * (c1 * m.Qb + i * (m.bv * G + sym(G @ m.Qv)))
    x2 = c2 * (c1 * m.Fa + i * (m.g2 * m.Fv + 2 * G @ G @ m.Fv))
    inner = c1 * m.Qa + i * (m.av * G + m.g2 * m.Qv + 2 * sym(G @ G @ m.Qv))
    X2 = c2 * (c3 * inner + i**2 * m.V2 * (m.g2 * G + 2 * G @ G @ G))
    return x1, X1, x2, c1 * m.a + i * m.v * m.g2, X2


def outer_part(m, w, alpha):
    """(54): S_out (k, k)."""
    x1, X1, x2, U2, X2 = of_products(m)
    ww = np.outer(w, w)
    first = m.v * ww - alpha * sym(np.outer(w, m.Fv))
    first = first + alpha**2 * (m.c["c1"] * m.Qv + m.c["i"] * m.V2 * m.G)
    second = m.b * ww - alpha * sym(np.outer(w, x1)) + alpha**2 * X1
    third = U2 * ww - alpha * sym(np.outer(w, x2)) + alpha**2 * X2
    return m.c["o"] * (first - 2 * alpha * second + alpha**2 * third)


def exact_part(m, w, alpha):
    """(54): T (k, k)."""
    i, o, c1, c2, c3, co = (m.c[name] for name in ("i", "o", "c1", "c2", "c3", "co"))
    G, g2, g4 = m.G, m.g2, m.g4
    x1, _, x2, _, _ = of_products(m)
    T = m.Qv - alpha * c2 * sym(m.Qv @ G)
    T = co * (T + alpha**2 * c2 * G @ (c3 * m.Qv + i * m.V2 * G) @ G)
    level = m.V2 - 2 * alpha * c2 * m.bv + alpha**2 * c2 * (c3 * m.av + i * g2 * m.V2)
    T = i * (T + o * level * G)
    p_u = m.Fb - alpha * (c1 * m.Fa + i * g2 * m.Fv) - alpha * G @ x1 + alpha**2 * G @ x2
    v_u = m.Fv - 2 * alpha * x1 + alpha**2 * x2
    T = T + i * sym(np.outer(co * p_u + o * G @ v_u, w))
    third = i * c1 * m.a3 + i**2 * m.v * g4 + 2 * i**2 * c1 * (g2 * m.a + m.a3)
    third += i**3 * (m.v * (g2**2 + g4) + 2 * m.a3)
    y1 = i * m.a - 2 * alpha * (i * m.a2 + i**2 * (m.a2 + m.b * g2)) + alpha**2 * third
    third = i * c1 * g2 * m.a + i**2 * m.v * g2**2 + 4 * i**2 * c1 * m.a3
    third += 2 * i**3 * (m.v * g4 + m.a * g2)
    y2 = i * m.v * g2 - 2 * alpha * (i * g2 * m.b + 2 * i**2 * m.a2) + alpha**2 * third
    return T + (co * y1 + o * y2) * np.outer(w, w)


def gradient(law, C, w, *, alpha, variance, m_in, m_out, exact, **changed):
    """(53), (54): grad_C, grad_w and S. Further arguments replace constants by name."""
    c = {**constants(m_in, m_out), **changed}
    m = of_heads(law, C, variance, c)
    S = outer_part(m, w, alpha)
    if exact:
        S = S + alpha**2 * exact_part(m, w, alpha)
    return *in_span(m, C, w, alpha, exact), S
