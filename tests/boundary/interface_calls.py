"""Valid arguments for every public callable, and unusual values that each argument must survive."""

import atexit
import inspect
import math
import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import Executor, ProcessPoolExecutor
from dataclasses import dataclass, fields, is_dataclass
from functools import wraps
from typing import Any

import numpy as np
import pandas as pd

import metaspan as ms
from metaspan import study, theory

D, K = 8, 2
RNG = np.random.default_rng(0)
B, B_STAR = np.linalg.qr(RNG.standard_normal((D, K)))[0], np.eye(D, K)
X, Y = RNG.standard_normal((3, 6, D)), RNG.standard_normal((3, 6))
HEADS = RNG.standard_normal((3, K))
WEIGHTS = np.array([1.0, 3.0, 2.0])
TASKS = ms.LinearTasks(d=D, k=K, noise=0.1, B_star=B_STAR)
SOURCES = ms.LinearTasks(d=D, k=K, noise=0.1, heads=HEADS)
BATCH = ms.TaskBatch.split(X, Y, m_in=2)
MANY = TASKS.sample(20, 2, 2)
RUN = {f.name: f.metadata["default"] for f in fields(ms.TrainConfig) if f.metadata}
RUN |= {"rounds": 4, "n": 3, "trials": 2, "threads": 1, "stop": None}
RUN |= {"record": ("dist", "loss_out")}
RESULT = ms.train(TASKS, "anil", **RUN)
LAYER = ms.train(TASKS, "linear-attention", **RUN)
SAMPLES_RESULT = ms.train(TASKS, "fo-anil", **{**RUN, "m_in": 3, "m_out": 3})
WIDE_RESULT = ms.train(TASKS, "fo-anil", **{**RUN, "m_in": 3, "m_out": 3, "width": K + 1})
DATA_RESULT = ms.train(BATCH, "anil", n=None, width=2, rounds=3, stop=None, threads=1)
PEOPLE = (X.reshape(-1, D), Y.ravel(), np.repeat(["a", "b", "c"], 6))
TABLE = pd.DataFrame(
    {"d": [1, 1, 2, 2, 4, 4], "m": [1, 2] * 3, "y": [0.5, 0.4, 0.3, 0.2, 0.1, 0.1]}
)
SERIES = {"x": [1.0, 2.0, 4.0, 8.0, 16.0], "y": [1.0, 2.1, 3.9, 8.2, 15.9]}
PATHS = ("path", "folder", "checkpoint")  # arguments that name files, of which the system may speak


@dataclass(frozen=True)
class Call:
    """A function, arguments that it takes, what it returns, and which of them may cost time."""

    function: Callable[..., Any]
    given: dict[str, Any]
    returns: Any = object
    costly: tuple[str, ...] = ()
    words: tuple[str, ...] = ()  # further words by which errors may name an argument
    keyword: bool = True  # whether arguments are passed by name

    def __call__(self, **changes):
        given = {**self.given, **changes}
        return self.function(**given) if self.keyword else self.function(*given.values())


def record(kind):
    """Return the call that makes an object of a class that stores its arguments unchecked."""
    if is_dataclass(kind):
        return Call(kind, {item.name: 1 for item in fields(kind) if item.init}, kind)
    return Call(kind, {"message": "x", "result": RESULT}, kind, keyword=False)


def study_of(folder, **changes):
    given = {"base": {"k": 2, "method": "anil", "rounds": 2}, "grid": {"d": [5, 9]}}
    return ms.Study(folder, **{**given, "seeds": 2, **changes})


FOLDER = tempfile.mkdtemp()
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
DONE = study_of(FOLDER, grid={"d": [5, 9, 17], "n": [2, 4]}, keep=("dist",))
DONE.run(progress=False, threads=1)


def laws(call):
    """Wrap a constructor of laws so that it also draws heads from the law and prints it."""

    @wraps(call)
    def made(**given):
        law = call(**given)
        if isinstance(law, ms.LinearTasks) and law.d < 100 and not callable(law.heads):
            law.draw_heads(1)
        repr(law)
        return law

    return made


