"""Rounds on fresh samples as a user would write them, including the drawing of the data.

Every call draws the heads, features and noise of all tasks, computes the labels, and computes the
gradient by the code in `peers`. NumPy draws normals on one CPU only, so this module runs a
generator of NumPy on each CPU, and the generators fill arrays that are reused. PyTorch and JAX draw
with their own generators.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np

import metaspan as ms
from bench import peers
from bench.collapsed_law import assert_agree
from bench.floors import Size
from bench.harness import cpus
from bench.numpy_ways import task_by_task

Array = np.ndarray
Call = Callable[[], peers.Gradient]


@dataclass(frozen=True, kw_only=True, eq=False)
class Round:
    """The start of a round, and the distribution of its samples."""

    size: Size
    B: Array
    w: Array
    B_star: Array
    noise: float
    rule: peers.Rule
    alpha: float


def with_numpy(origin: Round) -> Call:
    size, threads = origin.size, len(cpus())
    generators = np.random.default_rng(0).spawn(threads)
    pool = ThreadPoolExecutor(threads)
    inner, outer = (np.empty((size.n, m, size.d)) for m in size[3:])
    shares = {id(X): np.array_split(X, threads) for X in (inner, outer)}

    def labels(X: Array, theta: Array) -> Array:
        list(pool.map(lambda rng, part: rng.standard_normal(out=part), generators, shares[id(X)]))
        return (X @ theta)[:, :, 0] + origin.noise * generators[0].standard_normal(X.shape[:2])

    def call() -> peers.Gradient:
        theta = (generators[0].standard_normal((size.n, size.k)) @ origin.B_star.T)[:, :, None]
        data = peers.Arrays(
            X_in=inner, y_in=labels(inner, theta), X_out=outer, y_out=labels(outer, theta)
        )
        return task_by_task(data, origin.B, origin.w, origin.rule, origin.alpha)

    return call


def with_torch(origin: Round) -> Call:
    torch = importlib.import_module("torch")
    size = origin.size
    B, w, B_star = map(torch.from_numpy, (origin.B, origin.w, origin.B_star))
    tools = {"grad": torch.func.grad, "vmap": torch.func.vmap, "stop": torch.Tensor.detach}
    gradient = peers.two_level(peers.array_loss, origin.rule, origin.alpha, **tools)
    generator = torch.Generator().manual_seed(0)

    def normal(*shape: int) -> Any:
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    def call() -> peers.Gradient:
        theta = normal(size.n, size.k) @ B_star.T

        def samples(m: int) -> tuple[Any, Any]:
            X = normal(size.n, m, size.d)
            return X, (X @ theta[:, :, None])[:, :, 0] + origin.noise * normal(size.n, m)

        return gradient(B, w, samples(size.m_in), samples(size.m_out))

    return call


def with_jax(origin: Round) -> Call:
    jax = importlib.import_module("jax")
    jnp = importlib.import_module("jax.numpy")
    jax.config.update("jax_enable_x64", True)
    size = origin.size
    tools = {"grad": jax.grad, "vmap": jax.vmap, "stop": jax.lax.stop_gradient}
    gradient = peers.two_level(peers.array_loss, origin.rule, origin.alpha, **tools)

    def one_round(key: Any, B: Any, w: Any, B_star: Any) -> Any:
        keys = iter(jax.random.split(key, 5))

        def normal(*shape: int) -> Any:
            return jax.random.normal(next(keys), shape, B.dtype)

        theta = normal(size.n, size.k) @ B_star.T

        def samples(m: int) -> tuple[Any, Any]:
            X = normal(size.n, m, size.d)
            return X, jnp.einsum("nmd,nd->nm", X, theta) + origin.noise * normal(size.n, m)

        return gradient(B, w, samples(size.m_in), samples(size.m_out))

    compiled = jax.jit(one_round)
    args = [jnp.asarray(part) for part in (origin.B, origin.w, origin.B_star)]
    rounds = iter(range(2**31))

    def call() -> peers.Gradient:
        return jax.block_until_ready(compiled(jax.random.key(next(rounds)), *args))

    return call


def load(origin: Round) -> tuple[dict[str, Call], dict[str, str]]:
    """Return a round of each installed peer, and the reason for each peer that is missing."""
    installed, missing = {}, {}
    for name, make in (("NumPy", with_numpy), ("JAX", with_jax), ("PyTorch", with_torch)):
        try:
            installed[name] = make(origin)
        except ImportError as error:
            missing[name] = f"not measured: {error}"
    return installed, missing


def start(size: Size, method: str, alpha: float, noise: float) -> Round:
    """Make a ground truth, and a B at some distance from the ground truth with alpha B^T B = I."""
    rng = np.random.default_rng(9)
    B_star, off = (np.linalg.qr(rng.standard_normal((size.d, size.k)))[0] for _ in range(2))
    B = np.linalg.qr(B_star + 0.5 * off)[0] / np.sqrt(alpha)
    return Round(
        size=size,
        B=B,
        w=0.1 * rng.standard_normal(size.k),
        B_star=B_star,
        noise=noise,
        rule=peers.RULES[method],
        alpha=alpha,
    )


def assert_same_law(
    origin: Round,
    law: ms.LinearTasks,
    method: str,
    installed: dict[str, Callable[[], Any]],
) -> None:
    """Assert that dist and w after an outer step have the same distribution for all peers."""
    beta, size = 0.02, origin.size
    ours = ms.train(
        law,
        method,
        alpha=origin.alpha,
        beta=beta,
        rounds=1,
        n=size.n,
        m_in=size.m_in,
        m_out=size.m_out,
        init=(origin.B, origin.w),
        trials=40,
        record=("dist", "w_norm"),
        stop=None,
    )
    assert ours.config.engine == "collapsed"
    measured = {name: ours.trace[name][:, -1] for name in ("dist", "w_norm")}
    for who, call in installed.items():
        ends = []
        for _ in range(6 if size.n >= 100 else 24):  # with fewer tasks, more steps are needed
            step = call()
            B, w = (step.B, step.w) if isinstance(step, ms.Gradient) else map(np.asarray, step)
            moved = origin.B - beta * B
            ends.append(
                (
                    ms.subspace_distance(np.ascontiguousarray(moved), origin.B_star),
                    np.linalg.norm(origin.w - beta * w),
                )
            )
        expected = dict(zip(measured, np.array(ends).T, strict=True))
        assert_agree(measured, expected, f"{method}, d={size.d}, {who}")
