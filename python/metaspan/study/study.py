r"""Studies: a grid of runs that is done once, wherever it is interrupted."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._support import check, signals
from ..build import version_and_level
from .design.cells import Cell, cells_of, matching
from .design.spec import Spec, specify
from .design.stopping import INSTEAD, set_by_stop
from .execution.describe import Tree, check_extends, describe, list_missing, restore
from .execution.execute import execute
from .execution.plan import make_plan, shard_of
from .execution.progress import Progress, meter
from .execution.status import StudyStatus, failures_of, status_of
from .execution.store import FAILED, Row, RunId, StoredRows, StudyFolder
from .laws import fits
from .report.tables import table_of, traces_of, write_table

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

    from .laws.laws import Laws, Powers


class Study:
    r"""A grid of training runs, kept in a folder as they finish.

    Parameters
    ----------
    folder : str or os.PathLike
        Where its files are; made by the first run. With `base` and `grid` left out, the study that
        is there.
    base : mapping of str to object, or None
        What all runs share. Names are those of `LinearTasks`, of the method and of `train`; a
        method is an object or a name, and ``alpha``, ``beta``, ``inner_steps`` and ``first_order``
        replace its own. A string is an expression over the other names, such as ``"4*d*k"``, except
        where words are meant (the method, features, init, engine, ...).
    grid : mapping of str to object, or None
        What varies. A list, a range, an array or a column of a table holds the values of an axis,
        and runs are those of all combinations. An expression, or a function whose parameters are
        names of the study, depends on the others. Further names may be used by expressions and
        functions. A function is called when the grid is expanded, and only its values are kept.
    seeds : int or iterable of int
        Repetitions of every cell: numbers of trials, or how many.
    measure : str, callable, or sequence of them
        What is measured at the end of each run. A record, for its last value; ``"rounds_to:TOL"``,
        the first recorded round with dist at most TOL; ``"rate"``, the fall of log dist per round
        late in the run; ``"floor"``, the geometric mean of dist over the last quarter of the rows;
        ``"risk:M"``, the excess risk on new tasks with M samples after adaptation; ``"seconds"``,
        the time of the call that ended the run; or a function of the `Result` of one trial. Of a
        run that diverged, none but the time.
    keep : str or sequence of str
        Records whose trace is kept.
    keep_rows : int
        Rows of a trace that are kept, at most, evenly spaced; 2 to 100,000.
    common : str or sequence of str
        Axes across whose values all runs of a seed use the same random numbers, such as
        ``"method"``. Other cells have random numbers of their own.

    Raises
    ------
    TypeError, ValueError
        If a name or a value is not one of those above, or the folder holds a study that differs in
        more than added values and seeds.
    FileNotFoundError
        If `base` and `grid` are left out and there is no study.

    Notes
    -----
    ``study.json`` in the folder says what the study is, ``rows/*.jsonl`` hold a line for every
    finished run, readable by people and programs. A row is written as soon as its run ends; after
    a kill the same call does what is left, and ends with the same table: at one instruction-set
    level, the numbers depend on the study alone. A study has at most a million cells and ten
    million runs.

    Functions (laws of heads and features, measures) are told apart by a hash of all that they are
    made of: code, defaults, closure, arguments of a partial, state of an object, and the globals of
    their own module that they read. A changed function makes another study, as does another minor
    version of Python. What cannot be hashed, such as a lock, is an error.

    Examples
    --------
    >>> import tempfile
    >>> import metaspan as ms
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     study = ms.Study(folder, base=dict(k=2, method="anil", rounds=50),
    ...                      grid=dict(d=[10, 100], n=["2*k", "4*k"]), seeds=3)
    ...     status = study.run(progress=False)
    ...     len(study.cells), status.done, status.complete
    (4, 12, True)
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        base: Mapping[str, Any] | None = None,
        grid: Mapping[str, Any] | None = None,
        seeds: int | Iterable[int] = 1,
        measure: Any = ("dist",),
        *,
        keep: str | Sequence[str] = (),
        keep_rows: int = 200,
        common: str | Sequence[str] = (),
    ) -> None:
        files = StudyFolder(check.path("folder", folder))
        stored = files.read_description()
        if base is None and grid is None:
            if stored is None:
                raise FileNotFoundError(f"there is no study in {os.fspath(folder)!r}")
            if (seeds, measure, keep, common) != (1, ("dist",), (), ()):
                raise ValueError("base or grid must be given beside other arguments; got neither")
            file = str(files.file)
            self._spec, self._files, self._prefix = restore(stored, file), files, f"{file!r}: "
            self._tree = stored
            return
        spec = specify(base, grid, seeds, measure, keep=keep, keep_rows=keep_rows, common=common)
        self._spec, self._files, self._prefix = spec, files, ""  # the prefix of errors of cells
        # Described once: a user's function may change its own state while it runs.
        self._tree = describe(spec, self.cells)
        if stored is not None:
            self._check_extends(stored)

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return self._files.folder

    @property
    def spec(self) -> Spec:
        """What the study is, checked."""
        return self._spec

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """Points of the grid, the last axis fastest."""
        try:
            cells = tuple(cells_of(self._spec))
            if len({cell.name for cell in cells}) < len(cells):
                same = "two cells are the same"
                raise ValueError(f"grid must hold every value of an axis once; {same}")
        except ValueError as error:
            raise ValueError(f"{self._prefix}{error}") from error
        return cells

    @signals.mark_handlers()
    def run(
        self,
        executor: Executor | None = None,
        shard: str | None = None,
        progress: Progress = True,
        *,
        threads: int | None = None,
        sync: bool = False,
        retry_failed: bool = False,
        mixed: bool = False,
    ) -> StudyStatus:
        r"""Do the runs that are not done, longest first.

        Parameters
        ----------
        executor : concurrent.futures.Executor or None
            Where runs are done: `metaspan.process_pool`, mpi4py's ``MPIPoolExecutor``, what a Dask
            client's ``get_executor()`` gives, or any other. None: in this process.
        shard : str or None
            ``"3/64"``: the third of 64 equal parts of the runs; ``"slurm"``: the part of this task
            of a job array. Parts run anywhere that sees the folder, each writing a file of its own.
        progress : bool or callable
            True: a bar on a terminal, lines in the log of a batch job (as runs end, one a minute at
            most), nothing in a pipe. A function is called with the runs done and their total.
        threads : int or None
            Threads of a run. None: one on an executor, otherwise the CPUs of this process.
        sync : bool
            Whether every row is on the disk before the next is begun, for power losses; a killed
            process loses nothing without.
        retry_failed : bool
            Whether runs that failed are done again.
        mixed : bool
            Whether rows of another version or instruction-set level may stand beside new ones.

        Returns
        -------
        StudyStatus
            Where the study stands.

        Raises
        ------
        TypeError, ValueError
            If an argument is of the wrong kind, no cell makes a run, rows are of another version,
            or a study that was opened by its folder alone has functions or large arrays.
        KeyboardInterrupt
            On Ctrl-C; what was finished is kept. Runs that an executor has begun come to their
            end first, unless the signal reaches their process, as it does from a terminal.
        concurrent.futures.BrokenExecutor
            If a worker died; what was finished is kept. The next call does the runs that were
            under way at its end, one by one; one on which workers die three times more has failed.
        Exception
            Whatever the handler of a signal raises, be it in the middle of a run, of a measure or
            of a user's function. It is no failure of the run that it meets, of which nothing is
            recorded; what was finished is kept, and the same call goes on.
        """
        if executor is not None and not isinstance(executor, Executor):
            raise TypeError(
                f"executor must be a concurrent.futures.Executor; got {check.show(executor)}"
            )
        part = None if shard is None else shard_of(shard)
        if threads is not None:
            check.threads(threads)
        elif executor is not None:
            threads = 1
        sync, retry = check.flag("sync", sync), check.flag("retry_failed", retry_failed)
        rows, stored = self._rows()
        self._check_version(rows, check.flag("mixed", mixed))
        done = {run for run, row in rows.items() if not (retry and row["status"] == FAILED)}
        if len(done) < len(self.cells) * len(self._spec.seeds):
            self._check_known()
        checkpoints = self._files.checkpoints
        plan = make_plan(
            self._spec,
            self.cells,
            done,
            stored.suspects,
            shard=part,
            threads=threads,
            in_process=executor is None,
            checkpoints=checkpoints,
        )
        self._check_extends(self._files.read_description())
        self._files.write_description(self._tree)
        if any(item.checkpoint for job in plan.jobs for item in job.items):
            checkpoints.mkdir(exist_ok=True)
        total = plan.runs + len(done) if part is None else plan.runs
        shown = meter(progress, self.folder.name, total - plan.runs, total)
        name = "all" if part is None else f"{part[0]}-of-{part[1]}"
        try:
            with self._files.writer(name, sync) as writer:
                if plan.impossible:
                    writer.put(plan.impossible)
                    shown.advance(len(plan.impossible), len(plan.impossible))
                execute(
                    plan.jobs,
                    executor,
                    writer,
                    lambda new: shown.advance(len(new), failures_of(new)),
                    stored.suspects,
                )
        finally:
            shown.close()
        status = self.status()
        if status.complete:
            self._files.clear()
        return status

    def status(self) -> StudyStatus:
        r"""Say where the study stands, from its files.

        Returns
        -------
        StudyStatus
            Counts of runs by how they ended, versions, and time; prints as lines.
        """
        return self._status(*self._rows())

    def table(self, where: Mapping[str, Any] | None = None) -> pandas.DataFrame:
        r"""Finished runs as a tidy table.

        Parameters
        ----------
        where : mapping of str to object, or None
            Values of varied names; rows with others are left out.

        Returns
        -------
        pandas.DataFrame
            A row per cell and seed, in the order of the grid; columns: the varied names,
            ``seed``, ``status`` and the measures, NaN where a run failed. Its `attrs` hold the
            errors of failed runs by row, and under ``"set_by_stop"`` the measures whose values
            the stop rule sets in runs that converged.

        Raises
        ------
        ImportError
            If pandas is not installed.
        ValueError
            If `where` names something that does not vary, or a value that no cell has.
        """
        return table_of(self._spec, matching(self.cells, where), self._rows()[0])

    def traces(self, where: Mapping[str, Any] | None = None) -> pandas.DataFrame:
        r"""Kept parts of the traces as a tidy table.

        Parameters
        ----------
        where : mapping of str to object, or None
            Values of varied names; rows with others are left out.

        Returns
        -------
        pandas.DataFrame
            A row per cell, seed and kept round; columns: the varied names, ``seed``, ``round`` and
            the records of `keep`.

        Raises
        ------
        ImportError
            If pandas is not installed.
        ValueError
            If nothing is kept, or `where` does not fit.
        """
        return traces_of(self._spec, matching(self.cells, where), self._rows()[0])

    def export(self, path: str | os.PathLike[str], where: Mapping[str, Any] | None = None) -> None:
        r"""Write the table as Parquet or CSV, with values that are objects as text.

        Parameters
        ----------
        path : str or os.PathLike
            The file; ``.parquet`` or ``.csv``. It is whole or absent at any time.
        where : mapping of str to object, or None
            As in `table`.

        Raises
        ------
        ImportError
            If pandas, or for Parquet pyarrow, is not installed.
        ValueError
            If the name ends otherwise.
        """
        name = check.path("path", path)
        write_table(self.table(where), Path(name))

    def fit(
        self,
        y: str,
        x: str | Sequence[str],
        where: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Laws | Powers:
        r"""Fit laws of a measure: of one varied name, or a product of powers of several.

        Parameters
        ----------
        y : str
            A measure.
        x : str or sequence of str
            A varied name, for `metaspan.study.fit_laws`; several, for
            `metaspan.study.fit_powers`.
        where : mapping of str to object, or None
            As in `table`.
        **options : object
            Further arguments of these functions.

        Returns
        -------
        Laws or Powers
            Parameters with bootstrap intervals; prints as lines. Values that the stop rule set
            are left out, and counted with the rows that have none.

        Raises
        ------
        TypeError, ValueError
            If a name is no column of the table, no run has ended, the stop rule set all values, or
            values are not positive numbers.
        """
        table = self._ended(where)
        if not isinstance(x, Sequence) or not x:
            raise TypeError(f"x must be a column or several; got {check.show(x)}")
        names = [x] if isinstance(x, str) else list(x)
        for name in (y, *names):
            if not isinstance(name, str) or name not in table.columns:
                known = ", ".join(table.columns)
                raise ValueError(
                    f"x and y must be columns of the table ({known}); got {check.show(name)}"
                )
        stopped = set_by_stop(table, y)
        values = table[y].mask(stopped) if stopped.any() else table[y]
        try:
            if isinstance(x, str):
                return fits.fit_laws(table[x], values, **options)
            return fits.fit_powers({name: table[name] for name in names}, values, **options)
        except ValueError as error:
            if not stopped.any():
                raise
            left_out = f"{stopped.sum()} values of {y} that the stop rule set are left out"
            raise ValueError(f"{error}; {left_out}: {INSTEAD}") from None

    def plot(
        self,
        x: str,
        y: str,
        *,
        hue: str | None = None,
        col: str | None = None,
        fit: bool = False,
        where: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> Figure:
        r"""Draw a measure against a varied name, with its spread over seeds.

        Parameters
        ----------
        x, y : str
            A varied name and a measure.
        hue, col : str or None
            Varied names: a line, or axes, for each value. Without a `col`, the first axis of the
            grid that is not shown takes its place; further ones stay at their first value, and
            the figure's title says so.
        fit : bool
            Whether to draw the best law through each line.
        where : mapping of str to object, or None
            As in `table`.
        **options : object
            Further arguments of `metaspan.study.lines`.

        Returns
        -------
        matplotlib.figure.Figure
            The figure; save with ``figure.savefig("dist.pdf")``.

        Raises
        ------
        ImportError
            If matplotlib, scipy or pandas is not installed.
        ValueError
            If a name is no column, or has too many values to be shown, or no run has ended.
        """
        from .figures.choose import place_hidden  # noqa: PLC0415
        from .figures.frames import write_heading  # noqa: PLC0415
        from .figures.lines import lines  # noqa: PLC0415

        for role, name in {"x": x, "y": y, "hue": hue, "col": col}.items():
            if not (isinstance(name, str) or (name is None and role in ("hue", "col"))):
                raise TypeError(f"{role} must be the name of a column; got {check.show(name)}")
        names = tuple(self._spec.axes)
        col, table, held = place_hidden(self._ended(where), names, (x, hue, col))
        figure = lines(table, x, y, hue=hue, col=col, fit=fit, names=names, **options)
        write_heading(figure, held)
        return figure

    def heatmap(
        self,
        x: str,
        y: str,
        value: str,
        *,
        col: str | None = None,
        where: Mapping[str, Any] | None = None,
    ) -> Figure:
        r"""Draw a measure as colour over two varied names.

        Parameters
        ----------
        x, y : str
            Varied names.
        value : str
            A measure.
        col : str or None
            Varied name with axes for each value.
        where : mapping of str to object, or None
            As in `table`.

        Returns
        -------
        matplotlib.figure.Figure
            The figure.

        Raises
        ------
        ImportError, ValueError
            As `plot`.
        """
        from .figures.lines import heat  # noqa: PLC0415

        table = self._ended(where)
        return heat(table, x, y, value, col=col, names=tuple(self._spec.axes))

    def report(self, path: str | os.PathLike[str]) -> None:
        r"""Write what there is as one HTML file: figures, fits, table, configuration, versions.

        Parameters
        ----------
        path : str or os.PathLike
            The file.

        Raises
        ------
        ImportError
            If matplotlib, scipy or pandas is not installed.
        ValueError
            If no run has ended.
        """
        from .report.findings import report_on  # noqa: PLC0415

        name = check.path("path", path)
        rows, stored = self._rows()
        table = self._ended(None, rows)
        report_on(self._status(rows, stored), self._spec, self.cells, table, Path(name))

    def __repr__(self) -> str:
        spec = self._spec
        axes = " x ".join(f"{len(values)} {name}" for name, values in spec.axes.items())
        return f"Study({str(self.folder)!r}: {axes or '1 cell'}, {len(spec.seeds)} seeds)"

    def _ended(
        self, where: Mapping[str, Any] | None, rows: Mapping[RunId, Row] | None = None
    ) -> pandas.DataFrame:
        """The table of runs that have ended; raises where there is none."""
        table = table_of(self._spec, matching(self.cells, where), rows or self._rows()[0])
        if not len(table):
            which = f" with {check.show(where)}" if where else ""
            raise ValueError(
                f"the study {self.folder.name!r} must have a run{which} that has ended; it has "
                "none: call run() first"
            )
        return table

    def _status(self, rows: Mapping[RunId, Row], stored: StoredRows) -> StudyStatus:
        runs = len(self.cells) * len(self._spec.seeds)
        return status_of(self.folder.name, len(self.cells), runs, rows, stored)

    def _rows(self) -> tuple[dict[RunId, Row], StoredRows]:
        """Rows of the study's runs, and all that the files hold."""
        measures = [measure.name for measure in self._spec.measures]
        stored = self._files.read(measures, self._spec.keep)
        names, seeds = {cell.name for cell in self.cells}, set(self._spec.seeds)
        rows = {
            (cell, seed): row
            for (cell, seed), row in stored.rows.items()
            if cell in names and seed in seeds
        }
        return rows, stored

    def _check_extends(self, stored: Tree | None) -> None:
        """Raise unless the study extends the one in its folder, which matters if that has rows."""
        tree = self._tree
        differs = stored is not None and any(tree[name] != stored.get(name) for name in tree)
        if stored is not None and differs and self._files.row_files():
            check_extends(stored, tree, self.cells, self._files)

    def _check_version(self, rows: Mapping[RunId, Row], mixed: bool) -> None:
        current = version_and_level()
        others = {row["by"] for row in rows.values()} - {current}
        if others and not mixed:
            raise ValueError(
                f"the study in {str(self.folder)!r} has rows of metaspan {sorted(others)[0]}; this "
                f"is {current}: use another folder, or mixed=True"
            )

    def _check_known(self) -> None:
        lost = list_missing(self._spec)
        if lost:
            raise ValueError(
                f"the file of the study in {str(self.folder)!r} only names {', '.join(lost)}: give "
                "base, grid and measure again"
            )
