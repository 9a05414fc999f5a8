"""Estimators run as in a fit, with the BLAS on one thread."""

import pytest

from metaspan._support.blas import one_blas_thread


@pytest.fixture(autouse=True)
def _one_blas_thread():
    with one_blas_thread():
        yield
