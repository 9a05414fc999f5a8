"""Products with samples take the memory of a few blocks, however many samples there are."""

import subprocess
import sys
import textwrap

import pytest

MIB = 2**20
# Both have 1.2e8 numbers: 915 MiB. The dataset has no chunks on disk, and is read as zeros.
SAMPLES = {
    "generated": """
        from metaspan.estimators.sampled import SampledSamples
        samples = SampledSamples(ms.LinearTasks(d=20_000, k=2), 120, 50)
    """,
    "hdf5": """
        import h5py
        from metaspan.estimators.on_arrays import ArraySamples
        file = h5py.File("none", "w", driver="core", backing_store=False)
        X = file.create_dataset("X", (120, 50, 20_000), "f8", chunks=(1, 50, 20_000))
        batch = ms.TaskBatch.split(X, np.zeros((120, 50)), 10, check_finite=False)
        samples = ArraySamples(batch)
    """,
}
SCRIPT = """
from pathlib import Path
import numpy as np
import metaspan as ms
{samples}
def peak():
    text = Path("/proc/self/status").read_text()
    return text.split("VmHWM:")[1].split()[0]  # ru_maxrss would be at least that of the parent
B = np.ones((samples.dim, 4))
samples.y, samples.features(B[:, :1])
before = peak()
for call in (
    lambda: samples.features(B),
    lambda: samples.combine(np.ones((6000, 4))),
    lambda: samples.combine_features(B, lambda Z, _: Z),
    lambda: samples.averages().products(B),
):
    call()
print(before, peak())
"""


@pytest.mark.peak_memory
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("kind", SAMPLES)
def test_memory_is_that_of_a_few_blocks(kind):
    """Blocks of 64 MiB of generated rows, and of two times 128 MiB of a dataset."""
    script = SCRIPT.format(samples=textwrap.dedent(SAMPLES[kind]))
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    before, after = (1024 * int(word) for word in done.stdout.split())
    assert after - before < 160 * MIB
    assert after < 600 * MIB
