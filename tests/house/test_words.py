"""Docs, docstrings and the README are complete, and their commands and examples work."""

import doctest
import importlib
import inspect
import os
import pkgutil
import re
import subprocess
from dataclasses import fields, is_dataclass
from functools import cached_property

import pytest

import metaspan as ms

CITED = re.compile(r"(?<![\w)\]}>])\((\d{1,2})\)")
BOUND = property | cached_property | classmethod | staticmethod
CITING = (
    "python/**/*.py*",
    "tests/**/*.py",
    "bench/**/*.py",
    "examples/**/*.py",
    "docs/**/*.md",
    "*.md",
)
SECTIONS = re.compile(r"^ *([A-Z][A-Za-z ]+)\n *-{3,}$", flags=re.MULTILINE)


def start_commands(house):
    block = re.search(r"^## Start\n+```\w*\n(.*?)^```", house.text("README.md"), re.M | re.S)
    assert block, "README.md has no code block under the heading Start"
    return block[1].splitlines()


def public(module=ms, prefix=""):
    """(name, object) of everything that users see, in public modules and classes too."""
    for name in [*module.__all__, *getattr(module, "_LAZY", ())]:
        thing = getattr(module, name)
        if inspect.ismodule(thing):
            yield from public(thing, f"{prefix}{name}.")
        elif callable(thing):
            yield f"{prefix}{name}", thing
            if inspect.isclass(thing) and thing.__module__.startswith("metaspan"):
                yield from members(f"{prefix}{name}", thing)


def members(name, cls):
    """Return (name, object) of public methods and properties, and of those of our base classes."""
    ours = [base for base in reversed(cls.__mro__) if base.__module__.startswith("metaspan")]
    found = {member: value for base in ours for member, value in vars(base).items()}
    for member, value in found.items():
        if member in ("check", "estimate") and hasattr(cls, "uses_averages"):
            continue  # of the protocol `Estimator`, which describes their arguments
        if not member.startswith("_") and (inspect.isfunction(value) or isinstance(value, BOUND)):
            yield f"{name}.{member}", value


def modules():
    """Return every module of the package that is written in Python, at any depth."""
    for info in pkgutil.walk_packages(ms.__path__, "metaspan."):
        own = info.name.rpartition(".")[2]
        compiled = own.startswith(("_cpu", "_cuda", "_core")) and own != "_core_types"
        if not compiled and own != "__main__":
            yield importlib.import_module(info.name)


def test_start_has_exactly_two_commands(house):
    commands = start_commands(house)
    assert commands == ["pip install '.[all,test]' && metaspan reproduce --out figures", "pytest"]


def test_ci_takes_the_commands_from_the_readme(house):
    if not (house.root / ".ci/run").exists():
        pytest.skip("not part of the source distribution")
    text = house.text(".ci/run")
    assert os.access(house.root / ".ci/run", os.X_OK)
    assert not [c for c in start_commands(house) if re.search(rf"^\s*{re.escape(c)}$", text, re.M)]
    reader = re.search(r"^start_commands\(\) \{\n(.*?)\n\}", text, re.M | re.S)[1]
    read = subprocess.run(
        ["bash", "-c", reader], cwd=house.root, capture_output=True, text=True, check=True
    )
    assert read.stdout.splitlines() == start_commands(house)


def test_readme_shows_the_first_example(house):
    shown = re.search(r"^```python\n(.*?)^```", house.text("README.md"), re.M | re.S)[1]
    assert house.text("examples/first.py").endswith(shown)


def test_markdown_links_lead_somewhere(house):
    if not (house.root / "docs/figures").exists():
        pytest.skip("not part of the source distribution")
    wrong = []
    for path in house.files("*.md", "docs/**/*.md"):
        for target in re.findall(r"\]\(([^)#\s]+)\)", house.text(path)):
            there = (house.root / path).parent / target
            if not target.startswith("http") and not there.exists():
                wrong.append(f"{path}: {target}")
    assert not wrong


def equation_numbers(house):
    """Return the numbers of all equations in the order of the two pages that state them."""
    pages = house.text("docs/equations.md") + house.text("docs/theory.md")
    return re.findall(r"^\*\*\((\d+)\)", pages, re.M)


def test_equations_are_numbered_in_order(house):
    numbers = [int(n) for n in equation_numbers(house)]
    assert numbers == list(range(1, len(numbers) + 1))


def test_equations_that_are_cited_exist(house):
    known = set(equation_numbers(house))
    wrong = []
    for path in [*house.cpp(), *house.files(*CITING)]:
        missing = set(CITED.findall(house.prose(path))) - known
        wrong += [f"{path}: ({number})" for number in sorted(missing)]
    assert not wrong


def test_text_for_terminals_is_ascii(house):
    drawn = {
        "figures",
        "labels",
        "report",
    }  # rooms and modules whose text goes to figures and pages
    modules = house.python().items()
    paths = [path for name, path in modules if drawn.isdisjoint(name.split("."))]
    assert not [path for path in paths if not house.text(path).isascii()]


def test_public_names_are_documented(house):
    page = house.text("docs/api.md")
    names = [*ms.__all__, *ms._LAZY]
    assert not [name for name in names if f"`{name}" not in page and f"ms.{name}" not in page]


@pytest.mark.parametrize(("name", "thing"), [pytest.param(*pair, id=pair[0]) for pair in public()])
def test_docstring_of_public_name_is_complete(name, thing):
    function = thing.__func__ if isinstance(thing, classmethod | staticmethod) else thing
    function = function.fget if isinstance(function, property) else function
    function = function.func if isinstance(function, cached_property) else function
    text = inspect.getdoc(function)
    assert text, f"{name} has no docstring"
    first = text.split("\n\n")[0]
    assert first.endswith("."), f"{name}: the first paragraph is not a sentence: {first!r}"
    sections = set(SECTIONS.findall(text))
    if inspect.isclass(function):
        return check_class(name, function, text)
    if isinstance(thing, property | cached_property):
        return None
    signature = inspect.signature(function)
    names = [p for p in signature.parameters if p not in ("self", "cls")]
    if names:
        assert "Parameters" in sections, f"{name} has no section Parameters"
        for parameter in names:
            described = re.search(rf"\b{parameter}\b.* : ", text)
            assert described, f"{name}: {parameter} is not described"
    if str(signature.return_annotation) not in ("None", "NoReturn"):
        assert sections & {"Returns", "Yields"}, f"{name} has no section Returns"
    return None


def check_class(name, cls, text):
    """Dataclasses describe every field once."""
    for field in fields(cls) if is_dataclass(cls) else ():
        if not field.name.startswith("_"):
            described = re.search(rf"\b{field.name}\b.* : ", text)
            assert described, f"{name}: {field.name} is not described"


def test_examples_are_looked_for_in_every_module(house):
    files = {name.removesuffix(".__init__") for name in house.python()}
    files -= {name for name in files if name.split(".")[-1] in ("__init__", "__main__")}
    assert {module.__name__.removeprefix("metaspan.") for module in modules()} == files


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("module", list(modules()), ids=lambda m: m.__name__)
def test_examples_of_docstrings_run(module):
    flags = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
    assert doctest.testmod(module, optionflags=flags).failed == 0


@pytest.mark.filterwarnings("error")
def test_examples_of_pages_run(house):
    for path in house.files("README.md", "docs/**/*.md"):
        failed, _ = doctest.testfile(str(house.root / path), module_relative=False)
        assert failed == 0, path


def test_public_names_are_listed_once_and_exist():
    names = [*ms.__all__, *ms._LAZY]
    assert len(set(names)) == len(names)
    assert all(hasattr(ms, name) for name in names)
