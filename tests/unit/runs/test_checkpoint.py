"""A run that was interrupted and resumed has the bits of an uninterrupted one."""

import types

import numpy as np
import pytest

import metaspan as ms
from matching import assert_same_bits

METHOD = ms.ANIL(alpha=0.1, beta=0.1)
B_STAR = np.linalg.qr(np.random.default_rng(0).standard_normal((20, 3)))[0]
TABLE = np.random.default_rng(1).standard_normal((9, 3))


def gaussian(generator, n, k):
    return generator.standard_normal((n, k))


def uniform(generator, n, k):
    return generator.uniform(-1, 1, (n, k))


def start(width):
    return 0.4 * np.random.default_rng(width).standard_normal((20, width)), 0.1 * np.ones(width)


RUNS = {
    "plain": {},
    "trials": {"trials": range(3, 6)},
    "narrow": {"width": 2},
    "wide": {"width": 5},
    "start": {"init": start(3)},
    "wide-start": {"init": start(6), "trials": 2},
    "explicit": {"tasks": ms.LinearTasks(d=20, k=3, B_star=B_STAR), "init": start(4)},
    "fixed-heads": {"tasks": ms.LinearTasks(d=20, k=3, heads=TABLE), "n": 4},
    "function": {"tasks": ms.LinearTasks(d=20, k=3, heads=gaussian), "trials": 2},
    "pool": {"pool": 11, "n": 4, "trials": 2},
    "sparse-rows": {"record_every": 7, "record": ("angles", "loss_out", "mu")},
    "maml": {"method": ms.MAML(inner_steps=2)},
}


def run(name, **options):
    defaults = {
        "tasks": ms.LinearTasks(d=20, k=3, noise=0.1),
        "method": METHOD,
        "rounds": 90,
        "n": 5,
        "stop": None,
        "record": ("dist", "loss_out"),
    }
    return ms.train(**{**defaults, **RUNS[name], **options})


