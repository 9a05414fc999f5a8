"""Transformations that leave a gradient unchanged, or change it in a known way."""

from typing import NamedTuple

import numpy as np
import pytest

import metaspan as ms
import reference as ref
from matching import METHODS, batch_of, problem, relative_error


class Scene(NamedTuple):
    """A point and the two kinds of data there."""

    B: np.ndarray
    w: np.ndarray
    tasks: list
    B_star: np.ndarray
    heads: np.ndarray

    def gradients(self, method, B=None, w=None, route="auto"):
        """On arrays, and on population losses."""
        B, w = self.B if B is None else B, self.w if w is None else w
        return (
            ms.meta_gradient(B, w, batch_of(self.tasks), method, route=route),
            ms.population_gradient(B, w, self.B_star, self.heads, method),
        )


@pytest.fixture
def scene(rng):
    B, w, tasks = problem(rng, d=11, width=4, k_star=3, m_in=(5, 2, 8, 3), m_out=(4, 7, 1, 6))
    return Scene(B, w, tasks, ref.frame(rng, 11, 3), rng.standard_normal((5, 3)))


@pytest.mark.parametrize("inner_steps", [0, 1, 3])
@pytest.mark.parametrize("name", METHODS)
def test_rotation_of_the_learner_rotates_the_gradient(rng, scene, name, inner_steps):
    """(B Q, Q^T w) is the same learner, so its losses stay."""
    Q, method = ref.frame(rng, 4, 4), METHODS[name](alpha=0.1, inner_steps=inner_steps)
    turned = scene.gradients(method, scene.B @ Q, Q.T @ scene.w)
    for plain, rotated in zip(scene.gradients(method), turned, strict=True):
        assert relative_error(rotated.B, plain.B @ Q) < 1e-13
        assert relative_error(rotated.w, Q.T @ plain.w) < 1e-13
        assert relative_error(rotated.loss_out, plain.loss_out) < 1e-13
        assert relative_error(rotated.loss_adapted, plain.loss_adapted) < 1e-13


@pytest.mark.parametrize("name", METHODS)
def test_rotation_of_feature_space_rotates_the_gradient(rng, scene, name):
    U, method = ref.frame(rng, 11, 11), METHODS[name](alpha=0.1, inner_steps=2)
    moved = scene._replace(
        B=U @ scene.B,
        tasks=[tuple(ref.Samples(X @ U.T, y) for X, y in task) for task in scene.tasks],
        B_star=U @ scene.B_star,
    )
    for plain, rotated in zip(scene.gradients(method), moved.gradients(method), strict=True):
        assert relative_error(rotated.B, U @ plain.B) < 1e-13
        assert relative_error(rotated.w, plain.w) < 1e-13


@pytest.mark.parametrize("name", METHODS)
def test_order_of_tasks_only_permutes_what_is_per_task(scene, name):
    tasks_order, heads_order = [2, 0, 3, 1], [4, 2, 0, 1, 3]
    shuffled = scene._replace(
        tasks=[scene.tasks[i] for i in tasks_order], heads=scene.heads[heads_order]
    )
    method = METHODS[name](alpha=0.1, inner_steps=2)
    for plain, found, order in zip(
        scene.gradients(method), shuffled.gradients(method), (tasks_order, heads_order), strict=True
    ):
        assert relative_error(found.B, plain.B) < 1e-14
        assert relative_error(found.w, plain.w) < 1e-14
        assert relative_error(found.loss_out, plain.loss_out[order]) < 1e-14


@pytest.mark.parametrize("name", METHODS)
def test_gradient_of_many_tasks_is_the_mean_of_theirs(scene, name):
    method = METHODS[name](alpha=0.1, inner_steps=2)
    alone = [
        [scene._replace(tasks=[task]).gradients(method)[0] for task in scene.tasks],
        [scene._replace(heads=head[None]).gradients(method)[1] for head in scene.heads],
    ]
    for together, parts in zip(scene.gradients(method), alone, strict=True):
        assert relative_error(together.B, np.mean([g.B for g in parts], axis=0)) < 1e-14
        assert relative_error(together.w, np.mean([g.w for g in parts], axis=0)) < 1e-14


