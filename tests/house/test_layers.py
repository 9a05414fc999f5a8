"""Folders include and import only from their own or from earlier layers."""

import ast
import re
import sys
from pathlib import Path

import pytest

import metaspan as ms

# A file of the core includes only what is in its own room or on an earlier line.
CORE_ROOMS = (
    {"base"},
    {"random"},
    {"geometry"},
    {"algebra"},
    {"data"},
    {"sweeps"},
    {"in_law"},
    {"cuda"},
    {"engines"},
)
# A module imports, when it is itself imported, only what is in its own room or on an earlier line;
# what it imports within a function, or for types alone, may come from anywhere.
ROOMS = (
    {"_core_types"},
    {"_core", "_cpu"},
    {"_load"},
    {"_device"},
    {"_support"},
    {"sharding"},
    {"privacy"},
    {"outer_step"},
    {"method_bases"},
    {"learned_methods", "linear_methods", "solved_methods"},
    {"methods", "metrics"},
    {"parameters"},
    {"tasks"},
    {"config"},
    {"cost"},
    {"estimators"},
    {"engines", "build"},
    {"runs"},
    {"gradients", "theory", "fit"},
    {"held_out", "active", "plan"},
    {"evaluate", "intervals", "plots"},
    {"people"},
    {"paper"},
    {"study.design"},
    {"study.laws", "study.execution"},
    {"study.figures"},
    {"study.report"},
    {"study"},
    {"explore"},
    {"cli"},
    {"__init__", "__main__"},
)
OPTIONAL = {
    *("bokeh", "matplotlib", "pandas", "scipy", "sklearn", "threadpoolctl", "tornado", "tqdm"),
}
# The package imports these rooms when their names are first used; they need a package throughout.
LAZY = {"people": "sklearn"}


def room_of(module):
    """The room of a module: a folder of the package, a folder of studies, or a file at the top."""
    parts = module.split(".")
    if parts[0] == "study":
        return ".".join(parts[:2]) if parts[2:] else "study"
    return parts[0]


def level(layers, name):
    found = [i for i, layer in enumerate(layers) if name in layer]
    assert found, f"{name} has no place among the layers yet: decide where it stands"
    return found[0]


def includes(house, path):
    return re.findall(r'^\s*#\s*include\s+[<"]([^>"]+)[>"]', house.text(path), flags=re.MULTILINE)


