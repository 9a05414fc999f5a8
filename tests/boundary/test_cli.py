"""The command line as a process: exit status, standard output and error, and closed pipes."""

import os
import subprocess
import sys

import pytest

PATIENCE = 60  # seconds, to end a test that hangs


def metaspan(*arguments, **streams):
    """The command, run to its end without a terminal."""
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **streams}
    return subprocess.run(
        [sys.executable, "-m", "metaspan", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        text=True,
        timeout=PATIENCE,
        check=False,
        **streams,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("dance",),
        ("reproduce",),
        ("reproduce", "nothing", "--out", "{}/new"),
        ("reproduce", "methods", "--out", "{}/file"),
        ("reproduce", "--qiuck", "--out", "{}/new"),
        ("reproduce", "start", "--all", "--out", "{}/new"),
    ],
    ids=" ".join,
)
def test_bad_usage_ends_with_2_and_one_line(arguments, tmp_path):
    (tmp_path / "file").write_text("mine")
    done = metaspan(*(word.format(tmp_path) for word in arguments))
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("metaspan")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_answers_are_on_standard_output_alone():
    for arguments in (("info",), ("reproduce", "--list"), ("--help",), ("reproduce", "--help")):
        done = metaspan(*arguments)
        assert (done.returncode, done.stderr) == (0, "")
        assert done.stdout.strip()


@pytest.mark.skipif(os.name != "posix", reason="pipes of POSIX")
@pytest.mark.parametrize("arguments", [("info",), ("reproduce", "--list"), ("--help",)])
def test_reader_that_has_gone_is_no_failure(arguments):
    """As in `metaspan info | head -0`: no traceback, not even at shutdown."""
    reader, writer = os.pipe()
    os.close(reader)
    try:
        done = metaspan(*arguments, stdout=writer)
    finally:
        os.close(writer)
    assert done.stderr == ""
    assert done.returncode == 0


def test_figures_are_whole_files_named_on_standard_output(tmp_path):
    pytest.importorskip("matplotlib")
    out = tmp_path / "new" / "folder"
    done = metaspan("reproduce", "methods", "--quick", "--out", out)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""  # no bar in a pipe
    assert str(out / "methods.png") in done.stdout
    starts = {"methods.png": b"\x89PNG\r\n\x1a\n", "methods.pdf": b"%PDF-", "methods.csv": b"view,"}
    assert {path.name for path in out.iterdir()} == set(starts)
    for name, start in starts.items():
        assert (out / name).read_bytes().startswith(start)
    rows = (out / "methods.csv").read_text().splitlines()
    assert len({len(row.split(",")) for row in rows}) == 1
    assert len(rows) > 1000


def test_names_that_standard_output_cannot_encode_are_escaped(tmp_path):
    (tmp_path / "s.toml").write_text("[base]\nd = 9\nk = 2\nmethod = 'anil'\nrounds = 3\n")
    environment = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    done = metaspan("study", "run", tmp_path / "s.toml", "--out", tmp_path / "été", env=environment)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("\\xe9t\\xe9: 1 of 1 runs")
