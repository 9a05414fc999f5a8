r"""Sends numbers and Python objects between the ranks of a sharded run, by mpi4py."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._support import check
from .._support.types import F64

SMALL_COUNTS = 2**31 - 1  # most numbers in one message of MPI before version 4
PIECE_BYTES = 2**24  # of rows of B that are sent to rank 0 at a time
TAG = 20233  # of messages between two ranks


def check_comm(comm: object) -> Any:
    """Return an intracommunicator of mpi4py; raise TypeError for any other object.

    The package never imports mpi4py: a caller who has a communicator has imported it.
    """
    MPI = sys.modules.get("mpi4py.MPI")
    if MPI is not None and isinstance(comm, MPI.Intracomm) and comm != MPI.COMM_NULL:
        return comm
    got = check.show(comm)
    if MPI is not None and isinstance(comm, MPI.Intracomm):
        got = "MPI.COMM_NULL, or a communicator that was freed"
    missing = importlib.util.find_spec("mpi4py") is None
    hint = " (mpi4py is not installed: pip install 'metaspan[mpi]')" if missing else ""
    raise TypeError(
        f"comm must be an intracommunicator of mpi4py, such as MPI.COMM_WORLD; got {got}{hint}"
    )


class Exchange:
    r"""Sends numbers between the ranks of a communicator; the core calls `gather` and `swap`.

    All ranks make the same calls in the same order.

    Parameters
    ----------
    comm : mpi4py.MPI.Intracomm
        The communicator.
    most : int or None
        Most numbers that one message, and one side of a collective call, may have. None: no limit
        where the MPI library has version 4, and otherwise 2^31 - 1.
    """

    def __init__(self, comm: Any, most: int | None = None) -> None:
        self.comm = comm
        self.rank: int = comm.Get_rank()
        self.ranks: int = comm.Get_size()
        self.calls = 0
        self.sent_numbers = 0  # by this rank to other ranks; a gathered number counts once
        self.received_numbers = 0
        self._mpi = sys.modules["mpi4py.MPI"]
        has_large_counts = self._mpi.Get_version() >= (4, 0)
        self._most = SMALL_COUNTS if most is None and not has_large_counts else most

    def gather(self, numbers: F64, counts: Sequence[int], all: F64) -> None:
        """Send `numbers` to every rank, and write the counts[r] numbers of each rank r to `all`."""
        self._count(numbers.size, all.size - numbers.size)
        if self.ranks == 1:
            all[:] = numbers
        elif self._most is None or all.size <= self._most:
            self._gather(numbers, counts, all)
        else:
            self._gather_in_pieces(numbers, counts, all)

    def _gather(self, numbers: F64, counts: Sequence[int], all: F64) -> None:
        number = self._mpi.DOUBLE
        self.comm.Allgatherv([numbers, number], [all, (list(counts), _begins(counts)), number])

    def _gather_in_pieces(self, numbers: F64, counts: Sequence[int], all: F64) -> None:
        """Gather at most `_most` numbers at a time; all ranks know `counts`, and cut alike."""
        assert self._most is not None
        begins, step = _begins(counts), max(1, self._most // self.ranks)
        for first in range(0, max(counts), step):
            here = [min(max(count - first, 0), step) for count in counts]
            part = np.empty(sum(here))
            self._gather(numbers[first : first + here[self.rank]], here, part)
            for begin, at, count in zip(begins, _begins(here), here, strict=True):
                all[begin + first : begin + first + count] = part[at : at + count]

    def swap(self, numbers: F64, sent: Sequence[int], received: Sequence[int], out: F64) -> None:
        """Send sent[r] numbers to each rank r, and write the received[r] numbers of r to `out`.

        Both arrays have the numbers in the order of the ranks.
        """
        self._count(numbers.size - sent[self.rank], out.size - received[self.rank])
        if self._most is not None:
            return self._swap_in_messages(numbers, sent, received, out)
        number = self._mpi.DOUBLE
        self.comm.Alltoallv(
            [numbers, (list(sent), _begins(sent)), number],
            [out, (list(received), _begins(received)), number],
        )

    def _swap_in_messages(
        self, numbers: F64, sent: Sequence[int], received: Sequence[int], out: F64
    ) -> None:
        """Swap by messages between pairs of ranks, each of which knows the numbers of the pair.

        A rank does not know the counts of other pairs, so ranks with small counts cannot tell
        whether an Alltoallv of all ranks would need large ones.
        """
        assert self._most is not None
        requests: list[Any] = []
        ends = _begins(sent), _begins(received)
        for r in range(self.ranks):
            mine = numbers[ends[0][r] : ends[0][r] + sent[r]]
            theirs = out[ends[1][r] : ends[1][r] + received[r]]
            if r == self.rank:
                theirs[:] = mine
                continue
            for part in _pieces(theirs, self._most):
                requests.append(self.comm.Irecv([part, self._mpi.DOUBLE], r, TAG))
            for part in _pieces(mine, self._most):
                requests.append(self.comm.Isend([part, self._mpi.DOUBLE], r, TAG))
        self._mpi.Request.Waitall(requests)

    def share(self, value: Any) -> list[Any]:
        """Return the small Python objects of all ranks, in their order."""
        return [value] if self.ranks == 1 else list(self.comm.allgather(value))

    def send_rows(self, array: NDArray[Any], root: int = 0) -> None:
        """Send the rows of an array (..., rows, k) of this rank to the rank `root`, in pieces."""
        for lead in np.ndindex(array.shape[:-2]):
            for part in _row_pieces(array[lead]):
                self.comm.Send([_bytes_of(part), self._mpi.BYTE], root, TAG)

    def receive_rows(self, array: NDArray[Any], rows: Sequence[int]) -> Iterator[NDArray[Any]]:
        """Yield the rows (rows, k) of all ranks in order, in pieces, while they call `send_rows`.

        `array` (..., rows[r], k) has the rows of this rank r. A piece is valid until the next.
        """
        buffer = np.empty(0, np.uint8)
        k = array.shape[-1]
        for lead in np.ndindex(array.shape[:-2]):
            for rank in range(self.ranks):
                if rank == self.rank:
                    yield from _row_pieces(array[lead])
                    continue
                for count in _row_counts(rows[rank], k * array.itemsize):
                    size = count * k * array.itemsize
                    buffer = buffer if buffer.size >= size else np.empty(size, np.uint8)
                    self.comm.Recv([buffer[:size], self._mpi.BYTE], rank, TAG)
                    yield buffer[:size].view(array.dtype).reshape(count, k)

    def _count(self, sent: int, received: int) -> None:
        self.calls += 1
        self.sent_numbers += sent * (self.ranks > 1)
        self.received_numbers += received


def _begins(counts: Sequence[int]) -> list[int]:
    """Return where the numbers of each rank begin."""
    return list(accumulate(counts, initial=0))[:-1]


def _pieces(numbers: F64, most: int) -> Iterator[F64]:
    """Split a vector into parts of at most `most` numbers."""
    for first in range(0, numbers.size, most):
        yield numbers[first : first + most]


def _row_counts(rows: int, row_bytes: int) -> Iterator[int]:
    """Split a number of rows into numbers of rows of at most PIECE_BYTES, or of one row."""
    most = max(1, PIECE_BYTES // max(row_bytes, 1))
    for first in range(0, rows, most):
        yield min(most, rows - first)


def _row_pieces(rows: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """Split rows (rows, k) into the pieces of `_row_counts`."""
    first = 0
    for count in _row_counts(len(rows), rows.shape[1] * rows.itemsize):
        yield rows[first : first + count]
        first += count


def _bytes_of(part: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(part).reshape(-1).view(np.uint8)
