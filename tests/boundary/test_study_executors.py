"""Studies on the executors of other packages, each with two workers."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import metaspan as ms
from boundary import study_scripts
from boundary.study_scripts import PATIENCE, STUDY, process, said
from studies import keys, runs, table

pd = pytest.importorskip("pandas")

pytestmark = pytest.mark.executors


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Return the table of the study, run without interruption in this process."""
    study = ms.Study(tmp_path_factory.mktemp("undisturbed"), **STUDY)
    study.run(progress=False, threads=1)
    return table(study)


def assert_same_table(folder, undisturbed):
    study = ms.Study(folder)
    assert sorted(keys(study)) == sorted(runs(study))
    pd.testing.assert_frame_equal(table(study).drop(columns="worker"), undisturbed)


@pytest.mark.parametrize(("script", "package"), [("on_dask", "distributed"), ("on_loky", "loky")])
def test_executors_give_the_table_of_one_process(tmp_path, undisturbed, script, package):
    pytest.importorskip(package)
    with process(script, tmp_path) as child:
        assert said(child, 2 * PATIENCE) == ["True", "2"]
    assert_same_table(tmp_path, undisturbed)


def test_ranks_of_mpi_give_the_table_of_one_process(tmp_path, undisturbed):
    """A master and two workers."""
    pytest.importorskip("mpi4py")
    beside = Path(sys.executable).with_name("mpiexec")
    mpiexec = str(beside) if beside.exists() else shutil.which("mpiexec")
    if mpiexec is None:
        pytest.skip("no mpiexec")
    script = [study_scripts.__file__, "on_mpi", str(tmp_path)]
    done = subprocess.run(
        [mpiexec, "-n", "3", sys.executable, "-m", "mpi4py.futures", *script],
        capture_output=True, text=True, timeout=2 * PATIENCE, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == ["True", "2"]
    assert_same_table(tmp_path, undisturbed)
