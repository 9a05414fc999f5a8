r"""The command ``metaspan study``."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._support import check
from .design import toml
from .execution.execute import process_pool
from .study import Study

if TYPE_CHECKING:
    from argparse import _SubParsersAction

STUDY_FILE = "study.toml, or the folder of a study that has begun"


def add_parser(commands: _SubParsersAction[Any]) -> None:
    """Add ``study`` and its own commands."""
    study = commands.add_parser(
        "study",
        help="run a study from a file, see how far it is, report on it",
        description="A study is a grid of runs, kept in a folder as they finish.",
    )
    own = study.add_subparsers(dest="study_command", required=True, metavar="COMMAND")
    run = own.add_parser("run", help="do the runs that are not done")
    run.add_argument("study", metavar="STUDY", help=STUDY_FILE)
    run.add_argument("--out", metavar="DIR", help="folder for its files, in place of the file's")
    run.add_argument("--workers", type=int, metavar="N", help="processes (default: this one)")
    run.add_argument("--threads", type=int, metavar="N", help="threads of a run")
    run.add_argument("--shard", metavar="I/N", help='a part of the runs, such as 3/64, or "slurm"')
    run.add_argument("--sync", action="store_true", help="keep every row through a power loss, too")
    run.add_argument("--retry-failed", action="store_true", help="do runs that failed again")
    run.add_argument("--mixed", action="store_true", help="go on from rows of another version")
    status = own.add_parser("status", help="say how far a study is")
    status.add_argument("study", metavar="STUDY", help=STUDY_FILE)
    report = own.add_parser("report", help="write figures, fits and the table of what is done")
    report.add_argument("study", metavar="STUDY", help=STUDY_FILE)
    report.add_argument("--out", metavar="FILE", help="report.html (default, in the folder)")
    report.add_argument("--table", metavar="FILE", help="the table too, .csv or .parquet")


def study_command(chosen: argparse.Namespace) -> int:
    """Do what the parsed arguments ask for."""
    try:
        return _do(chosen)
    except TypeError as error:  # the file has a value of the wrong kind
        raise ValueError(f"{chosen.study}: {error}") from error


def _do(chosen: argparse.Namespace) -> int:
    if chosen.study_command == "run":
        return _run(chosen)
    study = _open(chosen.study)
    if chosen.study_command == "status":
        print(study.status())
        return 0
    target = Path(chosen.out) if chosen.out else study.folder / "report.html"
    if chosen.table:  # first: its name may be none
        study.export(chosen.table)
        print(chosen.table)
    study.report(target)
    print(target)
    return 0


def _run(chosen: argparse.Namespace) -> int:
    study = _open(chosen.study, chosen.out)
    several = chosen.workers is not None
    with process_pool(chosen.workers) if several else nullcontext() as executor:
        try:
            status = study.run(
                executor,
                chosen.shard,
                threads=chosen.threads,
                sync=chosen.sync,
                retry_failed=chosen.retry_failed,
                mixed=chosen.mixed,
            )
        except (TypeError, ValueError) as error:
            raise ValueError(f"{chosen.study}: {error}") from error
    print(status)
    return 0


def _open(path: str, out: str | None = None) -> Study:
    """The study of a file or of a folder."""
    path, arguments = check.path("STUDY", path), dict[str, Any]()
    if Path(path).is_dir():
        if out is not None:
            raise ValueError(f"--out goes with a study file; {path!r} is a folder")
        folder: str | None = path
    else:
        arguments = {"base": {}, **toml.read(path)}
        named = arguments.pop("folder", None)
        folder = out or named
    if folder is None:
        raise ValueError(f"{path}: folder must be given, or `run --out DIR`; then name that DIR")
    try:
        study = Study(folder, **arguments)
        _ = study.cells  # what expressions of the grid cannot compute is told now
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    return study
