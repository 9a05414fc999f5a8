"""The table of docs/choose.md says where each method runs."""

from pathlib import Path

from method_table import table

PAGE = Path(__file__).parents[2] / "docs" / "choose.md"


def test_the_page_has_the_table_that_runs_give():
    """Detects a method or an engine that the page does not tell of; the table is printed anew."""
    assert table() in PAGE.read_text(encoding="utf-8"), table()
