"""Steps of B at full size whose rows are spread over several processes."""

import numpy as np
import pytest

from metaspan._core_types import CoreData, CoreMethod, CoreStep
from metaspan._load import core
from ranks import run_ranks

K, K_STAR, TASKS, M_IN, M_OUT, ROUNDS = 3, 2, 5, 12, 9, 12
SEED = 8
D = 8500  # of four leaves
RECORDS = ("dist", "angles", "sigma_min", "loss_out", "loss_adapted", "w_norm")
ANIL = CoreMethod(0.1, 0.05, 1, False, True, 0.05)
STEPS = {
    "plain": ANIL,
    "maml": ANIL._replace(adapt_B=True, inner_steps=2),
    "noise": ANIL._replace(clip=0.5, multiplier=0.7),
    "momentum": ANIL._replace(step=CoreStep(momentum=0.9, nesterov=True, lookahead=3)),
    "adam": ANIL._replace(beta=0.01, step=CoreStep(rule=1, average=True)),
    "sign": ANIL._replace(beta=0.001, step=CoreStep(rule=2)),
    "orthonormal": ANIL._replace(step=CoreStep(orthonormal=True)),
    "orthonormal-average": ANIL._replace(step=CoreStep(orthonormal=True, average=True)),
}
BLOCKS = {"momentum": 2, "adam": 3, "orthonormal-average": 1}  # beside B
ROUTES = ("gram", "vector")


class Problem:
    """Data and two starts of d rows, and the runs of a method on all of them or on some."""

    def __init__(self, d, name, dtype=np.float64):
        rng = np.random.default_rng([d, K])
        self.method, self.d = STEPS[name], d
        self.B_star = np.linalg.qr(rng.standard_normal((d, K_STAR)))[0]
        X = [0.05 * rng.standard_normal((TASKS, m, d)) for m in (M_IN, M_OUT)]
        self.X = [part.astype(dtype) for part in X]
        self.y = [rng.standard_normal((TASKS, m)).astype(dtype) for m in (M_IN, M_OUT)]
        self.heads = rng.standard_normal((TASKS, K_STAR))
        self.B = (rng.standard_normal((2, d, K)) / np.sqrt(d)).astype(dtype)
        self.w = rng.standard_normal((2, K))
        blocks = BLOCKS.get(name, 0)
        self.memory = abs(rng.standard_normal((2, blocks, d, K)) / d).astype(dtype)
        self.w_memory = abs(rng.standard_normal((2, blocks, K)))

    def run(self, route, shard=None, *, rounds=ROUNDS, threads=1):
        """Advance both trials and return their state, rows and status."""
        columns = slice(None) if shard is None else slice(shard.first, shard.first + shard.size)
        X_in, X_out = (np.ascontiguousarray(X[:, :, columns]) for X in self.X)
        B_star = np.ascontiguousarray(self.B_star[columns])
        data = CoreData(
            X_in, self.y[0], X_out, self.y[1], B_star=B_star, heads=self.heads, shard=shard
        )
        state = {"B": np.ascontiguousarray(self.B[:, columns]), "w": self.w}
        if self.memory.size:
            state["memory"] = np.ascontiguousarray(self.memory[:, :, columns])
            state["w_memory"] = self.w_memory
        run = core.Run.arrays(
            method=self.method,
            route=route,
            data=core.Batch(data, B_star.shape[0]),
            state=state,
            n=TASKS - 1,
            seed=SEED,
            trials=[0, 3],
            rounds=[0, 0],
            records=RECORDS,
            copies=False,
            threads=threads,
        )
        run.advance(rounds, 2, 0.0, 0.0, None, threads)
        run.measure(None, threads)
        return run.state(), run.rows(), [*run.rounds, *run.status]


def assert_same_run(problem, alone, results):
    """Check that the states of all ranks together, and their rows, are those of one process."""
    for name, whole in alone[0].items():
        parts = [result[0][name] for result in results]
        if whole.ndim > 2 and whole.shape[-2] == problem.d:
            assert np.concatenate(parts, axis=-2).tobytes() == whole.tobytes(), name
        else:
            assert all(part.tobytes() == whole.tobytes() for part in parts), name
    for result in results:
        assert result[2] == alone[2]
        for found, expected in zip(result[1], alone[1], strict=True):
            np.testing.assert_array_equal(found[0], expected[0])
            assert found[1].tobytes() == expected[1].tobytes()


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.parametrize("route", ROUTES)
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_steps_have_the_bits_of_one_process(name, route, dtype):
    problem = Problem(D, name, dtype)
    alone = problem.run(route, threads=2)
    assert alone[2] == [ROUNDS, ROUNDS, core.TrialStatus.LIVE, core.TrialStatus.LIVE]
    for ranks in (1, 2, 3, 4):
        results = run_ranks(problem.d, ranks, lambda shard: problem.run(route, shard))
        assert_same_run(problem, alone, results)


@pytest.mark.parametrize("name", ["plain", "maml", "momentum"])
def test_many_ranks_take_the_same_steps(name):
    problem = Problem(40_000, name)
    results = run_ranks(problem.d, 5, lambda shard: problem.run("gram", shard, rounds=3))
    assert_same_run(problem, problem.run("gram", rounds=3), results)


@pytest.mark.parametrize("name", ["plain", "momentum", "orthonormal"])
@pytest.mark.parametrize("overflows", [False, True])
def test_a_step_that_one_rank_refuses_is_taken_by_none(name, overflows):
    """A feature of the last rank is so large that its row of B, and no other, overflows."""
    problem = Problem(D, name)
    problem.method = problem.method._replace(beta=1e160)
    problem.B[:, -1], problem.X[0][:, :, -1] = 0, 0
    problem.X[1][:, :, -1] = 1e155 if overflows else 1
    status = core.TrialStatus.DIVERGED if overflows else core.TrialStatus.LIVE
    alone = problem.run("vector", rounds=1)
    assert alone[2] == [not overflows, not overflows, status, status]
    results = run_ranks(problem.d, 3, lambda shard: problem.run("vector", shard, rounds=1))
    assert_same_run(problem, alone, results)
    if overflows:
        assert alone[0]["B"].tobytes() == problem.B.tobytes()


def test_a_rank_deficient_B_is_refused_by_all_ranks():
    problem = Problem(D, "orthonormal")
    problem.method = problem.method._replace(beta=0.0)
    problem.B[1, :, 2] = problem.B[1, :, 0]
    results = run_ranks(problem.d, 4, lambda shard: problem.run("gram", shard))
    for result in results:
        assert result[2] == [ROUNDS, 0, core.TrialStatus.LIVE, core.TrialStatus.DIVERGED]
    assert_same_run(problem, problem.run("gram"), results)


def test_noise_depends_on_the_place_of_an_entry_among_all_rows():
    """Without data, the noise (30) alone moves B, by other numbers in every row."""
    problem = Problem(D, "noise")
    problem.X = [0 * X for X in problem.X]
    results = run_ranks(problem.d, 4, lambda shard: problem.run("vector", shard, rounds=1))
    B = np.concatenate([result[0]["B"] for result in results], axis=1)
    moved = (B - problem.B)[0]
    scale = problem.method.beta * problem.method.multiplier * problem.method.clip / (TASKS - 1)
    assert abs(moved.std() / scale - 1) < 0.05
    rows = [moved[first : first + 2000] for first in core.Shard.edges(D, 4)[:4]]
    for i, j in np.ndindex(4, 4):
        overlap = (rows[i] * rows[j]).mean() / scale**2
        assert abs(overlap - (i == j)) < 0.08, (i, j)
