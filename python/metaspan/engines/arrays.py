r"""Rounds on data that stay the same: the user's batch, or a pool drawn at full size (11)."""

from __future__ import annotations

from .._load import core
from ..config.config import TrainConfig
from ..config.devices import core_device
from ..config.engine_choice import check_device_data
from ..cost import estimate
from ..cost.routes import takes_copies
from ..cost.workload import workload_of
from ..methods import core_method
from ..tasks.batch import TaskBatch, core_data
from ..tasks.linear import LinearTasks
from .full_size import AtFullSize
from .memory import memory_shapes
from .protocol import Parts, Shapes, core_shape_of_w, rounds_of, trial_ids_of
from .trials import Trials


class Arrays(AtFullSize):
    """The engine on arrays, by one of three routes."""

    def open(self, config: TrainConfig, trials: Trials, indices: list[int]) -> core.Run:
        """Open a run on the batch, or on the pool of the one trial in `indices`."""
        batch = config.tasks
        if isinstance(batch, LinearTasks):
            batch = batch.sample(
                *config.pooled,
                seed=config.seed,
                trial=config.trials[indices[0]],
                shared_samples=config.shared_samples,
                dtype=config.dtype,
                threads=config.threads,
            )
        assert isinstance(batch, TaskBatch)
        start = self.start(config, trial_ids_of(config, indices)) if "A" in trials.parts else {}
        return open_on(batch, config, trials, indices, start)

    def shapes(self, config: TrainConfig, trials: Trials) -> Shapes:
        """Return the shapes of B, w, A of (24) on the dual route, and the blocks beside them."""
        B = (config.rows, config.columns)
        shapes = {"B": B} | core_shape_of_w(config) | shape_of_A(config, trials)
        return shapes | memory_shapes(config, shapes)

    def cost(self, config: TrainConfig, ranks: int = 1) -> estimate.Estimate:
        """Estimate the memory and the time of the chosen route."""
        return estimate.on_data(config, ranks)


def open_on(
    batch: TaskBatch, config: TrainConfig, trials: Trials, indices: list[int], start: Parts
) -> core.Run:
    """Open a run on a batch.

    The dual route (24) computes B from the start and A, so it needs the B of round 0 in `start`.
    """
    if config.device != "cpu":  # a checkpoint may name a route that needs the CPU
        check_device_data(batch.is_sparse, config.columns, route=trials.route or "auto")
    takes_all = len(indices) == len(trials.rounds)
    state = {name: part if takes_all else part[indices] for name, part in trials.parts.items()}
    if "A" in state:
        state["B"] = start["B"]
    return core.Run.arrays(
        method=core_method(config.method, config.n_tasks),
        route="vector_float32" if config.accumulate == "float32" else trials.route,
        data=core_data(batch),
        state=state,
        n=config.n_tasks,
        seed=config.seed,
        trials=trial_ids_of(config, indices),
        rounds=rounds_of(trials, indices),
        records=config.record,
        copies=takes_copies(config, trials.route),
        threads=config.threads,
        device=core_device(config.device),
    )


def shape_of_A(config: TrainConfig, trials: Trials) -> Shapes:
    """Return the shape of A on the dual route, and an empty dict on other routes."""
    return {"A": (workload_of(config).N, config.columns)} if trials.route == "dual" else {}
