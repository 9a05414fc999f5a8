r"""What a study's finished runs say: tables, laws, figures, a report."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._support import check
from .design.cells import Cell, cells_of, matching
from .design.spec import Spec
from .design.stopping import INSTEAD, set_by_stop
from .execution.status import StudyStatus, status_of
from .execution.store import Found, Key, Row, Store
from .laws import fits
from .report.tables import table_of, traces_of, write_table

if TYPE_CHECKING:
    import pandas
    from matplotlib.figure import Figure

    from .laws.laws import Laws, Powers


class Readings:
    r"""A study and the rows in its folder, to be read.

    Parameters
    ----------
    spec : Spec
        What the study is.
    store : Store
        Its folder.
    whose : str
        What errors of its cells begin with.
    """

    def __init__(self, spec: Spec, store: Store, whose: str = "") -> None:
        self._spec = spec
        self._store = store
        self._whose = whose

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return self._store.folder

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
            raise ValueError(f"{self._whose}{error}") from error
        return cells

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
        from .figures.choose import unseen  # noqa: PLC0415
        from .figures.frames import heading  # noqa: PLC0415
        from .figures.lines import lines  # noqa: PLC0415

        for role, name in {"x": x, "y": y, "hue": hue, "col": col}.items():
            if not (isinstance(name, str) or (name is None and role in ("hue", "col"))):
                raise TypeError(f"{role} must be the name of a column; got {check.show(name)}")
        names = tuple(self._spec.axes)
        col, table, held = unseen(self._ended(where), names, (x, hue, col))
        figure = lines(table, x, y, hue=hue, col=col, fit=fit, names=names, **options)
        heading(figure, held)
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
        rows, found = self._rows()
        table = self._ended(None, rows)
        report_on(self._status(rows, found), self._spec, self.cells, table, Path(name))

    def __repr__(self) -> str:
        spec = self._spec
        axes = " x ".join(f"{len(values)} {name}" for name, values in spec.axes.items())
        return f"Study({str(self.folder)!r}: {axes or '1 cell'}, {len(spec.seeds)} seeds)"

    def _ended(
        self, where: Mapping[str, Any] | None, rows: Mapping[Key, Row] | None = None
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

    def _status(self, rows: Mapping[Key, Row], found: Found) -> StudyStatus:
        runs = len(self.cells) * len(self._spec.seeds)
        return status_of(self.folder.name, len(self.cells), runs, rows, found)

    def _rows(self) -> tuple[dict[Key, Row], Found]:
        """Rows of the study's runs, and all that the files hold."""
        found = self._store.read([one.name for one in self._spec.measures], self._spec.keep)
        names, seeds = {cell.name for cell in self.cells}, set(self._spec.seeds)
        rows = {key: row for key, row in found.rows.items() if key[0] in names and key[1] in seeds}
        return rows, found
