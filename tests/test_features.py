from __future__ import annotations

import numpy as np
import pytest

from models.studies import features


def test_features_by_hand() -> None:
    t = np.array([0.0, 1.0, 3.0, 3.5, 10.0])
    m = np.array([15.0, 15.3, 14.9, 15.1, 15.6])
    e = np.array([0.1, 0.1, 0.2, 0.1, 0.0])
    f = dict(zip(features.FEATURES, features.one(t, m, e), strict=True))
    flux = 10 ** (-0.4 * (m - 15.1))
    q = dict(
        zip((5, 20, 35, 40, 60, 95), np.percentile(flux, (5, 20, 35, 40, 60, 95)), strict=True)
    )
    sigma = np.array([0.1, 0.1, 0.2, 0.1, 0.1])
    delta = np.sqrt(5 / 4) * (m - np.average(m, weights=sigma**-2)) / sigma
    pairs = delta[:-1] * delta[1:]
    expected = {
        "amplitude": 0.35,
        "beyond1std": (np.abs(m - m.mean()) > m.std()).mean(),
        "flux_percentile_ratio_mid20": (q[60] - q[40]) / (q[95] - q[5]),
        "linear_trend": np.polyfit(t, m, 1)[0],
        "max_slope": 0.4,  # from 14.9 to 15.1 in half a day
        "median_absolute_deviation": np.median(np.abs(flux - np.median(flux))),
        "median_buffer_range_percentage": 2 / 5,  # 15.0 is 9.6 % brighter than 15.1
        "pair_slope_trend": 1 / 4,
        "percent_difference_flux_percentile": q[95] - q[5],
        "skew": ((m - m.mean()) ** 3).mean() / m.std() ** 3,
        "small_kurtosis": ((m - m.mean()) ** 4).mean() / m.std() ** 4,
        "std": m.std(),
        "stetson_j": (np.sign(pairs) * np.sqrt(np.abs(pairs))).mean(),
        "stetson_k": np.abs(delta).mean() / np.sqrt((delta**2).mean()),
    }
    assert {name: f[name] for name in expected} == pytest.approx(expected)


def test_a_constant_curve_has_features_too() -> None:
    result = features.one(np.arange(3.0), np.full(3, 15.0), np.zeros(3))
    assert len(result) == 18
    assert np.isfinite(result).all()
