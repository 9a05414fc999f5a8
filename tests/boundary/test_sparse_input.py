"""Bad sparse data: one sentence with what was expected, what came, and what mends it."""

import numpy as np
import pytest
from scipy import sparse

import metaspan as ms
from matching import assert_one_sentence
from sparse_data import pair, sparse_sets

X, Y = sparse_sets(np.random.default_rng(4), (5, 6), 9)
GIVEN, SINGLE = pair(d=9, k=2), pair(d=9, k=2, dtype=np.float32)


def changed(**parts):
    """The first matrix with other arrays, behind the second."""
    odd = X[0].copy()
    for name, value in parts.items():
        setattr(odd, name, value)
    return [X[1], odd]


def edited(part, place, value):
    odd = X[0].copy()
    getattr(odd, part)[place] = value
    return [X[1], odd]


def doubled():
    """A row with one column twice."""
    return sparse.csr_matrix((np.ones(2), [3, 3], [0, 2, 2, 2, 2, 2]), shape=(5, 9))


def split(matrices, responses=None):
    return ms.TaskBatch.split(matrices, [Y[1], Y[0]] if responses is None else responses, m_in=2)


def train(**options):
    return ms.train(GIVEN.sparse, "anil", rounds=1, width=2, **options)


CASES = {
    "one-matrix": (lambda: split(X[0]), TypeError, ["X must be a sequence", "(5, 9)"]),
    "format": (lambda: split([X[1], X[0].tocsc()]),
               ValueError, ["X[1] must be in CSR format", "got csc", "X[1].tocsr()"]),
    "coordinates": (lambda: split([X[1].tocoo(), X[0]]),
                    ValueError, ["X[0] must be in CSR format", "got coo", "X[0].tocsr()"]),
    "dense-among-sparse": (lambda: split([X[1], X[0].toarray()]),
                           TypeError, ["X[1] must be a sparse matrix, as X[0] is", "an array"]),
    "sparse-among-dense": (lambda: split([X[1].toarray(), X[0]]),
                           TypeError, ["X[1] must be a NumPy array"]),
    "sides": (lambda: ms.TaskBatch(X, Y, [x.toarray() for x in X], Y),
              TypeError, ["X_out must be sparse, as X_in is", "dense"]),
    "other-sides": (lambda: ms.TaskBatch([x.toarray() for x in X], Y, X, Y),
                    TypeError, ["X_out must be dense, as X_in is", "sparse"]),
    "wide-indices": (lambda: split(changed(indices=X[0].indices.astype(np.int64))),
                     TypeError, ["X[1] must have int32 indices", "int64", "astype(np.int32)"]),
    "integers": (lambda: split([X[1], X[0].astype(np.int32)]),
                 TypeError, ["X[1] must be float32 or float64", "int32", ".astype(np.float64)"]),
    "two-dtypes": (lambda: split([X[1], X[0].astype(np.float32)]),
                   TypeError, ["X[1] must be float64", "float32"]),
    "dtype-of-y": (lambda: split([X[1], X[0]], [Y[1].astype(np.float32), Y[0]]),
                   TypeError, ["y[0] must be float64", "float32"]),
    "twice": (lambda: split([X[1], doubled()]),
              ValueError, ["X[1] must have its columns sorted", "X[1].sum_duplicates()"]),
    "unsorted": (lambda: split(changed(indices=X[0].indices[::-1].copy())),
                 ValueError, ["X[1] must have its columns sorted", "X[1].sum_duplicates()"]),
    "column-above": (lambda: split(edited("indices", X[0].indptr[1] - 1, 9)),
                     ValueError, ["X[1].indices must be at least 0 and less than d = 9"]),
    "column-below": (lambda: split(edited("indices", 0, -1)),
                     ValueError, ["X[1].indices must be at least 0 and less than d = 9"]),
    "rows-beyond": (lambda: split(edited("indptr", -1, 10**6)),
                    ValueError, ["X[1].indptr must be 6 numbers", "at most"]),
    "rows-before": (lambda: split(edited("indptr", 0, -3)),
                    ValueError, ["X[1].indptr must be 6 numbers"]),
    "rows-fall": (lambda: split(edited("indptr", 3, 0)),
                  ValueError, ["X[1].indptr must be 6 numbers that do not fall"]),
    "rows-missing": (lambda: split(changed(indptr=X[0].indptr[:-1])),
                     ValueError, ["X[1].indptr must be 6 numbers"]),
    "strided": (lambda: split(changed(data=np.ones(2 * X[0].nnz)[::2])),
                ValueError, ["X[1].data must be a contiguous vector", "X[1].copy()"]),
    "features": (lambda: split([X[1], X[0][:, :5]]),
                 ValueError, ["X[1] must have shape (m, 9)", "(5, 5)"]),
    "samples": (lambda: split([X[1], X[0][:4]]), ValueError, ["y[1] must have shape (4,)", "(5,)"]),
    "no-samples": (lambda: split([X[1], X[0][:0]]), ValueError, ["X must hold samples", "(0, 9)"]),
    "not-finite": (lambda: split(edited("data", 2, np.nan)),
                   ValueError, ["X[1] must be finite", "check_finite=False"]),
    "single": (lambda: ms.train(SINGLE.sparse, "anil", rounds=1, width=2, accumulate="float32"),
               ValueError, ["accumulate must be 'float64' for sparse data", "'float32'"]),
    "gradient-single": (lambda: ms.meta_gradient(SINGLE.B, SINGLE.w, SINGLE.sparse, "anil",
                                                 route="vector", accumulate="float32"),
                        ValueError, ["accumulate must be 'float64' for sparse data", "'float32'"]),
    "adapt": (lambda: ms.adapt(GIVEN.B, GIVEN.w, [x.tocsc() for x in X], Y, "anil"),
              ValueError, ["X[0] must be in CSR format", "csc"]),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
def test_one_sentence_names_argument_expected_and_given(case):
    assert_one_sentence(*case)


def test_mended_matrices_are_accepted():
    wide, twice = X[0].copy(), doubled()
    wide.indices = wide.indices.astype(np.int64)
    wide.indices = wide.indices.astype(np.int32)
    twice.sum_duplicates()
    assert split([X[1], wide]).n == split([X[1], twice]).n == 2


def test_infinite_entries_pass_where_nobody_looks():
    batch = ms.TaskBatch.split(edited("data", 2, np.inf), [Y[1], Y[0]], 2, check_finite=False)
    assert batch.n == 2


def test_explicit_zeros_are_entries_like_others():
    stored = X[0].copy()
    stored.data[1] = 0.0
    found, expected = (
        ms.adapt(GIVEN.B, GIVEN.w, [x], [Y[0]], "anil", alpha=0.1)
        for x in (stored, stored.toarray())
    )
    np.testing.assert_allclose(found, expected, rtol=1e-14)
