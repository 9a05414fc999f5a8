"""Files with a wrong byte or a missing end are refused by name, or read as if undamaged."""

import numpy as np
import pytest

import metaspan as ms

RUN = {
    "tasks": ms.LinearTasks(d=9, k=2),
    "method": ms.ANIL(),
    "rounds": 3,
    "n": 3,
    "stop": None,
    "threads": 1,
}


def load(path):
    return ms.load(path)


def resume(path):
    return ms.train(**RUN, checkpoint=path)


def differences(found, expected):
    """What of a result is not as in the other."""
    pairs = [(found.trace.get(name), values) for name, values in expected.trace.items()]
    pairs += zip(found.state, expected.state, strict=True)
    wrong = [found for found, values in pairs if not np.array_equal(found, values)]
    fields = ("tasks", "method", "rounds", "n", "seed", "trials", "record", "stop")
    wrong += [
        name
        for name in fields
        if repr(getattr(found.config, name)) != repr(getattr(expected.config, name))
    ]
    return wrong + ([] if found.status == expected.status else [found.status])


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the contents of an intact result file and checkpoint, and the result in both."""
    folder = tmp_path_factory.mktemp("whole")
    r = ms.train(**RUN, checkpoint=folder / "checkpoint")
    r.save(folder / "result")
    return {
        "result": r,
        load: (folder / "result").read_bytes(),
        resume: (folder / "checkpoint").read_bytes(),
    }


def outcome(use, path, content, expected):
    """None where the file was refused as it should be, or read right; otherwise what went wrong."""
    path.write_bytes(content)
    try:
        found = use(path)
    except ValueError as error:
        return None if repr(str(path)) in str(error) else f"nameless {error!r}"
    except Exception as error:
        return f"{error!r}"
    wrong = differences(found, expected)
    return f"read, with other {wrong}" if wrong else None


@pytest.mark.parametrize("use", [load, resume])
def test_a_flipped_bit_anywhere_is_found_or_harmless(use, whole, tmp_path, monkeypatch):
    monkeypatch.setattr("os.fsync", lambda handle: None)
    good, path, wrong = whole[use], tmp_path / "file", {}
    for at in {*range(0, len(good), 5), *range(good.index(b"PK\x01\x02"), len(good))}:
        bad = bytearray(good)
        bad[at] ^= 1 << (at * 5 + at // 8) % 8
        told = outcome(use, path, bytes(bad), whole["result"])
        if told:
            wrong[at] = told
    assert not wrong, f"{len(wrong)} of {len(good)}; the first: {next(iter(wrong.items()))}"


@pytest.mark.parametrize("use", [load, resume])
def test_a_file_cut_anywhere_is_refused(use, whole, tmp_path):
    good, path = whole[use], tmp_path / "file"
    for size in range(0, len(good), 31):
        path.write_bytes(good[:size])
        with pytest.raises(ValueError, match="file' is not a metaspan"):
            use(path)
        assert path.read_bytes() == good[:size]


@pytest.mark.parametrize("use", [load, resume])
def test_a_file_with_a_foreign_member_is_read_or_refused_by_name(use, whole, tmp_path):
    """One array is missing, or has another shape or kind than the document in the file says."""
    path, told = tmp_path / "file.npz", []
    path.write_bytes(whole[use])
    with np.load(path) as members:
        arrays = {name: members[name] for name in members.files}
    for name, array in arrays.items():
        for change in (lambda a: a[:0], lambda a: a.astype("U8"), lambda a: a[..., None, None]):
            np.savez(path, **{**arrays, name: change(array)})
            try:
                use(path)
            except ValueError as error:
                if repr(str(path)) not in str(error):
                    told.append((name, repr(error)))
            except Exception as error:
                told.append((name, repr(error)))
        np.savez(path, **{other: kept for other, kept in arrays.items() if other != name})
        with pytest.raises(ValueError, match="file"):
            use(path)
    assert not told


def test_a_write_without_room_keeps_the_old_file(whole, tmp_path, monkeypatch):
    """A disk that fills while the archive is written: the error, the old file, and nothing else."""
    path = tmp_path / "result"
    path.write_bytes(whole[load])

    def full(handle):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        whole["result"].save(path)
    assert path.read_bytes() == whole[load]
    assert [file.name for file in tmp_path.iterdir()] == ["result"]
