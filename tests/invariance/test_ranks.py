"""Runs that ranks share have the bits of one process, for any number of ranks."""

from functools import cache

import numpy as np
import pytest

import mpiexec
import rank_runs

pytestmark = pytest.mark.mpi


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("stored")
    rank_runs.write_stored(path)
    return path


@pytest.fixture(scope="module")
def in_one_process(folder):
    """Return the arrays of all cases without a communicator."""
    return rank_runs.results(folder, None)


@pytest.fixture(scope="module")
def run_ranks(folder):
    """Return a function that returns the arrays of all cases on a number of ranks, run once."""

    @cache
    def run(ranks):
        file = folder / f"{ranks}.npz"
        status, _, err = mpiexec.run(ranks, "rank_runs.py", folder, file)
        assert status == 0, err
        with np.load(file) as arrays:
            return dict(arrays)

    return run


@pytest.fixture(scope="module", params=[1, 2, 3, 4])
def on_ranks(request, run_ranks):
    """Return the arrays of all cases on a number of ranks."""
    return run_ranks(request.param)


@pytest.fixture(scope="module")
def on_one_rank(run_ranks):
    """Return the arrays of all cases on one rank."""
    return run_ranks(1)


def of_case(name, arrays):
    found = {key: array for key, array in arrays.items() if key.split("/")[0] == name}
    assert f"{name}/error" not in found, str(found[f"{name}/error"])
    return found


def sums_whole_rows(name):
    """Return whether one process sums over whole rows, and so gets other last digits than ranks."""
    return name.endswith(" dual") or name.startswith("sparse")


@pytest.mark.parametrize("name", rank_runs.cases("unused"))
def test_ranks_have_the_bits_of_one_process(on_ranks, in_one_process, on_one_rank, name):
    shared, alone = of_case(name, on_ranks), of_case(name, in_one_process)
    assert shared.keys() == alone.keys()
    expected = of_case(name, on_one_rank) if sums_whole_rows(name) else alone
    for key, array in shared.items():
        np.testing.assert_array_equal(array, expected[key], err_msg=key)
        if sums_whole_rows(name) and array.dtype.kind == "f":
            within = 1e-5 if array.dtype == np.float32 or "float32" in name else 1e-9
            np.testing.assert_allclose(array, alone[key], rtol=within, atol=within, err_msg=key)
