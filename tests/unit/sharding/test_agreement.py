"""Ranks that wait for each other raise the same errors; ranks are played by one process."""

import contextlib

import pytest

from metaspan.sharding import agreement
from metaspan.sharding.agreement import agree, agreed, guarded, is_agreed, require_equal


class Others:
    """An exchange of rank `rank`, whose other ranks share the values that are given."""

    def __init__(self, rank, values):
        self.rank, self.ranks, self._values = rank, len(values), values

    def share(self, value):
        values = list(self._values)
        values[self.rank] = value
        return values


SOUND = (None, 7)


def fails(message="x must be finite"):
    raise ValueError(message)


def test_error_of_another_rank_is_raised_here():
    exchange = Others(0, [SOUND, SOUND, (("ValueError", "x must be finite"), None)])
    with pytest.raises(ValueError, match=r"^rank 2 of 3: x must be finite$") as caught:
        agree(exchange, lambda: 1)
    assert is_agreed(caught.value)


def test_error_of_this_rank_names_it():
    exchange = Others(1, [SOUND, SOUND])
    with pytest.raises(ValueError, match=r"^rank 1 of 2: x must be finite$"), agreed(exchange):
        fails()


def test_error_of_all_ranks_names_none():
    failure = (("ValueError", "x must be finite"), None)
    with pytest.raises(ValueError, match=r"^x must be finite$") as caught:
        agree(Others(1, [failure] * 3), fails)
    assert is_agreed(caught.value)


@pytest.mark.parametrize(
    ("ranks", "words"),
    [((1, 2), "ranks 1 and 2 of 4"), ((0, 1, 3), "ranks 0, 1 and 3 of 4")],
)
def test_error_of_some_ranks_names_them(ranks, words):
    failure = (("OSError", "disk full"), None)
    values = [failure if rank in ranks else SOUND for rank in range(4)]
    with pytest.raises(OSError, match=f"^{words}: disk full$"):
        agree(Others(next(r for r in range(4) if r not in ranks), values), lambda: 1)


def test_first_of_different_errors_is_raised():
    values = [SOUND, (("OSError", "b"), None), (("ValueError", "c"), None)]
    with pytest.raises(OSError, match=r"^rank 1 of 3: b$"), agreed(Others(2, values)):
        fails("c")


def test_exceptions_of_users_become_built_in_ones():
    class Private(KeyError):
        pass

    class Base(Exception):
        pass

    for error, kind in ((Private("k"), KeyError), (Base(), RuntimeError)):
        with pytest.raises(kind, match="rank 1 of 2"), agreed(Others(1, [SOUND, SOUND])):
            raise error


def test_value_of_rank_0_is_returned():
    assert agree(Others(1, [SOUND, SOUND]), lambda: 9) == 7
    assert agree(Others(0, [SOUND, SOUND]), lambda: 9) == 9
    assert agree(None, lambda: 9) == 9


def test_errors_of_one_rank_pass_as_they_are():
    for exchange in (None, Others(0, [SOUND])):
        with pytest.raises(ValueError, match=r"^x must be finite$") as caught:
            agree(exchange, fails)
        assert not is_agreed(caught.value)


def test_different_arguments_are_named():
    require_equal(Others(0, [{}, {"n": "3"}]), {"n": "3"})
    with pytest.raises(
        ValueError, match=r"^n must be the same on all ranks; rank 0 of 2 has 3, and"
    ):
        require_equal(Others(0, [{}, {"n": "4"}]), {"n": "3"})
    with pytest.raises(ValueError, match=r"^m must be the same .* has 1, and rank 2 has nothing$"):
        require_equal(Others(1, [{"m": "1"}, {}, {}]), {"m": "1"})


@pytest.fixture
def ended(monkeypatch):
    messages = []
    monkeypatch.setattr(agreement, "_abort", lambda exchange, message: messages.append(message))
    return messages


def test_failure_of_one_rank_ends_all(ended):
    with pytest.raises(MemoryError), guarded(
        Others(1, [0, 0]), lambda: "failed in round 3", lambda: "; the checkpoint a holds round 2"
    ):  # fmt: skip
        raise MemoryError("no room\nfor B")
    assert ended == [
        "failed in round 3: MemoryError: no room for B; the checkpoint a holds round 2"
    ]


def test_agreed_errors_and_single_ranks_end_nothing(ended):
    with contextlib.suppress(ValueError), guarded(Others(1, [SOUND, SOUND])):
        agree(Others(0, [SOUND, (("ValueError", "a"), None)]), lambda: 1)
    for exchange in (None, Others(0, [0])):
        with pytest.raises(KeyboardInterrupt), guarded(exchange):
            raise KeyboardInterrupt
    assert not ended
