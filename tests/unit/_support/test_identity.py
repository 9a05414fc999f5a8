"""User functions are compared by everything that affects their values, and by nothing else."""

import functools
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from functools import partial

import numpy as np
import pytest

import metaspan as ms
from metaspan._support import identity as _identity
from metaspan._support.identity import contents, name_of
from metaspan.runs import codec as _codec

SCALE = 0.5


def draw(generator, n, k, scale=1.0):
    return scale * generator.standard_normal((n, k))


def uniform(generator, n, k, scale=1.0):
    return scale * generator.uniform(-1, 1, (n, k))


def scaled(generator, n, k):
    return SCALE * draw(generator, n, k)


def reads_shifted(generator, n, k):
    return [shift(row) for row in generator.standard_normal((n, k))]


def shift(row):
    return row + SCALE


def itself(generator, n, k):
    return itself(generator, n, k) if n else None


def closed_over(scale):
    def heads(generator, n, k):
        return scale * generator.standard_normal((n, k))

    return heads


def with_default(scale):
    def heads(generator, n, k, *, scale=scale):
        return scale * generator.standard_normal((n, k))

    return heads


class Law:
    factor = 2.0

    def __init__(self, scale):
        self.scale = scale

    def __call__(self, generator, n, k):
        return self.factor * self.scale * generator.standard_normal((n, k))

    def heads(self, generator, n, k):
        return self(generator, n, k)


@dataclass(frozen=True)
class Table:
    rows: object

    def __call__(self, generator, n, k):
        return self.rows[:n]


class Slots:
    __slots__ = ("scale",)

    def __init__(self, scale):
        self.scale = scale

    def __call__(self, generator, n, k):
        return self.scale * generator.standard_normal((n, k))


@functools.lru_cache
def cached(k):
    return np.eye(k)


DIFFERENT = {
    "functions": (draw, uniform),
    "partials": (partial(draw, scale=0.5), partial(draw, scale=1.5)),
    "partials-of": (partial(draw, scale=0.5), partial(uniform, scale=0.5)),
    "positional": (partial(draw, 1), partial(draw, 2)),
    "nested": (partial(partial(draw, scale=0.5)), partial(partial(draw, scale=1.5))),
    "closures": (closed_over(0.5), closed_over(1.5)),
    "arrays-closed-over": (closed_over(np.ones(3)), closed_over(np.arange(3.0))),
    "functions-closed-over": (closed_over(draw), closed_over(uniform)),
    "defaults": (with_default(0.5), with_default(1.5)),
    "lambdas": (lambda g, n, k: np.ones((n, k)), lambda g, n, k: np.zeros((n, k))),
    "objects": (Law(0.5), Law(1.5)),
    "slots": (Slots(0.5), Slots(1.5)),
    "methods": (Law(0.5).heads, Law(1.5).heads),
    "fields": (Table((1, 2)), Table((1, 3))),
    "arrays": (Table(np.zeros((2, 2))), Table(np.zeros((2, 2), np.float32))),
    "object-arrays": (Table(np.array([{1}], object)), Table(np.array([{2}], object))),
    "sets": (Table({"a", "b"}), Table({"a", "c"})),
    "generators": (Table(np.random.default_rng(0)), Table(np.random.default_rng(1))),
    "wrapped": (np.vectorize(draw), np.vectorize(uniform)),
    "ufuncs": (np.add, np.subtract),
}


@pytest.mark.parametrize(("one", "other"), DIFFERENT.values(), ids=DIFFERENT)
def test_different_functions_differ(one, other):
    assert contents(one) != contents(other)
    assert contents(one) == contents(one)


@pytest.mark.parametrize(
    "make",
    [
        lambda: partial(draw, scale=0.5),
        lambda: closed_over(np.arange(4)),
        lambda: Law(0.5),
        lambda: Law(0.5).heads,
        lambda: Slots(0.5),
        lambda: Table({"a", "b", "c"}),
        lambda: Table(np.random.default_rng(3)),
        lambda: np.vectorize(draw),
        lambda: itself,
        lambda: cached,
    ],
)
def test_functions_of_equal_parts_are_equal(make):
    assert contents(make()) == contents(make())


def test_numpy_numbers_count_by_their_value():
    assert contents(partial(draw, scale=np.float64(0.5))) == contents(partial(draw, scale=0.5))
    assert contents(partial(draw, 1, np.int64(2))) == contents(partial(draw, 1, 2))


@pytest.mark.parametrize("function", [scaled, reads_shifted])
def test_globals_that_are_read_count(monkeypatch, function):
    before = contents(function)
    monkeypatch.setitem(globals(), "SCALE", 1.5)
    assert contents(function) != before


def test_methods_and_data_of_the_class_count(monkeypatch):
    before = contents(Law(0.5))
    bound = contents(partial(Law(0.5)))
    monkeypatch.setattr(Law, "factor", 3.0)
    changed = contents(Law(0.5))
    monkeypatch.setattr(Law, "heads", uniform)
    assert len({before, changed, contents(Law(0.5))}) == 3
    assert contents(partial(Law(0.5))) != bound


def test_comments_lines_and_docstrings_do_not_count():
    plain = "def f(g, n, k):\n    g.normal(n, k)"
    texts = [plain, "\n\n" + plain.replace("    g", "    'Draw.'\n    # No.\n    g")]
    spaces = [{}, {}]
    for text, space in zip(texts, spaces, strict=True):
        exec(text, space)
    assert contents(spaces[0]["f"]) == contents(spaces[1]["f"])


def holds_a_lock():
    lock = threading.Lock()
    return lambda generator, n, k: lock.acquire()


