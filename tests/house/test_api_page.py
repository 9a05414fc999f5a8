"""docs/api.md agrees with the package: names, arguments, fields and the command line."""

import argparse
import builtins
import inspect
import re
from dataclasses import fields, is_dataclass

import pytest

import metaspan as ms
from metaspan import cli

MODULES = {"": ms, "explore": ms.explore, "study": ms.study, "theory": ms.theory}
STANDS_FOR = {"tasks": ms.LinearTasks, "batch": ms.TaskBatch, "result": ms.Result, "r": ms.Result}
STEPS = {"alpha", "beta", "inner_steps"}  # of methods given by name


@pytest.fixture(scope="module")
def lines(house):
    """List the code spans of each line outside fenced blocks; a heading gives None."""
    text = re.sub(r"^```.*?^```", "", house.text("docs/api.md"), flags=re.M | re.S)
    return [
        None if line.startswith("#") else re.findall(r"`([^`]+)`", line)
        for line in text.splitlines()
    ]


def names_of(module):
    """Names of a module that users see, including those that are imported when first used."""
    return [*module.__all__, *getattr(module, "_LAZY", ())]


def public():
    """Everything public by the names under which it can be reached."""
    found = {}
    for prefix, module in MODULES.items():
        for name in names_of(module):
            found[name] = found[f"{prefix}.{name}".lstrip(".")] = getattr(module, name)
    return found


PUBLIC = public()
CLASSES = {name: thing for name, thing in PUBLIC.items() if inspect.isclass(thing)}


def arguments(function):
    """Names of the arguments that a call takes."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:  # a warning, which takes what every exception takes
        return set()
    named = {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}
    return named | (STEPS if "steps" in {p.name for p in parameters} else set())


def attributes(cls):
    """Names of the attributes that an object of a class has."""
    named = {field.name for field in fields(cls)} if is_dataclass(cls) else arguments(cls)
    named |= set(getattr(cls, "__annotations__", {}))  # of a fitted estimator of scikit-learn
    return named | {name for name in dir(cls) if not name.startswith("_")}


def callables():
    """Everything public that can be called, methods of classes included."""
    for thing in PUBLIC.values():
        if callable(thing):
            yield thing
        if inspect.isclass(thing):
            members = [getattr(thing, name) for name in dir(thing) if not name.startswith("_")]
            yield from (member for member in members if callable(member))


KNOWN = {
    *dir(builtins),
    *PUBLIC,
    *MODULES,
    *(name for cls in CLASSES.values() for name in attributes(cls)),
    *(name for function in callables() for name in arguments(function)),
}


def find(name, nearby):
    """The object that a name on the page means; of a method, of a class that is named nearby."""
    root, _, rest = name.partition(".")
    if not root:
        owners = [CLASSES[cls] for cls in nearby if rest in attributes(CLASSES[cls])]
        return getattr(owners[-1], rest, None) if owners else KeyError
    if name in PUBLIC:
        return PUBLIC[name]
    owner = STANDS_FOR.get(root) or CLASSES.get(root)
    if owner is None or rest not in attributes(owner):
        return KeyError
    return getattr(owner, rest, None)


def split(text):
    """Arguments of a call, at the commas outside brackets."""
    parts, depth = [""], 0
    for letter in text:
        depth += (letter in "([{") - (letter in ")]}")
        parts = [*parts, ""] if letter == "," and not depth else [*parts[:-1], parts[-1] + letter]
    return [part.strip() for part in parts]


def nearby(lines):
    """(span, classes): every span, and the classes that its section names, up to its own line."""
    seen = []
    for spans in lines:
        if spans is None:
            seen = []
            continue
        seen += [name for span in spans if (name := re.match(r"[\w.]*", span)[0]) in CLASSES]
        yield from ((span, seen) for span in spans)


def test_every_public_name_is_on_the_page(lines):
    named = {re.match(r"[\w.]*", span)[0] for spans in lines if spans for span in spans}
    missing = [
        f"{prefix}.{name}".lstrip(".")
        for prefix, module in MODULES.items()
        for name in names_of(module)
        if not {name, f"{prefix}.{name}"} & named and not inspect.ismodule(getattr(module, name))
    ]
    assert not missing


def test_names_on_the_page_exist(lines):
    """Names alone, attributes such as `.trace`, and dotted ones such as `tasks.k`."""
    wrong = []
    for span, classes in nearby(lines):
        if re.fullmatch(r"[A-Za-z_]\w*", span) and span not in KNOWN:
            wrong.append(span)
        if re.fullmatch(r"\w*\.[\w.]+", span) and find(span, classes) is KeyError:
            wrong.append(span)
    assert not wrong


def test_calls_on_the_page_take_the_arguments_that_they_are_shown_with(lines):
    wrong, checked = [], 0
    for span, classes in nearby(lines):
        call = re.fullmatch(r"([\w.]+)\((.*)\)", span)
        if not call:
            continue
        function = find(call[1], classes)
        if not callable(function):
            wrong.append(span)
            continue
        for part in split(call[2]):
            name = re.fullmatch(r"([A-Za-z_]\w*)(=.*)?", part)
            if name and name[1] not in arguments(function):
                wrong.append(f"{span}: {name[1]}")
            checked += bool(name)
    assert not wrong
    assert checked > 50


def commands(parser, words="metaspan"):
    """(command, options with their values) of every command that does something."""
    nested = [a for a in parser._actions if isinstance(a, argparse._SubParsersAction)]
    shown = set()
    for action in parser._actions:
        if isinstance(action, argparse._HelpAction | argparse._SubParsersAction):
            continue
        value = action.metavar if action.nargs != 0 else ""
        shown.add(" ".join([*action.option_strings, *([value] if value else [])]))
    if shown or not nested:
        yield words, shown
    for action in nested:
        for name, inner in action.choices.items():
            yield from commands(inner, f"{words} {name}")


def test_the_command_line_is_that_of_the_page(lines):
    expected = dict(commands(cli._parser()))
    found = {}
    for spans in lines:
        for span in spans or ():
            name = max((c for c in expected if f"{span} ".startswith(f"{c} ")), key=len, default="")
            if name and span != "metaspan":
                words = re.findall(r"--[\w-]+(?: [A-Z/]+)?|[A-Z/]+", span.removeprefix(name))
                found[name] = set(words)
    assert found == expected
