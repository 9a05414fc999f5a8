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

STUDY_FILE = "study.toml, or the folder of an existing study"


def add_parser(commands: _SubParsersAction[Any]) -> None:
    """Add the command ``study`` and its subcommands."""
    study = commands.add_parser(
        "study",
        help="run a study from a file, show its progress, report on it",
        description="A study is a grid of training runs whose results are kept in a folder.",
    )
    subcommands = study.add_subparsers(dest="study_command", required=True, metavar="COMMAND")
    run = subcommands.add_parser("run", help="do the runs that are not done")
    run.add_argument("study", metavar="STUDY", help=STUDY_FILE)
    run.add_argument(
        "--out", metavar="DIR", help="folder for its files, instead of the one that the file names"
    )
    run.add_argument(
        "--workers",
        type=int,
        metavar="N",
        help="number of worker processes (default: run in this process)",
    )
    run.add_argument("--threads", type=int, metavar="N", help="threads of a run")
    run.add_argument(
        "--shard", metavar="I/N", help='one part of the runs, such as 3/64, or "slurm"'
    )
    run.add_argument("--sync", action="store_true", help="make every row survive a power loss")
    run.add_argument("--retry-failed", action="store_true", help="do runs that failed again")
    run.add_argument("--mixed", action="store_true", help="accept rows of another version")
    status = subcommands.add_parser("status", help="print the progress of a study")
    status.add_argument("study", metavar="STUDY", help=STUDY_FILE)
    estimate = subcommands.add_parser(
        "estimate", help="predict the time and the memory of the runs that are not done"
    )
    estimate.add_argument("study", metavar="STUDY", help=STUDY_FILE)
    estimate.add_argument(
        "--workers",
        type=int,
        default=1,
        metavar="N",
        help="number of worker processes or shards (default: 1)",
    )
    estimate.add_argument("--threads", type=int, metavar="N", help="threads of a run")
    report = subcommands.add_parser(
        "report", help="write figures, fits and the table of finished runs"
    )
    report.add_argument("study", metavar="STUDY", help=STUDY_FILE)
    report.add_argument("--out", metavar="FILE", help="report.html (default, in the folder)")
    report.add_argument("--table", metavar="FILE", help="also write the table, as .csv or .parquet")


def study_command(chosen: argparse.Namespace) -> int:
    """Run the subcommand that the parsed arguments name."""
    try:
        return _dispatch(chosen)
    except TypeError as error:  # a value in the study's file is of the wrong kind
        raise ValueError(f"{chosen.study}: {error}") from error


def _dispatch(chosen: argparse.Namespace) -> int:
    """Run a study, print its status or its estimate, or write its report."""
    if chosen.study_command == "run":
        return _run(chosen)
    study = _open(chosen.study)
    if chosen.study_command == "status":
        print(study.status())
        return 0
    if chosen.study_command == "estimate":
        print(study.estimate(check.integer("--workers", chosen.workers, 1), chosen.threads))
        return 0
    target = Path(chosen.out) if chosen.out else study.folder / "report.html"
    if chosen.table:  # first, since the report takes long and this name may be wrong
        study.export(chosen.table)
        print(chosen.table)
    study.report(target)
    print(target)
    return 0


def _run(chosen: argparse.Namespace) -> int:
    """Run a study and print its status."""
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
    """Open the study that `path` names: a TOML file, or the folder of a study."""
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
        _ = study.cells  # compute all expressions now, so that errors name the file
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from error
    return study
