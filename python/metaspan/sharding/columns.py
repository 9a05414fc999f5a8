r"""The columns of X, and the rows of B, that a rank holds."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from itertools import pairwise
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from .._load import core
from .._support import check, memory
from .._support.files import Streamed
from .agreement import agreed, guarded
from .exchange import Exchange, check_comm

T = TypeVar("T")

MOST_COLUMNS = 2**53


def shard(d: int, comm: Any) -> tuple[int, int]:
    r"""Return the range of the d features whose data this rank of a communicator must hold.

    Parameters
    ----------
    d : int
        Number of features of the whole data, 1 <= d <= 2**53.
    comm : mpi4py.MPI.Intracomm
        The communicator, such as ``MPI.COMM_WORLD``.

    Returns
    -------
    lo, hi : int
        This rank holds the columns lo, ..., hi - 1 of every X, and the same rows of B and `B_star`.
        The ranges of all ranks are consecutive, in the order of the ranks.

    Raises
    ------
    TypeError
        If `d` is not an integer, or `comm` is not an intracommunicator of mpi4py.
    ValueError
        If `d` is out of range, or is too small for the number of ranks.

    Notes
    -----
    The d columns are cut into leaves: one for d below some 4,000, two below some 8,000, at least
    four above, and at most 1024. The cut depends on d alone, and a rank holds whole leaves, so
    every sum over d is added in the same order for any number of ranks. Ranges begin at multiples
    of 256. The function exchanges nothing. The argument `shard` of `Study.run` is something else: a
    part of the runs of a study.
    """
    checked = check.integer("d", d, 1, MOST_COLUMNS)
    usable = check_comm(comm)
    rank, ranks = usable.Get_rank(), usable.Get_size()
    check_ranks(checked, ranks)
    lo, hi = core.Shard.edges(checked, ranks)[rank : rank + 2]
    return lo, hi


def check_ranks(d: int, ranks: int, name: str = "comm") -> None:
    """Raise ValueError unless every rank can hold a leaf of d columns."""
    leaves = core.Shard.leaves(d)
    if ranks > leaves:
        what = "one leaf" if leaves == 1 else f"{leaves} leaves"
        wanted = f"at most {leaves}"
        if name == "comm":
            wanted += " rank" if leaves == 1 else " ranks"
        verb = "have" if name == "comm" else "be"
        raise ValueError(
            f"{name} must {verb} {wanted} for d = {d}, which is cut into {what}; got {ranks}"
        )


class Columns:
    r"""The columns of X, and the rows of B, that this rank of a sharded run holds.

    Parameters
    ----------
    d : int
        Number of columns of all ranks.
    exchange : Exchange
        The exchange between the ranks.
    """

    def __init__(self, d: int, exchange: Exchange) -> None:
        check_ranks(d, exchange.ranks)
        self.d = d
        self.exchange = exchange
        self.core = core.Shard(d, exchange.rank, exchange.ranks, exchange)
        self.edges: list[int] = core.Shard.edges(d, exchange.ranks)
        self.lo, self.hi = self.edges[exchange.rank : exchange.rank + 2]

    @property
    def comm(self) -> Any:
        """The communicator."""
        return self.exchange.comm

    @property
    def is_root(self) -> bool:
        """Whether this rank is the one that writes files, shows progress and issues warnings."""
        return self.exchange.rank == 0

    @property
    def size(self) -> int:
        """Number of columns that this rank holds."""
        return self.hi - self.lo

    @property
    def counts(self) -> list[int]:
        """Number of columns that each rank holds."""
        return [end - first for first, end in pairwise(self.edges)]

    def from_root(self, value: T) -> T:
        """Return the value of rank 0; all ranks make the call."""
        with guarded(self.exchange):
            return self.exchange.share(value)[0]  # type: ignore[no-any-return]

    def rows_of(self, array: NDArray[Any]) -> NDArray[Any]:
        """Return this rank's rows of an array (d, ...), or an array of these rows itself."""
        return array[self.lo : self.hi] if len(array) == self.d else array

    def pieces(self, array: NDArray[Any], root: int = 0) -> Iterator[NDArray[Any]]:
        """Yield the rows of all ranks of an array (..., d, k), in pieces, on the rank `root`.

        `array` has the rows of this rank. All ranks make the call; other ranks get no pieces.
        """
        with guarded(self.exchange):
            if self.exchange.rank == root:
                yield from self.exchange.receive_rows(array, self.counts)
            else:
                self.exchange.send_rows(array, root)

    def gather(self, array: NDArray[Any], root: int) -> NDArray[Any] | None:
        """Return the array (..., d, k) of all rows on the rank `root`, and None on other ranks."""
        shape = (*array.shape[:-2], self.d, array.shape[-1])
        whole = None
        with agreed(self.exchange):
            if self.exchange.rank == root:
                memory.require(f"an array of shape {shape}", math.prod(shape) * array.itemsize)
                whole = np.empty(shape, array.dtype)
        at = 0
        for piece in self.pieces(array, root):
            assert whole is not None
            whole.reshape(-1)[at : at + piece.size] = piece.reshape(-1)
            at += piece.size
        return whole

    def write(
        self, arrays: Mapping[str, NDArray[Any]], write: Callable[[dict[str, Streamed]], None]
    ) -> None:
        """Write arrays (..., d, k) on rank 0, each rank of which holds some rows.

        `arrays` have the rows of this rank. Rank 0 calls `write` with arrays whose pieces arrive
        when they are written, in the order of `arrays`. If `write` fails, all ranks raise its
        error.
        """
        exchange = self.exchange
        with agreed(exchange):
            if not self.is_root:
                with guarded(exchange):
                    for array in arrays.values():
                        exchange.send_rows(array)
                return
            streams = {
                name: Streamed(
                    (*array.shape[:-2], self.d, array.shape[-1]),
                    array.dtype,
                    exchange.receive_rows(array, self.counts),
                )
                for name, array in arrays.items()
            }
            try:
                write(streams)
            finally:  # the other ranks wait until their rows are received
                for stream in streams.values():
                    for _ in stream.pieces:
                        pass
