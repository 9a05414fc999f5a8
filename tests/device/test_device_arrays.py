"""Rounds on data at full size agree between the devices, for every method and every route."""

import warnings

import numpy as np
import pytest

import metaspan as ms
from data_runs import RECORDS, Case, build, error_of
from devices import assert_device_is_free, emulator, limited_memory
from matching import relative_error
from method_table import METHODS, batch_of

pytestmark = pytest.mark.cuda

EVERY = [
    pytest.param(method, id=f"{name}-{i}")
    for name, methods in METHODS.items()
    for i, method in enumerate(methods)
    if name != "`privacy=` with noise"
]
# Sets of different sizes, single samples, shared sets, a width of 1, more than one panel of tasks.
CASES = {
    "ragged": Case(37, 3, 2, (4, 6, 4), (5, 2, 1)),
    "shared": Case(20, 2, 2, (6, 4, 6), (6, 4, 6), shared=(0, 1, 2)),
    "partly-shared": Case(20, 2, 2, (4, 6, 4), (4, 3, 2), shared=(0,)),
    "single": Case(33, 1, 1, (1,) * 3, (1,) * 3),
    "panels": Case(19, 2, 3, (2, 4, 6) * 23, (3, 1, 2) * 23),
}


def gradients(method, case, route, **options):
    """The gradient of one method on both devices."""
    B, w, _, batch = build(CASES[case])
    if isinstance(method, ms.LinearMAML):
        w = np.ones(1)
    point = (B, B + 1.0) if isinstance(method, ms.LinearAttention) else (B, w)
    return [
        ms.meta_gradient(*point, batch, method, route=route, device=device, **options)
        for device in ("cpu", "cuda")
    ]


def assert_close(found, expected, tolerance=1e-12):
    for name, values in vars(expected).items():
        if values is not None:
            assert relative_error(getattr(found, name), values) < tolerance, name


@pytest.mark.parametrize("route", ["gram", "vector"])
@pytest.mark.parametrize("method", EVERY)
def test_gradient_of_every_method(method, route):
    """Sets of 4, 6 and 4 samples, which the fresh steps of FedAvg divide."""
    case = "single" if isinstance(method, ms.LinearMAML) else "ragged"
    assert_close(*gradients(method, case, route)[::-1])


@pytest.mark.parametrize("route", ["gram", "vector"])
@pytest.mark.parametrize("method", ["anil", "maml"])
@pytest.mark.parametrize("case", CASES)
def test_gradient_of_every_case(case, method, route):
    steps = {"alpha": 0.02, "inner_steps": 2}
    assert_close(*gradients(method, case, route, **steps)[::-1])


@pytest.mark.parametrize("losses", [True, False])
def test_gradient_without_losses(losses):
    assert_close(*gradients("maml", "ragged", "gram", alpha=0.02, losses=losses)[::-1])


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("of_B", ["float32", "float64"])
def test_gradient_of_every_type(dtype, of_B):
    """Sums are in double, so only the rounding of the gradient to the type of B differs."""
    B, w, _, batch = build(CASES["ragged"], dtype=np.dtype(dtype))
    cpu, cuda = (
        ms.meta_gradient(B.astype(of_B), w, batch, "maml", alpha=0.02, device=device)
        for device in ("cpu", "cuda")
    )
    assert cuda.B.dtype == cpu.B.dtype
    assert_close(cuda, cpu, 1e-12 if of_B == "float64" else 1e-6)


@pytest.mark.parametrize("return_B", [False, True])
@pytest.mark.parametrize("method", ["anil", "maml", "ridge-anil", "linear-attention", "fedavg"])
def test_adapted_heads_agree(method, return_B):
    B, w, _, batch = build(CASES["panels"])
    point = (B, B + 1.0) if method == "linear-attention" else (B, w)
    steps = {} if method == "ridge-anil" else {"alpha": 0.02}
    results = [
        ms.adapt(*point, batch.X_in, batch.y_in, method, return_B=return_B, device=device, **steps)
        for device in ("cpu", "cuda")
    ]
    cpu, cuda = results if return_B else [(heads,) for heads in results]
    for found, expected in zip(cuda, cpu, strict=True):
        assert relative_error(found, expected) < 1e-12


def test_data_on_disk_have_the_bits_of_data_in_memory(tmp_path):
    h5py = pytest.importorskip("h5py")
    B, w, _, batch = build(Case(23, 3, 2, (6,) * 5, (4,) * 5))
    with h5py.File(tmp_path / "data.h5", "w") as file:
        X = [file.create_dataset(name, data=getattr(batch, name)) for name in ("X_in", "X_out")]
        stored = ms.TaskBatch(X[0], batch.y_in, X[1], batch.y_out)
        results = [
            ms.meta_gradient(B, w, data, "maml", alpha=0.02, device="cuda")
            for data in (batch, stored)
        ]
    np.testing.assert_array_equal(results[0].B, results[1].B)


