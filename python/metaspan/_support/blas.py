r"""Runs the BLAS of NumPy and SciPy on one thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Run the BLAS of NumPy and SciPy on one thread until the block ends.

    The bits of a factorisation then do not depend on the number of processors. A factorisation of
    a small matrix is also faster: the threads of the core still spin after a product, on the
    processors that the threads of the BLAS would need. If blocks overlap in several threads of
    Python, threadpoolctl decides which of them sets the limit.
    """
    with _controller().limit(limits=1, user_api="blas"):
        yield


@cache
def _controller() -> Any:
    """Find the BLAS libraries of the process; those of SciPy are loaded first."""
    import scipy.linalg  # noqa: F401, PLC0415
    from threadpoolctl import ThreadpoolController  # noqa: PLC0415

    return ThreadpoolController()