@pytest.mark.parametrize("name", RUNS)
def test_more_rounds_go_on_from_the_end(name, tmp_path):
    path = tmp_path / "run"
    first = run(name, rounds=38, checkpoint=path)
    assert_same_bits(first, run(name, rounds=38))
    assert_same_bits(run(name, rounds=38, checkpoint=path), first)
    assert_same_bits(run(name, checkpoint=path), run(name))
    assert [p.name for p in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("name", RUNS)
def test_interrupted_run_goes_on(name, tmp_path, stop_at):
    path = tmp_path / "run"
    for round in (1, 40):
        with pytest.raises(ms.Interrupted):
            run(name, checkpoint=path, progress=stop_at(round), rounds=600)
    assert_same_bits(run(name, checkpoint=path, threads=1, rounds=600), run(name, rounds=600))


def test_failing_function_leaves_a_checkpoint(tmp_path):
    laboratory = types.ModuleType("laboratory")  # of which a function's identity has the name alone
    laboratory.calls = calls = []

    def heads(generator, n, k):
        laboratory.calls.append(n)
        if len(laboratory.calls) == 30:
            raise RuntimeError("the laboratory is closed")
        return generator.standard_normal((n, k))

    options = {"tasks": ms.LinearTasks(d=20, k=3, heads=heads), "checkpoint": tmp_path / "run"}
    with pytest.raises(RuntimeError, match="closed"):
        run("plain", **options)
    done = len(calls)
    run("plain", **options)
    assert len(calls) < done + 91


def test_written_as_often_as_asked(tmp_path):
    path = tmp_path / "run"
    seen = []

    def progress(done, total):
        seen.append(path.exists())

    run("plain", checkpoint=ms.Checkpoint(path, every_seconds=0), progress=progress, rounds=400)
    assert not seen[0]
    assert all(seen[1:])
    path.unlink()
    seen.clear()
    run("plain", checkpoint=ms.Checkpoint(path), progress=progress, rounds=400)
    assert not any(seen)
    assert path.exists()


def test_converged_trials_go_on_when_the_rule_changes(tmp_path):
    path = tmp_path / "run"
    options = {"n": 20, "rounds": 1200, "trials": 3}
    rule = ms.Stop(dist=1e-2)
    ended = run("plain", **options, stop=rule, checkpoint=path)
    assert all(outcome == ms.Status.CONVERGED for outcome in ended.status)
    assert_same_bits(run("plain", **options, stop=rule, checkpoint=path), ended)
    assert_same_bits(run("plain", **options, checkpoint=path), run("plain", **options))


def test_diverged_trials_stay_ended(tmp_path):
    options = {
        "tasks": ms.LinearTasks(d=20, k=3, heads=ms.GaussianHeads(mean=10 * np.ones(3))),
        "method": ms.MAML(first_order=True),
        "n": 3,
        "trials": 3,
    }
    with pytest.warns(ms.DivergenceWarning):
        first = run("plain", **options, checkpoint=tmp_path / "run")
    with pytest.warns(ms.DivergenceWarning):
        again = run("plain", **options, checkpoint=tmp_path / "run", rounds=200)
    assert_same_bits(again, first)


CHANGES = {
    "tasks.noise": ({"tasks": ms.LinearTasks(d=20, k=3, noise=0.2)}, "0.1; got 0.2"),
    "tasks.heads": ({"tasks": ms.LinearTasks(d=20, k=3, noise=0.1, heads=uniform)}, "uniform"),
    "tasks.B_star": ({"tasks": ms.LinearTasks(d=20, k=3, noise=0.1, B_star=B_STAR)}, "None; got"),
    "method.alpha": ({"method": ms.ANIL(alpha=0.2)}, "0.1; got 0.2"),
    "method": ({"method": ms.MAML()}, r"got MAML\(alpha=0.1"),
    "n": ({"n": 6}, "5; got 6"),
    "width": ({"width": 4}, "3; got 4"),
    "init": ({"init": start(3)}, r"dist=None.*; got \(float64 \(20, 3\)"),
    "seed": ({"seed": 1}, "0; got 1"),
    "trials": ({"trials": 2}, r"range\(0, 1\); got range\(0, 2\)"),
    "dtype": ({"dtype": "float32"}, "'float64'; got 'float32'"),
    "record": ({"record": "dist"}, r"got \('dist'\)"),
    "record_every": ({"record_every": 2}, "1; got 2"),
    "pool": ({"pool": 9}, "None; got 9"),
    "on_failure": ({"on_failure": "raise"}, "'return'; got 'raise'"),
}


@pytest.mark.parametrize("field", CHANGES)
def test_another_run_is_refused_by_the_field(field, tmp_path):
    path = tmp_path / "run"
    run("plain", rounds=3, checkpoint=path)
    before = path.read_bytes()
    options, values = CHANGES[field]
    with pytest.raises(ValueError, match=rf"^{field} must be as in .*run', .*{values}"):
        run("plain", checkpoint=path, **options)
    assert path.read_bytes() == before


def test_arrays_are_compared_by_content(tmp_path):
    path = tmp_path / "run"
    B0, w0 = start(3)
    run("plain", init=(B0, w0), rounds=3, checkpoint=path)
    run("plain", init=(B0.copy(), w0.copy()), rounds=4, checkpoint=path)
    B0[7, 1] = np.nextafter(B0[7, 1], 9)
    with pytest.raises(ValueError, match="init must be as in the checkpoint"):
        run("plain", init=(B0, w0), checkpoint=path)


def test_rounds_may_not_go_back(tmp_path):
    run("plain", rounds=30, checkpoint=tmp_path / "run")
    with pytest.raises(ValueError, match=r"rounds must be at least 30, .*run'; got 20"):
        run("plain", rounds=20, checkpoint=tmp_path / "run")


def test_foreign_and_broken_files_are_refused_and_left_alone(tmp_path):
    path = tmp_path / "run"
    run("plain", rounds=3, checkpoint=path)
    whole = path.read_bytes()
    run("plain", rounds=3).save(tmp_path / "result")
    foreign = {
        "is not a metaspan checkpoint": [b"", b"text", whole[: len(whole) // 2]],
        "must be a metaspan checkpoint; it is a metaspan result": [
            (tmp_path / "result").read_bytes()
        ],
    }
    for message, contents in foreign.items():
        for content in contents:
            path.write_bytes(content)
            with pytest.raises(ValueError, match=rf"run' {message}"):
                run("plain", checkpoint=path)
            assert path.read_bytes() == content
