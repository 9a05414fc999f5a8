"""Fuzz a loader of files: python loader_fuzz.py LOADER EXAMPLES [SECONDS].

Each damaged file must be refused by a ValueError that names the file in one sentence, or be read
as something consistent. The process prints the outcomes as JSON. Without SECONDS, hypothesis draws
EXAMPLES files and shrinks those that fail. With SECONDS, generators with the seeds EXAMPLES,
EXAMPLES + 1, ... draw files until the time is over. Memory is limited to a little more than the
process has at its start, so that a large allocation fails here.
"""

import json
import os
import random
import resource
import shutil
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from contextlib import suppress
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import metaspan as ms
from boundary import file_mutations as mutations
from matching import assert_same_bits
from metaspan.runs.summary import summarize
from metaspan.study import commands

ROOM = 2**28  # bytes that a broken file may make the process take
PATIENCE = 30  # seconds for one file

TASKS = ms.LinearTasks(d=9, k=2, noise=0.1)
START = np.eye(9, 3), np.zeros(3)
PLAIN = {"tasks": TASKS, "method": ms.ANIL(), "rounds": 4, "n": 3, "stop": None, "threads": 1}
DATA = TASKS.sample(4, 3, 3, threads=1)
RUNS = {
    "plain": PLAIN,
    "trials": {**PLAIN, "trials": 3, "record": ("dist", "angles", "mu"), "record_every": 3},
    "start": {**PLAIN, "init": START, "method": ms.MAML(alpha=0.01, beta=0.01)},
    "wide": {**PLAIN, "width": 4, "tasks": ms.LinearTasks(d=9, k=2, heads=np.eye(5, 2))},
    "law": {**PLAIN, "m_in": 3, "m_out": 2, "trials": 2, "init": ms.Init(scale=0.1)},
    "infinite": {**PLAIN, "n": None, "method": ms.ANIL(first_order=True), "stop": ms.Stop()},
    "limit": {**PLAIN, "n": None, "m_in": 3, "m_out": 2, "d_over_n": 2.0, "init": START},
    "pool": {**PLAIN, "m_in": 3, "m_out": 2, "pool": 4, "init": ms.Init(scale=0.1)},
    "batch": {**PLAIN, "tasks": DATA, "n": None, "init": ms.Init(scale=0.1), "trials": 2},
    "sampled": {**PLAIN, "m_in": 3, "m_out": 2, "engine": "sampled", "init": ms.Init(scale=0.1)},
}
STUDY = {
    "base": {"k": 2, "rounds": 3, "n": 3, "stop": None, "noise": 0.1},
    "grid": {
        "d": [10, 20],
        "method": ["anil", ms.MAML(alpha=0.05)],
        "m_in": "d//2",
        "heads": [{"kind": "GaussianHeads", "cov": "[1.0, 1/d]"}, ms.GaussianHeads(mean=[1.0, 0])],
        "beta": lambda d: 1.0 / d,
    },
    "measure": ("dist", "rate"),
    "keep": ("dist", "w_norm"),
}
TOML = {
    "folder": "s",
    "seeds": 2,
    "measure": ["dist", "rounds_to:1e-3"],
    "keep": ["dist"],
    "base": {"rounds": 3, "n": 4, "method": {"kind": "MAML", "alpha": 0.05}, "k": 2},
    "grid": {
        "d": {"log": [10, 1000], "num": 3},
        "m_in": "4*k",
        "heads": {"kind": "GaussianHeads", "cov": "diag([1]*(k - 1) + [0.5])"},
        "beta": [0.1, 0.2],
    },
}
TEXTS = [
    "10**10**10",
    "ones(10**6)",
    "d**d**d",
    "[[d]*1000]*1000",
    "'",
    "d",
    "(" * 150,
    "-1",
    "k/0",
]


class Wrong(Exception):
    """What a loader did that it must not do."""


def refused(error, path):
    """Checks that a refusal names the file in one sentence."""
    sentence = str(error)
    if str(path) not in sentence or "\n" in sentence or len(sentence) > 600 + 2 * len(str(path)):
        raise Wrong(f"says {sentence!r}") from error


def assert_close(found, expected, name):
    """The same run by another route."""
    for values, others in zip(found.parts.values(), expected.parts.values(), strict=True):
        np.testing.assert_allclose(values, others, rtol=1e-9, atol=1e-12, err_msg=name)


