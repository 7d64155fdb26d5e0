from __future__ import annotations

import numpy as np

from models.studies import forest


def test_a_forest_learns_what_no_line_parts_and_repeats() -> None:
    draw = np.random.default_rng(1)
    x = draw.normal(0, 1, (1200, 6))
    y = ((x[:, 0] > 0.2) ^ (x[:, 1] > -0.1)).astype(np.int64) + (x[:, 2] > 1)
    one, two = (forest.grow(x[:800], y[:800], 3, 40, 7) for _ in range(2))
    p = one.probabilities(x[800:])
    np.testing.assert_allclose(p.sum(axis=1), 1)
    assert (p.argmax(axis=1) == y[800:]).mean() > 0.9
    np.testing.assert_array_equal(p, two.probabilities(x[800:]))
    assert (p != forest.grow(x[:800], y[:800], 3, 40, 8).probabilities(x[800:])).any()
    leaves = one.trees[0].feature < 0
    assert (one.trees[0].share[leaves].max(axis=1) == 1).mean() > 0.95  # grown to the end
