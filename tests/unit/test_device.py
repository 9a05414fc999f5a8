"""The sentences of a device that cannot be used, and the line of show_config()."""

import ctypes
import multiprocessing
from concurrent.futures import ProcessPoolExecutor

import pytest

import metaspan as ms
from devices import emulator
from metaspan import _device
from metaspan._load import core
from metaspan.config.configure import configure
from metaspan.config.devices import ON_CUDA

TASKS = ms.LinearTasks(d=20, k=3)
new_capsule = ctypes.pythonapi.PyCapsule_New
new_capsule.restype = ctypes.py_object
new_capsule.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]


@pytest.fixture
def no_module(monkeypatch):
    monkeypatch.setattr(_device, "MODULES", ["metaspan._absent", "metaspan_absent._cuda"])


def test_device_without_module_names_the_commands(no_module):
    with pytest.raises(ImportError, match=r"pip install . -C cmake.define.METASPAN_CUDA=ON"):
        _device.open_device()
    assert _device.describe_device().startswith('none (device="cuda" needs the device module')
    assert ms.show_config()["device"] == _device.describe_device()


def test_device_is_opened_when_a_run_begins(no_module):
    assert configure(TASKS, "anil", device="cuda").device == "cuda"
    with pytest.raises(ImportError, match="needs the device module"):
        ms.train(TASKS, "anil", device="cuda")


def test_engine_without_a_form_for_devices_is_named(monkeypatch):
    monkeypatch.setitem(ON_CUDA, "population", True)
    with pytest.raises(
        ValueError, match=r"'cpu' for the engine 'limit'; 'cuda' runs the engines .*popul"
    ):
        configure(TASKS, "anil", n=None, m_in=5, device="cuda")
    with pytest.raises(ValueError, match="device must be 'cpu' or 'cuda'; got 'gpu'"):
        configure(TASKS, "anil", device="gpu")
    tasks = ms.LinearTasks(d=20, k=3, spectrum=0.5)
    with pytest.raises(ValueError, match="device must be 'cpu' for population losses of features"):
        configure(tasks, "anil", device="cuda")


def test_module_of_another_version_is_refused():
    version = ctypes.c_char_p(b"0.0.1")
    capsule = new_capsule(ctypes.addressof(version), b"metaspan.cuda.Module", None)
    with pytest.raises(ImportError, match=r"is of metaspan 0.0.1, and this is metaspan"):
        core.Device(capsule)


def test_capsule_of_something_else_is_refused():
    version = ctypes.c_char_p(b"0.0.1")
    capsule = new_capsule(ctypes.addressof(version), b"something.else", None)
    with pytest.raises(TypeError, match="module must be the capsule of a device module"):
        core.Device(capsule)


@pytest.mark.cuda
def test_device_describes_itself():
    device = _device.open_device()
    assert device is _device.open_device()
    assert 0 < device.free_bytes <= device.info["total_bytes"]
    assert device.info["name"] in ms.show_config()["device"]


@pytest.mark.cuda
@pytest.mark.parametrize(("count", "reason"), [(0, "sees none"), (-1, "needs an NVIDIA driver")])
def test_machine_without_device_is_one_sentence(count, reason):
    module = emulator()
    if module is None:
        pytest.skip("a card cannot be taken away")
    module.set_devices(count)
    try:
        with pytest.raises(RuntimeError, match=reason):
            core.Device(module.module())
    finally:
        module.set_devices(1)


@pytest.mark.cuda
def test_process_that_was_forked_is_one_sentence():
    _device.open_device()
    with ProcessPoolExecutor(1, multiprocessing.get_context("fork")) as pool:
        sentence = pool.submit(_device.describe_device).result()
    assert sentence.startswith('none (device="cuda" cannot be used in a process that was forked')
