"""Arrays in device memory: DLPack both ways, batches of them, and one sentence for each refusal."""

import copy
import pickle

import numpy as np
import pytest

import metaspan as ms
from devices import emulator
from lent_arrays import Tensor, install_library
from metaspan import _device
from metaspan._load import core
from metaspan.tasks import on_device
from metaspan.tasks.batch import core_data

pytestmark = pytest.mark.cuda

n, m, d, k = 3, 4, 7, 2


@pytest.fixture
def library(monkeypatch):
    return install_library(monkeypatch)


@pytest.fixture
def data(rng):
    X, y = rng.standard_normal((n, m, d)), rng.standard_normal((n, m))
    return X, y


def numpy_of(array):
    return array.to_numpy() if isinstance(array, core.DeviceArray) else np.asarray(array)


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_array_is_borrowed_without_a_copy(data, dtype, old):
    lender = Tensor(data[0].astype(dtype), old=old)
    array = on_device.borrow("X", lender)
    assert array.address == lender.held.address
    assert (array.shape, array.dtype, array.ndim) == ((n, m, d), dtype, 3)
    assert lender.streams[-1] == 1  # the legacy default stream
    assert np.array_equal(array.to_numpy(), data[0].astype(dtype))


def test_lender_gives_its_memory_back_after_the_last_view(data):
    module = emulator()
    if module is None:
        pytest.skip("a card counts no bytes")
    before = module.live_bytes()
    array = on_device.borrow("X", Tensor(data[0]))
    view = array[1, 1:, 2]
    del array
    assert module.live_bytes() > before
    assert np.array_equal(view.to_numpy(), data[0][1, 1:, 2])
    capsules = [view.__dlpack__(), view.__dlpack__(max_version=(1, 0))]
    del view
    assert module.live_bytes() > before
    del capsules
    assert module.live_bytes() == before


@pytest.mark.parametrize(
    "index",
    [
        0,
        -1,
        slice(1, None),
        (slice(None), slice(1, 3)),
        (slice(None, None, 2), 1, slice(None, None, 3)),
        (slice(None, None, -1), slice(None, None, -2)),
        (2, 3, 4),
        slice(3, 1),
    ],
)
def test_views_are_those_of_numpy(data, index):
    array, expected = on_device.borrow("X", Tensor(data[0])), data[0][index]
    view = array[index]
    assert view.shape == expected.shape
    assert np.array_equal(view.to_numpy(), expected)
    assert view.is_contiguous == (expected.flags.c_contiguous or not expected.size)


def test_index_out_of_range_is_refused(data):
    array = on_device.borrow("X", Tensor(data[0]))
    for index in (n, -n - 1, (0, m), (0, 0, 0, 0)):
        with pytest.raises(IndexError):
            array[index]


def test_result_is_lent_to_any_library(data, library):
    array = core.DeviceArray.from_numpy(_device.open_device(), data[0])
    assert array.__dlpack_device__() == (2, 0)
    assert np.array_equal(library.from_dlpack(array).held.to_numpy(), data[0])
    assert np.array_equal(np.from_dlpack(Host(array)), data[0])
    assert repr(array) == "DeviceArray(shape=(3, 4, 7), dtype=float64, device=cuda:0)"


class Host:
    """Requests a copy in host memory, as `numpy.from_dlpack(..., device="cpu")` does."""

    def __init__(self, array):
        self.array = array

    def __dlpack_device__(self):
        return (1, 0)

    def __dlpack__(self, **_):
        return self.array.__dlpack__(dl_device=(1, 0))


def test_lending_refuses_what_it_cannot_do(data):
    array = core.DeviceArray.from_numpy(_device.open_device(), data[0])
    with pytest.raises(
        ValueError, match="stream must be -1, 1, 2 or the address of a stream; got 0"
    ):
        array.__dlpack__(stream=0)
    with pytest.raises(BufferError, match="its own device or the CPU only"):
        array.__dlpack__(dl_device=(2, 1))
    with pytest.raises(BufferError, match="without a copy only"):
        array.__dlpack__(copy=True)
    with pytest.raises(TypeError, match=r"copied to NumPy by its method to_numpy\(\)"):
        np.asarray(array)


def test_capsule_is_used_once(data):
    array = core.DeviceArray.from_numpy(_device.open_device(), data[0])
    capsule = array.__dlpack__()
    core.DeviceArray(_device.open_device(), capsule, None)
    with pytest.raises(ValueError, match="must give an unused DLPack capsule"):
        core.DeviceArray(_device.open_device(), capsule, None)


def test_batch_borrows_features_and_copies_responses(data, library):
    X, y = data
    features, responses = Tensor(X), Tensor(y)
    batch = ms.TaskBatch(
        features, responses, B_star=Tensor(np.eye(d, k)), heads=Tensor(np.ones((n, k)))
    )
    assert batch.on_device
    assert batch.shared
    assert not batch.on_disk
    assert batch.X_in.address == features.held.address
    assert np.array_equal(batch.y_in, y)
    assert np.array_equal(batch.B_star, np.eye(d, k))
    assert repr(batch) == "TaskBatch(n=3, m_in=4, m_out=4, d=7, dtype=float64, in device memory)"
    same = ms.TaskBatch(X, y, B_star=np.eye(d, k), heads=np.ones((n, k)))
    assert batch.summary() == same.summary()


def test_parts_of_a_batch_are_views(data):
    X, y = data
    batch = ms.TaskBatch.split(Tensor(X), Tensor(y), m_in=1)
    assert np.array_equal(batch.X_out.to_numpy(), X[:, 1:])
    for tasks in ([2, 0], [0, 2], [1]):
        assert all(
            np.array_equal(numpy_of(part), X[i, :1])
            for part, i in zip(batch.take(tasks).X_in, tasks, strict=True)
        )
    train, held = ms.TaskBatch(Tensor(X), Tensor(y)).hold_out(samples=1)
    assert np.array_equal(held.X_in.to_numpy(), X[:, m - 1 :])
    assert train.m_in == m - 1


