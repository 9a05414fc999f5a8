"""Renders equations as MathML while the site is built: pages need neither a script nor a network.

KaTeX, which `sphinxcontrib-katex` carries, translates TeX, and runs in the JavaScript engine of
`mini-racer`. A formula that KaTeX does not understand is a warning, and so an error of the build.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path
from typing import Any

import sphinxcontrib
from docutils import nodes
from font import write_font
from py_mini_racer import JSEvalException, MiniRacer
from sphinx.application import Sphinx
from sphinx.util import logging

logger = logging.getLogger(__name__)

OUTER = re.compile(r'^<span class="katex">(.*)</span>$', re.DOTALL)
ANNOTATION = re.compile(r"<annotation.*?</annotation>", re.DOTALL)


@cache
def engine() -> MiniRacer:
    """Start the JavaScript engine and load KaTeX."""
    name = "katex.min.js"
    script = next(p for folder in sphinxcontrib.__path__ if (p := Path(folder) / name).exists())
    context = MiniRacer()
    context.eval(script.read_text(encoding="utf-8"))
    return context


@cache
def translate(formula: str, display: bool) -> str:
    """Return the MathML of a formula in TeX; an error of KaTeX raises `JSEvalException`."""
    options = {"output": "mathml", "displayMode": display, "throwOnError": True, "strict": "error"}
    html = engine().call("katex.renderToString", formula, options)
    return ANNOTATION.sub("", OUTER.sub(r"\1", html))


def write(translator: Any, node: nodes.Element, display: bool) -> None:
    """Add the MathML of a node to the page."""
    formula = node.astext()
    try:
        mathml = translate(formula, display)
    except JSEvalException as error:
        reason = str(error).splitlines()[0]
        logger.warning("KaTeX cannot read %r: %s", formula, reason, location=node)
        mathml = f"<code>{translator.encode(formula)}</code>"
    if display:
        ids = "".join(f'<span id="{name}"></span>' for name in node["ids"])
        mathml = f'{ids}<div class="equation" tabindex="0">{mathml}</div>\n'
    translator.body.append(mathml)
    raise nodes.SkipNode


def inline(translator: Any, node: nodes.Element) -> None:
    write(translator, node, display=False)


def block(translator: Any, node: nodes.Element) -> None:
    write(translator, node, display=True)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (inline, None), (block, None))
    app.connect("build-finished", write_font)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
