r"""Tables as text."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

Row = Iterable[object]


def format_csv(rows: Iterable[Row]) -> str:
    """Format rows as CSV with Unix line ends on every platform; no rows give an empty text."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
