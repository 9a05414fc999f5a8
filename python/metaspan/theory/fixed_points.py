r"""The attracting fixed point of the recursion (55), found by following its flow, (59).

The state enters through :math:`A = M M^\top`, :math:`V = M R^\top R M^\top` and :math:`b = M w`,
which rotations of the columns of B and w leave unchanged. For widths equal to k_star and an
invertible M, the three determine the state up to such a rotation.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from .._support.types import F64, I64

# Stacks of C and w -> stacks of grad_C, grad_w and S.
Rounds = Callable[[F64, F64], tuple[F64, F64, F64]]

STEP = 1e-5  # least step of central differences, relative to the size of an entry
LARGEST_MOVE = 0.25  # largest move of an entry in one step of the flow, relative to its size
CONVERGED = 1e-10  # the largest move of a converged flow, relative to the size of an entry
ROUNDING = 1e-6  # errors of a move that are below this, relative to an entry, may be rounding
MUCH_ROUNDING = 0.01  # largest such bound, for noise that is hardly above the rounding errors of S
NEWTON, LONGEST = 1e3, 1e12  # fastest relaxation times in a Newton step, and in any step
NEUTRAL = 1e-8  # growth rates below this, relative to the largest rate, count as 0
ESCAPE = 0.02  # relative size of a perturbation along an unstable direction
DIVERGED = 1e4  # growth of A, and a value of tan^2, at which the flow counts as divergent
# A |M w| above this multiple of the heads' length counts as divergent: w then grows on linearly,
# and the terms of S, of the order of |w|^4, leave too few digits of their sum.
LARGEST_HEAD = 20.0
MAX_STEPS = 250  # thrice as many for tiny errors, which may have to grow far


class FloorNotFoundError(ArithmeticError):
    """Raised if a search finds neither an attracting fixed point nor a sign that none exists.

    The floor and the boundary are then unknown; a run of the engine "limit" shows what happens.
    """


@dataclass(frozen=True)
class State:
    """A state of the recursion up to rotations of the columns of B and w."""

    A: F64  # (k, k): M M^T
    V: F64  # (k, k): M R^T R M^T
    b: F64  # (k,): M w; several states have leading axes

    @property
    def tan2(self) -> F64:
        """The squared tangents (k,) of the principal angles, the largest first."""
        inverse = np.linalg.inv(self.A)  # R M^-1 has the Gram matrix A^-1 V A^-1
        values: F64 = np.linalg.eigvalsh(inverse @ self.V @ inverse)[::-1]
        return np.maximum(values, 0.0)


def _transposed(stack: F64) -> F64:
    """Return the transposes of a stack of matrices."""
    return np.swapaxes(stack, -1, -2)


@dataclass(frozen=True)
class Recursion:
    """The recursion (55) with a plain outer step.

    Without noise off the span, R would vanish, and V would have no size by which to scale moves.
    The noise `faint`, which is too small to matter, is therefore added to beta gamma S.
    """

    rounds: Rounds
    beta: float
    beta_head: float  # 0: w stays as it is
    d_over_n: float
    faint: float
    rounding: float = ROUNDING  # errors of a move that may be rounding, relative to an entry

    @property
    def moves_head(self) -> bool:
        """Whether the outer step moves w."""
        return self.beta_head > 0.0

    def rates(self, states: State) -> State:
        """Return the changes of some states in one round, divided by beta.

        The states have a leading axis in common. The differences of products are expanded, so that
        no digits cancel if beta is small.
        """
        beta, k = self.beta, states.b.shape[-1]
        values, vectors = np.linalg.eigh(states.A)
        root, turned = np.sqrt(values)[:, None, :], _transposed(vectors)
        M, inverse = (vectors * root) @ turned, (vectors / root) @ turned
        w = inverse @ states.b[:, :, None]
        squares, axes = np.linalg.eigh(inverse @ states.V @ inverse)
        R_t = axes * np.sqrt(np.maximum(squares, 0.0))[:, None, :]
        R, M_t = _transposed(R_t), _transposed(M)
        grad_C, grad_w, S = self.rounds(np.concatenate([M, R], axis=1), w[:, :, 0])
        by_M, by_R = grad_C[:, :k], grad_C[:, k:]
        by_M_t, by_w = _transposed(by_M), self.beta_head / beta * grad_w[:, :, None]
        # (R - beta by_R)^T (R - beta by_R) + beta^2 gamma S = R^T R + beta `moved`
        cross = R_t @ by_R
        moved = beta * (_transposed(by_R) @ by_R + self.d_over_n * S) - cross - _transposed(cross)
        moved += self.faint * np.eye(k)
        Q = R_t @ R + beta * moved
        across, along = by_M @ M_t, by_M @ Q @ M_t
        b = beta * by_M @ by_w - by_M @ w - M @ by_w
        return State(
            A=beta * by_M @ by_M_t - across - _transposed(across),
            V=M @ moved @ M_t - along - _transposed(along) + beta * by_M @ Q @ by_M_t,
            b=b[:, :, 0],
        )

    def with_small_angles(self, A: F64, b: F64) -> State:
        r"""Return the state of (62) for A and b: R^T R solves the Lyapunov equation of small beta.

        The gradient of a small R is R Psi.
        """
        k = b.size
        values, vectors = np.linalg.eigh(A)
        M, inverse = (vectors * np.sqrt(values)) @ vectors.T, vectors / np.sqrt(values) @ vectors.T
        small = 1e-8 * np.sqrt(values[0])
        C = np.concatenate([M, small * np.eye(k)])
        (grad_C,), _, (S,) = self.rounds(C[None], (inverse @ b)[None])
        Psi = grad_C[k:] / small
        rates, axes = np.linalg.eigh(0.5 * (Psi + Psi.T))
        rates = np.maximum(rates, 1e-6 * abs(rates).max() + 1e-300)
        noise = self.beta * self.d_over_n * (axes.T @ S @ axes) + self.faint * np.eye(k)
        Q = noise / (rates[:, None] + rates)
        return State(A, M @ axes @ Q @ axes.T @ M.T, b)


@dataclass(frozen=True)
class Variables:
    """The independent entries of a state, and the symmetries that separate them.

    The law of heads is assumed to be invariant under a change of the sign of each coordinate that
    is not in `axes`. The parity of an entry is the set of these coordinates under which it changes
    its sign. Entries of different parity do not act on each other to first order. Entries of a
    state that keeps the symmetry are zero unless they are even.
    """

    k: int
    has_head: bool
    axes: frozenset[int]
    classes: tuple[int, ...]  # (k,): coordinates of one class have the same law
    entries: list[tuple[str, int, int]] = field(init=False)
    upper: tuple[I64, I64] = field(init=False)  # indices of an upper triangle
    groups: list[list[int]] = field(init=False)  # entries of equal parity; the even ones first
    ties: list[list[int]] = field(init=False)  # even entries that are equal by symmetry

    def __post_init__(self) -> None:
        pairs = [(i, j) for i in range(self.k) for j in range(i, self.k)]
        entries = [(name, i, j) for name in "AV" for i, j in pairs]
        entries += [("b", i, i) for i in range(self.k) if self.has_head]
        groups: dict[frozenset[int], list[int]] = {frozenset(): []}
        ties: dict[object, list[int]] = {}
        for index, (name, i, j) in enumerate(entries):
            parity = frozenset([i]) if name == "b" else frozenset([i]) ^ frozenset([j])
            groups.setdefault(parity - self.axes, []).append(index)
            if not parity - self.axes:
                is_like_others = i == j and i not in self.axes
                key = (name, self.classes[i]) if is_like_others else (name, i, j)
                ties.setdefault(key, []).append(index)
        object.__setattr__(self, "entries", entries)
        object.__setattr__(self, "upper", np.triu_indices(self.k))
        object.__setattr__(self, "groups", list(groups.values()))
        object.__setattr__(self, "ties", list(ties.values()))

    def pack(self, state: State) -> F64:
        """Return the entries of a state, or of several with a leading axis."""
        return self._take(state.A, state.V, state.b)

    def unpack(self, x: F64) -> State:
        """Return the state with these entries, or the states with the rows of x as entries."""
        k, size = self.k, self.k * (self.k + 1) // 2
        i, j = self.upper
        A, V = np.zeros((*x.shape[:-1], k, k)), np.zeros((*x.shape[:-1], k, k))
        for array, part in ((A, x[..., :size]), (V, x[..., size : 2 * size])):
            array[..., i, j] = part
            array[..., j, i] = part
        return State(A, V, x[..., 2 * size :] if self.has_head else np.zeros((*x.shape[:-1], k)))

    def sizes(self, state: State, head_size: float) -> F64:
        """Return the size of every entry, to which moves and errors are relative."""
        a, v = (np.sqrt(np.maximum(np.diag(X), 1e-300)) for X in (state.A, state.V))
        head = max(head_size, float(np.linalg.norm(state.b)))
        return self._take(np.outer(a, a), np.outer(v, v), np.full(self.k, head))

    def _take(self, A: F64, V: F64, b: F64) -> F64:
        i, j = self.upper
        return np.concatenate([A[..., i, j], V[..., i, j], b[..., : self.has_head * self.k]], -1)


@dataclass
class Flow:
    """The flow dx/dt = rates(x), which has the fixed points of the recursion.

    `run` takes linearly implicit Euler steps. At first they are short and follow the flow, so that
    they stay in the basin of the start. They grow as the flow settles, and end as Newton steps.
    """

    recursion: Recursion
    variables: Variables
    head_size: float

    def run(self, x: F64) -> F64 | None:
        """Return the entries of the fixed point that attracts x.

        Returns None if the flow diverges, or is still at an unstable point in the end, around which
        it may circle.
        """
        first = self.variables.unpack(x)
        step, before = 0.0, np.inf
        is_tiny = self.recursion.rounding > ROUNDING
        for _ in range(3 * MAX_STEPS if is_tiny else MAX_STEPS):
            sizes = self.variables.sizes(self.variables.unpack(x), self.head_size)
            rates, J = self._reduced(x, sizes)
            if not np.isfinite(J).all():
                return None
            poles = np.linalg.eigvals(J)
            fastest, growth = float(abs(poles).max()), float(poles.real.max())
            grows = growth > NEUTRAL * fastest
            if step == 0.0:
                step = 1.0 / fastest
            # A step longer than 1 / growth would go backwards along a direction that grows.
            step = min(step, 0.3 / growth if grows else LONGEST / fastest)
            x, step, most, miss = self._advance(x, sizes, (rates, J), step, 1e-9 / fastest)
            state = self.variables.unpack(x)
            # Rounding may keep moves above CONVERGED; the second small one is then as good.
            settled = most <= CONVERGED or max(most, before) <= self.recursion.rounding
            if settled and not grows and step * fastest > NEWTON:
                return x
            before = most
            grown = np.trace(state.A) / np.trace(first.A)
            length = np.linalg.norm(state.b) / self.head_size
            if max(grown, state.tan2[0]) > DIVERGED or length > LARGEST_HEAD:
                return None
            step *= 8.0 if miss <= 0.1 and most <= 0.5 * LARGEST_MOVE else 1.5
        if grows:
            return None
        raise FloorNotFoundError(f"the flow of the recursion did not settle in {MAX_STEPS} steps")

    def _advance(
        self, x: F64, sizes: F64, linear: tuple[F64, F64], step: float, least: float
    ) -> tuple[F64, float, float, float]:
        """Take one step of at most the length `step`, given the rates and their Jacobian at x.

        Returns the new entries, the length, the largest relative move, and the error of this move
        that the nonlinearity of the rates causes, relative to the move.
        """
        ties, (rates, J) = self.variables.ties, linear
        while step > least:
            implicit = np.eye(len(ties)) / step - J
            move = np.linalg.solve(implicit, rates)
            most = float(abs(move).max())
            if most > LARGEST_MOVE:
                step *= max(0.1, 0.5 * LARGEST_MOVE / most)
                continue
            trial = x.copy()
            for tie, part in zip(ties, move, strict=True):
                trial[tie] += part * sizes[tie]
            if self._is_inside(trial):
                (rates_there,) = self._scaled_rates(trial[None], sizes)
                error = rates_there[[tie[0] for tie in ties]] - move / step
                missed = float(abs(np.linalg.solve(implicit, error)).max())
                miss = missed / max(most, self.recursion.rounding)
                if miss <= 0.5:
                    return trial, step, most, miss
            step *= 0.25
        raise FloorNotFoundError("the steps along the flow of the recursion became too small")

    def poles(self, x: F64) -> list[tuple[list[int], F64, F64]]:
        """Return the entries, eigenvalues and eigenvectors of every group, linearised at x."""
        groups = self.variables.groups
        sizes = self.variables.sizes(self.variables.unpack(x), self.head_size)
        # Groups do not act on each other, so one difference gives a column of every block.
        most = max(len(group) for group in groups)
        chosen = [[group[place] for group in groups if group[place:]] for place in range(most)]
        _, columns = self._differences(x, sizes, chosen)
        return [
            (group, *np.linalg.eig(columns[group][:, : len(group)])) for group in groups if group
        ]

    def _scaled_rates(self, points: F64, sizes: F64) -> F64:
        """Return the rates at some points, (points, entries), relative to the sizes of entries."""
        rates = self.recursion.rates(self.variables.unpack(points))
        scaled: F64 = self.variables.pack(rates) / sizes
        return scaled

    def _differences(self, x: F64, sizes: F64, chosen: list[list[int]]) -> tuple[F64, F64]:
        """Return the scaled rates at x, and their derivatives along sums of chosen entries.

        Column j of the derivatives, (entries, columns), is along the sum of the entries chosen[j].
        """
        step = max(STEP, self.recursion.rounding)
        moves = np.zeros((len(chosen), x.size))
        for move, entries in zip(moves, chosen, strict=True):
            move[entries] = step * sizes[entries]
        rates = self._scaled_rates(np.concatenate([x[None], x + moves, x - moves]), sizes)
        ahead, behind = rates[1 : len(chosen) + 1], rates[len(chosen) + 1 :]
        return rates[0], ((ahead - behind) / (2 * step)).T

    def _reduced(self, x: F64, sizes: F64) -> tuple[F64, F64]:
        """Return the scaled rates of the tied even entries (p,), and their Jacobian (p, p)."""
        ties = self.variables.ties
        first = [tie[0] for tie in ties]
        rates, columns = self._differences(x, sizes, ties)
        return rates[first], columns[first]

    def _is_inside(self, x: F64) -> bool:
        """Return whether A is positive definite, and V positive semi-definite up to rounding."""
        if not np.isfinite(x).all():
            return False
        state = self.variables.unpack(x)
        values = np.linalg.eigvalsh(state.V)
        return bool(np.linalg.eigvalsh(state.A)[0] > 0.0 and values[0] >= -1e-9 * values[-1])


def find_attractor(
    recursion: Recursion,
    start: State,
    classes: tuple[int, ...],
    axes: frozenset[int],
    head_size: float,
) -> State | None:
    """Return the attracting fixed point to which the flow leads, or None if there is none.

    A fixed point attracts if the linearised recursion has no eigenvalue outside the unit circle. If
    a fixed point is unstable in a direction that breaks its symmetry, the search continues from a
    point that is displaced in this direction, with `axes` enlarged. An eigenvalue of 1, which a
    symmetry of the law of heads causes, counts as stable.
    """
    crossed = np.nonzero(np.triu(start.A, 1) + np.triu(start.V, 1) + np.diag(start.b))
    axes = axes.union(*(part.tolist() for part in crossed))
    while True:
        variables = Variables(start.b.size, recursion.moves_head, axes, classes)
        flow = Flow(recursion, variables, head_size)
        x = flow.run(variables.pack(start))
        if x is None:
            return None
        poles = flow.poles(x)
        slack = 1.0 + recursion.beta * NEUTRAL * max(abs(values).max() for _, values, _ in poles)
        unstable = [item for item in poles if abs(1.0 + recursion.beta * item[1]).max() > slack]
        if not unstable:
            return variables.unpack(x)
        group, values, vectors = max(unstable, key=lambda item: float(item[1].real.max()))
        if group == variables.groups[0] or 1.0 + recursion.beta * values.real.max() <= slack:
            return None
        direction = vectors[:, values.real.argmax()].real
        sizes = variables.sizes(variables.unpack(x), head_size)[group]
        x[group] += ESCAPE * direction / abs(direction).max() * sizes
        axes = axes.union(*(variables.entries[index][1:] for index in group))
        start = variables.unpack(x)
