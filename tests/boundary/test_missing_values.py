"""Masked values and quantities with units raise one sentence wherever they are passed."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

import metaspan as ms
from matching import assert_one_sentence
from metaspan._support import check as _check
from metaspan.study import fit_laws, fit_powers

D, K, N, M = 8, 2, 3, 6
RNG = np.random.default_rng(5)
X, Y = RNG.standard_normal((N, M, D)), RNG.standard_normal((N, M))
B, B_STAR = (np.linalg.qr(RNG.standard_normal((D, K)))[0] for _ in range(2))
W, HEADS = np.array([0.5, -1.0]), RNG.standard_normal((N, K))
BATCH, TASKS = ms.TaskBatch.split(X, Y, 2), ms.LinearTasks(d=D, k=K)
VALUES = np.repeat([100.0, 300.0, 1000.0, 3000.0], 3)
STEPS = {"alpha": 0.1, "beta": 0.1}


class Quantity(np.ndarray):
    """A quantity as Astropy and unyt have it: an array with a unit."""

    unit = "cm"


class Wrapped:
    """A quantity as Pint has it: it wraps an array, and gives it away."""

    def __init__(self, array):
        self.magnitude = np.asarray(array)

    @property
    def units(self):
        return "cm"

    def __array__(self, dtype=None, copy=None):
        return self.magnitude

    def __len__(self):
        return len(self.magnitude)


class Lazy:
    """An array of another library that is computed when it is converted, to a masked one."""

    def __init__(self, array):
        self.array = array

    def __array__(self, dtype=None, copy=None):
        return self.array


class Chunked:
    """An array of another library in chunks, whose parts are masked arrays."""

    chunks = ((1, 1, 1),)

    def __init__(self, array):
        self.array, self.shape, self.dtype = array, array.shape, array.dtype

    def __getitem__(self, part):
        return self.array[part]


class Dask(Chunked):
    """The same as Dask has it: computing keeps the mask, converting drops it."""

    def __dask_graph__(self):
        return {}

    def compute(self):
        return self.array

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.array)

    def __getitem__(self, part):
        return Dask(self.array[part])


def hide(array):
    """Return a masked array in which the first element is missing."""
    values = np.array(array)
    values.flat[0] = -999.0
    return np.ma.masked_equal(values, -999.0)


def quantity(array):
    return np.array(array).view(Quantity)


def train(tasks=TASKS, **settings):
    return ms.train(tasks, "anil", **{"rounds": 2, "n": 3, **STEPS, **settings})


def drawn(change, **law):
    """A run on what a function of heads or features returns."""
    (name,) = law
    sizes = {"m_in": 4, "m_out": 4} if name == "features" else {}
    function = {name: lambda generator, *shape: change(generator.standard_normal(shape))}
    return train(ms.LinearTasks(d=D, k=K, **function), **sizes)


# Name of the argument, and a call that gets it changed.
EVERYWHERE = {
    "X_in": lambda f: ms.TaskBatch(f(X), Y, X, Y),
    "y_in": lambda f: ms.TaskBatch(X, f(Y), X, Y),
    "X_out": lambda f: ms.TaskBatch(X, Y, f(X), Y),
    "y_out": lambda f: ms.TaskBatch(X, Y, X, f(Y)),
    "X_in[1]": lambda f: ms.TaskBatch([X[0], f(X[1]), X[2]], list(Y), X, Y),
    "y_in[1]": lambda f: ms.TaskBatch(list(X), [Y[0], f(Y[1]), Y[2]], X, Y),
    "X": lambda f: ms.TaskBatch.split(f(X), Y, 2, check_finite=False),
    "y": lambda f: ms.adapt(B, W, X, f(Y), "anil", alpha=0.1),
    "B_star": lambda f: ms.TaskBatch(X, Y, X, Y, B_star=f(B_STAR)),
    "heads": lambda f: ms.TaskBatch(X, Y, X, Y, heads=f(HEADS)),
    "B_star of tasks": lambda f: ms.LinearTasks(d=D, k=K, B_star=f(B_STAR)),
    "heads in a list": lambda f: ms.LinearTasks(d=D, k=K, heads=[HEADS[0], f(HEADS[1])]),
    "heads of a prediction": lambda f: ms.theory.diversity(f(np.ones((N, K))), K),
    "heads of diversity": lambda f: ms.diversity(f(HEADS)),
    "spectrum": lambda f: ms.LinearTasks(d=K, k=1, spectrum=f([1.0, 2.0])),
    "cov": lambda f: ms.GaussianHeads(cov=f([1.0, 2.0])),
    "mean": lambda f: ms.GaussianHeads(mean=f([1.0, 2.0])),
    "what heads() returns": lambda f: drawn(f, heads=None),
    "what features() returns": lambda f: drawn(f, features=None),
    "B0": lambda f: train(init=(f(B), W)),
    "w0": lambda f: train(init=(B, f(W))),
    "B": lambda f: ms.subspace_distance(f(B), B_STAR),
    "B_star of angles": lambda f: ms.principal_angles(B, f(B_STAR)),
    "B of a gradient": lambda f: ms.meta_gradient(f(B), W, BATCH, "anil", **STEPS),
    "w": lambda f: ms.meta_gradient(B, f(W), BATCH, "anil", **STEPS),
    "B of a limit": lambda f: ms.population_gradient(f(B), W, B_STAR, HEADS, "anil"),
    "B_star of a limit": lambda f: ms.population_gradient(B, W, f(B_STAR), HEADS, "anil"),
    "heads of a limit": lambda f: ms.population_gradient(B, W, B_STAR, f(HEADS), "anil"),
    "M": lambda f: ms.evaluate((f(np.eye(K)), np.zeros((1, K))), W, TASKS, "anil", alpha=0.1),
    "rounds": lambda f: ms.theory.fading(TASKS, "fo-anil", 4, f([10.0, 20.0]), **STEPS),
    "rounds of a decay": lambda f: ms.theory.decay(0.5, (10, 1e-3))(f([10.0, 20.0])),
    "through": lambda f: ms.theory.decay(0.5, through=f([10.0, 1e-3]))(9.0),
    "x": lambda f: fit_laws(f(VALUES), VALUES),
    "d": lambda f: fit_powers({"d": f(VALUES)}, VALUES),
}  # fmt: skip


@pytest.mark.parametrize("where", EVERYWHERE)
def test_masked_values_are_missing_values(where):
    name = where.split(" of ")[0].split(" in ")[0]
    words = [f"{name} must have no missing values; ", " masked: fill them in"]
    assert_one_sentence(lambda: EVERYWHERE[where](hide), ValueError, words)


@pytest.mark.parametrize("where", EVERYWHERE)
def test_a_mask_that_hides_nothing_changes_nothing(where):
    plain, masked = (EVERYWHERE[where](kind) for kind in (np.array, np.ma.masked_array))
    assert repr(plain) == repr(masked)


@pytest.mark.parametrize("change", [quantity, Wrapped])
@pytest.mark.parametrize("where", EVERYWHERE)
def test_units_are_not_dropped(where, change):
    name = where.split(" of ")[0].split(" in ")[0]
    words = [f"{name} must be plain numbers, without a physical unit", "with the unit cm"]
    if change is Wrapped and where == "heads of a prediction":
        words = ["heads must be a GaussianHeads"]  # no array at all
    assert_one_sentence(lambda: EVERYWHERE[where](change), TypeError, words)


def test_arrays_under_a_mask_that_hides_nothing_are_not_copied(tmp_path):
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    for given in (X, mapped):
        batch = ms.TaskBatch(np.ma.array(given, copy=False), Y, X, Y)
        assert not isinstance(batch.X_in, np.ma.MaskedArray)
        assert np.shares_memory(batch.X_in, given)
        assert batch.on_disk == (given is mapped)
    tasks = ms.LinearTasks(d=D, k=K, B_star=np.ma.array(B_STAR, copy=False))
    assert np.shares_memory(tasks.B_star, B_STAR)


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        ([np.ma.masked, 1.0], (2,)),
        ([1.0, hide([1.0])[0]], (2,)),
        ([Lazy(hide([1.0])), [2.0]], (2, 1)),
        (Lazy(hide(W)), (2,)),
        (Dask(hide(W)), (2,)),
        ([[1.0, 2.0], Dask(hide(W))], (2, 2)),
    ],
    ids=["constant", "item", "lazy-in-list", "lazy", "dask", "dask-in-list"],
)
def test_masked_values_within_lists_and_other_objects(value, shape):
    with pytest.raises(ValueError, match=r"mean must have no missing values; 1 of [12] are masked"):
        _check.small("mean", value, shape)


def test_scalars_that_are_masked_or_have_a_unit():
    for call in (
        lambda value: ms.LinearTasks(d=D, k=K, noise=value),
        lambda value: ms.SphereHeads(radius=value),
        lambda value: ms.ANIL(alpha=value),
    ):
        with pytest.raises(TypeError, match="must be a number; got a masked value"):
            call(np.ma.masked)
        with pytest.raises(TypeError, match=r"must be a number; got an array.* the unit cm"):
            call(quantity(0.1))
    with pytest.raises(TypeError, match="d must be an integer; got a masked value"):
        ms.LinearTasks(d=np.ma.masked, k=K)
    with pytest.raises(ValueError, match="first must have no missing values"):
        ms.log_range(np.ma.masked_array(5.0, mask=True), 10, 3)


@pytest.mark.parametrize("kind", [Chunked, Dask])
def test_chunks_of_masked_arrays(kind):
    for whole, y in ((hide(X), Y), (X, hide(Y))):
        with pytest.raises(ValueError, match=r"[Xy] must have no missing values; 1 of"):
            ms.TaskBatch.split(kind(whole), kind(y), 2)
    late = ms.TaskBatch.split(kind(hide(X)), Y, 2, check_finite=False)
    with pytest.raises(ValueError, match="X must have no missing values; 1 of"):
        ms.meta_gradient(B, W, late, "anil")
    given = ms.TaskBatch.split(kind(np.ma.masked_array(X)), kind(np.ma.masked_array(Y)), 2)
    found, expected = (ms.meta_gradient(B, W, batch, "anil").B for batch in (given, BATCH))
    np.testing.assert_array_equal(found, expected)
    assert given.on_disk
    with pytest.raises(TypeError, match=r"X must be plain numbers.*Q with the unit cm"):
        ms.TaskBatch.split(type("Q", (kind,), {"units": "cm"})(X), Y, 2)


def test_rows_without_a_measurement_are_left_out_of_a_fit():
    y = np.sqrt(VALUES)
    gaps = np.where(np.arange(y.size) == 4, np.nan, y)
    expected = fit_laws(VALUES, gaps)
    masked = np.ma.masked_array(np.where(np.isnan(gaps), 1e9, y), np.isnan(gaps))
    for given in (masked, list(masked)):
        found = fit_laws(VALUES, given)
        assert found.left_out == 1
        assert repr(found) == repr(expected)


def test_a_prediction_has_gaps_where_it_is_masked():
    r = train(rounds=20)
    ax = ms.plot(r, predictions={"p": lambda t: np.ma.masked_greater(0.1 * t + 0.1, 1.0)})
    drawn = next(line for line in ax.get_lines() if line.get_label() == "p").get_ydata()
    plt.close("all")
    assert np.nanmax(drawn) <= 1.0
    assert np.isnan(drawn).any()


@pytest.mark.parametrize("kind", [np.matrix, np.memmap, np.recarray])
def test_other_kinds_of_arrays_stay_accepted(kind, tmp_path):
    np.save(tmp_path / "B.npy", B)
    mapped = np.load(tmp_path / "B.npy", mmap_mode="r")
    given = mapped if kind is np.memmap else B.view(kind)
    assert ms.subspace_distance(given, B_STAR) == ms.subspace_distance(B, B_STAR)
    found, expected = (ms.adapt(each, W, X, Y, "anil", alpha=0.1) for each in (given, B))
    np.testing.assert_array_equal(found, expected)