METHOD = {"alpha": 0.1, "beta": 0.1, "inner_steps": 1, "first_order": False}
GRADIENT = {"B": B, "w": np.zeros(K), "method": "anil", "threads": 1, "alpha": 0.1, "beta": 0.1}
GRADIENT |= {"inner_steps": 1}
SAMPLE = {"n": 2, "m_in": 3, "m_out": 2, "seed": 0, "trial": 0, "round": 0, "dtype": None}
SAMPLE |= {"shared_samples": False, "threads": 1}
SIZES = ("rounds", "n", "m_in", "m_out", "pool", "trials", "width", "seeds", "inner_steps", "m")
LAWS = study.fit_laws(**SERIES, resamples=100)
LAW = LAWS["power"]
POWERS = study.fit_powers({"x": SERIES["x"]}, SERIES["y"], resamples=100)
FITS = {"band": 0.95, "resamples": 100, "seed": 0}
SPECTRAL = {"tol": 1e-8, "passes": 20}
FIT = {"seed": 0, "trials": 2, "threads": 1, "engine": "law", "rounds": 3, "record": "dist"}
FIT |= {"stop": None, "progress": False, "on_failure": "return", "device": "cpu"}
STUDY = {"seeds": 2, "measure": ("dist",), "keep": (), "keep_rows": 9, "common": ()}
COMMON = {
    "step": ms.OuterStep(momentum=0.5),
    "privacy": ms.UserDP(clip=1.0, multiplier=0.5),
}
OUTER = {"outer": "body", "beta_head": 0.2, **COMMON}
LOCAL = {"alpha": 0.1, "local_steps": 2, "server_step": 0.5, "beta_head": 0.2, "fresh_steps": True}
LOCAL |= COMMON
HEADLESS = {"beta_head": None, **COMMON}
SOLVED = {"beta": 0.1, "separate": True, "reduce": "sum", **HEADLESS}