@pytest.mark.parametrize("function", [holds_a_lock(), Table(threading.Lock()), Table(sys.stdout)])
def test_what_cannot_be_told_apart_is_refused(function):
    with pytest.raises(TypeError, match=r"holds an object of .* cannot tell from another"):
        contents(function)


def test_containers_that_hold_themselves_are_refused():
    rows = []
    rows.append(rows)
    with pytest.raises(TypeError, match="a list that contains itself"):
        contents(Table(rows))


def test_names_show_arguments():
    assert name_of(draw) == f"{__name__}.draw"
    assert (
        name_of(partial(draw, 3, scale=0.5)) == f"functools.partial({__name__}.draw, 3, scale=0.5)"
    )
    assert name_of(Law(0.5)) == f"{__name__}.Law"


SCRIPT = """
import functools
import multiprocessing
from metaspan._support.identity import contents, name_of

NAMES = {"alpha", "beta", "gamma"}

class Law:
    def __init__(self, names):
        self.names = names
    def __call__(self, generator, n, k, start=NAMES):
        return generator.choice(sorted(self.names)) in {"x", "y", "z"}

def told(law):
    return name_of(law), contents(law)

if __name__ == "__main__":
    law = functools.partial(Law(NAMES), start=NAMES)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        print(told(law) == pool.apply(told, (law,)), *told(law))
"""


def test_other_processes_agree(tmp_path):
    """The hash of text differs from process to process, and spawned ones rename the script."""
    (tmp_path / "script.py").write_text(SCRIPT)
    said = {
        subprocess.run(
            [sys.executable, "script.py"],
            cwd=tmp_path,
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    }
    assert len(said) == 1
    assert said.pop().startswith("True functools.partial(__main__.Law")


def train(path, heads, **changes):
    tasks = ms.LinearTasks(d=20, k=3, heads=heads)
    return ms.train(tasks, "anil", rounds=40, n=4, stop=None, checkpoint=path, **changes)


@pytest.mark.parametrize(
    ("mine", "others"),
    [
        (partial(draw, scale=0.5), partial(draw, scale=1.5)),
        (Law(0.5), Law(1.5)),
        (closed_over(0.5), closed_over(1.5)),
    ],
)
def test_checkpoints_of_another_law_are_refused(tmp_path, mine, others):
    train(tmp_path / "run", mine)
    again = train(tmp_path / "run", mine)
    with pytest.raises(ValueError, match=r"tasks\.heads must be as in .* \(contents"):
        train(tmp_path / "run", others)
    assert again.trace["dist"][-1] != train(tmp_path / "other", others).trace["dist"][-1]


def test_checkpoints_need_laws_that_can_be_told_apart(tmp_path):
    law = Table(threading.Lock())
    with pytest.raises(TypeError, match=r"^tasks\.heads: .*Table holds an object of"):
        train(tmp_path / "run", law)
    assert not (tmp_path / "run").exists()
    tasks = ms.LinearTasks(d=20, k=3, heads=lambda g, n, k, lock=law: draw(g, n, k))
    r = ms.train(tasks, "anil", rounds=3, n=4)  # nothing has to be told apart
    r.save(tmp_path / "result")
    assert ms.load(tmp_path / "result").config.tasks.heads.contents == ""


def test_a_result_keeps_what_its_law_was_made_of(tmp_path):
    law = partial(draw, scale=0.5)
    r = ms.train(ms.LinearTasks(d=20, k=3, heads=law), "anil", rounds=3, n=4)
    for path in (tmp_path / "first", tmp_path / "second"):
        r.save(path)
        r = ms.load(path)
        assert r.config.tasks.heads.name == name_of(law)
        assert r.config.tasks.heads.contents == contents(law)


@pytest.mark.parametrize(
    ("value", "plain"),
    [
        (np.int64(3), 3),
        (np.uint8(3), 3),
        (np.float32(0.5), 0.5),
        (np.longdouble(0.5), 0.5),
        (np.bool_(True), True),
        (np.str_("anil"), "anil"),
    ],
)
def test_numpy_scalars_are_written_as_numbers(value, plain):
    written = _codec.encode((value,), _identity.digest)["tuple"][0]
    assert written == plain
    assert type(written) is type(plain)


@pytest.mark.parametrize(
    "value",
    [
        np.datetime64("2026-01-01"),
        np.complex128(1j),
        np.longdouble(1) + np.finfo(np.longdouble).eps,
        object(),
        {1},
        np.float32,
        draw.__code__,
    ],
)
def test_what_a_file_cannot_hold_is_refused(value):
    with pytest.raises(TypeError, match=r"base\.noise must be a number.* file"):
        _codec.encode(value, _identity.digest, path="base.noise")


def test_records_given_as_a_set_have_the_order_of_the_list():
    names = {"w_norm", "dist", "loss_out", "eta", "mu", "L"}
    r = ms.train(ms.LinearTasks(d=9, k=2), "anil", rounds=1, n=3, record=names)
    assert r.config.record == ("dist", "loss_out", "w_norm", "mu", "L", "eta")


def test_configurations_with_a_given_start_can_be_compared():
    tasks = ms.LinearTasks(d=9, k=2)
    B0 = np.eye(9, 2)

    def config(B0, w0):
        return ms.train(tasks, "anil", rounds=1, n=3, init=(B0, w0)).config

    base = config(B0, [0.0, 0.0])
    assert base == config(B0.copy(), [-0.0, 0.0])
    assert hash(base) == hash(config(B0.copy(), [-0.0, 0.0]))
    assert base != config(B0, [0.0, 1.0])
    assert base != config(2 * B0, [0.0, 0.0])
    assert base != config(B0.astype(np.float32), [0.0, 0.0])
