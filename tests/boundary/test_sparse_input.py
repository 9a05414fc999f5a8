"""Bad sparse data raise one sentence: what was expected, what came, and how to mend it."""

import numpy as np
import pytest
from scipy import sparse

import metaspan as ms
from matching import assert_one_sentence
from sparse_data import pair, sparse_sets

X, Y = sparse_sets(np.random.default_rng(4), (5, 6), 9)
REMEDY = "X[1] = X[1].copy(); X[1].sum_duplicates()"
GIVEN, SINGLE = pair(d=9, k=2), pair(d=9, k=2, dtype=np.float32)


def changed(**parts):
    """The first matrix with other arrays, behind the second."""
    odd = X[0].copy()
    for name, value in parts.items():
        setattr(odd, name, value)
    return [X[1], odd]


def edited(part, place, value, indices=np.int32):
    odd = X[0].copy()
    odd.indices = odd.indices.astype(indices)
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
    "indices-kind": (lambda: split(changed(indices=X[0].indices.astype(float))),
                     TypeError, ["X[1].indices must be integers", "float64"]),
    "wide-above": (lambda: split(edited("indices", 0, 2**32, np.int64)),
                   ValueError, ["X[1].indices must be at least 0 and less than d = 9"]),
    "wide-below": (lambda: split(edited("indices", 0, -(2**32), np.int64)),
                   ValueError, ["X[1].indices must be at least 0 and less than d = 9"]),
    "integers": (lambda: split([X[1], X[0].astype(np.int32)]),
                 TypeError, ["X[1] must be float32 or float64", "int32", ".astype(np.float64)"]),
    "two-dtypes": (lambda: split([X[1], X[0].astype(np.float32)]),
                   TypeError, ["X[1] must be float64", "float32"]),
    "dtype-of-y": (lambda: split([X[1], X[0]], [Y[1].astype(np.float32), Y[0]]),
                   TypeError, ["y[0] must be float64", "float32"]),
    "twice": (lambda: split([X[1], doubled()]),
              ValueError, ["X[1] must have its columns sorted", REMEDY]),
    "unsorted": (lambda: split(changed(indices=X[0].indices[::-1].copy())),
                 ValueError, ["X[1] must have its columns sorted", REMEDY]),
    "column-above": (lambda: split(edited("indices", X[0].indptr[1] - 1, 9)),
                     ValueError, ["X[1].indices must be at least 0 and less than d = 9"]),
    "column-below": (lambda: split(edited("indices", 0, -1)),
                     ValueError, ["X[1].indices must be at least 0 and less than d = 9"]),
    "rows-beyond": (lambda: split(edited("indptr", -1, 10**6)),
                    ValueError, ["X[1].indptr must be 6 non-decreasing numbers", "at most"]),
    "rows-before": (lambda: split(edited("indptr", 0, -3)),
                    ValueError, ["X[1].indptr must be 6 non-decreasing numbers"]),
    "rows-fall": (lambda: split(edited("indptr", 3, 0)),
                  ValueError, ["X[1].indptr must be 6 non-decreasing numbers"]),
    "rows-missing": (lambda: split(changed(indptr=X[0].indptr[:-1])),
                     ValueError, ["X[1].indptr must be 6 non-decreasing numbers"]),
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


def permuted(matrix):
    """The matrix with the entries of its first row backwards, after SciPy noted it was sorted."""
    odd = matrix.copy()
    assert odd.has_canonical_format
    row = slice(*odd.indptr[:2])
    for array in (odd.indices, odd.data):
        array[row] = array[row][::-1].copy()
    return odd


def mixed(matrix):
    """Starts and columns of two dtypes, with which most of SciPy's own methods fail."""
    odd = permuted(matrix)
    odd.indptr = odd.indptr.astype(np.int64)
    return odd


def read_only(matrix):
    odd = permuted(matrix)
    for array in (odd.indices, odd.data):
        array.flags.writeable = False
    return odd


LONG = next(x for x in X if np.diff(x.indptr[:2]) > 1)
TOLD = {
    "twice": (doubled, doubled().toarray()),
    "permuted": (lambda: permuted(LONG), LONG.toarray()),
    "permuted-array": (lambda: permuted(sparse.csr_array(LONG)), LONG.toarray()),
    "permuted-wide": (lambda: permuted(wide(LONG.toarray())), LONG.toarray()),
    "mixed": (lambda: mixed(LONG), LONG.toarray()),
    "read-only": (lambda: read_only(LONG), LONG.toarray()),
}


def wide(array):
    """Return a CSR matrix whose indices are int64, as `nonzero` returns them."""
    places = np.nonzero(array)
    found = sparse.csr_array((array[places], places), shape=array.shape)
    assert found.indices.dtype == found.indptr.dtype == np.int64
    return found


@pytest.mark.parametrize("case", TOLD)
def test_the_remedy_works_when_typed(case):
    make, expected = TOLD[case]
    names = {"X": [X[0], make()]}
    responses = [np.ones(x.shape[0]) for x in names["X"]]
    with pytest.raises(ValueError, match=r"use X\[1\] = ") as caught:
        split(names["X"], responses)
    exec(str(caught.value).split(": use ")[1], names)  # as typed
    split(names["X"], responses)
    np.testing.assert_array_equal(names["X"][1].toarray(), expected)


@pytest.mark.parametrize("kind", [np.int64, np.uint32, np.int16])
def test_indices_of_other_integers_are_converted(kind):
    given = [x.copy() for x in X]
    for x in given:
        x.indices = x.indices.astype(kind)
    batch, expected = (ms.TaskBatch(x, Y, x, Y) for x in (given, X))
    copied = ms.TaskBatch(given, Y, list(given), Y)
    assert batch.shared
    assert copied.shared
    for own, x in zip(batch.X_in, given, strict=True):
        assert own.columns.dtype == np.int32
        assert x.indices.dtype == kind
        assert np.shares_memory(own.values, x.data)
    found, right = (ms.meta_gradient(GIVEN.B, GIVEN.w, each, "anil") for each in (batch, expected))
    np.testing.assert_array_equal(found.B, right.B)


def test_matrices_of_nonzero_are_taken():
    batch, expected = (split([wide(x.toarray()) for x in X[::-1]]), split(X[::-1]))
    found, right = (ms.meta_gradient(GIVEN.B, GIVEN.w, each, "anil") for each in (batch, expected))
    np.testing.assert_array_equal(found.B, right.B)


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
