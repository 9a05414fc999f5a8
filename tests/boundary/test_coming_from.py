"""The claims of docs/coming_from.md about other libraries hold, where these are installed."""

import re

import numpy as np
import pytest

import metaspan as ms

pytestmark = pytest.mark.neighbours

PAGE = "docs/coming_from.md"


@pytest.fixture(scope="module")
def page(request):
    return (request.config.rootpath / PAGE).read_text(encoding="utf-8")


@pytest.fixture
def data(page):
    """Run the first example of the page, and return the names that it defines."""
    first = re.search(r"^```python\n(>>>.*?)^```", page, re.M | re.S)[1]
    names = {}
    exec("\n".join(re.findall(r"^(?:>>> |\.\.\. )(.*)$", first, re.M)), names)
    return names


def test_learn2learn_and_metaspan_end_at_the_same_parameters(page, data):
    pytest.importorskip("torch")
    pytest.importorskip("learn2learn", reason="needs learn2learn, which has no wheel")
    batch, start = data["batch"], (data["B0"], data["w0"])
    steps = {name: data[name] for name in ("alpha", "beta", "rounds")}
    exec(re.search(r"^```python\n(import learn2learn.*?)^```", page, re.M | re.S)[1], data)
    r = ms.train(batch, "anil", init=start, **steps)
    np.testing.assert_allclose(r.B, data["B"], rtol=1e-9)
    np.testing.assert_allclose(r.w, data["w"], rtol=1e-9)


def test_one_ridge_regression_on_all_tasks_is_pooled(data):
    linear_model = pytest.importorskip("sklearn.linear_model")
    X, y = data["X"].reshape(-1, data["d"]), data["y"].ravel()
    ridge = linear_model.Ridge(alpha=0.1 * len(X), fit_intercept=False).fit(X, y)
    pooled = ms.fit(data["batch"], "pooled", ridge=0.1, width=1)
    np.testing.assert_allclose(pooled.heads @ pooled.B.T, [ridge.coef_] * data["n"], atol=1e-9)
