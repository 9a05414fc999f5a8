"""Instruction-set levels: which one is loaded, and which results agree between levels.

A process loads a single level, so each test starts its own processes.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import metaspan as ms
from metaspan import _cpu
from metaspan._load import LEVELS

BUILT = _cpu.LEVELS
RUN = [level for level in BUILT if _cpu.supports(level)]
PATIENCE = 300  # seconds, to end a test that hangs
several = pytest.mark.skipif(len(RUN) < 2, reason="one level was built, or runs here")


def python(level, *arguments):
    """Run a Python process to its end, with `METASPAN_ISA` set to a level or unset."""
    environment = {name: value for name, value in os.environ.items() if name != "METASPAN_ISA"}
    if level is not None:
        environment["METASPAN_ISA"] = level
    return subprocess.run(
        [sys.executable, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )


def last_line(level):
    """What the import of the package fails with."""
    done = python(level, "-c", "import metaspan")
    assert done.returncode == 1
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("level", [None, "auto", *RUN])
def test_the_level_that_runs_is_told(level):
    expected = RUN[-1] if level in (None, "auto") else level
    script = "import metaspan as ms; c = ms.show_config(); print(c['instruction_set'])"
    done = python(level, "-c", script)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == expected
    told = python(level, "-m", "metaspan", "info")
    assert re.search(rf"^instruction_set +{expected}$", told.stdout, flags=re.MULTILINE)


def test_a_name_that_is_no_level_is_told():
    assert last_line("v3") == (
        "ImportError: METASPAN_ISA must be one of auto, baseline, x86-64-v2, x86-64-v3, "
        "x86-64-v4, native; got 'v3'"
    )


def test_a_level_that_was_not_built_is_told():
    absent = next(level for level in LEVELS if level not in BUILT)
    assert last_line(absent) == (
        "ImportError: METASPAN_ISA must be a level that metaspan was built for, "
        f"{', '.join(BUILT)}; got {absent!r}"
    )


def tool(*command):
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


# What CMake makes of METASPAN_ISA, without a build of the core.
LEVELS_PROJECT = """
cmake_minimum_required(VERSION 3.22)
project(levels LANGUAGES CXX)
include({isa})
foreach(METASPAN_ISA "auto" "" "native" "x86-64-v4" "x86-64-v3,x86-64-v2")
  string(REPLACE "," ";" METASPAN_ISA "${{METASPAN_ISA}}")
  metaspan_levels(levels)
  message(STATUS "levels: ${{levels}}")
endforeach()
"""


def configured(folder, *options):
    """The levels that a build would have, a line for every METASPAN_ISA of the project."""
    isa = Path(__file__).resolve().parents[2] / "cpp/cmake/Isa.cmake"
    folder.mkdir()
    (folder / "CMakeLists.txt").write_text(LEVELS_PROJECT.format(isa=isa.as_posix()))
    said = tool("cmake", "-S", str(folder), "-B", str(folder / "build"), *options)
    return re.findall(r"^-- levels: (.*)$", said, flags=re.MULTILINE)


@pytest.mark.skipif(not shutil.which("cmake") or not shutil.which("c++"), reason="needs CMake")
@pytest.mark.skipif(not BUILT[0].startswith("x86-64"), reason="levels of x86-64")
def test_a_build_is_for_the_machine_that_builds_where_nothing_is_asked(tmp_path):
    here = next(level for level in reversed(LEVELS[:-1]) if _cpu.supports(level))
    here = here.removeprefix("x86-64-")
    assert configured(tmp_path / "here") == [here, here, "native", "v4", "v2;v3"]
    other = configured(
        tmp_path / "cross", "-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=x86_64"
    )
    assert other == ["v3", "v3", "native", "v4", "v2;v3"]
    arm = configured(
        tmp_path / "arm", "-DCMAKE_SYSTEM_NAME=Linux", "-DCMAKE_SYSTEM_PROCESSOR=aarch64"
    )
    assert arm == ["baseline"] * 5


DRAWS = """
import hashlib, sys
import numpy as np
from metaspan._load import core

