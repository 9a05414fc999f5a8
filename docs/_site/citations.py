"""Turns the numbers of equations in parentheses, on pages and in docstrings, into links.

A paragraph of equations.md or theory.md that begins with the number in bold states the equation.
Everywhere else such a number cites it, which `tests/house/test_words.py` checks.
"""

from __future__ import annotations

import re

from docutils import nodes
from sphinx import addnodes
from sphinx.application import Sphinx

STATED_ON = ("equations", "theory")
STATED = re.compile(r"\((\d+)\)")
CITED = re.compile(r"(?<![\w)\]}>])\((\d{1,2})\)")
NOT_PROSE = (
    nodes.literal,
    nodes.literal_block,
    nodes.doctest_block,
    nodes.math,
    nodes.math_block,
    nodes.reference,
    nodes.title,
    nodes.raw,
    nodes.comment,
    addnodes.pending_xref,
    addnodes.desc_signature,
    addnodes.toctree,
)


def mark_equations(app: Sphinx, doctree: nodes.document) -> set[int]:
    """Give every equation of a page a label, and return the ids of the nodes with their numbers."""
    numbers: set[int] = set()
    if app.env.docname not in STATED_ON:
        return numbers
    for paragraph in doctree.findall(nodes.paragraph):
        first = next((child for child in paragraph.children if child.astext()), None)
        stated = STATED.match(first.astext()) if isinstance(first, nodes.strong) else None
        if stated:
            label = f"eq-{stated[1]}"
            paragraph["ids"].append(label)
            # Sphinx looks here for references that have a text of their own.
            app.env.get_domain("std").data["anonlabels"][label] = app.env.docname, label
            numbers |= {id(text) for text in first.findall(nodes.Text)}
    return numbers


def in_prose(node: nodes.Node) -> bool:
    """Whether a node is part of a sentence, and not of code, a formula, a link or a title."""
    while node is not None:
        if isinstance(node, NOT_PROSE):
            return False
        node = node.parent
    return True


def link_citations(app: Sphinx, doctree: nodes.document) -> None:
    """Replace every citation in the text of a page by a reference to the label."""
    numbers = mark_equations(app, doctree)
    for text in list(doctree.findall(nodes.Text)):
        parts = CITED.split(text.astext())
        if len(parts) == 1 or id(text) in numbers or not in_prose(text):
            continue
        pieces: list[nodes.Node] = []
        for before, number in zip(parts[::2], [*parts[1::2], None], strict=True):
            pieces.append(nodes.Text(before))
            if number:
                target = {"refdomain": "std", "reftype": "ref", "reftarget": f"eq-{number}"}
                options = {"refexplicit": True, "refwarn": True, "refdoc": app.env.docname}
                link = addnodes.pending_xref("", **target, **options)
                link += nodes.inline("", f"({number})", classes=["std", "std-ref"])
                pieces.append(link)
        text.parent.replace(text, pieces)


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("doctree-read", link_citations)
    return {"parallel_read_safe": False, "parallel_write_safe": True}