class Results:
    """`metaspan.load`."""

    def __init__(self, folder):
        self.path, self.again = folder / "file.npz", folder / "again.npz"
        self.good = []
        for run in RUNS.values():
            ms.train(**run).save(self.path)
            self.good.append(self.path.read_bytes())

    def use(self, rng):
        kind, content = mutations.mutated_archive(rng.choice(self.good), rng)
        self.path.write_bytes(content)
        try:
            r = ms.load(self.path)
        except ValueError as error:
            refused(error, self.path)
            return f"{kind}: refused"
        self.check(r)
        return f"{kind}: read"

    def check(self, r):
        """Everything that a result offers works, or says what it has not."""
        count, rounds = len(r.config.trials), r.trace["round"].size
        assert len(r.outcomes) == count
        assert {"round", *r.config.record} == set(r.trace)
        assert repr(r)
        summarize(r, r.config.record[0]) if r.config.record[:1] not in ((), ("angles",)) else None
        assert r.trial(r.config.trials[-1]).trace["round"].size <= rounds
        r.save(self.again)
        assert_same_bits(ms.load(self.again), r)
        known = isinstance(r.config.tasks, ms.LinearTasks)
        try:
            M, R, w = r.state
        except ValueError:
            assert not known
            return
        assert M.shape[-1] == R.shape[-1] == w.shape[-1] == r.config.width
        if r.config.tasks.d < 1000 and known:
            with suppress(ValueError):  # R of another height than a start that is in the file
                B = r.full_B(r.config.trials[0])
                assert B.shape == (r.config.tasks.d, r.config.width)


class Checkpoints:
    """Runs that go on from a file."""

    def __init__(self, folder):
        self.path = folder / "file.npz"
        self.good = []
        for name, run in RUNS.items():
            for rounds in (2, 4):
                self.path.unlink(missing_ok=True)
                ms.train(**{**run, "rounds": rounds}, checkpoint=self.path)
                self.good.append((run, self.path.read_bytes(), ms.train(**run), name))

    def use(self, rng):
        run, good, expected, name = rng.choice(self.good)
        kind, content = mutations.mutated_archive(good, rng)
        self.path.write_bytes(content)
        try:
            r = ms.train(**run, checkpoint=self.path)
        except ValueError as error:
            refused(error, self.path)
            return f"{kind}: refused"
        assert len(r.outcomes) == len(expected.outcomes)
        for outcome in r.outcomes:
            assert outcome.status in (ms.Status.FINISHED, ms.Status.DIVERGED, ms.Status.UNDERFLOW)
        for part in r.parts.values():  # a state near 1e308 has no factor R that is finite
            assert np.isfinite(part).all() or np.abs(part).max() > 1e300
        ended = any(outcome != ms.Status.FINISHED for outcome in r.outcomes)
        if kind not in ("array", "npy", "pair") and not ended:
            routes = r.config.route == expected.config.route
            (assert_same_bits if routes else assert_close)(r, expected, name)
        return f"{kind}: read"


class Studies:
    """The folder of a study: what it is, and its rows."""

    def __init__(self, folder):
        self.folder = folder / "study"
        study = ms.Study(self.folder, **STUDY, seeds=2)
        study.run(progress=False, threads=1)
        self.expected = study.table()
        (self.rows,) = (self.folder / "rows").iterdir()
        self.file = self.folder / "study.json"
        self.good = self.file.read_text(), self.rows.read_bytes()

    def use(self, rng):
        text, rows = self.good
        self.rows.write_bytes(rows)
        if rng.random() < 0.5:
            self.file.write_bytes(mutations.mutated_text(text, rng))
            return f"description: {self.described(rng)}"
        self.file.write_text(text)
        lines = rows.split(b"\n")
        place = rng.randrange(len(lines) - 1)
        lines[place] = mutations.mutated_text(lines[place].decode(), rng)
        if rng.random() < 0.1:
            died = mutations.text_of({"died": mutations.mutated_tree([["a", 1]], rng)})
            lines.insert(place, died.encode())
        self.rows.write_bytes(b"\n".join(lines))
        return f"rows: {self.read(rng)}"

    def described(self, rng):
        try:
            study = ms.Study(self.folder)
            study.status()
        except ValueError as error:
            refused(error, self.file if str(self.file) in str(error) else self.folder)
            study = None
        else:
            study.table()
            study.traces() if study.spec.keep else None
        if rng.random() < 0.1:  # the study itself goes on, or is told from the other
            try:
                ms.Study(self.folder, **STUDY, seeds=2).run(progress=False, threads=1)
            except ValueError as error:
                refused(error, self.folder)
        return "refused" if study is None else "read"

    def read(self, rng):
        study = ms.Study(self.folder)
        status = study.status()
        assert status.done + status.damaged >= status.runs - 1
        table = study.table()
        assert len(table) == status.done
        assert len(study.traces()) <= 4 * status.done
        assert str(status)
        if status.done < status.runs and rng.random() < 0.1:
            study = ms.Study(self.folder, **STUDY, seeds=2)
            study.run(progress=False, threads=1)
            again = study.table()
            assert again[["d", "seed"]].equals(self.expected[["d", "seed"]])
            if status.done == status.runs - 1:  # the one that was lost is as it was
                assert abs(again["dist"] - self.expected["dist"]).max() < 2.0
        return "read" if status.done == status.runs else "done again"


