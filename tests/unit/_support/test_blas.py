"""The number of threads of the BLAS within blocks, and after them."""

import pytest
import scipy.linalg  # noqa: F401  (its BLAS is another library than that of NumPy)
from threadpoolctl import threadpool_info, threadpool_limits

from metaspan._support.blas import one_blas_thread


def threads():
    return {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}


def test_blas_runs_on_one_thread_until_the_block_ends():
    with threadpool_limits(2, user_api="blas"):
        with one_blas_thread():
            assert threads() == {1}
            with one_blas_thread():
                assert threads() == {1}
            assert threads() == {1}
        assert threads() == {2}


def test_an_error_restores_the_threads():
    with threadpool_limits(2, user_api="blas"):
        with pytest.raises(KeyError), one_blas_thread():
            raise KeyError
        assert threads() == {2}
