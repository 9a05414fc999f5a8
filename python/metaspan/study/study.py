r"""Studies: a grid of runs that is done once, wherever it is interrupted."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Executor
from typing import Any

from .._support import check, signals
from ..build import version_and_level
from .design.spec import specify
from .execution.describe import Tree, check_same, described, restored, unknown
from .execution.execute import execute
from .execution.plan import make_plan, shard_of
from .execution.progress import Progress, meter
from .execution.status import StudyStatus, failures_of
from .execution.store import FAILED, Key, Row, Store
from .readings import Readings


class Study(Readings):
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
        store = Store(check.path("folder", folder))
        there = store.specification()
        if base is None and grid is None:
            if there is None:
                raise FileNotFoundError(f"there is no study in {os.fspath(folder)!r}")
            if (seeds, measure, keep, common) != (1, ("dist",), (), ()):
                raise ValueError("base or grid must be given beside other arguments; got neither")
            file = str(store.file)
            super().__init__(restored(there, file), store, f"{file!r}: ")
            self._tree = described(self._spec, self.cells)
            return
        given = specify(base, grid, seeds, measure, keep=keep, keep_rows=keep_rows, common=common)
        super().__init__(given, store)
        # Told once: a function of the user's may change what it holds while it runs.
        self._tree = described(given, self.cells)
        if there is not None:
            self._going_on(there)

    @signals.marked()
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
        rows, found = self._rows()
        self._check_version(rows, check.flag("mixed", mixed))
        done = {key for key, row in rows.items() if not (retry and row["status"] == FAILED)}
        if len(done) < len(self.cells) * len(self._spec.seeds):
            self._check_known()
        checkpoints = self._store.checkpoints
        plan = make_plan(
            self._spec,
            self.cells,
            done,
            found.suspects,
            shard=part,
            threads=threads,
            together=executor is None,
            checkpoints=checkpoints,
        )
        self._store.specify(self._going_on(self._store.specification()))
        if any(item.checkpoint for job in plan.jobs for item in job.items):
            checkpoints.mkdir(exist_ok=True)
        total = plan.runs + len(done) if part is None else plan.runs
        shown = meter(progress, self.folder.name, total - plan.runs, total)
        name = "all" if part is None else f"{part[0]}-of-{part[1]}"
        try:
            with self._store.writer(name, sync) as writer:
                if plan.impossible:
                    writer.put(plan.impossible)
                    shown.advance(len(plan.impossible), len(plan.impossible))
                execute(
                    plan.jobs,
                    executor,
                    writer,
                    lambda new: shown.advance(len(new), failures_of(new)),
                    found.suspects,
                )
        finally:
            shown.close()
        status = self.status()
        if status.complete:
            self._store.clear()
        return status

    def _going_on(self, there: Tree | None) -> Tree:
        """What the study is; raises unless it goes on from the one in its folder."""
        tree = self._tree
        differs = there is not None and any(tree[name] != there.get(name) for name in tree)
        if there is not None and differs and self._store.files():
            check_same(there, tree, self.cells, self._store)
        return tree

    def _check_version(self, rows: Mapping[Key, Row], mixed: bool) -> None:
        own = version_and_level()
        others = {row["by"] for row in rows.values()} - {own}
        if others and not mixed:
            raise ValueError(
                f"the study in {str(self.folder)!r} has rows of metaspan {sorted(others)[0]}; this "
                f"is {own}: use another folder, or mixed=True"
            )

    def _check_known(self) -> None:
        lost = unknown(self._spec)
        if lost:
            raise ValueError(
                f"the file of the study in {str(self.folder)!r} only names {', '.join(lost)}: give "
                "base, grid and measure again"
            )