def test_evaluation_on_a_batch():
    B, w, _, batch = build(Case(23, 3, 2, (6,) * 5, (4,) * 5))
    cpu, cuda = (
        ms.evaluate(B, w, batch, "maml", alpha=0.02, device=device) for device in ("cpu", "cuda")
    )
    for name, risk in vars(cpu).items():
        if isinstance(risk, type(cpu.adapted)) and np.isfinite(risk.mean):
            # Conjugate gradients solve the pooled regression to a residual of 1e-6.
            tolerance = 1e-6 if name == "pooled" else 1e-9
            assert getattr(cuda, name).mean == pytest.approx(risk.mean, rel=tolerance), name


def trained(case, method, device, **changes):
    B, w, _, batch = build(CASES[case])
    settings = {"rounds": 6, "stop": None, "threads": 1, "init": (B, w), **changes}
    return ms.train(batch, method, device=device, **settings)


MEMORY = ms.OuterStep(momentum=0.5, lookahead=(2, 0.5), average=True)
STEPS = {
    "plain": ms.MAML(alpha=0.02, beta=0.03),
    "memory": ms.MAML(alpha=0.02, beta=0.03, step=MEMORY),
    "adam": ms.MAML(alpha=0.02, beta=0.03, step=ms.OuterStep(rule="adam")),
    "orthonormal": ms.AltGDmin(beta=0.03),
}


@pytest.mark.parametrize("route", ["gram", "vector"])
@pytest.mark.parametrize("step", STEPS)
def test_training_with_every_outer_step(step, route):
    method = STEPS[step]
    cpu, cuda = (
        trained("ragged", method, device, record=RECORDS, route=route) for device in ("cpu", "cuda")
    )
    assert cuda.config.device == "cuda"
    assert relative_error(cuda.B, cpu.B) < 1e-11
    assert relative_error(cuda.w, cpu.w) < 1e-11
    for name in RECORDS:
        assert error_of(name, cuda.trace[name], cpu.trace[name]) < 1e-10, name


def test_training_with_noise_and_chosen_tasks():
    """The noise of (30) and the tasks of a round have the random bits of the CPU."""
    method = ms.ANIL(alpha=0.02, privacy=ms.UserDP(clip=1.0, multiplier=1.0))
    cpu, cuda = (trained("panels", method, device, n=40, trials=2) for device in ("cpu", "cuda"))
    assert relative_error(cuda.B, cpu.B) < 1e-11
    assert relative_error(cuda.w, cpu.w) < 1e-11


def test_same_bits_from_run_to_run():
    first, second = (trained("panels", "maml", "cuda", alpha=0.02) for _ in range(2))
    np.testing.assert_array_equal(first.B, second.B)


def test_divergence_is_seen_in_the_same_round():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cpu, cuda = (
            trained("ragged", "maml", device, alpha=0.5, beta=1e30, rounds=50)
            for device in ("cpu", "cuda")
        )
    assert cuda.status == cpu.status == ms.Status.DIVERGED
    assert cuda.status.round == cpu.status.round
    assert np.isfinite(cuda.B).all()


@pytest.mark.parametrize("devices", [("cpu", "cuda"), ("cuda", "cpu")])
@pytest.mark.parametrize("step", ["plain", "memory"])
def test_checkpoint_continues_on_the_other_device(devices, step, tmp_path):
    method = STEPS[step]
    whole = trained("ragged", method, "cpu", route="gram")
    path = tmp_path / "run.npz"
    trained("ragged", method, devices[0], rounds=3, route="gram", checkpoint=path)
    resumed = trained("ragged", method, devices[1], checkpoint=path)
    assert relative_error(resumed.B, whole.B) < 1e-11
    np.testing.assert_array_equal(resumed.trace["round"], whole.trace["round"])


def test_device_continues_a_dual_checkpoint(tmp_path):
    """No device has the dual route; the run continues from its B, if that is all of its state."""
    path = tmp_path / "run.npz"
    whole = trained("ragged", STEPS["plain"], "cpu", route="gram")
    trained("ragged", STEPS["plain"], "cpu", rounds=3, route="dual", checkpoint=path)
    resumed = trained("ragged", STEPS["plain"], "cuda", checkpoint=path)
    assert resumed.config.route == "gram"
    assert relative_error(resumed.B, whole.B) < 1e-11
    again = trained("ragged", STEPS["plain"], "cuda", rounds=8, checkpoint=path)
    assert again.trace["round"][-1] == 8