class Files:
    """Studies as TOML files."""

    def __init__(self, folder):
        self.path = folder / "study.toml"

    def use(self, rng):
        tree = mutations.mutated_tree(TOML, rng)
        if rng.random() < 0.3:
            places = [path for path in mutations.paths(tree) if path]
            *above, name = rng.choice(places)
            mutations.at(tree, above)[name] = rng.choice(TEXTS)
        try:
            content = "\n".join(f"{name} = {toml_of(part)}" for name, part in tree.items()).encode()
        except RecursionError:
            content = b"[base]\nx = " + b"[" * 5000
        if rng.random() < 0.2:
            content = mutations.mutated_bytes(content, rng)
        self.path.write_bytes(content)
        try:
            study = commands._open(str(self.path), str(self.path.parent / "folder"))
        except ValueError as error:
            refused(error, self.path)
            return "refused"
        assert study.cells
        assert study.status().done == 0
        return "read"


def toml_of(part):
    """A TOML value; what TOML has no word for is left for it to refuse."""
    if isinstance(part, dict):
        items = ", ".join(f"{json.dumps(name)} = {toml_of(item)}" for name, item in part.items())
        return f"{{{items}}}"
    if isinstance(part, list):
        return f"[{', '.join(map(toml_of, part))}]"
    if isinstance(part, float):
        return repr(part)
    return json.dumps(part)


LOADERS = {"results": Results, "checkpoints": Checkpoints, "studies": Studies, "files": Files}


def limited():
    """Limit the address space to its present size plus ROOM bytes."""
    status = Path("/proc/self/status").read_text()
    size = 1024 * int(status.split("VmSize:")[1].split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (size + ROOM, size + ROOM))


def late(number, frame):
    raise Wrong(f"took more than {PATIENCE} s")


def tried(loader, rng, counts):
    """One file; what must not be becomes an exception."""
    signal.alarm(PATIENCE)
    try:
        counts[loader.use(rng)] += 1
    finally:
        signal.alarm(0)


def main(name, examples, seconds=None):
    warnings.simplefilter("error")
    warnings.filterwarnings("ignore", category=ms.DivergenceWarning)
    warnings.filterwarnings("ignore", message="Duplicate name")  # of the archives made here
    signal.signal(signal.SIGALRM, late)
    counts, wrong = Counter(), []
    os.fsync = lambda handle: None  # which takes most of the time, and nothing here needs it
    memory = Path("/dev/shm")  # where files are made fastest
    folder = Path(tempfile.mkdtemp(dir=memory if memory.is_dir() else None))
    try:
        loader = LOADERS[name](folder)
        limited()
        if seconds is None:

            @settings(
                max_examples=int(examples),
                derandomize=True,
                database=None,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            )
            @given(st.randoms(use_true_random=False))
            def check(rng):
                tried(loader, rng, counts)

            check()
        else:
            wrong = sweep(loader, int(examples), float(seconds), counts)
    finally:
        shutil.rmtree(folder)
    print(json.dumps({"counts": counts, "wrong": wrong}))


def sweep(loader, first, seconds, counts):
    """Files of the generators first, first + 1, ... until the time is over; what went wrong."""
    wrong, end, seed = [], time.monotonic() + seconds, first
    while time.monotonic() < end and len(wrong) < 20:
        try:
            tried(loader, random.Random(seed), counts)
        except Exception as error:
            wrong.append(f"{seed}: {type(error).__name__}: {str(error)[:300]}")
        seed += 1
    return wrong


if __name__ == "__main__":
    main(*sys.argv[1:])
