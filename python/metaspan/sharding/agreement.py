r"""Ends a call in the same way on all ranks: by one exception, or by one abort of all of them.

Ranks that wait in an exchange for a rank that has raised an exception would wait for ever. Checks
of arguments are therefore followed by an exchange of the errors (`agreed`, `agree`). A rank that
fails amid other exchanges ends all ranks (`guarded`).
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import TypeVar

from .._load import core
from .exchange import Exchange

T = TypeVar("T")
Failure = tuple[str, str]
"""The name of a built-in class of exceptions, and a message."""

FORWARDING = 0.5  # seconds in which mpiexec forwards the message of a rank, before it ends all
MARK = "_metaspan_agreed"  # attribute of exceptions that all ranks raise


def agreed(exchange: Exchange | None) -> AbstractContextManager[None]:
    """Raise the same exception on all ranks if the block fails on some; it must exchange nothing.

    All ranks enter the block. Without an exchange, or on one rank, the block runs as it is.
    """
    return NO_AGREEMENT if exchange is None or exchange.ranks == 1 else _Agreement(exchange)


NO_AGREEMENT: AbstractContextManager[None] = nullcontext()


class _Agreement:
    """A block at whose end the ranks exchange their exceptions."""

    def __init__(self, exchange: Exchange) -> None:
        self._exchange = exchange

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        _conclude(self._exchange, error, None)


def agree(exchange: Exchange | None, body: Callable[[], T]) -> T:
    """Call a function on all ranks, as in `agreed`, and return what it returned on rank 0."""
    if exchange is None or exchange.ranks == 1:
        return body()
    failure, value = None, None
    try:
        value = body()
    except BaseException as error:
        failure = error
    return _conclude(exchange, failure, value if exchange.rank == 0 else None)  # type: ignore[return-value]


def require_equal(exchange: Exchange | None, what: dict[str, str]) -> None:
    """Raise ValueError on all ranks unless all have equal texts `what`, by names of arguments."""
    if exchange is None or exchange.ranks == 1:
        return
    with guarded(exchange):
        all_texts = exchange.share(what)
    for name in dict.fromkeys(name for texts in all_texts for name in texts):
        values = [texts.get(name, "nothing") for texts in all_texts]
        different = [rank for rank, value in enumerate(values) if value != values[0]]
        if different:
            raise _mark(
                ValueError(
                    f"{name} must be the same on all ranks; rank 0 of {exchange.ranks} has "
                    f"{values[0]}, and rank {different[0]} has {values[different[0]]}"
                )
            )


def describe_build() -> dict[str, str]:
    """Describe what determines the bits of a rank, for `require_equal`.

    All ranks compute the small algebra, and decide by its results what they exchange.
    """
    build = core.build_info()
    return {"version and instruction set": f"{build['version']} {build['instruction_set']}"}


def guarded(
    exchange: Exchange | None,
    where: Callable[[], str] = lambda: "failed",
    hint: Callable[[], str] = lambda: "",
) -> AbstractContextManager[None]:
    """End all ranks if the block, which exchanges numbers, fails on this rank alone.

    An exception that all ranks raise together passes through. Before the end, one line on standard
    error says which rank failed; `where` gives the words before the exception, and `hint` a clause
    after it.
    """
    alone = exchange is None or exchange.ranks == 1
    return NO_AGREEMENT if alone else _Guard(exchange, where, hint)


class _Guard:
    """A block whose failure on this rank ends all ranks."""

    def __init__(
        self, exchange: Exchange | None, where: Callable[[], str], hint: Callable[[], str]
    ) -> None:
        assert exchange is not None
        self._exchange, self._where, self._hint = exchange, where, hint

    def __enter__(self) -> None:
        pass

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        if error is not None and not is_agreed(error):
            _abort(self._exchange, f"{self._where()}: {_describe(error)}{self._hint()}")


def is_agreed(error: BaseException) -> bool:
    """Whether all ranks raise this exception."""
    return hasattr(error, MARK)


def _conclude(exchange: Exchange, failure: BaseException | None, value: T) -> T:
    """Exchange the failures of all ranks; raise the first, or return the value of rank 0."""
    with guarded(exchange):
        outcomes = exchange.share((None if failure is None else _summary(failure), value))
    failures: list[Failure | None] = [outcome[0] for outcome in outcomes]
    first = next((each for each in failures if each is not None), None)
    if first is None:
        return outcomes[0][1]  # type: ignore[no-any-return]
    ranks = [rank for rank, each in enumerate(failures) if each == first]
    if len(ranks) == exchange.ranks:
        assert failure is not None
        raise _mark(failure)
    name, message = first
    kind: type[BaseException] = vars(sys.modules["builtins"])[name]
    raise _mark(kind(f"{_name_ranks(ranks, exchange.ranks)}: {message}")) from failure


def _mark(error: BaseException) -> BaseException:
    """Mark an exception as one that all ranks raise."""
    setattr(error, MARK, True)
    return error


def _summary(error: BaseException) -> Failure:
    """Return the nearest built-in class of an exception, which any rank can make, and its text."""
    names = [kind.__name__ for kind in type(error).__mro__ if kind.__module__ == "builtins"]
    name = "RuntimeError" if names[0] in ("Exception", "BaseException") else names[0]
    return name, str(error) or f"{type(error).__name__} was raised"


def _describe(error: BaseException) -> str:
    """Return the class and the message of an exception, on one line."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _name_ranks(ranks: list[int], count: int) -> str:
    """Return "rank 2 of 4", "ranks 1 and 2 of 4" or "ranks 1, 2 and 3 of 64"."""
    if len(ranks) == 1:
        return f"rank {ranks[0]} of {count}"
    shown = [str(rank) for rank in ranks]
    return f"ranks {', '.join(shown[:-1])} and {shown[-1]} of {count}"


def _abort(exchange: Exchange, message: str) -> None:
    """Print a message on standard error, and end all ranks."""
    line = f"metaspan: rank {exchange.rank} of {exchange.ranks} {message}\n"
    try:
        sys.stderr.write(line)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
    except (AttributeError, OSError, ValueError):  # a stream that is closed, or none
        pass
    time.sleep(FORWARDING)
    exchange.comm.Abort(1)
    os._exit(1)  # where Abort returns: nothing may follow the message