def test_block_and_list_of_the_same_tasks_agree(rng):
    """A stack (n, m, d) and a list of its matrices describe the same tasks."""
    X, y = rng.standard_normal((6, 12, 9)), rng.standard_normal((6, 12))
    B, w = rng.standard_normal((9, 3)), rng.standard_normal(3)
    block = ms.TaskBatch.split(X, y, m_in=5)
    lists = ms.TaskBatch(
        [x[:5] for x in X], [t[:5] for t in y], [x[5:] for x in X], [t[5:] for t in y]
    )
    for make in METHODS.values():
        one, other = (ms.meta_gradient(B, w, batch, make(alpha=0.1)) for batch in (block, lists))
        np.testing.assert_array_equal(one.B, other.B)
        np.testing.assert_array_equal(one.w, other.w)


@pytest.mark.parametrize("name", METHODS)
def test_small_alpha_approaches_average_risk_linearly(scene, name):
    baseline = scene.gradients(ms.AverageRisk())

    def gaps(alpha):
        found = scene.gradients(METHODS[name](alpha=alpha, inner_steps=3))
        return [g.B - average.B for g, average in zip(found, baseline, strict=True)]

    for at_zero, at_small, at_double in zip(gaps(0.0), gaps(1e-6), gaps(2e-6), strict=True):
        assert abs(at_zero).max() < 1e-14
        assert abs(at_small).max() > 1e-8
        assert relative_error(at_double, 2 * at_small) < 1e-3


@pytest.mark.parametrize("name", METHODS)
def test_no_inner_steps_is_average_risk(scene, name):
    """Bit for bit on one route; the Gram route sums the two inner losses in different orders."""
    found = scene.gradients(METHODS[name](alpha=0.3, inner_steps=0), route="vector")
    averages = scene.gradients(ms.AverageRisk(), route="vector")
    for gradient, average in zip(found, averages, strict=True):
        np.testing.assert_array_equal(gradient.B, average.B)
        np.testing.assert_array_equal(gradient.w, average.w)
        np.testing.assert_array_equal(gradient.loss_adapted, gradient.loss_in)


def test_maml_is_anil_while_its_inner_loop_leaves_the_representation(scene):
    """One step from w = 0 has g w^T = 0, so B_1 = B: the same losses, and the same way for B.

    First-order methods agree in all; the exact gradients differ in w, where MAML also sees how w
    would have moved B.
    """
    zero = np.zeros(4)
    for first_order in (True, False):
        anil = scene.gradients(ms.ANIL(alpha=0.1, first_order=first_order), w=zero)
        maml = scene.gradients(ms.MAML(alpha=0.1, first_order=first_order), w=zero)
        for a, b in zip(anil, maml, strict=True):
            assert relative_error(b.B, a.B) < 1e-14
            assert relative_error(b.loss_out, a.loss_out) < 1e-14
            assert (relative_error(b.w, a.w) < 1e-14) == first_order


@pytest.mark.parametrize("name", METHODS)
def test_threads_do_not_change_a_bit_of_a_gradient(rng, name):
    """The tasks and features are enough to give every thread several pieces."""
    sizes = tuple(1 + i % 9 for i in range(77))
    B, w, tasks = problem(rng, d=1037, width=5, k_star=3, m_in=sizes, m_out=sizes[::-1])
    batch, method = batch_of(tasks), METHODS[name](alpha=0.02, inner_steps=2)
    B_star, heads = ref.frame(rng, 1037, 3), rng.standard_normal((200, 3))
    for gradient in (
        lambda threads: ms.meta_gradient(B, w, batch, method, threads=threads),
        lambda threads: ms.population_gradient(B, w, B_star, heads, method, threads=threads),
    ):
        one = gradient(1)
        for threads in (2, 4):
            other = gradient(threads)
            for field in ("B", "w", "loss_in", "loss_adapted", "loss_out"):
                np.testing.assert_array_equal(getattr(other, field), getattr(one, field))


@pytest.mark.parametrize("adapted_B", [False, True])
def test_threads_do_not_change_a_bit_of_an_adaptation(rng, adapted_B):
    sizes = tuple(1 + i % 9 for i in range(77))
    B, w, tasks = problem(rng, d=1037, width=5, k_star=3, m_in=sizes, m_out=sizes)
    batch, method = batch_of(tasks), ms.MAML(alpha=0.02, inner_steps=2)

    def adapt(threads):
        found = ms.adapt(B, w, batch.X_in, batch.y_in, method, return_B=adapted_B, threads=threads)
        return found if adapted_B else (found,)

    one = adapt(1)
    for threads in (2, 4):
        for found, expected in zip(adapt(threads), one, strict=True):
            np.testing.assert_array_equal(found, expected)
