"""Resolution of the arguments of train."""

import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import metaspan as ms
from metaspan.config.configure import configure
from metaspan.config.records import RECORDS
from metaspan.engines.starts import tilted

TASKS = ms.LinearTasks(d=20, k=3)


def test_defaults_are_resolved():
    config = configure(TASKS, "anil")
    assert config.engine == "population"
    assert config.width == 3
    assert config.init == ms.Init()
    assert config.trials == range(1)
    assert config.dtype == "float64"
    assert config.record == ("dist",)
    assert config.stop == ms.Stop(dist=1e-10)
    assert config.threads >= 1


@pytest.mark.parametrize("name", ["train", "estimate"])
def test_signature_and_parameters_are_those_of_configure(name):
    function = getattr(ms, name)
    own, source = inspect.signature(function), inspect.signature(configure)
    # `estimate` also takes the arguments of `fit`, so the types of some arguments are wider.
    differing = {"train": (), "estimate": ("comm", "ranks", "m", "call")}[name]
    shared = [
        [
            p if name == "train" else (p.name, p.kind, p.default)
            for p in signature.parameters.values()
            if p.name not in differing
        ]
        for signature in (own, source)
    ]
    assert shared[0] == shared[1]
    assert own.return_annotation == {"train": "Result", "estimate": "Estimate"}[name]
    for parameter in own.parameters:
        line = rf"^(\S.*)?\b{parameter}\b.* : "
        assert re.search(line, inspect.getdoc(function), flags=re.MULTILINE)


def test_named_starts():
    assert configure(TASKS, "anil", init="random").init == ms.Init(dist=None)
    assert configure(TASKS, "anil", init="methodical").init == ms.Init(dist=0.7)


def test_given_start_sets_the_width():
    config = configure(TASKS, "anil", init=(np.eye(20, 5, dtype=np.float32), [0] * 5))
    assert config.width == 5
    assert config.dtype == "float32"
    assert config.init[1].dtype == np.float64


def test_n_none_means_all_where_there_is_an_end():
    fixed = ms.LinearTasks(d=20, k=3, heads=np.ones((7, 3)))
    assert configure(fixed, "anil", n=None).n == 7
    assert configure(TASKS, "anil", n=None, pool=12).n == 12


def test_records_may_be_one_name_or_any_iterable():
    assert configure(TASKS, "anil", record="angles").record == ("angles",)
    assert configure(TASKS, "anil", record=(n for n in ("mu", "L", "mu"))).record == ("mu", "L")
    assert configure(TASKS, "anil", record=RECORDS).record == RECORDS
    assert configure(TASKS, "anil", record=()).record == ()


def test_checkpoint_may_be_any_path(tmp_path):
    for path in (tmp_path / "a", str(tmp_path / "a")):
        config = configure(TASKS, "anil", checkpoint=path)
        assert config.checkpoint == ms.Checkpoint(str(tmp_path / "a"), every_seconds=60)


def test_checkpoint_needs_its_folder(tmp_path, monkeypatch):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        configure(TASKS, "anil", checkpoint=tmp_path / "missing" / "a")
    with pytest.raises(ValueError, match="is a folder"):
        configure(TASKS, "anil", checkpoint=tmp_path)
    monkeypatch.chdir(tmp_path)
    assert configure(TASKS, "anil", checkpoint=Path("a")).checkpoint.path == "a"


@pytest.mark.parametrize(
    ("method", "length"),
    [(ms.ANIL(alpha=0.25), 2.0), (ms.MAML(alpha=4.0), 0.5), (ms.AverageRisk(), 1.0)],
)
def test_default_scale_makes_alpha_B_B_the_identity(method, length):
    r = ms.train(TASKS, method, rounds=0, record=("sigma_min", "sigma_max"))
    np.testing.assert_allclose([r.trace["sigma_min"][0], r.trace["sigma_max"][0]], length)


@pytest.mark.parametrize("width", [1, 3, 5])
@pytest.mark.parametrize("dist", [0.0, 1e-200, 0.3, 0.999999999])
def test_tilted_start_has_the_angles_asked_for(width, dist):
    M, R = tilted(dist, 20, 3, width)
    np.testing.assert_allclose(M.T @ M + R.T @ R, np.eye(width), atol=1e-15)
    r = ms.train(TASKS, "anil", rounds=0, width=width, init=ms.Init(dist=dist), record="angles")
    np.testing.assert_allclose(np.sin(r.trace["angles"]), dist, rtol=1e-14)


def test_tilted_start_uses_the_last_dimension():
    room = ms.LinearTasks(d=8, k=3)
    assert configure(room, "anil", width=5, init="methodical").width == 5
    assert configure(room, "anil", width=8, init=ms.Init(dist=0.0)).width == 8
    with pytest.raises(ValueError, match="needs 6 dimensions"):
        configure(room, "anil", width=6, init="methodical")
