"""The constants of the cost model, measured where no file has them."""

import numpy as np

from metaspan import cost


def test_constants_are_measured_and_kept_where_there_are_none(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    found = cost.cost_model.__wrapped__()
    assert tuple(found) == cost.ORDER
    assert all(np.isfinite(value) and value > 0 for value in found.values())
    assert cost.cost_model.__wrapped__() == found  # read, not measured again
    assert [path.suffix for path in tmp_path.rglob("*") if path.is_file()] == [".json"]
