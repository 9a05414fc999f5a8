"""Docstrings, comments and pages avoid turns that an engineer would have to read twice."""

import re
import subprocess
import sys

import pytest

PAGES = ("*.md", "docs/**/*.md")
PYTHON = ("python/**/*.py*", *(f"{f}/**/*.py" for f in ("tests", "bench", "examples", "docs")))
BE = "(?:is|are|was|were|be|been)"
# What no sentence contains, and what to write instead. A space stands for any white space, the end
# of a line included.
TURNS = {
    r"whoever": "the reader, the caller, or an imperative",
    rf"whatever {BE}": "any, and a noun",
    r"(?-i:Of)(?! the \d)": "a sentence that begins with its subject",
    r"what there (?:is|are)": "the noun",
    r"as many (?:\w+ )?as there (?:is|are)": "all, or the number",
    r"such as (?:is|are)": "the noun, or: those that",
    r"none but": "only",
    r"there (?:is|are) no one": "no single",
    r"l(?:ies?|ay) on (?:one another|each other)": "coincide",
    rf"{BE} had": "a verb that says more: computed, available, obtained",
    rf"{BE} taken for": "is mistaken for, or: is treated as",
    r"in what(?! (?:follows|order|units?|sense|form|format|way))": "in, and a noun",
    r"that which": "what, or a noun",
    r"so many(?! that)": "the letter of the number",
    r"from (?!(?:here|now|then|which) )[^\s,.;:]+(?: [^\s,.;:]+){0,2} on(?=[,.;:)])": "starting at",
    r"of one's own": "your own, or: its own",
    r"c(?:omes?|ame|oming) of": "results from, or: follows from",
    r"stands?(?! (?:for|in for|out|alone))": "is, or: is written",
    r"(?:watched|watches) for": "checked for; a sanitizer build",
    r"half done": "incomplete",
    r"million million": "10^12",
}
RULES = {
    re.compile(rf"(?<![\w-])(?:{turn})(?![\w-])".replace(" ", r"\s+"), re.IGNORECASE): instead
    for turn, instead in TURNS.items()
}
TWICE = re.compile(r"(?<![\w-])(?!(?:that|had|namespace)\b)([a-z]{2,})[ \t]*\n?[ \t]+\1(?![\w^-])")


def sentences(text):
    """Return the text without fenced blocks, code spans and examples; line numbers are kept."""
    text = re.sub(r"^```.*?^```", lambda m: "\n" * m[0].count("\n"), text, flags=re.M | re.S)
    text = re.sub(r'r?"{3}', "", text)
    text = re.sub(r"``?[^`]*``?", lambda m: "_" + "\n" * m[0].count("\n"), text)
    return re.sub(r"^\s*(?:>>>|\.\.\.).*$", "", text, flags=re.M)


def wrongs(text):
    """(line, words, what to write instead) of every turn that the text must not contain."""
    text = sentences(text)
    matches = [(m, instead) for rule, instead in RULES.items() for m in rule.finditer(text)]
    matches += [(m, "the word once") for m in TWICE.finditer(text)]
    return sorted((text.count("\n", 0, m.start()) + 1, m[0], instead) for m, instead in matches)


def paths(house):
    return [*house.cpp(), *house.files(*PYTHON, *PAGES)]


def test_prose_has_no_private_turns(house):
    wrong = [
        f"{path}:{line}: '{' '.join(words.split())}': write {instead}"
        for path in paths(house)
        for line, words, instead in wrongs(house.prose(path))
    ]
    assert not wrong, "\n".join(wrong)


def test_headings_of_docstrings_have_lines_of_their_own(house):
    """A heading that is wrapped into its text is no heading, and the site prints its dashes."""
    wrong = [
        f"{path}: {match[0]}"
        for path in house.python().values()
        for match in re.finditer(
            r"^ *[A-Z]\w+(?: \w+)? -{4,} .{20}", house.prose(path), re.MULTILINE
        )
    ]
    assert not wrong


@pytest.mark.parametrize(
    "text",
    [
        "Whatever is raised for what a file holds becomes a ValueError.",
        "Of a run that diverged, the time.",
        "Of X^T C for sets of m samples.",
        "There is no one B_T.",
        "The methods lie on\none another.",
        "Memory that can still be had.",
        "In what sums over data are taken.",
        "Room for so many bytes.",
        "The blocks from the first on, in order.",
        "Data of one's own.",
        "The laws that come of them.",
        "Where the trials stand.",
        "As many threads as there are.",
        "Up to a million million features.",
        "Sum over the the rows.",
    ],
)
def test_private_turns_are_found(text):
    assert wrongs(text)


@pytest.mark.parametrize(
    "text",
    [
        "B stands for the representation, `what there is` for code.",
        "From then on, the rows come from the store on disk, in what follows.",
        "So many that the sums are cut; it follows that that is rare.",
        "Of the 81 runs, 3 diverged.",
        "```\nwhoever stands\n```",
        ">>> stands = None",
        "theta theta^T",
    ],
)
def test_plain_sentences_pass(text):
    assert not wrongs(text)


def test_lines_of_turns_are_those_of_the_file():
    assert wrongs("```\nx\n```\n\n`a\nb` and\nwhoever comes") == [
        (7, "whoever", "the reader, the caller, or an imperative")
    ]


def test_proselint_passes(house, tmp_path):
    pytest.importorskip("proselint", reason="needs the extra lint")
    for path in paths(house):
        page = tmp_path / f"{path.replace('/', '.')}.md"  # a report names the file without folders
        page.write_text(sentences(house.prose(path)), encoding="utf-8")
    command = [sys.executable, "-m", "proselint", "check", "--output-format", "compact"]
    done = subprocess.run(
        [*command, str(tmp_path)], cwd=house.root, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout.replace(f"{tmp_path}/", "") + done.stderr
