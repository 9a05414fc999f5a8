"""The numbers that ranks exchange in a round are those of docs/cluster.md."""

import json

import pytest

import mpiexec
import rank_scripts

pytestmark = pytest.mark.mpi

FLAG = 1  # whether the step is finite


@pytest.mark.parametrize("ranks", [2, 4])
def test_a_round_sends_the_numbers_of_the_formula(ranks):
    status, out, err = mpiexec.run(ranks, "rank_scripts.py", "volumes")
    assert status == 0, err
    n, m_in, m_out = rank_scripts.VOLUME.values()
    features, cross = n * (m_in + m_out) * rank_scripts.K, n * m_in * m_out
    assert json.loads(out) == {
        "anil gram": features + FLAG,
        "maml gram": features + cross + FLAG,
        "maml dual": 0,
    }