def imports(tree, inside_functions=False):
    """(name, dots) of imports at run time: all, or those that importing the file executes.

    What is taken from a module has the module's name before its own, as in ``numpy.linalg.norm``.
    """
    stack, found = list(tree.body), []
    while stack:
        node = stack.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            stack.extend(node.orelse)
            continue
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not inside_functions:
            continue
        if isinstance(node, ast.Import):
            found.extend((alias.name, 0) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            module = f"{node.module}." if node.module else ""
            found.extend((f"{module}{alias.name}", node.level) for alias in node.names)
        stack.extend(ast.iter_child_nodes(node))
    return found


def test_unit_tests_are_in_the_rooms_of_the_package(house):
    rooms = {Path(path).parent.name for path in house.files("tests/unit/*/*.py")}
    assert rooms
    wrong = [room for room in rooms if not house.files(f"python/metaspan/{room}/__init__.py")]
    assert not wrong


def core_includes(house, folder):
    """Core files below a folder, as in random/heads.hpp, and the headers that each includes."""
    return {
        Path(path).relative_to(folder).as_posix(): {
            other.removeprefix("metaspan/")
            for other in includes(house, path)
            if other.startswith("metaspan/")
        }
        for path in house.files(f"{folder}/**/*.?pp")
    }


@pytest.mark.parametrize("folder", ["cpp/include/metaspan", "cpp/src"])
def test_core_files_include_only_earlier_rooms(house, folder):
    wrong = [
        f"{name} includes {other}"
        for name, others in core_includes(house, folder).items()
        for other in others
        if level(CORE_ROOMS, Path(other).parts[0]) > level(CORE_ROOMS, Path(name).parts[0])
    ]
    assert not wrong


def test_core_headers_include_in_no_circle(house):
    assert not circle(core_includes(house, "cpp/include/metaspan"))


def test_kernels_include_only_kernels(house):
    kernels = {Path(p).name for p in house.files("cpp/kernels/**/*.hpp")}
    kernels.add("metaspan/base/host_device.hpp")  # marks what a CUDA device compiles too
    system = re.compile(r"\w+|\w+intrin\.h|std\w+\.h")  # <cmath>, <immintrin.h>
    wrong = [
        f"{path} includes {other}"
        for path in house.files("cpp/kernels/**/*")
        for other in includes(house, path)
        if other not in kernels and not system.fullmatch(other)
    ]
    assert not wrong


def test_core_knows_no_python_no_printing_no_environment(house):
    forbidden = re.compile(
        r"pybind11|Python\.h|\biostream\b|\bcstdio\b|printf|std::c(out|err)|getenv"
    )
    paths = house.files("cpp/include/**/*", "cpp/src/**/*", "cpp/kernels/**/*")
    assert not [p for p in paths if forbidden.search(house.text(p))]


def test_binding_is_included_by_binding_alone(house):
    bind = {Path(p).name for p in house.files("cpp/bind/**/*.hpp")}
    wrong = [
        f"{path} includes {other}"
        for path in house.cpp()
        if not path.startswith("cpp/bind/")
        for other in includes(house, path)
        if Path(other).name in bind or "bind/" in other
    ]
    assert not wrong


def test_openmp_is_named_in_parallel_alone(house):
    named = re.compile(r"\bomp\b|omp_|_OPENMP|OpenMP", flags=re.IGNORECASE)
    paths = [p for p in house.cpp() if Path(p).name != "parallel.hpp"]
    assert not [p for p in paths if named.search(house.code(p))]


def test_modules_import_only_earlier_rooms(house):
    wrong = []
    for name, path in house.python().items():
        room = room_of(name)
        for other in own_imports(house, name):
            theirs = room_of(other)
            if theirs != room and level(ROOMS, theirs) >= level(ROOMS, room):
                wrong.append(f"{path} imports {other}")
    assert not wrong


def test_modules_import_in_no_circle(house):
    assert not circle({name: own_imports(house, name) for name in house.python()})


def circle(graph):
    """Return the part of a graph that lies on or leads to cycles; {name: set of successors}."""
    while free := [name for name, others in graph.items() if not others & graph.keys()]:
        for name in free:
            del graph[name]
    return graph


def own_imports(house, name):
    """Return the modules of the package that the module `name` imports."""
    path = house.python()[name]
    return {
        absolute(house, name, other, dots)
        for other, dots in imports(house.tree(path))
        if dots or other.split(".")[0] == "metaspan"
    }


def absolute(house, name, other, dots):
    """Return the module of the package that an import statement in the module `name` refers to."""
    parts = other.split(".") if dots else other.split(".")[1:]
    if dots:
        parts = [*name.split(".")[:-dots], *parts]
    compiled = {Path(p).stem for p in house.files("python/metaspan/*.pyi")}
    known = {*house.python(), *compiled}
    # A module of that name, or what a module or a package holds under it.
    for whole in (parts, parts[:-1]):
        for found in (".".join(whole), ".".join([*whole, "__init__"])):
            if found in known:
                return found
    raise AssertionError(f"{name} imports {other}, which is no module of the package")


def test_optional_packages_are_imported_where_they_are_used(house):
    wrong = [
        f"{path} imports {other}"
        for name, path in house.python().items()
        for other, dots in imports(house.tree(path))
        if dots == 0 and other.split(".")[0] in OPTIONAL - {LAZY.get(room_of(name))}
    ]
    assert not wrong


def test_package_depends_on_numpy_alone(house):
    allowed = {"numpy", "metaspan", *OPTIONAL, *sys.stdlib_module_names}
    wrong = [
        f"{path} imports {other}"
        for path in house.python().values()
        for other, dots in imports(house.tree(path), inside_functions=True)
        if dots == 0 and other.split(".")[0] not in allowed
    ]
    assert not wrong


def test_reference_imports_numpy_alone(house):
    siblings = {Path(p).stem for p in house.files("tests/reference/**/*.py")} | {"reference"}
    allowed = {"numpy", *siblings, *sys.stdlib_module_names}
    wrong = [
        f"{path} imports {other}"
        for path in house.files("tests/reference/**/*.py")
        for other, dots in imports(house.tree(path), inside_functions=True)
        if dots == 0 and other.split(".")[0] not in allowed
    ]
    assert not wrong


def test_benches_and_examples_use_the_public_package(house):
    wrong = [
        f"{path} imports {other}"
        for path in house.files("bench/**/*.py", "examples/**/*.py")
        for other, _ in imports(house.tree(path), inside_functions=True)
        if other.startswith("metaspan.") and other.split(".")[1] not in ms.__all__
    ]
    assert not wrong