CALLS = {
    "ANIL": Call(ms.ANIL, {**METHOD, **OUTER}, ms.ANIL),
    "MAML": Call(ms.MAML, {**METHOD, **OUTER, "moves": "body"}, ms.MAML),
    "AverageRisk": Call(ms.AverageRisk, {"beta": 0.1, **OUTER}, ms.AverageRisk),
    "FedAvg": Call(ms.FedAvg, LOCAL, ms.FedAvg),
    "Reptile": Call(ms.Reptile, LOCAL, ms.Reptile),
    "RidgeANIL": Call(
        ms.RidgeANIL, {"lam": 0.1, "beta": 0.1, "first_order": True, **OUTER}, ms.RidgeANIL
    ),
    "LinearAttention": Call(
        ms.LinearAttention, {"alpha": 0.1, "beta": 0.1, **HEADLESS}, ms.LinearAttention
    ),
    "LinearMAML": Call(ms.LinearMAML, {**METHOD, **HEADLESS}, ms.LinearMAML),
    "UserDP": Call(ms.UserDP, {"clip": 1.0, "multiplier": 0.5}, ms.UserDP),
    "MetaSGD": Call(
        ms.MetaSGD,
        {**METHOD, **OUTER, "beta_alpha": 0.1, "per": "head", "moves": "head"},
        ms.MetaSGD,
    ),
    "CoLearner": Call(
        ms.CoLearner, {**METHOD, **OUTER, "gamma": 0.5, "moves": "both"}, ms.CoLearner
    ),
    "FedRep": Call(ms.FedRep, SOLVED, ms.FedRep),
    "AltGDmin": Call(ms.AltGDmin, SOLVED, ms.AltGDmin),
    "OuterStep": Call(
        ms.OuterStep,
        {
            **{"momentum": 0.5, "nesterov": True, "average": True, "lookahead": (3, 0.5)},
            **{"schedule": "1/t", "hold": 2, "offset": 3.0, "clip": 1.0, "rule": "gradient"},
        },
        ms.OuterStep,
    ),
    "Checkpoint": Call(ms.Checkpoint, {"path": "x", "every_seconds": 1.0}, ms.Checkpoint),
    "GaussianHeads": Call(laws(ms.GaussianHeads), {"cov": [1.0, 2.0], "mean": [0.0, 1.0]}),
    "SphereHeads": Call(ms.SphereHeads, {"radius": 1.0}, ms.SphereHeads),
    "StudentT": Call(ms.StudentT, {"dof": 5.0}, ms.StudentT),
    "Init": Call(ms.Init, {"dist": 0.5, "scale": 1.0}, ms.Init),
    "Stop": Call(ms.Stop, {"dist": 0.5, "loss_out": 1.0}, ms.Stop),
    "LinearTasks": Call(
        laws(ms.LinearTasks),
        {
            **{"d": D, "k": K, "noise": 0.1, "heads": ms.SphereHeads(), "features": "gaussian"},
            **{"spectrum": None, "B_star": None, "spread": 0.5},
        },
        ms.LinearTasks,
        words=("mean", "cov"),
    ),
    "LinearTasks.sample": Call(TASKS.sample, SAMPLE, ms.TaskBatch, costly=SIZES),
    "LinearTasks.draw_heads": Call(
        TASKS.draw_heads, {"n": 2, "seed": 0, "trial": 0, "round": 0}, np.ndarray, costly=SIZES
    ),
    "LinearTasks.ground_truth": Call(
        ms.LinearTasks(d=D, k=K).ground_truth, {"seed": 0, "trial": 0, "threads": 1}, np.ndarray
    ),
    "TaskBatch": Call(
        ms.TaskBatch,
        {
            **{"X_in": X, "y_in": Y, "X_out": X, "y_out": Y, "B_star": B_STAR, "heads": HEADS},
            **{"weights": WEIGHTS, "comm": None, "check_finite": True},
        },
        ms.TaskBatch,
    ),
    "TaskBatch.sharded": Call(BATCH.sharded, {"comm": None}, ms.TaskBatch),
    "TaskBatch.split": Call(
        ms.TaskBatch.split,
        {
            **{"X": X, "y": Y, "m_in": 2, "B_star": B_STAR, "weights": WEIGHTS},
            **{"comm": None, "check_finite": True},
        },
        ms.TaskBatch,
    ),
    "TaskBatch.stacked": Call(
        ms.TaskBatch.stacked,
        {
            **{"X": X.reshape(-1, D), "y": Y.ravel(), "offsets": [0, 4, 11], "m_in": 2},
            **{"B_star": B_STAR, "weights": WEIGHTS[:2], "comm": None, "check_finite": True},
        },
        ms.TaskBatch,
    ),
    "TaskBatch.hold_out": Call(
        BATCH.hold_out, {"tasks": None, "samples": 1, "seed": 0}, tuple, words=("indices",)
    ),
    "TaskBatch.take": Call(BATCH.take, {"tasks": [0, 2]}, ms.TaskBatch),
    "meta_gradient": Call(
        ms.meta_gradient,
        {
            **{**GRADIENT, "batch": BATCH, "losses": True, "route": "auto"},
            **{"accumulate": "float64", "v": None, "device": "cpu"},
        },
        ms.Gradient,
        costly=SIZES,
    ),
    "population_gradient": Call(
        ms.population_gradient,
        {**GRADIENT, "B_star": B_STAR, "heads": HEADS, "noise": 0.1, "v": None},
        ms.Gradient,
        costly=SIZES,
    ),
    "adapt": Call(
        ms.adapt,
        {**GRADIENT, "X": X, "y": Y, "return_B": False, "check_finite": True, "device": "cpu"},
        (np.ndarray, tuple),
        costly=SIZES,
    ),
    "subspace_distance": Call(
        ms.subspace_distance, {"B": B, "B_star": B_STAR, "threads": 1}, float
    ),
    "principal_angles": Call(
        ms.principal_angles, {"B": B, "B_star": B_STAR, "threads": 1}, np.ndarray
    ),
    "diversity": Call(ms.diversity, {"heads": HEADS}, ms.Diversity),
    "train": Call(
        ms.train,
        {"tasks": TASKS, "method": ms.ANIL(), **RUN},
        ms.Result,
        costly=SIZES,
        words=("B0", "w0", "init", "what heads\\(\\)"),
    ),
    "train in the limit": Call(
        ms.train,
        {"tasks": TASKS, "method": "anil", **RUN, "n": None, "m_in": 3, "d_over_n": 2.0},
        ms.Result,
        costly=SIZES,
        words=("B0", "w0", "init", "what heads\\(\\)"),
    ),
    "train on data": Call(
        ms.train,
        {
            **{"tasks": BATCH, "method": "fo-maml", "alpha": 0.1, "beta": 0.1, **RUN},
            **{"n": None, "width": K, "record": "loss_out"},
        },
        ms.Result,
        costly=SIZES,
        words=("B0", "w0", "init"),
    ),
    "train on samples": Call(
        ms.train,
        {"tasks": TASKS, "method": ms.MAML(), **RUN, "m_in": 3, "m_out": 2},
        ms.Result,
        costly=SIZES,
        words=("B0", "w0", "init"),
    ),
    "rank_test": Call(
        ms.rank_test,
        {"batch": MANY, "max_rank": 2, "level": 0.1, "flips": 19, "seed": 0, "threads": 1},
        ms.RankTest,
        costly=("flips",),
    ),
    "estimate": Call(
        ms.estimate,
        {"tasks": TASKS, "method": ms.ANIL(), **RUN, "ranks": 1, "m": None, "call": "train"},
        ms.Estimate,
        words=("B0", "w0", "init"),
    ),
    "estimate of a fit": Call(
        ms.estimate,
        {
            **{"tasks": TASKS, "method": ms.AltMin(), **RUN, **FIT, "n": 4, "m": 5, "width": K},
            **{"ranks": 1, "call": "fit"},
        },
        ms.Estimate,
        words=("estimator",),
    ),
    "plan": Call(
        ms.plan,
        {
            **{"tasks": TASKS, "target": 0.3, "budget": 10**6, "n": 20, "m": 12, "m_in": 6},
            **{"m_out": 6, "first_order": True, "alpha": 0.5, "init": ms.Init(dist=0.7)},
            "schedule": "1/t",
        },
        ms.Plan,
        words=("m_in", "m_out", "init"),
    ),
    "Moments": Call(ms.Moments, SPECTRAL, ms.Moments),
    "Duchi": Call(ms.Duchi, SPECTRAL, ms.Duchi),
    "SplitSpectral": Call(ms.SplitSpectral, SPECTRAL, ms.SplitSpectral),
    "BurerMonteiro": Call(ms.BurerMonteiro, {"start": "random", "tol": 1e-8}, ms.BurerMonteiro),
    "AltMin": Call(ms.AltMin, {"start": "moments", "tol": 0.1, "inner_tol": 0.1}, ms.AltMin),
    "AltMinGD": Call(ms.AltMinGD, {"start": "random", "tol": 0.1, "step": 0.1}, ms.AltMinGD),
    "TraceNorm": Call(
        ms.TraceNorm,
        {"solver": "proximal", "lam": 0.1, "radius": None, "noise": None, "tol": 0.1},
        ms.TraceNorm,
    ),
    "SubspacePursuit": Call(
        ms.SubspacePursuit,
        {"step": 0.1, "semigradient": None, "tol": 0.1},
        ms.SubspacePursuit,
    ),
    "ReducedRank": Call(ms.ReducedRank, {"ridge": 0.1, **SPECTRAL}, ms.ReducedRank),
    "Oracle": Call(ms.Oracle, {"ridge": 0.1}, ms.Oracle),
    "SingleTask": Call(ms.SingleTask, {"ridge": 0.1, **SPECTRAL}, ms.SingleTask),
    "Pooled": Call(ms.Pooled, {"ridge": 0.1, **SPECTRAL}, ms.Pooled),
    "fit": Call(
        ms.fit,
        {
            "tasks": TASKS,
            "estimator": ms.AltGDmin(),
            "n": 4,
            "m": 5,
            "width": K,
            **FIT,
            "comm": None,
        },
        ms.Result,
        costly=SIZES,
        words=("what heads\\(\\)",),
    ),
    "fit on data": Call(
        ms.fit,
        {
            **{"tasks": BATCH, "estimator": "altgdmin", "n": None, "m": None, "width": K, **FIT},
            **{"engine": "arrays", "record": "objective", "beta": 0.1, "comm": None},
        },
        ms.Result,
        costly=SIZES,
    ),
    "evaluate": Call(
        ms.evaluate,
        {
            **{"B": B, "w": np.zeros(K), "tasks": TASKS, "method": "maml", "m": 5, "n": 4},
            **{"seed": 0, "ridge": None, "threads": 1, "device": "cpu"},
        },
        ms.Evaluation,
        costly=SIZES,
        words=("M", "R"),
    ),
    "active": Call(
        ms.active,
        {
            **{"tasks": SOURCES, "target": [1.0, 0.0], "budget": 60, "epochs": 2, "width": 2},
            **{"strategy": "l2", "estimator": "moments", "m_target": 9, "seed": 0, "threads": 1},
        },
        ms.Active,
        costly=(*SIZES, "budget", "epochs", "m_target"),
    ),
    "evaluate batch": Call(
        ms.evaluate,
        {
            **{"B": B, "w": np.zeros(K), "tasks": BATCH, "method": "maml", "m": 2, "n": None},
            **{"seed": 0, "ridge": 0.1, "threads": 1, "device": "cpu"},
        },
        ms.Evaluation,
    ),
    "shard": Call(ms.shard, {"d": 5000, "comm": None}, tuple),
    "load": Call(ms.load, {"path": "none"}, ms.Result, words=("metaspan result",)),
    "plot": Call(
        ms.plot,
        {
            **{"results": RESULT, "y": "dist", "band": 0.95, "ax": None, "labels": "legend"},
            **{"colors": None, "log": None, "predictions": None},
        },
    ),
    "Result.trial": Call(RESULT.trial, {"number": 1}, ms.Result, words=("trial",)),
    "Result.full_A": Call(LAYER.full_A, {"trial": 1}, np.ndarray),
    "Result.gather": Call(DATA_RESULT.gather, {"name": "B", "root": 0}, np.ndarray),
    "Result.full_B": Call(RESULT.full_B, {"trial": 1}, np.ndarray),
    "Result.interval": Call(
        DATA_RESULT.interval,
        {
            **{"of": "components", "resamples": 20, "level": 0.9, "seed": 0, "refit": None},
            **{"on": None, "m": None, "learner": "adapted"},
        },
        ms.Interval,
        costly=("resamples",),
        words=("argument", "arguments"),  # what the user's own function says
    ),
    "Result.save": Call(RESULT.save, {"path": "none/none"}),
    "Result.plot": Call(DATA_RESULT.plot, {"y": "loss_out"}),
    "SharedRepresentation": Call(
        lambda **given: ms.SharedRepresentation(**given).fit(*PEOPLE),
        {
            **{"rank": 1, "method": "moments", "fit_mean": True, "fit_intercept": True},
            **{"whiten": None, "scale_targets": False, "ridge": "loo", "rounds": 3},
            **{"random_state": 0, "threads": 1},
        },
        ms.SharedRepresentation,
        costly=("rounds",),
    ),
    # What is wrong with X and y, scikit-learn says in its own words.
    "SharedRepresentation.fit": Call(
        lambda tasks: ms.SharedRepresentation(1, "moments", threads=1).fit(*PEOPLE[:2], tasks),
        {"tasks": PEOPLE[2]},
        ms.SharedRepresentation,
    ),
    "log_range": Call(ms.log_range, {"first": 1, "last": 100, "num": 5}, list),
    "process_pool": Call(ms.process_pool, {"workers": 1}, ProcessPoolExecutor),
    "show_config": Call(ms.show_config, {}),
    "Study": Call(
        lambda **given: study_of(**given).cells and None,
        {"folder": "none", "base": {"k": 2, "method": "anil"}, "grid": {"d": [5, 9]}, **STUDY},
        words=("is no name of",),
    ),
    "Study base": Call(
        lambda **given: study_of("none", base=given, grid={"d": [5, 9]}).cells and None,
        {"k": 2, "method": "anil", "rounds": 3, "n": 4, "m_in": "2*k", "heads": ms.SphereHeads()},
        words=("base", "grid", "arrays of a study", "is no name of"),
    ),
    "Study grid": Call(
        lambda **given: study_of("none", base={"method": "anil"}, grid=given).cells and None,
        {"k": [2, 3], "d": [5, 9], "n": "4*d", "heads": {"kind": "SphereHeads", "radius": "k"}},
        words=("base", "grid", "arrays of a study", "is no name of"),
    ),
    "Study.run": Call(
        study_of("none").run,
        {
            **{"executor": None, "shard": "1/99", "progress": False, "threads": 1, "sync": False},
            **{"retry_failed": False, "mixed": False},
        },
        ms.StudyStatus,
    ),
    "Study.table": Call(study_of("none").table, {"where": {"d": 5}}, pd.DataFrame),
    "Study.status": Call(DONE.status, {}, ms.StudyStatus),
    "Study.traces": Call(DONE.traces, {"where": {"d": 5}}, pd.DataFrame),
    "Study.export": Call(DONE.export, {"path": "table.csv", "where": None}, words=("file",)),
    "Study.fit": Call(DONE.fit, {"y": "dist", "x": "d", "where": None}),
    "Study.plot": Call(
        DONE.plot,
        {
            **{"x": "d", "y": "dist", "hue": "n", "col": None, "fit": True, "where": None},
            **{"log": "x", "extrapolate": 40, "predictions": None},
        },
    ),
    "Study.estimate": Call(DONE.estimate, {"processes": 2, "threads": 1}, study.StudyEstimate),
    "Study.heatmap": Call(
        DONE.heatmap, {"x": "d", "y": "n", "value": "dist", "col": None, "where": None}
    ),
    "Study.report": Call(DONE.report, {"path": "report.html"}),
    "Result.to_frame": Call(RESULT.to_frame, {}, pd.DataFrame),
    "TaskBatch.summary": Call(BATCH.summary, {}, ms.BatchSummary),
    "theory.rate": Call(theory.rate, {"tasks": TASKS, "method": "anil", "alpha": 0.1, "beta": 0.1}),
    "theory.meta_weights": Call(
        theory.meta_weights, {"tasks": TASKS, "method": "linear-maml", "m": 5, "alpha": 0.1}
    ),
    "theory.linear_maml_risk": Call(
        theory.linear_maml_risk,
        {
            **{"tasks": TASKS, "method": "linear-maml", "m": 5, "alpha": 0.1},
            "B": (np.ones((K, 1)), np.ones((1, 1))),
            "distance": None,
        },
        words=("M", "R"),
    ),
    "theory.linear_maml_distance": Call(
        theory.linear_maml_distance,
        {
            **{"tasks": TASKS, "method": "linear-maml", "n": 9, "m_in": 5, "m_out": 5},
            **{"rounds": [1, 10], "B": (np.ones((K, 1)), np.ones((1, 1))), "alpha": 0.1},
        },
        np.ndarray,
        words=("M", "R"),
    ),
    "theory.linear_maml_step": Call(
        theory.linear_maml_step,
        {"tasks": TASKS, "m": 5, "B": (np.ones((K, 1)), np.ones((1, 1)))},
    ),
    "theory.linear_maml_error": Call(
        theory.linear_maml_error,
        {
            **{"tasks": TASKS, "method": "linear-maml", "n": 9, "m_in": 5, "m_out": 5},
            "alpha": 0.1,
        },
    ),
    "theory.plateau": Call(
        theory.plateau, {"tasks": TASKS, "method": "fo-anil", "alpha": 0.1, "beta": 0.1}
    ),
    "theory.fixed_point": Call(
        theory.fixed_point,
        {"tasks": TASKS, "method": "fo-anil", "m_in": 5, "alpha": 0.1, "beta": 0.1},
    ),
    "theory.fading": Call(
        theory.fading,
        {
            **{"tasks": TASKS, "method": "fo-anil", "m_in": 5, "alpha": 0.1, "beta": 0.1},
            "rounds": [1, 10],
        },
    ),
    **{
        f"theory.{name}": Call(
            getattr(theory, name),
            {
                **{"tasks": TASKS, "method": "fo-anil", "n": 9, "m_in": 5, "m_out": 5},
                **{"alpha": 0.1, "beta": 0.1},
            },
            kind,
        )
        for name, kind in (("floor", theory.Floor), ("stable", bool), ("largest_beta", float))
    },
    "theory.Floor": record(theory.Floor),
    "theory.cramer_rao": Call(
        theory.cramer_rao,
        {"tasks": TASKS, "n": 9, "m": 50, "known_heads": True},
        (float, np.ndarray),
    ),
    "theory.error_scale": Call(theory.error_scale, {"d": 9, "k": 2, "n": 4, "m_out": 5}, float),
    "theory.error_floor": Call(theory.error_floor, {"d": 9, "k": 2, "n": 4, "m_out": 5}, float),
    "theory.decay": Call(theory.decay, {"rate": 0.1, "through": (1.0, 2.0)}),
    "theory.rate_line": Call(theory.rate_line, {"result": RESULT}),
    "theory.floor_line": Call(theory.floor_line, {"result": SAMPLES_RESULT}),
    "theory.few_shot_risk": Call(
        theory.few_shot_risk,
        {
            **{"prior": [1.0, 0.5, 0.2], "m": 5, "noise": 0.1, "shaping": [1.0, 1.0, 0.5]},
            **{"rank": 2, "penalty": 0.1},
        },
        theory.FewShotRisk,
    ),
    "theory.optimal_shaping": Call(
        theory.optimal_shaping,
        {
            **{"priors": [[1.0, 0.5], [0.2, 0.4]], "m": 5, "noise": 0.1, "rank": None},
            **{"ridgeless": False, "weights": [1.0, 2.0]},
        },
        theory.OptimalShaping,
    ),
    "theory.after_least_squares": Call(
        theory.after_least_squares, {"missed": 0.1, "m": 9, "k": 2, "noise": 0.1}, float
    ),
    "theory.missed_signal": Call(
        theory.missed_signal,
        {"B": (np.eye(K), np.ones((1, K))), "tasks": TASKS},
        float,
        words=("M", "R"),
    ),
    "theory.limit_line": Call(
        theory.limit_line, {"result": SAMPLES_RESULT, "y": "w_norm", "log": None}
    ),
    "theory.fading_line": Call(theory.fading_line, {"result": WIDE_RESULT}),
    "theory.second_moment": Call(theory.second_moment, {"heads": HEADS, "k": K}, np.ndarray),
    "theory.diversity": Call(theory.diversity, {"heads": HEADS, "k": K}, ms.Diversity),
    "study.fit_laws": Call(study.fit_laws, {**SERIES, "laws": ("power",), **FITS}, study.Laws),
    "study.fit_powers": Call(
        study.fit_powers,
        {"columns": {"x": SERIES["x"]}, "y": SERIES["y"], **FITS},
        study.Powers,
        words=("a", "d", "m"),
    ),
    "Law.solve": Call(LAW.solve, {"y": 100.0}, study.Solution),
    "Law.interval": Call(LAW.interval, {"x": [1.0, 50.0]}, tuple),
    "Laws.solve": Call(LAWS.solve, {"y": 100.0}, study.Solution),
    "Powers.solve": Call(POWERS.solve, {"y": 100.0}, study.Solution),
    "study.lines": Call(
        study.lines,
        {
            **{"table": TABLE, "x": "d", "y": "y", "hue": "m", "col": None, "fit": True},
            **{"band": 0.95, "names": (), "log": "xy", "extrapolate": 40, "predictions": ("y",)},
        },
    ),
    "study.heat": Call(
        study.heat, {"table": TABLE, "x": "d", "y": "m", "value": "y", "col": None, "names": ()}
    ),
}
RECORDS = [
    *(ms.Active, ms.AdaptedModel, ms.BatchSummary, ms.Diverged, ms.DivergenceWarning, ms.Diversity),
    *(ms.Estimate, ms.Evaluation, ms.FewSamplesWarning, ms.Gradient, ms.Interrupted, ms.Outcome),
    *(ms.FitConfig, ms.LocalStepsWarning, ms.NotConverged, ms.NotConvergedWarning),
    *(ms.GrowingHeadWarning, ms.Interval, ms.Plan, ms.RankTest),
    ms.SharingGain,
    *(ms.Result, ms.Risk, ms.StudyStatus, ms.TrainConfig, study.Law, study.Laws, study.Powers),
    *(study.Solution, study.StudyEstimate, theory.FewShotRisk, theory.OptimalShaping),
]
# An enumeration, a text, modules, and an exception that takes a message.
NO_CALLS = {"Status", "__version__", "explore", "study", "theory", "theory.FloorNotFoundError"}


