r"""The peers: code that a user would write in NumPy, PyTorch (torch.func) or JAX (jit and scan).

All peers compute the gradient of the same two-level loss with one inner step: for each task, the
head `w` (for MAML also the representation `B`) moves by one gradient step on the task's inner loss,
and the outer losses after this step are averaged over the tasks. PyTorch and JAX differentiate the
two losses automatically; for a first-order method, the gradient is stopped at the inner step. NumPy
uses explicit formulas for the derivatives, with vectors for each task. For population losses, NumPy
uses coordinates of `span(B_star, B)`, so that its cost is independent of d.

Population losses are :math:`\frac12 \|B w - B_\star h\|^2`, with a new head `h` for each task in
every round; losses of arrays are :math:`\frac1{2m} \|X B w - y\|^2`. All numbers are float64.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray
Gradient = tuple[Any, Any]  # gradients with respect to B (d, k) and w (k,)


@dataclass(frozen=True)
class Rule:
    """One of the four methods: ANIL or MAML, exact or first-order."""

    adapt_B: bool
    exact: bool


RULES = {
    "fo-anil": Rule(adapt_B=False, exact=False),
    "anil": Rule(adapt_B=False, exact=True),
    "fo-maml": Rule(adapt_B=True, exact=False),
    "maml": Rule(adapt_B=True, exact=True),
}


@dataclass(frozen=True, kw_only=True)
class Steps:
    """Inner step size and outer step size."""

    alpha: float
    beta: float


@dataclass(frozen=True, kw_only=True)
class Population:
    """A start B (d, k), w (k,), a ground truth B_star (d, k_star), and the tasks a round, n."""

    B: Array
    w: Array
    B_star: Array
    n: int


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """Inner and outer data of n tasks: X (n, m, d) and y (n, m)."""

    X_in: Array
    y_in: Array
    X_out: Array
    y_out: Array


@dataclass(frozen=True)
class Trained:
    """The end of a run; dist (rounds,) holds the value of dist at the start of each round."""

    B: Array
    w: Array
    dist: Array | None


@dataclass(frozen=True, kw_only=True)
class Peer:
    r"""Functions of one library; each prepares and returns another function, which is timed.

    train(problem, rule, steps, *, rounds, heads=None, dist=True) -> () -> Trained
        The heads (rounds, n, k_star) are used if they are passed. Otherwise, standard normal heads
        are drawn in the loop.
    task_gradients(problem, heads, rule, alpha) -> () -> Gradient
        The mean gradient over the tasks with the given heads (n, k_star), which are all tasks of a
        round or some of them.
    gradient(data, B, w, rule, alpha) -> () -> Gradient
        The mean gradient over the tasks whose arrays are given.
    """

    name: str
    train: Callable[..., Callable[[], Trained]]
    gradient: Callable[..., Callable[[], Gradient]]
    task_gradients: Callable[..., Callable[[], Gradient]] | None = None


# ---------------------------------------------------------------------------------------- NumPy


class PopulationTasks:
    """Gradients of the population losses of all tasks at once, with respect to theta = B w."""

    def __init__(self, heads: Array, D: int) -> None:
        self.theta = np.zeros((len(heads), D))  # the vectors B_star h in coordinates
        self.theta[:, : heads.shape[1]] = heads

    def inner(self, v: Array) -> Array:
        return v - self.theta

    outer = inner

    def curvature(self, v: Array) -> Array:
        return v


class ArrayTasks:
    """Gradients of the losses of arrays, for all tasks; v is (d,), or (n, d): a row per task."""

    def __init__(self, data: Arrays) -> None:
        self.data = data

    def inner(self, v: Array) -> Array:
        return self._pull(self.data.X_in, self._push(self.data.X_in, v) - self.data.y_in)

    def outer(self, v: Array) -> Array:
        return self._pull(self.data.X_out, self._push(self.data.X_out, v) - self.data.y_out)

    def curvature(self, v: Array) -> Array:
        return self._pull(self.data.X_in, self._push(self.data.X_in, v))

    @staticmethod
    def _push(X: Array, v: Array) -> Array:
        return X @ v if v.ndim == 1 else (X @ v[:, :, None])[:, :, 0]

    @staticmethod
    def _pull(X: Array, r: Array) -> Array:
        return (r[:, None, :] @ X)[:, 0, :] / X.shape[1]


def numpy_gradient(
    B: Array, w: Array, tasks: PopulationTasks | ArrayTasks, rule: Rule, alpha: float
) -> tuple[Array, Array]:
    """Return the mean gradient over the tasks, without forming any B_i = B - alpha g_i w^T."""
    g = tasks.inner(B @ w)  # (n, d)
    adapted = w - alpha * (g @ B)  # (n, k)
    v = adapted @ B.T
    if rule.adapt_B:
        along = alpha * (adapted @ w)[:, None]
        v -= along * g
    p = tasks.outer(v)
    omega = p @ B
    grad_B = p.T @ adapted
    if rule.adapt_B:
        across = alpha * np.einsum("id,id->i", g, p)
        omega -= across[:, None] * w
    grad_w = omega.sum(axis=0)
    if rule.exact:
        g_bar = -alpha * (omega @ B.T)
        if rule.adapt_B:
            g_bar -= along * p
            grad_w -= across @ adapted
        h = tasks.curvature(g_bar).sum(axis=0)
        grad_B += np.outer(h, w) - alpha * (g.T @ omega)
        grad_w += h @ B
    return grad_B / len(g), grad_w / len(g)


def coordinates(problem: Population) -> tuple[Array, Array]:
    """Return M (k_star, k) and an orthonormal basis E (d, e) of the part of B outside B_star."""
    off = problem.B
    for _ in range(2):  # twice, since once leaves too much of B_star if the rest is small
        off = off - problem.B_star @ (problem.B_star.T @ off)
    return problem.B_star.T @ problem.B, np.linalg.qr(off)[0]


def descend(
    state: tuple[Array, Array, Array],
    rule: Rule,
    steps: Steps,
    *,
    n: int,
    rounds: int,
    heads: Array | None = None,
    dist: bool = True,
) -> tuple[tuple[Array, Array, Array], Array | None]:
    """Do rounds in coordinates; return the final (M, R, w), and dist at the start of each round."""
    M, R, w = (part.copy() for part in state)
    k_star = len(M)
    S = np.vstack([M, R])
    rng = np.random.default_rng(0)
    trace = np.empty(rounds) if dist else None
    for t in range(rounds):
        if trace is not None:
            tangent = np.linalg.norm(np.linalg.solve(S[:k_star].T, S[k_star:].T), 2)
            trace[t] = tangent / np.hypot(1.0, tangent)
        h = rng.standard_normal((n, k_star)) if heads is None else heads[t]
        grad_S, grad_w = numpy_gradient(S, w, PopulationTasks(h, len(S)), rule, steps.alpha)
        S -= steps.beta * grad_S
        w -= steps.beta * grad_w
    return (S[:k_star], S[k_star:], w), trace


def _numpy_peer() -> Peer:
    def train(problem, rule, steps, *, rounds, heads=None, dist=True):
        M, E = coordinates(problem)
        state = (M, E.T @ problem.B, problem.w)

        def call() -> Trained:
            (M, R, w), trace = descend(
                state, rule, steps, n=problem.n, rounds=rounds, heads=heads, dist=dist
            )
            return Trained(problem.B_star @ M + E @ R, w, trace)

        return call

    def gradient(data, B, w, rule, alpha):
        return lambda: numpy_gradient(B, w, ArrayTasks(data), rule, alpha)

    return Peer(name="NumPy", train=train, gradient=gradient)


# ---------------------------------------------------------------------------- PyTorch and JAX


def two_level(
    loss: Callable[..., Any], rule: Rule, alpha: float, *, grad: Any, vmap: Any, stop: Any
) -> Callable[..., Gradient]:
    r"""Return a function (B, w, inner, outer) -> gradient; the data have tasks along axis 0.

    `grad` and `vmap` are functions of the library. `stop` excludes a tensor from differentiation;
    it is used for first-order methods.
    """
    kept = (lambda part: part) if rule.exact else stop

    def task_loss(B: Any, w: Any, inner: Any, outer: Any) -> Any:
        if not rule.adapt_B:
            return loss(B, w - alpha * kept(grad(loss, argnums=1)(B, w, inner)), outer)
        step_B, step_w = grad(loss, argnums=(0, 1))(B, w, inner)
        return loss(B - alpha * kept(step_B), w - alpha * kept(step_w), outer)

    over_tasks = vmap(task_loss, (None, None, 0, 0))
    return grad(lambda *args: over_tasks(*args).mean(), argnums=(0, 1))


def array_loss(B: Any, w: Any, task: tuple[Any, Any]) -> Any:
    X, y = task
    return 0.5 * ((X @ (B @ w) - y) ** 2).mean()


def population_loss(B: Any, w: Any, task: tuple[Any, Any]) -> Any:
    B_star, head = task
    return 0.5 * ((B @ w - B_star @ head) ** 2).sum()


def _torch_peer(device: str = "cpu") -> Peer:
    torch = importlib.import_module("torch")
    on_card = device != "cpu"

    def tensor(array: Array) -> Any:
        return torch.from_numpy(array).to(device)

    def finished(answer: Any) -> Any:
        """Wait for the card, since calls return before its work is done."""
        if on_card:
            torch.cuda.synchronize()
        return answer

    def meta_gradient(loss, rule, alpha):
        tools = {"grad": torch.func.grad, "vmap": torch.func.vmap, "stop": torch.Tensor.detach}
        return two_level(loss, rule, alpha, **tools)

    def population(B_star, rule, alpha):
        grad = meta_gradient(lambda B, w, head: population_loss(B, w, (B_star, head)), rule, alpha)
        return lambda B, w, heads: grad(B, w, heads, heads)

    def train(problem, rule, steps, *, rounds, heads=None, dist=True):
        B_star = tensor(problem.B_star)
        grad = population(B_star, rule, steps.alpha)
        shape = (problem.n, B_star.shape[1])

        def call() -> Trained:
            B, w = tensor(problem.B), tensor(problem.w)
            generator = torch.Generator(device).manual_seed(0)
            trace = []
            for t in range(rounds):
                if dist:
                    Q = torch.linalg.qr(B)[0]
                    trace.append(torch.linalg.matrix_norm(B_star - Q @ (Q.T @ B_star), 2))
                if heads is None:
                    h = torch.randn(shape, generator=generator, dtype=B.dtype, device=device)
                else:
                    h = tensor(heads[t])
                grad_B, grad_w = grad(B, w, h)
                B, w = B - steps.beta * grad_B, w - steps.beta * grad_w
            distances = torch.stack(trace).cpu().numpy() if dist else None
            return Trained(B.cpu().numpy(), w.cpu().numpy(), distances)

        return call

    def task_gradients(problem, heads, rule, alpha):
        grad = population(tensor(problem.B_star), rule, alpha)
        args = [tensor(part) for part in (problem.B, problem.w, heads)]
        return lambda: finished(grad(*args))

    def gradient(data, B, w, rule, alpha):
        grad = meta_gradient(array_loss, rule, alpha)
        inner = (tensor(data.X_in), tensor(data.y_in))
        outer = (tensor(data.X_out), tensor(data.y_out))
        start = (tensor(B), tensor(w))
        return lambda: finished(grad(*start, inner, outer))

    return Peer(name="PyTorch", train=train, gradient=gradient, task_gradients=task_gradients)


def _jax_peer() -> Peer:
    jax = importlib.import_module("jax")
    jnp = importlib.import_module("jax.numpy")
    jax.config.update("jax_enable_x64", True)

    def meta_gradient(loss, rule, alpha):
        tools = {"grad": jax.grad, "vmap": jax.vmap, "stop": jax.lax.stop_gradient}
        return two_level(loss, rule, alpha, **tools)

    def population(B_star, rule, alpha):
        grad = meta_gradient(lambda B, w, head: population_loss(B, w, (B_star, head)), rule, alpha)
        return lambda B, w, heads: grad(B, w, heads, heads)

    def train(problem, rule, steps, *, rounds, heads=None, dist=True):
        B_star = jnp.asarray(problem.B_star)
        grad = population(B_star, rule, steps.alpha)
        key = jax.random.key(0)
        shape = (problem.n, B_star.shape[1])

        def one_round(state, drawn):
            B, w = state
            distance = None
            if dist:
                Q = jnp.linalg.qr(B)[0]
                distance = jnp.linalg.norm(B_star - Q @ (Q.T @ B_star), 2)
            if heads is None:
                h = jax.random.normal(jax.random.fold_in(key, drawn), shape, B.dtype)
            else:
                h = drawn
            grad_B, grad_w = grad(B, w, h)
            return (B - steps.beta * grad_B, w - steps.beta * grad_w), distance

        scan = jax.jit(lambda state, drawn: jax.lax.scan(one_round, state, drawn))
        start = (jnp.asarray(problem.B), jnp.asarray(problem.w))
        drawn = jnp.arange(rounds) if heads is None else jnp.asarray(heads)

        def call() -> Trained:
            (B, w), trace = jax.block_until_ready(scan(start, drawn))
            return Trained(np.asarray(B), np.asarray(w), np.asarray(trace) if dist else None)

        return call

    def task_gradients(problem, heads, rule, alpha):
        # B_star is an argument of the compiled function, since a constant would be copied into the
        # compiled program.
        grad = jax.jit(lambda B_star, *rest: population(B_star, rule, alpha)(*rest))
        args = [jnp.asarray(part) for part in (problem.B_star, problem.B, problem.w, heads)]
        return lambda: jax.block_until_ready(grad(*args))

    def gradient(data, B, w, rule, alpha):
        grad = jax.jit(meta_gradient(array_loss, rule, alpha))
        inner = (jnp.asarray(data.X_in), jnp.asarray(data.y_in))
        outer = (jnp.asarray(data.X_out), jnp.asarray(data.y_out))
        args = (jnp.asarray(B), jnp.asarray(w), inner, outer)
        return lambda: jax.block_until_ready(grad(*args))

    return Peer(name="JAX", train=train, gradient=gradient, task_gradients=task_gradients)


def load() -> tuple[list[Peer], dict[str, str]]:
    """Return the list of installed peers, and for each missing peer the reason, by its name."""
    return _load({"NumPy": _numpy_peer, "JAX": _jax_peer, "PyTorch": _torch_peer})


def load_on_card() -> tuple[list[Peer], dict[str, str]]:
    """Return the peers that compute on a CUDA card, and for each other peer the reason."""

    def torch_peer() -> Peer:
        if not importlib.import_module("torch").cuda.is_available():
            raise ImportError("this build of PyTorch finds no card")
        return _torch_peer("cuda")

    def jax_peer() -> Peer:
        if importlib.import_module("jax").default_backend() != "gpu":
            raise ImportError("this build of JAX finds no card")
        return _jax_peer()

    return _load({"JAX": jax_peer, "PyTorch": torch_peer})


def _load(makers: dict[str, Callable[[], Peer]]) -> tuple[list[Peer], dict[str, str]]:
    """Make the peers that can be made, and name the reasons for the others."""
    installed, missing = [], {}
    for name, make in makers.items():
        try:
            installed.append(make())
        except ImportError as error:
            missing[name] = f"not measured: {error}"
    return installed, missing
