"""How the gallery runs an example, and which pictures it shows."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from sphinx_gallery.scrapers import figure_rst

EXAMPLES = Path(__file__).parents[2] / "examples"  # where the gallery runs them
STORED = Path(__file__).parents[1] / "figures"  # pictures of full runs

seen: dict[Path, int] = {}  # pictures that exist, and when they changed


def arguments(gallery: Any, script_vars: dict[str, Any]) -> list[str]:
    """Return the arguments of an example: `--quick` where the example knows this option."""
    text = Path(script_vars["src_file"]).read_text(encoding="utf-8")
    return ["--quick"] if '"--quick"' in text else []


def times() -> dict[Path, int]:
    """Return the PNG files that examples have written, with the times of their last change."""
    return {path: path.stat().st_mtime_ns for path in EXAMPLES.rglob("*.png")}


def remember(gallery_conf: dict[str, Any], example: str) -> None:
    """Note which pictures there are before an example runs, for `scrape`."""
    seen.update(times())


def scrape(block: Any, block_vars: dict[str, Any], gallery_conf: dict[str, Any]) -> str:
    """Return the reStructuredText that shows the PNG files that the example wrote.

    A picture of the same name in `docs/figures` is that of a full run, and takes the place of the
    picture of a quick run.
    """
    shown = []
    for path, changed in sorted(times().items()):
        if seen.get(path) == changed:
            continue
        seen[path] = changed
        target = Path(next(block_vars["image_path_iterator"]))
        full = STORED / path.name
        shutil.copy(full if full.exists() else path, target)
        shown.append(str(target))
    return figure_rst(shown, gallery_conf["src_dir"])
