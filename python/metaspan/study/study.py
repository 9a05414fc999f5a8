r"""Studies: grids of training runs whose results are kept in a folder."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._support import check, signals
from .._support.cpus import default_threads
from ..build import version_and_level
from .design.cells import Cell, cells_of, matching
from .design.spec import Spec, specify
from .design.stopping import INSTEAD, set_by_stop
from .execution.describe import Tree, check_extends, describe, list_missing, restore
from .execution.execute import execute
from .execution.forecast import StudyEstimate, forecast
from .execution.plan import make_plan, shard_of
from .execution.progress import Progress, meter
from .execution.status import StudyStatus, failures_of, status_of
from .execution.store import FAILED, Row, RunId, StoredRows, StudyFolder
from .laws import fits
from .report.tables import make_table, make_trace_table, write_table

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

    from .laws.laws import Laws, Powers


class Study:
    r"""A grid of training runs whose results are kept in a folder.

    A *cell* is one combination of values of the grid. Each cell is trained once for each seed. The
    training of one cell with one seed is a *run*, and has one row in the table.

    Parameters
    ----------
    folder : str or os.PathLike
        Folder of the study's files; the first run creates the folder. If both `base` and `grid` are
        left out, the study that is stored in the folder is opened.
    base : mapping of str to object, or None
        Values that all cells share, by the names of arguments of `LinearTasks`, of the method and
        of `train`. ``method`` is an object or a name. It may be an estimator; its cells are then
        fits by `fit`, with ``m = m_in + m_out`` samples per task. ``alpha``, ``beta``,
        ``inner_steps`` and ``first_order`` replace the parameters of the method. A string is an
        expression in the other names, such as ``"4*d*k"``, unless it is the value of a name whose
        values are words (method, features, init, engine, ...).
    grid : mapping of str to object, or None
        Values that vary. A list, a range, an array or a column of a table is an axis; the cells are
        all combinations of the values of all axes. An expression, or a function whose parameters
        are names of the study, is not an axis: its value is computed for each cell. A name that is
        not an argument of `LinearTasks`, of the method or of `train` is allowed if an expression or
        a function uses this name. Functions are called when the cells are computed, and only their
        values are stored.
    seeds : int or iterable of int
        Seeds; every cell is trained once for each seed. An integer S means the seeds 0, ..., S - 1.
        Seeds replace the argument `trials` of `train`: the run with seed s is trial s of the cell.
        Since each seed has a row of its own, seeds can be added later. The name ``seed`` in `base`
        is not a seed in this sense, but a key that changes the random numbers of all cells.
    measure : str, callable, or sequence of them
        Numbers to compute from the result of each run. The name of a record of `train` gives its
        last value. ``"rounds_to:TOL"`` gives the first recorded round with dist at most TOL.
        ``"rate"`` gives the decrease of log dist per round late in the run, see (22). ``"floor"``
        gives the geometric mean of dist over the last quarter of the recorded rows. ``"risk:M"``
        gives the excess risk on new tasks after adaptation to M samples, or, for a fit, after ridge
        regression on the learned features. ``"samples"`` gives the number of samples that the run
        has drawn. ``"seconds"`` gives the wall-clock time. A function is called with the `Result`
        of one trial and returns a number. If a run diverged, ``"seconds"`` is the only measure that
        has a value.
    keep : str or sequence of str
        Names of the records whose traces are kept.
    keep_rows : int
        Largest number of rows of a kept trace, from 2 to 100,000. The kept rows are evenly spaced.
    common : str or sequence of str
        Axes that do not affect the random numbers, such as ``"method"``: runs with the same seed
        that differ only on these axes use the same random numbers. Cells that differ on any other
        axis use independent random numbers.

    Raises
    ------
    TypeError, ValueError
        If a name or a value is not allowed, or if the folder holds a study from which this study
        differs in more than added values of axes and added seeds.
    FileNotFoundError
        If `base` and `grid` are left out and the folder holds no study.

    Notes
    -----
    The file ``study.json`` in the folder describes the study; the files ``rows/*.jsonl`` hold one
    line of JSON for every finished run. A row is written as soon as its run ends. If the process is
    killed, the same call later does the remaining runs. The final table is the same as without the
    kill, because at one instruction-set level the numbers depend on the study alone. A study has at
    most 10^6 cells and 10^7 runs.

    Users' functions (distributions of heads, distributions of features, measures) are compared by a
    hash of all their parts: code, defaults, closure, arguments of ``functools.partial``, state of
    an object, and the globals of the function's own module that the function reads. If such a
    function changes, or if the minor version of Python changes, the study counts as a different
    study. A function that cannot be hashed, for example because it holds a lock, is refused with an
    error.

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
            # As texts, since an array is neither equal nor unequal to a number.
            if repr((seeds, measure, keep, keep_rows, common)) != "(1, ('dist',), (), 200, ())":
                raise ValueError("other arguments need base or grid; got neither")
            file = str(files.file)
            self._spec, self._files, self._prefix = restore(stored, file), files, f"{file!r}: "
            self._tree = stored
            return
        spec = specify(base, grid, seeds, measure, keep=keep, keep_rows=keep_rows, common=common)
        self._spec, self._files, self._prefix = spec, files, ""  # prefix of error messages
        # The description of the study is made before any run, because it contains hashes of the
        # states of users' functions, and a function may change its state when it is called.
        self._tree = describe(spec, self.cells)
        if stored is not None:
            self._check_extends(stored)

    @property
    def folder(self) -> Path:
        """Folder of the study's files."""
        return self._files.folder

    @property
    def spec(self) -> Spec:
        """Arguments of the study after all checks."""
        return self._spec

    @cached_property
    def cells(self) -> tuple[Cell, ...]:
        """All combinations of the values of the axes; the last axis varies fastest."""
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
        r"""Do the runs that are not done yet, the longest runs first.

        Parameters
        ----------
        executor : concurrent.futures.Executor or None
            Executor that does the runs: `metaspan.process_pool`, mpi4py's ``MPIPoolExecutor``, the
            result of a Dask client's ``get_executor()``, or any other executor. None: the runs are
            done in this process.
        shard : str or None
            ``"3/64"`` does the third of 64 equal parts of the runs. ``"slurm"`` does the part with
            the number of this process's task in its Slurm job array. The parts may run on different
            machines that share the folder, since each part writes a file of its own.
        progress : bool or callable
            True: on a terminal, show a bar; in the log of a batch job, write a line when a run
            ends, but at most one line a minute; into a pipe, write nothing. If `progress` is a
            function, it is called with the number of runs that are done and the number of all runs.
        threads : int or None
            Number of threads of a run. None: one thread if there is an executor, and otherwise one
            thread for each CPU that this process may use.
        sync : bool
            Whether every row is forced to the disk before the next row is written, so that rows
            survive a power loss. If a process is killed but the power stays on, no row is lost even
            if `sync` is false.
        retry_failed : bool
            Whether to repeat the runs that failed.
        mixed : bool
            Whether to continue a study that contains rows of another version or instruction-set
            level.

        Returns
        -------
        StudyStatus
            Counts of all runs of the study.

        Raises
        ------
        TypeError, ValueError
            If an argument is of the wrong kind, if `train` refuses the arguments of all cells, or
            if `mixed` is false and there are rows of another version. Also raised if the study was
            opened by its folder alone and needs functions or large arrays, which its files do not
            hold.
        KeyboardInterrupt
            On Ctrl-C; finished runs are kept. Runs that an executor has begun are finished first.
            If Ctrl-C is typed at a terminal, however, the signal also reaches the executor's
            processes and ends these runs.
        concurrent.futures.BrokenExecutor
            If a worker died; finished runs are kept. The next call repeats, one by one, the runs
            that were under way. A run counts as failed if three workers died while that run was the
            only one under way.
        Exception
            Any exception that a signal handler raises, even while a measure or another user's
            function runs. The interrupted run does not count as failed. Finished runs are kept, and
            the same call later does the remaining runs.
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
            self._check_complete()
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
        bar = meter(progress, self.folder.name, total - plan.runs, total)
        name = "all" if part is None else f"{part[0]}-of-{part[1]}"
        try:
            with self._files.writer(name, sync) as writer:
                if plan.impossible:
                    writer.put(plan.impossible)
                    bar.advance(len(plan.impossible), len(plan.impossible))
                execute(
                    plan.jobs,
                    executor,
                    writer,
                    lambda new: bar.advance(len(new), failures_of(new)),
                    stored.suspects,
                )
        finally:
            bar.close()
        status = self.status()
        if status.complete:
            self._files.clear()
        return status

    def status(self) -> StudyStatus:
        r"""Count the runs of the study by how they ended, from the rows in the study's files.

        Returns
        -------
        StudyStatus
            Counts of the runs by how they ended, versions of the package, and total run time;
            ``print`` shows a line for each.
        """
        return self._status(*self._rows())

    def estimate(self, processes: int = 1, threads: int | None = None) -> StudyEstimate:
        r"""Predict the time and the memory of the runs that are not done yet; nothing is run.

        Parameters
        ----------
        processes : int
            Number of processes that do the runs, such as the workers of an executor, or the number
            of shards.
        threads : int or None
            Number of threads of a run. None, as in `run`: one thread if there are several
            processes, and otherwise one thread for each CPU that this process may use.

        Returns
        -------
        StudyEstimate
            Core-hours, the time until the last run ends, and the memory of the largest runs;
            ``print`` shows them as lines.

        Raises
        ------
        TypeError, ValueError
            If an argument is not a positive integer, if `train` refuses the arguments of all cells,
            or if the study was opened by its folder alone and needs functions or large arrays,
            which its files do not hold.

        Notes
        -----
        The prediction is for this machine, whose rates are measured once, as for
        `metaspan.estimate`; on a quiet machine it is right within a factor of about two. The time
        of users' functions, of measures and of starting processes is not part of it. A run that a
        stop rule ends early takes less time. The time of a fit by an estimator is that of a typical
        number of iterations. The cost is that of planning, about a tenth of a
        millisecond a cell.

        Examples
        --------
        >>> import metaspan as ms
        >>> study = ms.Study("runs/large", base=dict(k=5, method="anil", rounds=10**5),
        ...                  grid=dict(d=[10**3, 10**6]), seeds=20)
        >>> estimate = study.estimate(processes=8)
        >>> estimate.left, estimate.core_hours < 1
        (40, True)
        """
        processes = check.integer("processes", processes, 1)
        if threads is None:
            threads = default_threads() if processes == 1 else 1
        threads = check.threads(threads)
        rows, stored = self._rows()
        if len(rows) < len(self.cells) * len(self._spec.seeds):
            self._check_complete()
        return forecast(
            self.folder.name,
            self._spec,
            self.cells,
            rows.keys(),
            stored.suspects,
            processes=processes,
            threads=threads,
        )

    def table(self, where: Mapping[str, Any] | None = None) -> pandas.DataFrame:
        r"""Return a table with one row for each run that has ended.

        Parameters
        ----------
        where : mapping of str to object, or None
            Values of varied names; only cells with these values are returned.

        Returns
        -------
        pandas.DataFrame
            One row for each cell and seed whose run has ended, in the order of the grid. The
            columns are the varied names, ``seed``, ``status`` and the measures; if a measure has no
            value, the entry is NaN. ``attrs["errors"]`` maps the index of the row of each failed
            run to the error message. ``attrs["set_by_stop"]`` lists the measures whose values the
            stop rule determines in runs that converged.

        Raises
        ------
        ImportError
            If pandas is not installed.
        TypeError, ValueError
            If `where` is not a mapping, contains a name that does not vary, or contains values that
            no cell has.
        """
        return make_table(self._spec, matching(self.cells, where), self._rows()[0])

    def traces(self, where: Mapping[str, Any] | None = None) -> pandas.DataFrame:
        r"""Return the kept traces as a table with one row for each run and kept round.

        Parameters
        ----------
        where : mapping of str to object, or None
            Values of varied names; only cells with these values are returned.

        Returns
        -------
        pandas.DataFrame
            One row per run and kept round. The columns are the varied names, ``seed``, ``round``
            and the records in `keep`.

        Raises
        ------
        ImportError
            If pandas is not installed.
        TypeError, ValueError
            If the study keeps no traces, or if `table` would refuse `where`.
        """
        return make_trace_table(self._spec, matching(self.cells, where), self._rows()[0])

    def export(self, path: str | os.PathLike[str], where: Mapping[str, Any] | None = None) -> None:
        r"""Write the table of runs as Parquet or CSV; values that are objects are written as text.

        Parameters
        ----------
        path : str or os.PathLike
            The file, whose name ends in ``.parquet`` or ``.csv``. The file is written completely or
            not at all.
        where : mapping of str to object, or None
            Values of varied names, which select cells as in `table`.

        Raises
        ------
        ImportError
            If pandas is not installed, or if the file is Parquet and pyarrow is not installed.
        ValueError
            If the name of the file does not end in ``.parquet`` or ``.csv``.
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
        r"""Fit a measure by laws of one varied name, or by a product of powers of several names.

        Parameters
        ----------
        y : str
            A measure.
        x : str or sequence of str
            For one varied name, `metaspan.study.fit_laws` is called; for a sequence of varied
            names, `metaspan.study.fit_powers`.
        where : mapping of str to object, or None
            Values of varied names, which select cells as in `table`.
        **options : object
            Further arguments of `fit_laws` or `fit_powers`: `laws`, `band`, `resamples`, `seed`.

        Returns
        -------
        Laws or Powers
            The parameters with bootstrap intervals; ``print`` shows them as lines. Values that the
            stop rule determined are left out and counted, and so are rows without a value.

        Raises
        ------
        TypeError, ValueError
            If a name is not a column of the table, if no run has ended, if every value was set by
            the rule that stopped its run, or if a value is not a positive number.
        """
        table = self._ended_table(where)
        if not isinstance(x, Sequence) or not x:
            raise TypeError(f"x must be a column or several; got {check.show(x)}")
        names = [x] if isinstance(x, str) else list(x)
        for name in (y, *names):
            if not isinstance(name, str) or name not in table.columns:
                known = ", ".join(table.columns)
                raise ValueError(
                    f"x and y must be columns of the table ({known}); got {check.show(name)}"
                )
        # A value that the end of the run determined only shows where the run ended. A fit to such
        # values would describe the ends and not the measure.
        stopped = set_by_stop(table, y)
        values = table[y].mask(stopped) if stopped.any() else table[y]
        try:
            if isinstance(x, str):
                return fits.fit_laws(table[x], values, **options)
            return fits.fit_powers({name: table[name] for name in names}, values, **options)
        except ValueError as error:
            if not stopped.any():
                raise
            left_out = f"{stopped.sum()} values of {y} that the end of the run set are left out"
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
        log: str | None = None,
        extrapolate: float | None = None,
        predictions: str | Sequence[str] | None = None,
        **options: Any,
    ) -> Figure:
        r"""Draw a measure against a varied name, with the spread of the measure over seeds.

        Parameters
        ----------
        x, y : str
            A varied name and a measure.
        hue, col : str or None
            Varied names. Each value of `hue` has its own line, and each value of `col` has its own
            axes. If `col` is None, axes are drawn for the values of the first axis of the grid that
            is not `x` or `hue` and has at most four values. Every further axis of the grid is held
            at its first value, which the title gives.
        fit : bool
            Whether to fit laws to each line and to draw the law with the least held-out error.
        where : mapping of str to object, or None
            Values of varied names, which select cells as in `table`.
        log : {"", "x", "y", "xy"} or None
            Axes that are logarithmic: none, one or both. None: the axes on which the fitted laws
            are straight lines, and those whose values span decades.
        extrapolate : float or None
            A value of x, beyond the grid, up to which the fitted laws are also drawn, as dotted
            lines with the intervals of the laws as bands. Needs ``fit=True``.
        predictions : str, sequence of str, or None
            Predictions of the theory, which are drawn as thin grey lines: "rate", the decay (22) of
            runs on population losses, for ``y="rate"``; "rounds", the rounds until dist falls to
            TOL at this rate, for ``y="rounds_to:TOL"``; "floor", the floor (59), for ``y="floor"``
            and ``y="dist"``; and "limit", the same measure of the deterministic limit (55) of runs
            on samples. "theory" selects all predictions that exist for at least one cell.
        **options : object
            Further arguments of `metaspan.study.lines`.

        Returns
        -------
        matplotlib.figure.Figure
            The figure; save it with ``figure.savefig("dist.pdf")``. ``figure.caption`` is a caption
            in plain text, with the values that are fixed in the letters of the paper, and
            ``figure.caption_latex`` is the same caption for LaTeX.

        Raises
        ------
        ImportError
            If matplotlib, scipy or pandas is not installed.
        TypeError, ValueError
            If a name is not a column of the table, if a name has too many values to be shown, if no
            run has ended, or if a prediction that is named exists for no cell.

        Warns
        -----
        UserWarning
            If `predictions` is "theory" and no prediction exists for any cell.
        """
        from .figures.drawing import draw  # noqa: PLC0415
        from .figures.theory import CELL  # noqa: PLC0415

        for role, name in {"x": x, "y": y, "hue": hue, "col": col}.items():
            if not (isinstance(name, str) or (name is None and role in ("hue", "col"))):
                raise TypeError(f"{role} must be the name of a column; got {check.show(name)}")
        return draw(
            self._spec,
            matching(self.cells, where),
            self._ended_table(where, number=CELL),
            x,
            y,
            hue=hue,
            col=col,
            fit=fit,
            predictions=predictions,
            **{"log": log, "extrapolate": extrapolate, **options},
        )

    def heatmap(
        self,
        x: str,
        y: str,
        value: str,
        *,
        col: str | None = None,
        where: Mapping[str, Any] | None = None,
    ) -> Figure:
        r"""Draw a map of two varied names whose colours show a measure.

        Parameters
        ----------
        x, y : str
            Varied names.
        value : str
            A measure.
        col : str or None
            Varied name; each value of this name has its own map.
        where : mapping of str to object, or None
            Values of varied names, which select cells as in `table`.

        Returns
        -------
        matplotlib.figure.Figure
            The figure.

        Raises
        ------
        ImportError, TypeError, ValueError
            In the same cases as for `plot`. ValueError is also raised if a further axis of the grid
            has several values, since a map does not average over axes.
        """
        from .figures.lines import heat  # noqa: PLC0415

        table = self._ended_table(where)
        return heat(table, x, y, value, col=col, names=tuple(self._spec.axes))

    def report(self, path: str | os.PathLike[str]) -> None:
        r"""Write a report on the ended runs as one HTML file.

        The report contains figures, fitted laws, means by cell, the arguments of the study, and
        versions of the software.

        Parameters
        ----------
        path : str or os.PathLike
            The HTML file, which is written completely or not at all.

        Raises
        ------
        ImportError
            If matplotlib, scipy or pandas is not installed.
        ValueError
            If no run has ended.
        """
        from .figures.theory import CELL  # noqa: PLC0415
        from .report.findings import report_on  # noqa: PLC0415

        name = check.path("path", path)
        rows, stored = self._rows()
        table = self._ended_table(None, rows, number=CELL)
        report_on(self._status(rows, stored), self._spec, self.cells, table, Path(name))

    def __repr__(self) -> str:
        spec = self._spec
        axes = " x ".join(f"{len(values)} {name}" for name, values in spec.axes.items())
        return f"Study({str(self.folder)!r}: {axes or '1 cell'}, {len(spec.seeds)} seeds)"

    def _ended_table(
        self,
        where: Mapping[str, Any] | None,
        rows: Mapping[RunId, Row] | None = None,
        number: str | None = None,
    ) -> pandas.DataFrame:
        """Return the table of the runs that have ended; raise ValueError if no run has ended."""
        cells = matching(self.cells, where)
        table = make_table(self._spec, cells, rows or self._rows()[0], number=number)
        if not len(table):
            which = f" with {check.show(where)}" if where else ""
            raise ValueError(
                f"the study {self.folder.name!r} must have a run{which} that has ended; it has "
                "none: call run() first"
            )
        return table

    def _status(self, rows: Mapping[RunId, Row], stored: StoredRows) -> StudyStatus:
        """Count the runs of the study by how they ended, from their rows."""
        runs = len(self.cells) * len(self._spec.seeds)
        return status_of(self.folder.name, len(self.cells), runs, rows, stored)

    def _rows(self) -> tuple[dict[RunId, Row], StoredRows]:
        """Read the files of rows; return the rows of this study, and the contents of the files."""
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
        """Raise ValueError if the folder has rows of a study that this study does not extend."""
        tree = self._tree
        differs = stored is not None and any(tree[name] != stored.get(name) for name in tree)
        if stored is not None and differs and self._files.row_files():
            check_extends(stored, tree, self.cells, self._files)

    def _check_version(self, rows: Mapping[RunId, Row], mixed: bool) -> None:
        """Raise ValueError if rows are of another version or level and `mixed` is false."""
        current = version_and_level()
        others = {row["by"] for row in rows.values()} - {current}
        if others and not mixed:
            raise ValueError(
                f"the study in {str(self.folder)!r} has rows of metaspan {sorted(others)[0]}; this "
                f"is {current}: use another folder, or mixed=True"
            )

    def _check_complete(self) -> None:
        """Raise ValueError if the study needs functions or arrays that its file does not hold."""
        missing = list_missing(self._spec)
        if missing:
            raise ValueError(
                f"the file of the study in {str(self.folder)!r} only names {', '.join(missing)}: "
                "pass base, grid and measure again"
            )
