"""Arrays that are written in pieces, and of which some rows are read."""

import numpy as np
import pytest

from metaspan._support import files

ARRAYS = {
    "B": np.arange(60.0).reshape(2, 10, 3),
    "memory": np.arange(120, dtype=np.float32).reshape(2, 2, 10, 3),
    "w": np.arange(3.0),
    "empty": np.empty((0, 4)),
}


def streamed(array, rows):
    """Return an array whose rows come in pieces, of each leading index in turn."""
    pieces = [
        array[lead][first : first + rows]
        for lead in np.ndindex(array.shape[:-2])
        for first in range(0, array.shape[-2], rows)
    ]
    return files.Streamed(array.shape, array.dtype, iter(pieces))


def test_pieces_are_written_as_one_array(tmp_path):
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    files.write(whole, "x", {"a": 1}, ARRAYS)
    files.write(parts, "x", {"a": 1}, ARRAYS | {k: streamed(ARRAYS[k], 4) for k in ("B", "memory")})
    document, arrays = files.read(parts, "x")
    assert document["a"] == 1
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].dtype == array.dtype
    with np.load(whole) as first, np.load(parts) as second:
        assert first.files == second.files == ["metaspan", *ARRAYS]


@pytest.mark.parametrize(("first", "end"), [(0, 10), (0, 4), (4, 10), (7, 8)])
def test_some_rows_are_read(tmp_path, first, end):
    path = tmp_path / "file"
    files.write(path, "x", {}, ARRAYS)
    rows = files.Rows(first, end, 10)
    _, arrays = files.read(path, "x", {"B": rows, "memory": rows, "none": rows})
    np.testing.assert_array_equal(arrays["B"], ARRAYS["B"][:, first:end])
    np.testing.assert_array_equal(arrays["memory"], ARRAYS["memory"][:, :, first:end])
    np.testing.assert_array_equal(arrays["w"], ARRAYS["w"])


def test_rows_of_another_number_are_refused(tmp_path):
    path = tmp_path / "file"
    files.write(path, "x", {}, ARRAYS)
    for name, rows in (("B", files.Rows(0, 4, 11)), ("w", files.Rows(0, 2, 3))):
        with pytest.raises(ValueError, match=r"is not a x, or it is broken .* must have \d+ rows"):
            files.read(path, "x", {name: rows})


def test_only_rows_that_are_read_need_memory(tmp_path, monkeypatch):
    path, needed = tmp_path / "file", []
    files.write(path, "x", {}, {"B": np.zeros((1000, 100))})
    monkeypatch.setattr(files.memory, "require", lambda what, count: needed.append(count))
    files.read(path, "x")
    files.read(path, "x", {"B": files.Rows(0, 250, 1000)})
    assert needed[0] == path.stat().st_size
    assert 200_000 < needed[1] < 210_000
