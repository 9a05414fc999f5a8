r"""MAML and ANIL on multi-task linear representation learning, at very large dimensions."""

from . import study, theory
from ._load import core as _core
from .batch import BatchSummary, TaskBatch
from .build import show_config
from .config import TrainConfig
from .estimate import Estimate, estimate
from .evaluate import Evaluation, Risk, evaluate
from .features import StudentT
from .gradients import Gradient, adapt, meta_gradient, population_gradient
from .heads import GaussianHeads, SphereHeads
from .loaded import load
from .methods import ANIL, MAML, AverageRisk
from .metrics import Diversity, diversity, principal_angles, subspace_distance
from .options import Checkpoint, Init, Stop
from .outcome import (
    Diverged,
    DivergenceWarning,
    FewSamplesWarning,
    Interrupted,
    Outcome,
    Status,
)
from .plots import plot
from .result import Result
from .study import Study, StudyStatus, log_range, process_pool
from .tasks import LinearTasks
from .train import train

__version__: str = _core.build_info()["version"]

__all__ = [
    "ANIL",
    "MAML",
    "AverageRisk",
    "BatchSummary",
    "Checkpoint",
    "Diverged",
    "DivergenceWarning",
    "Diversity",
    "Estimate",
    "Evaluation",
    "FewSamplesWarning",
    "GaussianHeads",
    "Gradient",
    "Init",
    "Interrupted",
    "LinearTasks",
    "Outcome",
    "Result",
    "Risk",
    "SphereHeads",
    "Status",
    "Stop",
    "StudentT",
    "Study",
    "StudyStatus",
    "TaskBatch",
    "TrainConfig",
    "__version__",
    "adapt",
    "diversity",
    "estimate",
    "evaluate",
    "load",
    "log_range",
    "meta_gradient",
    "plot",
    "population_gradient",
    "principal_angles",
    "process_pool",
    "show_config",
    "study",
    "subspace_distance",
    "theory",
    "train",
]
