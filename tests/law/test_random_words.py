"""Every number from counters to normals, against Python integers and extended precision."""

import numpy as np
import pytest

import reference as ref
from metaspan._load import core

STREAMS = [name for name in dir(core) if name.startswith("STREAM_")]


def key_of(seed, trial, round_, stream):
    """Two words of the block (round, trial, stream) under the seed: the key of a family."""
    words = ref.philox4x32(
        (seed & 0xFFFFFFFF, seed >> 32), (round_ & 0xFFFFFFFF, round_ >> 32, trial, stream)
    )
    return words[:2]


def expected_normals(key, n, m, d):
    """Columns 2p and 2p + 1 of a task's row are the pair of the counter (p, row, task, 0)."""
    counters = [(p, i, t, 0) for t in range(n) for i in range(m) for p in range((d + 1) // 2)]
    pairs = ref.box_muller([ref.philox4x32(key, counter) for counter in counters])
    return np.stack(pairs, axis=-1).reshape(n, m, -1)[:, :, :d]


def test_blocks_are_those_of_philox():
    ones = 0xFFFFFFFF
    rng = np.random.default_rng(4)
    cases = [((0, 0), (0, 0, 0, 0)), ((ones, ones), (ones,) * 4)]
    for words in rng.integers(2**32, size=(500, 6)).tolist():
        cases.append((tuple(words[:2]), tuple(words[2:])))
    for key, counter in cases:
        assert core.philox(key, counter) == ref.philox4x32(key, counter)


def test_streams_are_distinct():
    assert len(STREAMS) >= 10
    assert len({getattr(core, name) for name in STREAMS}) == len(STREAMS)


@pytest.mark.parametrize("stream", [core.STREAM_FEATURES_IN, core.STREAM_NOISE_OUT])
def test_keys_are_words_of_a_block_under_the_seed(stream):
    for seed, trial, round_ in [(0, 0, 0), (2**64 - 1, 2**31 - 1, 2**40 + 7), (5, 17, 1)]:
        low, high = key_of(seed, trial, round_, stream)
        assert core.derive_key(seed, trial, round_, stream) == low | (high << 32)


@pytest.mark.parametrize(("n", "m", "d"), [(3, 5, 7), (1, 2, 4097), (40, 9, 2), (2, 1, 1)])
def test_normals_are_box_muller_of_their_counters(n, m, d):
    """A few units in the last place of the exact transform, whatever the sizes."""
    found = core.normals(2**35 + 3, 4, 5, core.STREAM_FEATURES_IN, n, m, d, "float64", 2)
    exact = expected_normals(key_of(2**35 + 3, 4, 5, core.STREAM_FEATURES_IN), n, m, d)
    assert found.shape == (n, m, d)
    error = abs(found - exact) / abs(exact)
    assert error.max() < 4 * np.finfo(np.float64).eps


def test_rare_normals_are_accurate_too():
    """Large radii and small ones, angles near an axis: the ends of both polynomials."""
    found = core.normals(1, 0, 0, core.STREAM_USER, 1, 1, 2**21, "float64", 2)[0, 0]
    pairs = found.reshape(-1, 2)
    square = (pairs**2).sum(1)
    extremes = np.concatenate(
        [np.argsort(square)[:200], np.argsort(-square)[:200]]
        + [np.argsort(abs(pairs[:, i]))[:200] for i in (0, 1)]
    )
    key = key_of(1, 0, 0, core.STREAM_USER)
    exact = ref.box_muller([ref.philox4x32(key, (int(p), 0, 0, 0)) for p in extremes])
    error = abs(pairs[extremes] - np.stack(exact, axis=-1)) / abs(np.stack(exact, axis=-1))
    assert np.sqrt(square.max()) > 4.5
    assert error.max() < 4 * np.finfo(np.float64).eps


def test_float32_normals_are_the_rounded_float64_ones():
    arguments = (7, 1, 2, core.STREAM_FEATURES_OUT, 5, 11, 301)
    single = core.normals(*arguments, "float32", 2)
    double = core.normals(*arguments, "float64", 2)
    assert single.dtype == np.float32
    np.testing.assert_array_equal(single, double.astype(np.float32))


def test_a_number_depends_on_its_place_alone():
    """Not on the size of the array around it, nor on the threads that fill it."""
    large = core.normals(7, 1, 2, core.STREAM_USER, 6, 9, 700, "float64", 4)
    small = core.normals(7, 1, 2, core.STREAM_USER, 3, 4, 333, "float64", 1)
    np.testing.assert_array_equal(small, large[:3, :4, :333])
