"""Small problems on fixed data, in the forms of the package and of the reference."""

import zlib
from typing import NamedTuple

import numpy as np

import metaspan as ms
import reference as ref
from matching import METHODS, batch_of

ROUTES = ("gram", "vector", "dual")
OF_STATE = ("dist", "angles", "w_norm", "delta_norm", "sigma_min", "sigma_max", "perp_norm")
OF_STATE += ("signal_min", "signal_max")
OF_TASKS = ("loss_in", "loss_adapted", "loss_out", "diversity_min", "diversity_max")
OF_HEADS = ("mu", "L", "eta")
RECORDS = (*OF_STATE, *OF_TASKS, *OF_HEADS)


class Case(NamedTuple):
    """Sizes of a problem. Tasks whose indices are in `shared` use one data set for both loops."""

    d: int
    width: int
    k_star: int
    m_in: tuple[int, ...]
    m_out: tuple[int, ...]
    shared: tuple[int, ...] = ()


class Problem(NamedTuple):
    """A start, tasks (inner, outer) for the reference, and a batch of the same arrays."""

    B: np.ndarray
    w: np.ndarray
    tasks: list
    batch: ms.TaskBatch

    @property
    def everything(self):
        """The indices of all tasks, as the choice of a round."""
        return range(len(self.tasks))


def build(case, *, dtype=np.float64, known=True):
    """Build a case's problem, the same in every test; `known` gives the batch B_star and heads."""
    rng = np.random.default_rng(zlib.crc32(repr(case).encode()))
    B_star, heads = ref.frame(rng, case.d, case.k_star), rng.standard_normal((99, case.k_star))
    tasks = ref.sample_tasks(rng, B_star, case.m_in, case.m_out)
    tasks = [tuple(rounded(samples, dtype) for samples in task) for task in tasks]
    tasks = [(task[0], task[i not in case.shared]) for i, task in enumerate(tasks)]
    B = 0.7 * rng.standard_normal((case.d, case.width)) / np.sqrt(case.d / 9)
    w = 0.5 * rng.standard_normal(case.width)
    return Problem(B, w, tasks, as_batch(tasks, B_star, heads[: len(tasks)], dtype, known))


def rounded(samples, dtype):
    """Round samples to the values of a dtype; the arrays are float64."""
    return ref.Samples(*(array.astype(dtype).astype(np.float64) for array in samples))


def shifted(array, offset):
    """Copy an array to memory that begins `offset` bytes after a cache line."""
    room = np.empty(array.nbytes + 128, np.uint8)
    begin = -room.ctypes.data % 64 + offset
    copy = room[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def as_batch(tasks, B_star, heads, dtype=np.float64, known=True):
    """Build a batch that stores shared samples once, and stacks tasks of equal sizes."""
    plain = batch_of(tasks, dtype)
    inner = list(plain.X_in), list(plain.y_in)
    outer = list(plain.X_out), list(plain.y_out)
    for i, task in enumerate(tasks):
        if task[0] is task[1]:
            outer[0][i], outer[1][i] = inner[0][i], inner[1][i]
    if not any(task[0] is task[1] for task in tasks):
        inner, outer = (plain.X_in, plain.y_in), (plain.X_out, plain.y_out)
    truth = {"B_star": B_star, "heads": heads} if known else {}
    return ms.TaskBatch(*inner, *outer, **truth)


def method_of(name, **steps):
    """A method by its published name; the baseline takes no alpha and no inner steps."""
    if name == "average-risk":
        return ms.AverageRisk(beta=steps["beta"])
    return METHODS[name](**steps)


def run(problem, method, route, **changes):
    """A run from the problem's start on all its tasks; `changes` are arguments of train."""
    settings = {"rounds": 30, "init": (problem.B, problem.w), "stop": None, "threads": 1}
    return ms.train(problem.batch, method, route=route, **{**settings, **changes})


def error_of(name, found, expected):
    """Return max|difference| / max(largest value, 0.1) of a record, for angles by their sines."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape, (name, found.shape, expected.shape)
    if name == "angles":
        found, expected = np.sin(found), np.sin(expected)
    return float(abs(found - expected).max(initial=0.0) / max(abs(expected).max(initial=0.0), 0.1))


def assert_row_of_many(alone, many, place):
    """Check that a trial has the same bits when it runs alone and when it runs among others."""
    for name, values in many.trace.items():
        row = values if name == "round" else values[place]
        np.testing.assert_array_equal(alone.trace[name], row, err_msg=name)
    np.testing.assert_array_equal(alone.B, many.B[place])
    np.testing.assert_array_equal(alone.w, many.w[place])
    assert alone.status == many.status[place]
