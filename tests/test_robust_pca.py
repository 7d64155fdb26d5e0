from __future__ import annotations

import numpy as np
import pytest

from models.studies import robust_pca


def test_robust_pca_parts_a_common_image_from_what_few_have() -> None:
    draw = np.random.default_rng(2)
    common = draw.uniform(1, 5, 60)
    low = np.outer(common, draw.uniform(0.5, 2, 400))
    sparse = np.where(draw.random((60, 400)) < 0.05, draw.uniform(5, 20, (60, 400)), 0.0)
    found, rest = robust_pca.split(low + sparse)
    assert np.abs(found - low).max() < 0.05 * low.max()
    assert ((rest > 1) == (sparse > 0)).mean() > 0.99
    plain = np.linalg.svd(low + sparse, full_matrices=False)
    spoilt = plain[1][0] * np.outer(plain[0][:, 0], plain[2][0])
    assert np.abs(found - low).max() < np.abs(spoilt - low).max() / 5
    image = robust_pca.background((low + sparse).T.reshape(400, 6, 10))
    assert image.ravel() == pytest.approx(low.max(axis=1), rel=0.05)
