"""Writes the font of the equations: the glyphs of STIX Two Math that the pages of the site use."""

from __future__ import annotations

import html
import re
from importlib.resources import as_file, files
from pathlib import Path

from fontTools import subset
from sphinx.application import Sphinx

MATH = re.compile(r"<math .*?</math>", re.DOTALL)
LETTERS = re.compile(r"<mi>(.)</mi>")


def characters(folder: Path) -> set[str]:
    """Return the characters of all equations; a single letter in an <mi> is drawn in italics."""
    used: set[str] = set()
    for page in folder.rglob("*.html"):
        for equation in MATH.findall(page.read_text(encoding="utf-8")):
            used |= set(html.unescape(re.sub(r"<[^>]*>", "", equation)))
            used |= {italic(letter) for letter in LETTERS.findall(equation)}
    return used


def italic(letter: str) -> str:
    """Return the mathematical italic of a Latin or Greek letter, and any other letter itself."""
    if letter == "h":
        return "\u210e"
    ranges = [("A", "Z", 0x1D434), ("a", "z", 0x1D44E), ("Α", "Ω", 0x1D6E2), ("α", "ω", 0x1D6FC)]
    for first, last, start in ranges:
        if first <= letter <= last:
            return chr(start + ord(letter) - ord(first))
    variants = {"∂": 0x1D715, "ϵ": 0x1D716, "ϑ": 0x1D717, "ϰ": 0x1D718, "ϕ": 0x1D719, "ϱ": 0x1D71A}
    return chr(variants.get(letter, ord(letter)))


def write_font(app: Sphinx, failure: Exception | None) -> None:
    """Write `_static/math.woff` after a build of HTML."""
    if failure is not None or app.builder.format != "html":
        return
    options = subset.Options()
    options.flavor = "woff"
    options.layout_features = ["*"]
    options.name_IDs = ["*"]  # the licence is among the names
    options.notdef_outline = True
    options.hinting = False  # a third of the file
    with as_file(files("ziamath.fonts") / "STIXTwoMath-Regular.ttf") as path:
        font = subset.load_font(str(path), options)
    cut = subset.Subsetter(options)
    cut.populate(text="".join(characters(Path(app.outdir))))
    cut.subset(font)
    subset.save_font(font, str(Path(app.outdir) / "_static" / "math.woff"), options)
