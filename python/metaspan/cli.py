r"""The command ``metaspan``."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import BrokenExecutor
from typing import NoReturn

from ._support import progress
from .explore.command import add_parser as add_explore
from .explore.command import explore_command
from .study.commands import add_parser, study_command

UNEXPECTED, USAGE, INTERRUPTED = 1, 2, 130


class Parser(argparse.ArgumentParser):
    r"""An argument parser that reports bad usage in one line."""

    def error(self, message: str) -> NoReturn:
        r"""Exit with status 2 after writing one line to standard error.

        Parameters
        ----------
        message : str
            Description of the error.
        """
        self.exit(USAGE, f"{self.prog}: {message} (see {self.prog} --help)\n")


def main(arguments: Sequence[str] | None = None) -> int:
    r"""Run the command line.

    Parameters
    ----------
    arguments : sequence of str or None
        The arguments after the name of the command. None: the arguments of this process.

    Returns
    -------
    int
        Exit status: 0 on success, 1 if a claim of ``reproduce --all`` fails, 2 on bad usage, and
        130 after Ctrl-C.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):  # the encoding may lack characters of file names
        sys.stdout.reconfigure(errors="backslashreplace")
    chosen = _parser().parse_args(arguments)
    try:
        return COMMANDS[chosen.command](chosen)
    except KeyboardInterrupt:
        print("metaspan: interrupted; finished work is kept", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The program that reads the pipe has ended. Later writes, such as the flush at exit, must
        # not fail.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (ValueError, ImportError, OSError, BrokenExecutor) as error:
        print(f"metaspan: {error}", file=sys.stderr)
        return USAGE


def _parser() -> Parser:
    from . import __version__  # noqa: PLC0415

    parser = Parser(prog="metaspan", description="MAML and ANIL on linear representations.")
    parser.add_argument("--version", action="version", version=f"metaspan {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    make = commands.add_parser(
        "reproduce",
        help="make the paper's figures, with their data beside them",
        description="Train the runs of the figures' panels; write each panel as PNG, PDF and CSV.",
    )
    make.add_argument(
        "panels", nargs="*", metavar="PANEL", help="names of panels (default: those of the paper)"
    )
    make.add_argument("--out", metavar="DIR", help="folder for the files; created if missing")
    make.add_argument("--quick", action="store_true", help="make smaller runs")
    make.add_argument(
        "--all",
        action="store_true",
        help="make all panels, and compare them with what the paper and theory expect: print a "
        "table, write it as expected.csv and expected.md, and exit with 1 if a claim fails",
    )
    make.add_argument("--list", action="store_true", help="list the panels and exit")
    add_parser(commands)
    add_explore(commands)
    commands.add_parser("info", help="print version, build and machine: what a quoted run needs")
    return parser


def _info(_: argparse.Namespace) -> int:
    from .build import show_config  # noqa: PLC0415

    print(show_config())
    return 0


def _reproduce(chosen: argparse.Namespace) -> int:
    from .paper import limits  # noqa: PLC0415
    from .paper.claims import as_text  # noqa: PLC0415
    from .paper.figures import panels  # noqa: PLC0415
    from .paper.reproduce import named, reproduce  # noqa: PLC0415

    known = panels()
    if chosen.list:
        for name, panel in known.items():
            print(f"{name:<16} {panel.about}")
        return 0
    if chosen.out is None:
        raise ValueError("reproduce: --out DIR is required")
    if chosen.all and chosen.panels:
        raise ValueError("reproduce: --all makes all panels; leave out the names or --all")
    names = chosen.panels or named(chosen.all)
    total = sum(known[name].count() for name in names if name in known)
    total += limits.RUNS if chosen.all else 0
    bar = progress.terminal_bar(total, unit="run", leave=False)
    bar = _Lines() if bar is None else bar
    try:
        claims = reproduce(
            names,
            chosen.out,
            chosen.quick,
            advanced=bar.update,
            finished=bar.write,
            expected=chosen.all,
        )
    finally:
        bar.close()
    if claims:
        print(as_text(claims))
    return 0 if all(claim.holds for claim in claims) else UNEXPECTED


class _Lines:
    """Replaces the progress bar where there is no terminal: prints a line per finished panel."""

    def update(self) -> None: ...

    def write(self, line: str) -> None:
        print(line, flush=True)

    def close(self) -> None: ...


COMMANDS: dict[str, Callable[[argparse.Namespace], int]] = {
    "info": _info,
    "study": study_command,
    "reproduce": _reproduce,
    "explore": explore_command,
}
