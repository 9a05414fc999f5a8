"""The stubs of the compiled modules agree with them: names, parameters and defaults."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import metaspan as ms
from metaspan import _cpu
from metaspan._load import core

MODULES = {"_core": core.__name__, "_cpu": _cpu.__name__}


@pytest.fixture(scope="module")
def generated(tmp_path_factory):
    """Generate stubs from the loaded modules and return their syntax trees, by our stub's name."""
    pytest.importorskip("pybind11_stubgen")
    folder = tmp_path_factory.mktemp("stubs")
    trees = {}
    for ours, module in MODULES.items():
        command = [sys.executable, "-m", "pybind11_stubgen", module, "-o", str(folder)]
        subprocess.run(command, check=True, capture_output=True, text=True)
        written = folder / (module.replace(".", "/") + ".pyi")
        trees[ours] = ast.parse(written.read_text(encoding="utf-8"))
    return trees


def outline(body, inside=""):
    """(name, what) of everything that a stub declares and that is not private."""
    found = {}
    for node in body:
        if isinstance(node, ast.ClassDef):
            found[f"{inside}{node.name}"] = "class"
            found |= outline(node.body, f"{inside}{node.name}.")
        elif isinstance(node, ast.FunctionDef):
            found[f"{inside}{node.name}"] = signature(node)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[f"{inside}{node.target.id}"] = "attribute"
        elif isinstance(node, ast.Assign) and inside:  # a member of an enumeration
            found |= {f"{inside}{ast.unparse(target)}": "attribute" for target in node.targets}
    return {name: what for name, what in found.items() if not name.split(".")[-1].startswith("_")}


def signature(node):
    """How a function is called: its decorators, and names and defaults of its parameters."""
    spec = node.args
    named = [*spec.posonlyargs, *spec.args, *spec.kwonlyargs]
    defaults = [None] * (len(named) - len(spec.defaults) - len(spec.kw_defaults))
    defaults += [*spec.defaults, *spec.kw_defaults]
    shown = [one.arg if d is None else f"{one.arg}={ast.unparse(d)}"
             for one, d in zip(named, defaults, strict=True)]  # fmt: skip
    kinds = [ast.unparse(decorator) for decorator in node.decorator_list]
    return f"{' '.join(kinds)}({', '.join(shown)})"


@pytest.mark.parametrize("stub", MODULES)
def test_stubs_say_what_the_modules_have(house, generated, stub):
    expected = outline(generated[stub].body)
    found = outline(house.tree(f"python/metaspan/{stub}.pyi").body)
    wrong = [
        f"{name}: the module has {expected.get(name)}, the stub {found.get(name)}"
        for name in sorted(expected.keys() | found.keys())
        if expected.get(name) != found.get(name)
    ]
    assert not wrong
    assert found


def test_the_package_carries_its_types():
    folder = Path(ms.__file__).parent
    assert [n for n in ("py.typed", "_core.pyi", "_cpu.pyi") if not (folder / n).exists()] == []
