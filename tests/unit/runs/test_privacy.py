"""Clipping and noise in files, checkpoints and studies."""

import numpy as np
import pytest

import metaspan as ms
from matching import assert_one_sentence, assert_same_bits
from metaspan.runs import codec
from studies import lines

TASKS = ms.LinearTasks(d=40, k=2, noise=0.1)
PRIVACY = ms.UserDP(clip=0.5, multiplier=0.2)


def train(privacy=PRIVACY, **options):
    method = ms.ANIL(beta=0.02, privacy=privacy)
    return ms.train(TASKS, method, n=6, m_in=4, m_out=4, stop=None, **{"rounds": 5, **options})


def test_results_keep_the_privacy_of_their_method(tmp_path):
    r = train()
    r.save(tmp_path / "run.npz")
    back = ms.load(tmp_path / "run.npz")
    assert back.config.method == r.config.method
    assert_same_bits(back, r)


def test_texts_of_methods_without_privacy_are_those_of_earlier_versions():
    assert "privacy" not in codec.encode(ms.ANIL(), None)["fields"]
    tree = codec.encode(ms.MAML(privacy=PRIVACY), None)
    assert codec.decode(tree, None) == ms.MAML(privacy=PRIVACY)


def test_a_checkpoint_is_refused_for_another_noise(tmp_path):
    train(checkpoint=tmp_path / "run")
    other = ms.UserDP(clip=0.5, multiplier=0.3)
    assert_one_sentence(
        lambda: train(other, rounds=9, checkpoint=tmp_path / "run"),
        ValueError,
        ["method.privacy.multiplier", "0.2", "0.3"],
    )
    assert_same_bits(train(rounds=9, checkpoint=tmp_path / "run"), train(rounds=9))


def test_noise_depends_on_the_trial_and_clipping_bounds_the_step():
    r = train(ms.UserDP(clip=1e-3, multiplier=0.0), trials=2, record=("w_norm",))
    assert r.trace["w_norm"].max() < 5 * 0.02 * 1e-3
    noisy = train(ms.UserDP(clip=1e-3, multiplier=50.0), trials=2, record=("w_norm",))
    assert not np.array_equal(noisy.trace["w_norm"][0], noisy.trace["w_norm"][1])
    assert noisy.trace["w_norm"].max() > r.trace["w_norm"].max()


BASE = {"k": 2, "d": 30, "rounds": 3, "n": 5, "m_in": 4, "m_out": 4, "beta": 0.02}
VALUES = [None, PRIVACY, ms.UserDP(clip=0.5, multiplier=0.0)]
STUDIES = {
    "keyword": ({**BASE, "method": "fo-anil"}, {"privacy": VALUES}),
    "method": (BASE, {"method": [ms.ANIL(first_order=True, privacy=value) for value in VALUES]}),
    "expression": (
        {**BASE, "method": "fo-anil", "privacy": dict(kind="UserDP", clip="c", multiplier="c / 2")},
        {"c": [0.1, 0.2, 0.3]},
    ),
}


@pytest.mark.parametrize("name", STUDIES)
def test_studies_vary_privacy(tmp_path, name):
    base, grid = STUDIES[name]
    study = ms.Study(tmp_path / "study", base=base, grid=grid, seeds=2, measure=("dist",))
    study.run(progress=False, threads=1)
    values = [row["measures"]["dist"] for row in lines(study)]
    assert len(set(values)) == 6
