r"""MAML and ANIL on multi-task linear representation learning, at very large dimensions."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from . import explore, study, theory
from ._load import core as _core
from .active import Active, active
from .build import show_config
from .config.config import TrainConfig
from .config.fit_config import FitConfig
from .config.options import Checkpoint, Init, Stop
from .cost.estimate import Estimate
from .estimators.alternating import AltMin, AltMinGD
from .estimators.burer_monteiro import BurerMonteiro
from .estimators.rank_test import RankTest, rank_test
from .estimators.reduced_rank import ReducedRank
from .estimators.reference_lines import Oracle, Pooled, SingleTask
from .estimators.spectral import Duchi, Moments, SplitSpectral
from .estimators.subspace_pursuit import SubspacePursuit
from .estimators.trace_norm import TraceNorm
from .evaluate import Evaluation, Risk, evaluate
from .fit import fit
from .gradients import Gradient, adapt, meta_gradient, population_gradient
from .intervals import Interval
from .learned_methods import CoLearner, MetaSGD
from .linear_methods import LinearAttention, LinearMAML
from .methods import ANIL, MAML, AverageRisk, FedAvg, Reptile, RidgeANIL
from .metrics import Diversity, diversity, principal_angles, subspace_distance
from .outer_step import OuterStep
from .plan import Plan, plan
from .plots import plot
from .privacy import UserDP
from .runs.estimate import estimate
from .runs.outcome import (
    Diverged,
    DivergenceWarning,
    FewSamplesWarning,
    GrowingHeadWarning,
    Interrupted,
    LocalStepsWarning,
    NotConverged,
    NotConvergedWarning,
    Outcome,
    Status,
)
from .runs.result import Result
from .runs.result_file import load
from .runs.train import train
from .sharding.columns import shard
from .solved_methods import AltGDmin, FedRep
from .study import Study, StudyStatus, log_range, process_pool
from .tasks.batch import TaskBatch
from .tasks.features import StudentT
from .tasks.heads import GaussianHeads, SphereHeads
from .tasks.linear import LinearTasks
from .tasks.summary import BatchSummary

if TYPE_CHECKING:
    from .people.adapted import AdaptedModel as AdaptedModel
    from .people.shared_representation import SharedRepresentation as SharedRepresentation
    from .people.sharing import SharingGain as SharingGain

__version__: str = _core.build_info()["version"]

__all__ = [
    "ANIL",
    "MAML",
    "Active",
    "AltGDmin",
    "AltMin",
    "AltMinGD",
    "AverageRisk",
    "BatchSummary",
    "BurerMonteiro",
    "Checkpoint",
    "CoLearner",
    "Diverged",
    "DivergenceWarning",
    "Diversity",
    "Duchi",
    "Estimate",
    "Evaluation",
    "FedAvg",
    "FedRep",
    "FewSamplesWarning",
    "FitConfig",
    "GaussianHeads",
    "Gradient",
    "GrowingHeadWarning",
    "Init",
    "Interrupted",
    "Interval",
    "LinearAttention",
    "LinearMAML",
    "LinearTasks",
    "LocalStepsWarning",
    "MetaSGD",
    "Moments",
    "NotConverged",
    "NotConvergedWarning",
    "Oracle",
    "Outcome",
    "OuterStep",
    "Plan",
    "Pooled",
    "RankTest",
    "ReducedRank",
    "Reptile",
    "Result",
    "RidgeANIL",
    "Risk",
    "SingleTask",
    "SphereHeads",
    "SplitSpectral",
    "Status",
    "Stop",
    "StudentT",
    "Study",
    "StudyStatus",
    "SubspacePursuit",
    "TaskBatch",
    "TraceNorm",
    "TrainConfig",
    "UserDP",
    "__version__",
    "active",
    "adapt",
    "diversity",
    "estimate",
    "evaluate",
    "explore",
    "fit",
    "load",
    "log_range",
    "meta_gradient",
    "plan",
    "plot",
    "population_gradient",
    "principal_angles",
    "process_pool",
    "rank_test",
    "shard",
    "show_config",
    "study",
    "subspace_distance",
    "theory",
    "train",
]

# Public names that need scikit-learn, which may be missing, by their module.
_LAZY = {
    "AdaptedModel": ".people.adapted",
    "SharedRepresentation": ".people.shared_representation",
    "SharingGain": ".people.sharing",
}


def __getattr__(name: str) -> Any:
    """Import a name that needs scikit-learn when it is first used."""
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        return getattr(import_module(_LAZY[name], __name__), name)
    except ModuleNotFoundError as error:
        if error.name != "sklearn":
            raise
        raise ImportError(f"{name} needs scikit-learn: pip install 'metaspan[sklearn]'") from None


def __dir__() -> list[str]:
    """Return all public names, those that need scikit-learn included."""
    return sorted({*globals(), *_LAZY})
