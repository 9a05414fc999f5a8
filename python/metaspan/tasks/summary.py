r"""What files hold of a batch in place of its data: sizes, and a hash of some numbers."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

from . import sharded

if TYPE_CHECKING:
    from .batch import TaskBatch


@dataclass(frozen=True, kw_only=True)
class BatchSummary:
    r"""The sizes and the fingerprint of a batch; a file holds these in place of the batch's data.

    Parameters
    ----------
    n : int
        Number of tasks.
    m_in, m_out : int or tuple of int
        Samples per task in the inner and the outer sets; a tuple has one number per task.
    d, k : int
        Number of features, and rank of the ground truth; k = 0 if the ground truth is unknown.
    dtype : str
        Dtype of the data: "float32" or "float64".
    fingerprint : str
        A hash of all responses, and of some rows of the features, the ground truth and the heads.
    """

    n: int
    m_in: int | tuple[int, ...]
    m_out: int | tuple[int, ...]
    d: int
    k: int
    dtype: str
    fingerprint: str


def counts_text(
    n: int | None, m_in: int | tuple[int, ...] | None, m_out: int | tuple[int, ...] | None
) -> str:
    """Format the numbers of tasks and of samples per task; None means infinitely many."""

    def text(sizes: int | tuple[int, ...] | None) -> str:
        if isinstance(sizes, tuple):
            return f"{min(sizes)}..{max(sizes)}"
        return "infinite" if sizes is None else str(sizes)

    return f"n={text(n)}, m_in={text(m_in)}, m_out={text(m_out)}"


def fingerprint(batch: TaskBatch) -> str:
    """Hash all responses, and samples of the features, the ground truth and the heads.

    Features may be larger than memory, so only evenly spaced rows and columns of every task are
    hashed; an edit of X in any other row or column does not change the hash. A batch with a comm
    has the hash of the same data in one process.
    """
    inner, outer = batch._inner, batch._outer
    features, responses = (inner.X, outer.X), (inner.y, outer.y)
    columns = batch._columns
    content = blake2b(digest_size=16)
    for side in responses:
        for response in side.as_passed:
            content.update(np.ascontiguousarray(response).data)
    for side in features:
        for sample in side.sample() if columns is None else sharded.sample(side, columns):
            content.update(np.ascontiguousarray(sample).data)
    for known in (batch.B_star, batch.heads):
        if known is not None and (known is batch.heads or columns is None):
            content.update(np.ascontiguousarray(known[:: max(1, len(known) // 64)]).data)
        elif known is not None and columns is not None:
            content.update(sharded.sample_rows(known, columns).data)
    if batch.core_weights is not None:
        content.update(batch.core_weights.data)
    return content.hexdigest()