def tell(name, *arrays):
    print(name, hashlib.sha256(b"".join(np.asarray(a).tobytes() for a in arrays)).hexdigest())

tell("words", *(core.philox((7, i), (1, 2, 3, i)) for i in range(100)), core.derive_key(1, 2, 3, 4))
for dtype in ("float64", "float32"):
    for d in (1, 7, 64, 1001):
        tell(f"normals {dtype} {d}", core.normals(3, 1, 2, 0, 5, 11, d, dtype, 1))
tell("many normals", core.normals(9, 0, 0, 1, 1, 100, 10_007, "float64", 2))
"""


@several
def test_random_words_and_normals_are_the_same_bits_at_every_level():
    said = {}
    for level in RUN:
        done = python(level, "-c", DRAWS)
        assert done.returncode == 0, done.stderr
        said[level] = done.stdout.splitlines()
    assert len(said[RUN[0]]) == 10
    for level in RUN[1:]:
        assert said[level] == said[RUN[0]]


RUNS = """
import sys
import numpy as np
import metaspan as ms

law = ms.LinearTasks(d=60, k=3, noise=0.1)
small = dict(alpha=0.05, beta=0.02)
common = dict(rounds=60, n=5, stop=None, record=("dist", "loss_out"))
kept = {}
for name, method in {
    "anil": ms.ANIL(**small), "maml": ms.MAML(inner_steps=2, **small),
    "fo-maml": ms.MAML(first_order=True, **small), "average risk": ms.AverageRisk(beta=0.02),
}.items():
    runs = {
        "population": ms.train(law, method, **common),
        "collapsed": ms.train(law, method, m_in=7, m_out=9, **common),
        "sampled": ms.train(law, method, m_in=7, m_out=9, engine="sampled", **common),
        "arrays": ms.train(law.sample(5, 7, 9, seed=1), method, **common | {"n": None}),
    }
    for engine, r in runs.items():
        for column in ("dist", "loss_out"):
            kept[f"{name}, {engine}, {column}"] = r.trace[column]
        kept[f"{name}, {engine}, M"] = np.asarray(r.w)
    batch = law.sample(4, 7, 9, seed=2)
    B = np.linalg.qr(law.ground_truth(seed=5) + 0.1)[0]
    kept[f"{name}, gradient"] = ms.meta_gradient(B, np.ones(3), batch, method).B
np.savez(sys.argv[1], **kept)
"""


@several
def test_every_level_computes_the_same_numbers(tmp_path):
    """Levels agree up to rounding errors, which grow over the rounds of a run."""
    found = {}
    for level in RUN:
        done = python(level, "-c", RUNS, str(tmp_path / f"{level}.npz"))
        assert done.returncode == 0, done.stderr
        found[level] = np.load(tmp_path / f"{level}.npz")
    expected = found[RUN[0]]
    assert len(expected.files) == 4 * (4 * 3 + 1)
    for level in RUN[1:]:
        for name in expected.files:
            np.testing.assert_allclose(
                found[level][name], expected[name], rtol=1e-10, atol=1e-13, err_msg=name
            )


def module(level):
    """The file of a level's module."""
    stem = f"_core_{level.removeprefix('x86-64-')}"
    return next(Path(ms.__file__).parent.glob(f"{stem}.*so"))


@pytest.mark.skipif(sys.platform != "linux" or not shutil.which("objdump"), reason="needs binutils")
@pytest.mark.skipif(not BUILT[0].startswith("x86-64"), reason="registers of x86-64")
@pytest.mark.parametrize("level", BUILT)
def test_no_instruction_of_a_higher_level_is_in_a_module(level):
    """Nor is a name of a module seen by the others, so that the linker of none merges them."""
    code = tool("objdump", "-d", "--no-show-raw-insn", str(module(level)))
    wide = {register: f"%{register}" in code for register in ("xmm", "ymm", "zmm")}
    last = int(level[-1])
    assert wide == {"xmm": True, "ymm": last >= 3, "zmm": last >= 4}
    names = tool("nm", "-D", "--defined-only", str(module(level))).split()[2::3]
    assert [name for name in names if not name.startswith("PyInit_")] == []
