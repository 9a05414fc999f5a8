"""Check names, the lengths of files, functions and lines, and forbidden content."""

import ast
import re
import tomllib
from pathlib import Path

CPP = ("cpp/**/*.hpp", "cpp/**/*.cpp", "cpp/**/*.cu", "cpp/**/*.cuh", "cpp/**/*.h")
SOURCES = (*CPP, *(f"{f}/**/*.py" for f in ("python", "tests", "bench", "docs")))


def lines(house, path):
    return house.text(path).count("\n")


def test_files_stay_short(house):
    limits = [(SOURCES, 700), (("cpp/bind/**/*",), 250), (("cpp/include/**/*.hpp",), 200)]
    limits += [(("cpp/bind/module.cpp",), 40), ((".clang-format",), 10)]
    wrong = [
        f"{path}: {lines(house, path)} lines of at most {limit}"
        for patterns, limit in limits
        for path in house.files(*patterns)
        if lines(house, path) > limit
    ]
    assert not wrong


def test_cpp_functions_stay_short(house):
    wrong = []
    for path in house.cpp():
        depth, inside = 0, None
        for number, line in enumerate(house.code(path).splitlines(), start=1):
            if re.match(r"\s*(inline )?namespace\b.*\{", line) or line.startswith("}  "):
                continue
            before, depth = depth, depth + line.count("{") - line.count("}")
            if before == 0 and depth > 0:
                a_type = re.search(r"\b(class|struct|enum|union)\b|=\s*\{", line)
                inside = None if a_type else number
            if depth <= 0:
                if inside is not None and number - inside > 60:
                    wrong.append(f"{path}:{inside}: {number - inside} lines")
                depth, inside = 0, None
    assert not wrong


def test_python_functions_stay_short(house):
    wrong = []
    for path in house.python().values():
        for node in ast.walk(house.tree(path)):
            if isinstance(node, ast.FunctionDef):
                first = node.body[1] if ast.get_docstring(node) and node.body[1:] else node.body[0]
                if node.end_lineno - first.lineno >= 60:
                    wrong.append(f"{path}: {node.name}")
    assert not wrong


def test_cpp_lines_have_100_columns(house):
    wrong = [
        f"{path}:{number}"
        for path in house.cpp()
        for number, line in enumerate(house.text(path).splitlines(), start=1)
        if len(line) > 100
    ]
    assert not wrong


def test_cpp_names(house):
    snake = re.compile(r"[a-z][a-z0-9_]*\.(hpp|cpp|cu|cuh)")
    assert not [p for p in house.cpp() if not snake.fullmatch(Path(p).name)]
    named = r"^\s*(?:class|struct|enum class|enum)\s+(?:alignas\(\w+\)\s+)?(\w+)\b[^;()]*\{"
    wrong = [
        f"{path}: {name}"
        for path in house.cpp()
        for name in re.findall(named, house.code(path), flags=re.MULTILINE)
        if not re.fullmatch(r"[A-Z][A-Za-z0-9]*", name)
        and name not in ("type_caster",)
        and "enum" not in name
    ]
    assert not wrong


def test_macros_are_defined_in_base_alone(house):
    wrong = []
    # Macros make a launch look the same to nvcc and to the emulator, which imitates CUDA's names.
    files = ("base.hpp", "host_device.hpp", "launch.hpp", "sanitizers.hpp")
    for path in house.cpp():
        if path == "cpp/test/cuda/emulator/emulator.hpp":
            continue
        for name in re.findall(r"^\s*#\s*define\s+(\w+)", house.code(path), flags=re.MULTILINE):
            if Path(path).name not in files or not name.startswith(("METASPAN_", "EIGEN_")):
                wrong.append(f"{path}: {name}")
    assert not wrong


def test_headers_are_guarded_and_first_include_is_their_own(house):
    assert not [
        p
        for p in house.files("cpp/**/*.hpp", "cpp/**/*.cuh", "cpp/**/*.h")
        if "#pragma once" not in house.text(p)
    ]


def test_test_names_say_thing_and_property(house):
    wrong = []
    for path in house.files("tests/**/test_*.py"):
        for node in ast.walk(house.tree(path)):
            if not isinstance(node, ast.FunctionDef) or not node.name.startswith("test_"):
                continue
            if not re.fullmatch(r"test_[a-zA-Z0-9]+(_[a-zA-Z0-9]+)+", node.name):
                wrong.append(f"{path}: {node.name}")
    assert not wrong


def test_version_stands_in_pyproject_alone(house):
    version = tomllib.loads(house.text("pyproject.toml"))["project"]["version"]
    there = re.compile(rf"(?<![\d.]){re.escape(version)}(?![\d.])")
    allowed = {"pyproject.toml", "CHANGELOG.md", "CITATION.cff"}
    assert not [p for p in house.text_files() if p not in allowed and there.search(house.text(p))]
    assert there.search(house.text("CHANGELOG.md"))


def test_citation_is_of_this_version(house):
    version = tomllib.loads(house.text("pyproject.toml"))["project"]["version"]
    cited = dict(re.findall(r"^(version|date-released): (.*)$", house.text("CITATION.cff"), re.M))
    heading = re.search(rf"^## {re.escape(version)}\b(.*)$", house.text("CHANGELOG.md"), re.M)
    assert heading
    assert cited["version"] == version
    assert cited["date-released"] in heading[1]


def test_no_paths_of_a_machine(house):
    # Written so that this file does not contain what it looks for.
    places = "|".join(("tmp", "work", "root", "home", "opt", "usr", "mnt", "private", "Users"))
    absolute = re.compile(rf"(?<![\w.$}}/~-])/(?:{places})/(?!bin/env)")
    assert not [p for p in house.text_files() if absolute.search(house.text(p))]


def test_nothing_is_left_to_do_in_comments(house):
    marks = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X)\b")
    assert not [p for p in house.text_files() if marks.search(house.text(p))]