def uncovered():
    """Public names without a call here, and without a reason for having none."""
    there = {name.split(" ")[0] for name in CALLS} | NO_CALLS
    for kind in RECORDS:
        there |= {kind.__name__, f"study.{kind.__name__}", f"theory.{kind.__name__}"}
    names = set(ms.__all__)
    names |= {f"theory.{name}" for name in theory.__all__}
    names |= {f"study.{name}" for name in study.__all__ if name not in ms.__all__}
    methods = {
        f"{kind.__name__}.{name}"
        for kind in (ms.LinearTasks, ms.TaskBatch, ms.Result, ms.Study)
        for name, method in inspect.getmembers(kind, callable)
        if not name.startswith("_")
    }
    return {name for name in names | methods if name not in there}


def unused():
    """Arguments that a call here never exchanges."""
    found = set()
    for name, call in CALLS.items():
        parameters = inspect.signature(call.function).parameters.values()
        known = {p.name for p in parameters if p.kind is not p.VAR_KEYWORD}
        found |= {f"{name}({argument})" for argument in known - set(call.given)}
    return found


def ANYTHING(*args, **kwargs):
    """A function that takes whatever it is given."""
    return 1


class Number(int):
    """An integer of a class of its own."""


class Lines:
    """An object that shows itself in two lines."""

    def __repr__(self):
        return "first\nsecond"