def test_ragged_and_stacked_tasks(data, rng):
    rows, y = rng.standard_normal((9, d)), rng.standard_normal(9)
    stacked = ms.TaskBatch.stacked(Tensor(rows), Tensor(y), [0, 2, 5, 9])
    ragged = ms.TaskBatch(
        [Tensor(rows[a:b]) for a, b in ((0, 2), (2, 5), (5, 9))],
        [y[a:b] for a, b in ((0, 2), (2, 5), (5, 9))],
    )
    same = ms.TaskBatch.stacked(rows, y, [0, 2, 5, 9])
    assert stacked.m_in == ragged.m_in == (2, 3, 4)
    assert stacked.summary() == ragged.summary() == same.summary()
    held = ragged.hold_out(samples=0.5)[1]
    assert np.array_equal(held.X_in[2].to_numpy(), rows[7:])


@pytest.mark.parametrize("place", [(0, 0, 0), (n - 1, m - 1, d - 1)])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_are_checked(data, place, value):
    X, y = data
    X[place] = value
    with pytest.raises(ValueError, match="X_in must be finite; it holds a NaN or an infinity"):
        ms.TaskBatch(Tensor(X), y)
    ms.TaskBatch(Tensor(X), y, check_finite=False)
    with pytest.raises(ValueError, match=r"X_in\[\d\] must be finite"):
        ms.TaskBatch([Tensor(task) for task in X], list(y))


def test_values_outside_a_view_are_not_checked(data):
    X, y = data
    X[:, m - 1] = np.nan
    array = on_device.borrow("X", Tensor(X))
    ms.TaskBatch(array[:, : m - 1], y[:, : m - 1])


def test_arrays_elsewhere_are_refused(data):
    X, y = data
    with pytest.raises(ValueError, match="X_in must be in the memory of cuda:0; got cuda:1"):
        ms.TaskBatch(Elsewhere(X), y)
    with pytest.raises(TypeError, match=r"X_in\[1\] must be in device memory, as the other"):
        ms.TaskBatch([Tensor(X[0]), X[1]], list(y[:2]))
    with pytest.raises(TypeError, match="X_out must be in device memory, as X_in is; got host"):
        ms.TaskBatch(Tensor(X), y, X, y)
    with pytest.raises(TypeError, match="X_out must be in host memory, as X_in is; got device"):
        ms.TaskBatch(X, y, Tensor(X), y)


class Elsewhere(Tensor):
    """Lends a capsule of another device, by changing the number of the device in the capsule."""

    def __dlpack__(self, **_):
        return capsule_with(self.held, ordinal=1)


def capsule_with(array, *, ordinal=0, code=2, bits=64, lanes=1):
    """Make a capsule of an array, and change fields of its tensor."""
    import ctypes  # noqa: PLC0415

    capsule = array.__dlpack__()
    pointer = ctypes.pythonapi.PyCapsule_GetPointer
    pointer.restype, pointer.argtypes = ctypes.c_void_p, [ctypes.py_object, ctypes.c_char_p]
    at = pointer(capsule, b"dltensor")
    ctypes.c_int32.from_address(at + 12).value = ordinal
    ctypes.c_uint8.from_address(at + 20).value = code
    ctypes.c_uint8.from_address(at + 21).value = bits
    ctypes.c_uint16.from_address(at + 22).value = lanes
    return capsule


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"code": 4, "bits": 16}, "bfloat16"),
        ({"code": 2, "bits": 16}, "float16"),
        ({"code": 0, "bits": 64}, "int64"),
        ({"code": 5, "bits": 64}, "complex64"),
        ({"code": 6, "bits": 8}, "bool"),
    ],
)
def test_other_dtypes_are_refused(data, fields, name):
    class Other(Tensor):
        def __dlpack__(self, **_):
            return capsule_with(self.held, **fields)

    with pytest.raises(TypeError, match=rf"X_in must be float32 or float64; got {name}"):
        ms.TaskBatch(Other(data[0]), data[1])


def test_layouts_and_shapes_are_refused(data):
    X, y = data
    array = on_device.borrow("X", Tensor(X))
    with pytest.raises(ValueError, match="X_in must be contiguous along its last axis"):
        ms.TaskBatch(array[:, :, ::2], y)
    with pytest.raises(ValueError, match=r"X_in must have shape \(n, m, d\); got \(4, 7\)"):
        ms.TaskBatch(array[0], y)
    with pytest.raises(TypeError, match="X_out must be float64, as the other arrays are"):
        ms.TaskBatch(Tensor(X), y, Tensor(X.astype(np.float32)), y)


def test_refusal_of_a_library_is_one_sentence(data):
    lender = Tensor(data[0], read_only=True)
    with pytest.raises(ValueError, match="X_in must be an array that its library lends") as caught:
        ms.TaskBatch(lender, data[1])
    assert "it says: this array must not be written to" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_host_functions_refuse_device_memory(data):
    batch = ms.TaskBatch(Tensor(data[0]), data[1])
    with pytest.raises(ValueError, match='in device memory, which needs device="cuda"'):
        ms.meta_gradient(np.eye(d, k), np.zeros(k), batch, "anil", alpha=0.1)
    assert core_data(batch) is core_data(batch)


def test_batch_in_device_memory_is_not_pickled(data):
    batch = ms.TaskBatch(Tensor(data[0]), data[1])
    assert copy.copy(batch).on_device
    with pytest.raises(TypeError, match="pickle"):
        pickle.dumps(batch)