def test_device_refuses_a_dual_checkpoint_with_memory(tmp_path):
    path = tmp_path / "run.npz"
    trained("ragged", STEPS["memory"], "cpu", rounds=3, route="dual", checkpoint=path)
    with pytest.raises(ValueError, match=r"route must be .* for device='cuda'.*got 'dual'"):
        trained("ragged", STEPS["memory"], "cuda", checkpoint=path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"route": "dual"}, "route must be 'auto', 'gram' or 'vector' for device='cuda'"),
        ({"accumulate": "float32"}, "accumulate must be 'float64' for device='cuda'"),
    ],
)
def test_settings_without_a_device_form_are_named(changes, message):
    B, w, _, batch = build(CASES["ragged"], dtype=np.float32)
    settings = {"init": (B.astype(np.float32), w), "alpha": 0.02, "rounds": 1}
    with pytest.raises(ValueError, match=message):
        ms.train(batch, "anil", device="cuda", **settings, **changes)


def test_sparse_data_and_functions_of_features_stay_on_the_cpu():
    with pytest.raises(ValueError, match="device must be 'cpu' for sparse data"):
        ms.train(batch_of(True), "anil", alpha=0.02, width=2, device="cuda")
    tasks = ms.LinearTasks(d=9, k=2, features=lambda rng, rows, d: rng.standard_normal((rows, d)))
    settings = {"n": 2, "m_in": 3, "m_out": 3, "rounds": 1, "alpha": 0.02}
    with pytest.raises(ValueError, match="device must be 'cpu' for features that a function"):
        ms.train(tasks, "anil", device="cuda", **settings)


SAMPLED = {
    "gaussian": {},
    "student-t": {"features": ms.StudentT(dof=5)},
    "sphere": {"features": "sphere"},
    "rademacher": {"features": "rademacher"},
    "uniform": {"features": "uniform"},
    "spectrum": {"spectrum": 0.5},
    "spread": {"spread": 0.5},
}


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("method", ["anil", "maml"])
@pytest.mark.parametrize("law", SAMPLED)
def test_sampled_training(law, method, shared):
    tasks = ms.LinearTasks(d=21, k=2, noise=0.1, **SAMPLED[law])
    settings = {"n": 5, "m_in": 3, "m_out": None if shared else 4, "shared_samples": shared}
    settings |= {"engine": "sampled", "rounds": 4, "stop": None, "alpha": 0.05, "beta": 0.1}
    cpu, cuda = (ms.train(tasks, method, device=d, **settings) for d in ("cpu", "cuda"))
    assert relative_error(cuda.B, cpu.B) < 1e-11
    assert relative_error(cuda.w, cpu.w) < 1e-11


def test_pool_at_full_size():
    tasks = ms.LinearTasks(d=21, k=2, noise=0.1)
    settings = {
        "pool": 4,
        "n": 3,
        "m_in": 3,
        "m_out": 4,
        "engine": "arrays",
        "rounds": 4,
        "trials": 2,
    }
    cpu, cuda = (
        ms.train(tasks, "anil", device=d, alpha=0.05, beta=0.1, **settings) for d in ("cpu", "cuda")
    )
    assert relative_error(cuda.B, cpu.B) < 1e-11


@pytest.fixture
def module():
    """The emulated module, which holds nothing after a test."""
    emulated = emulator()
    if emulated is None:
        pytest.skip("the memory of a card cannot be set")
    yield emulated
    assert_device_is_free()


def test_device_that_is_too_small_for_B(module):
    B, w, _, batch = build(CASES["ragged"])
    message = r"^B of shape \(37, 3\) needs .* the device has 2 kB free"
    with limited_memory(2000):
        with pytest.raises(MemoryError, match=message):
            trained("ragged", "anil", "cuda", alpha=0.02)
        assert module.live_bytes() == 0
        with pytest.raises(MemoryError, match="B of shape"):
            ms.meta_gradient(B, w, batch, "anil", alpha=0.02, device="cuda")


def test_memory_is_given_back_after_an_interruption(module, monkeypatch):
    """An exception within the run, like that of Ctrl-C, gives back all device memory."""

    def interrupt(done, total):
        if done:
            raise KeyboardInterrupt

    with pytest.raises(ms.Interrupted) as interrupted:
        trained("ragged", "anil", "cuda", alpha=0.02, rounds=10**6, progress=interrupt)
    del interrupted