def made(array, **flags):
    array.flags.writeable = flags.get("writeable", True)
    return array


NUMBERS = [0, 1, -1, 2, 3, 7, 10**6, 2**31 - 1, 2**31, 10**12, 2**53, 2**53 + 1, 2**63 - 1, 2**63]
NUMBERS += [2**64, -(2**63), 10**400, 0.0, -0.0, 0.5, 1.0, 2.0, -1.0, math.nan, math.inf, -math.inf]
NUMBERS += [1e308, -1e308, 5e-324, 1e-300, 1e-13, 1j, True, False, Number(3)]
SCALARS = [np.int8(3), np.int64(2), np.uint64(2**64 - 1), np.float32(0.5), np.float16(1.0)]
SCALARS += [
    np.bool_(True),
    np.complex64(1j),
    np.str_("anil"),
    np.float64("nan"),
    np.datetime64(1, "s"),
]
OBJECTS = [None, "", "x", "a\nb", "\0", "x" * 5000, "anil", "dist", "float32", "10**10**10", b"x"]
OBJECTS += [[], (), {}, [1, 2], (1.0, 2.0), {"a": 1}, {1: 2}, {"d": 1, "k": None}, set(), {3}, ...]
OBJECTS += [range(3), range(0), range(10**18), range(0, 10, 3), slice(3), object(), Lines(), int]
OBJECTS += [len, ANYTHING, lambda: None, Executor(), iter([1]), [[1], [2, 3]], [1, "a"]]
OBJECTS += [[math.nan], [None], [[]], [[[]]], [2**70], [1e308] * 2, [[1e308] * 2] * 2, ["d", "m"]]
OBJECTS += [TASKS, BATCH, RESULT, ms.ANIL(), ms.ANIL, ms.GaussianHeads(), ms.Init(), ms.Stop()]
OBJECTS += [ms.GaussianHeads(cov=[1.0, 1.0, 1.0]), TABLE, (B, np.zeros(K)), (B, None), [X, X]]
ARRAYS = [np.empty(0), np.empty((0, K)), np.empty((D, 0)), np.empty((0, 0)), np.empty((3, 0, D))]
ARRAYS += [np.float64(3.0).reshape(()), np.zeros((D, K)), np.ones((D, K)), B.astype(np.float32)]
ARRAYS += [B.astype(">f8"), B.astype(np.float16), B.astype(complex), B.astype(object), B > 0]
ARRAYS += [np.asfortranarray(B), np.eye(2 * D, K)[::2], np.eye(D, 2 * K)[:, ::2], B[::-1]]
ARRAYS += [made(B.copy(), writeable=False), B * math.nan, B * math.inf, np.full((D, K), 1e308)]
ARRAYS += [np.full((D, K), 5e-324), B * 1e-300, np.eye(D), np.eye(D + 1, K), np.ones((1, 1))]
ARRAYS += [X, X[:, ::2], X[::-1], X[:, :, ::2], X.astype(np.float32), X * 1e200, X * math.nan, X.T]
ARRAYS += [
    Y,
    Y[:, :3],
    Y[0],
    Y.astype(np.float32),
    Y * 1e300,
    np.zeros((3, 6)),
    HEADS,
    HEADS * 1e200,
]
ARRAYS += [np.array(["a", "b"]), np.array([None, 1]), np.zeros(2, [("a", "f8")]), np.arange(6)]
ARRAYS += [np.ma.masked_array(HEADS, HEADS > 0), np.zeros((2, 2, 2, 2)), np.eye(2), -np.eye(2)]
ARRAYS += [np.array([1.0, -1.0]), np.full((2, 2), 1e308), np.array([[1.0, 2.0], [0.0, 1.0]])]
ARRAYS += [np.broadcast_to(1.0, (D, K)), np.zeros(D), np.full(D, 1e308), np.full(D, math.nan)]
VALUES = [*NUMBERS, *SCALARS, *OBJECTS, *ARRAYS]


def values_for(call, name):
    """Values for an argument: all but those that are right and would never return."""
    return [
        value
        for value in VALUES
        if not (name == "progress" and callable(value) and value is not ANYTHING)
        and not (name in call.costly and isinstance(value, int) and 100 < value < 2**63)
    ]
