"""Seeded runs give the recorded bits, on builds of the same kind."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from recorded_runs import RUNS, build, digest, recorded

pytestmark = pytest.mark.recorded_bits


@pytest.mark.parametrize("name", RUNS)
def test_seeded_runs_give_the_recorded_bits(name):
    known = recorded().get(build(), {}).get(name)
    if known is None:
        pytest.skip(f"no bits of this run were recorded at {build()}")
    assert digest(name) == known


def test_all_runs_are_recorded_of_every_build():
    for known in recorded().values():
        assert set(known) == set(RUNS)


def test_bits_do_not_depend_on_the_instructions_that_numpy_chooses():
    """NumPy and its BLAS then take the instructions of an older processor."""
    newer = np.show_config(mode="dicts")["SIMD Extensions"].get("found", [])
    older = {"NPY_DISABLE_CPU_FEATURES": " ".join(newer), "OPENBLAS_CORETYPE": "Nehalem"}
    source = "import json; from recorded_runs import RUNS, digest; "
    source += "print(json.dumps({name: digest(name) for name in RUNS}))"
    found = subprocess.run(
        [sys.executable, "-c", source],
        cwd=Path(__file__).parents[1],
        env=os.environ | older,
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert json.loads(found.stdout) == {name: digest(name) for name in RUNS}
