"""Threads that stand for the processes of a sharded run, and the exchange between them."""

import threading

import numpy as np

from metaspan._load import core

TIMEOUT = 30  # seconds after which a rank stops waiting for the others


class Meeting:
    """What `ranks` threads exchange: the numbers of each, and a barrier at which they meet."""

    def __init__(self, ranks):
        self.numbers = [None] * ranks
        self.barrier = threading.Barrier(ranks, timeout=TIMEOUT)
        self.calls = [0] * ranks  # number of exchanges of each rank

    def trade(self, rank, numbers, take):
        """Show `numbers` to all ranks, and return what `take` takes from those of all."""
        self.calls[rank] += 1
        self.numbers[rank] = numbers
        self.barrier.wait()
        taken = take(self.numbers)
        self.barrier.wait()
        return taken


class Exchange:
    """The exchange of one rank, as `core.Shard` calls it."""

    def __init__(self, rank, meeting):
        self.rank, self.meeting = rank, meeting

    def gather(self, own, counts, all):
        assert own.size == counts[self.rank]
        all[:] = self.meeting.trade(self.rank, own.copy(), np.concatenate)

    def swap(self, own, sent, received, out):
        parts = np.split(own.copy(), np.cumsum(sent)[:-1])
        mine = self.meeting.trade(self.rank, parts, lambda all: [p[self.rank] for p in all])
        assert [part.size for part in mine] == received
        out[:] = np.concatenate(mine)


def run_ranks(d, ranks, body):
    """Call body(shard) for each rank in a thread of its own, and return the results in order.

    If a rank raises an exception, the others stop waiting for it, and the exception is raised here.
    """
    meeting = Meeting(ranks)
    results, failures, lonely = [None] * ranks, [], []

    def run(rank):
        try:
            results[rank] = body(core.Shard(d, rank, ranks, Exchange(rank, meeting)))
        except threading.BrokenBarrierError as failure:
            lonely.append(failure)
        except BaseException as failure:
            failures.append(failure)
            meeting.barrier.abort()

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(ranks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for failure in failures + lonely:
        raise failure
    assert len(set(meeting.calls)) == 1, "all ranks make the same exchanges"
    return results


def rows_of(shard, array):
    """Return the rows of an array that belong to a shard."""
    return np.ascontiguousarray(array[shard.first : shard.first + shard.size])
