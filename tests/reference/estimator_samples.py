"""Samples of tasks as plain arrays: what an estimator sees, by NumPy alone."""

import numpy as np


class DenseSpace:
    """The operators of `metaspan.estimators.space.Space` on matrices that have all rows."""

    first, is_shared, threads = 0, False, 1

    def __init__(self, dim):
        self.dim = self.rows = dim

    def zeros(self, columns):
        return np.zeros((self.dim, columns))

    def identity(self, first, end):
        return np.eye(self.dim)[:, first:end].copy()

    def inner(self, A, B):
        return A.T @ B

    def column_products(self, A, B):
        return np.sum(A * B, axis=0)

    def product(self, A, B):
        return float(np.sum(A * B))

    def norm(self, A):
        return float(np.linalg.norm(A))

    def times(self, A, S):
        return A @ S

    def project_off(self, V, A):
        A = A - V @ (V.T @ A)
        return A - V @ (V.T @ A)

    def triangle(self, A):
        return np.linalg.qr(A)[1]

    def factor(self, A):
        """Columns with the sign of a nonnegative diagonal of R."""
        Q, R = np.linalg.qr(A)
        signs = np.where(np.diagonal(R) < 0, -1.0, 1.0)
        return Q * signs, R * signs[:, None]

    def orthonormal(self, A):
        return self.factor(A)[0]

    def spectral_norm(self, A):
        return float(np.linalg.norm(A, 2))

    def all_rows(self, A):
        return A

    def own_rows(self, A):
        return A

    def is_finite(self, A):
        return bool(np.isfinite(A).all())


class DenseSamples:
    """The operators of `metaspan.estimators.samples.Samples` on a list of arrays (m_i, d)."""

    threads = 1
    wants_few_passes = True

    def __init__(self, X, y, B_star=None, weights=None, seed=0):
        self.n, self.dim = len(X), X[0].shape[1]
        self.space = DenseSpace(self.dim)
        self.offsets = np.cumsum([0, *(len(x) for x in X)])
        self.X, self.y = np.concatenate(list(X)), np.concatenate(list(y))
        self.B_star, self.seed = B_star, seed
        self.weights = np.ones(self.n) if weights is None else np.asarray(weights, float)
        self._same_X = all(x is X[0] for x in X)

    def features(self, B):
        return self.X @ B

    def combine(self, C):
        return self.X.T @ C

    def combine_features(self, B, transform):
        """One task at a time, so that a transform that mixes tasks fails here."""
        total = np.zeros((self.dim, B.shape[1]))
        for i in range(self.n):
            X = self.X[self.offsets[i] : self.offsets[i + 1]]
            total += X.T @ transform(X @ B, range(i, i + 1))
        return total

    def grams(self, tasks):
        blocks = (self.X[self.offsets[i] : self.offsets[i + 1]] for i in tasks)
        return [X @ X.T for X in blocks]

    def shared(self):
        if not self._same_X:
            return None
        rows = slice(0, self.offsets[1])
        return DenseSamples([self.X[rows]], [self.y[rows]], self.B_star)

    def averages(self):
        return DenseAverages(self)

    def normals(self, k, stream):
        return np.random.default_rng([self.seed, stream, 1]).standard_normal((self.dim, k))


class DenseAverages:
    """Averages of the halves of each task, as arrays U and V (n, d)."""

    wants_few_passes = True

    def __init__(self, samples):
        self.n, self.dim, self.space = samples.n, samples.dim, samples.space
        self.weights, self.B_star = samples.weights, samples.B_star
        self.U, self.V = np.empty((2, self.n, self.dim))
        for i in range(self.n):
            rows = slice(samples.offsets[i], samples.offsets[i + 1])
            X, y = samples.X[rows], samples.y[rows]
            half = len(y) // 2
            self.U[i] = X[:half].T @ y[:half] / half
            self.V[i] = X[half:].T @ y[half:] / (len(y) - half)

    def products(self, Q):
        return self.U @ Q, self.V @ Q

    def combine(self, P, Q):
        return self.U.T @ P + self.V.T @ Q

    def mean_products(self, Q, factors):
        U, V = factors[:, None] * self.U, factors[:, None] * self.V
        return U.T @ (self.V @ Q) + V.T @ (self.U @ Q)

    def start_factors(self, G):
        return G

    def preconditioner(self, factors):
        return None
