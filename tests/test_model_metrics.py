from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from models import metrics

P = np.array(
    [[0.9, 0.1, 0.0], [0.8, 0.2, 0.0], [0.4, 0.6, 0.0], [0.9, 0.05, 0.05]],
)
LABEL = np.array([0, 0, 1, 1])


def test_by_hand() -> None:
    m = metrics.measure(P, LABEL)
    assert m.objects == 4
    assert m.confusion.tolist() == [[2, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert m.accuracy == 0.75
    assert m.balanced_accuracy == 0.75  # (1 + 1/2) / 2: the third class has no object
    assert m.recall.tolist() == pytest.approx([1, 0.5, np.nan], nan_ok=True)
    assert m.precision.tolist() == pytest.approx([2 / 3, 1, np.nan], nan_ok=True)
    assert m.f1.tolist() == pytest.approx([0.8, 2 / 3, np.nan], nan_ok=True)
    assert m.macro_f1 == pytest.approx((0.8 + 2 / 3) / 2)
    # two classes: (2 * 1 - 1 * 0) / sqrt(3 * 2 * 1 * 2)
    assert m.matthews == pytest.approx(2 / np.sqrt(12))
    # bins: {.9 right, .9 wrong}: |1.8 - 1|, {.8 right}: .2, {.6 right}: .4
    assert m.ece == pytest.approx((0.8 + 0.2 + 0.4) / 4)
    assert m.log_loss == pytest.approx(-np.log([0.9, 0.8, 0.6, 0.05]).mean())
    assert m.log_loss_gain == pytest.approx(np.log(2) - m.log_loss)
    # class 0: true .9 .8, others .4 .9: one tie, one below, two above
    assert m.auc.tolist() == pytest.approx([2.5 / 4, 2 / 4, np.nan], nan_ok=True)


def test_three_classes_matthews_by_hand() -> None:
    named = np.array([0, 0, 1, 1, 2, 0])
    m = metrics.measure(np.eye(3)[named], np.array([0, 0, 1, 2, 2, 1]))
    # s = 6, c = 4, true (2, 2, 2), named (3, 2, 1): (24 - 12) / sqrt(36 - 12) / sqrt(36 - 14)
    assert m.matthews == pytest.approx(12 / np.sqrt(24 * 22))


def test_names_without_a_choice_have_no_matthews() -> None:
    m = metrics.measure(np.tile([1.0, 0.0], (3, 1)), np.array([0, 1, 1]))
    assert m.matthews == 0
    assert m.log_loss == pytest.approx(-2 / 3 * np.log(metrics.LEAST))
    assert m.ece == pytest.approx(2 / 3)


def test_probability_one_falls_in_the_last_bin() -> None:
    m = metrics.measure(np.array([[1.0, 0], [0.95, 0.05]]), np.array([1, 0]))
    assert m.ece == pytest.approx(0.95 / 2)  # too sure and too unsure cancel in a bin


def test_a_name_given_to_others_only_is_no_class_of_the_mean() -> None:
    m = metrics.measure(np.eye(3)[[0, 1, 2]], np.array([0, 1, 1]))
    assert m.f1.tolist() == pytest.approx([1, 2 / 3, np.nan], nan_ok=True)
    assert m.precision[2] == 0


def test_the_class_proportions_themselves_gain_nothing() -> None:
    label = np.array([0] * 7 + [1] * 2 + [2])
    m = metrics.measure(np.tile([0.7, 0.2, 0.1], (10, 1)), label)
    assert m.log_loss_gain == pytest.approx(0)
    assert m.ece == pytest.approx(0)
    assert m.auc.tolist() == [0.5, 0.5, 0.5]


probabilities = arrays.arrays(
    np.float64, st.tuples(st.integers(1, 30), st.integers(2, 4)), elements=st.floats(0.01, 1)
).map(lambda p: p / p.sum(axis=1, keepdims=True))


@settings(max_examples=60, deadline=None)
@given(p=probabilities, seed=st.integers(0, 99))
def test_a_weight_is_as_many_copies(p: np.ndarray, seed: int) -> None:
    draw = np.random.default_rng(seed)
    label = draw.integers(0, p.shape[1], len(p))
    copies = draw.integers(1, 4, len(p))
    weighted = metrics.measure(p, label, copies.astype(float))
    copied = metrics.measure(np.repeat(p, copies, axis=0), np.repeat(label, copies))
    for name in ("confusion", "log_loss", "log_loss_gain", "ece", "auc", "f1", "matthews"):
        assert getattr(weighted, name) == pytest.approx(getattr(copied, name), nan_ok=True), name


@settings(max_examples=60, deadline=None)
@given(p=probabilities, seed=st.integers(0, 99))
def test_auc_counts_pairs_and_sees_the_order_alone(p: np.ndarray, seed: int) -> None:
    truth = np.random.default_rng(seed).integers(0, 2, len(p)).astype(bool)
    score = np.round(p[:, 0], 1)  # ties
    above = [float(a > b) + 0.5 * float(a == b) for a in score[truth] for b in score[~truth]]
    expected = np.mean(above) if above else np.nan
    assert metrics.auc(score, truth) == pytest.approx(expected, nan_ok=True)
    assert metrics.auc(score**3, truth) == pytest.approx(expected, nan_ok=True)
    assert metrics.auc(-score, truth) == pytest.approx(1 - expected, nan_ok=True)


@settings(max_examples=60, deadline=None)
@given(p=probabilities, seed=st.integers(0, 99))
def test_the_order_of_objects_and_of_classes_does_not_matter(p: np.ndarray, seed: int) -> None:
    draw = np.random.default_rng(seed)
    label = draw.integers(0, p.shape[1], len(p))
    if (np.diff(np.sort(p, axis=1)[:, -2:]) == 0).any():
        return  # of equal classes the first is the name
    objects, classes = draw.permutation(len(p)), draw.permutation(p.shape[1])
    m = metrics.measure(p, label)
    other = metrics.measure(p[objects][:, classes], np.argsort(classes)[label[objects]])
    for name in ("accuracy", "balanced_accuracy", "macro_f1", "matthews", "ece", "log_loss"):
        assert getattr(m, name) == pytest.approx(getattr(other, name)), name
    assert other.recall == pytest.approx(m.recall[classes], nan_ok=True)
    assert -1 <= m.matthews <= 1
    assert 0 <= m.ece <= 1


def test_bootstrap_holds_the_truth_as_often_as_it_says() -> None:
    draw = np.random.default_rng(5)
    inside = 0
    for seed in range(200):
        right = draw.random(150) < 0.8
        low, high = metrics.bootstrap(
            lambda drawn, right=right: right[drawn].mean(), 150, 0.9, 200, seed
        )
        inside += low <= 0.8 <= high
    assert 168 <= inside <= 192  # of 200, 90 % +- three standard errors


def test_rubbish_is_refused() -> None:
    with pytest.raises(ValueError, match="3 labels for 4 rows"):
        metrics.measure(P, LABEL[:3])
    with pytest.raises(ValueError, match="at least one"):
        metrics.measure(P[:0], LABEL[:0])
    with pytest.raises(ValueError, match=r"labels 0 to 3: expected 0 to 2"):
        metrics.measure(P, np.array([0, 1, 2, 3]))
    for bad in (P * 2, P * np.nan, P - [[0.5, -0.5, 0]]):
        with pytest.raises(ValueError, match="no probability distribution"):
            metrics.measure(bad, LABEL)
