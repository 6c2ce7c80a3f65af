from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.calibration import calibration_curve

from clinical_ner.scoring.reliability import (
    count_reliability,
    equal_mass_bins,
    expected_calibration_error,
    token_calibration_error,
)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def test_the_error_is_that_of_scikit_learns_quantile_bins(rng: np.random.Generator) -> None:
    probabilities = rng.dirichlet(np.full(5, 0.4), size=15 * 40)
    truths = np.array([rng.choice(5, p=np.sqrt(row) / np.sqrt(row).sum()) for row in probabilities])
    correct = probabilities.argmax(axis=1) == truths
    accuracy, confidence = calibration_curve(
        correct, probabilities.max(axis=1), n_bins=15, strategy="quantile"
    )
    expected = np.abs(accuracy - confidence).mean()
    assert expected > 0.05
    assert token_calibration_error(probabilities, truths) == pytest.approx(expected, rel=1e-12)


def test_bins_hold_equally_many_tokens(rng: np.random.Generator) -> None:
    confidence = rng.random(104)
    bins = equal_mass_bins(confidence)
    assert set(np.bincount(bins, minlength=15)) == {6, 7}
    assert (np.diff(bins[np.argsort(confidence)]) >= 0).all()


def test_the_order_of_equal_confidences_decides_nothing(rng: np.random.Generator) -> None:
    confidence = rng.choice([0.5, 0.9, 1.0], size=200)
    correct = rng.random(200) < 0.8
    order = rng.permutation(200)
    first, second = (
        expected_calibration_error(count_reliability([c], [k]).totals())
        for c, k in ((confidence, correct), (confidence[order], correct[order]))
    )
    assert first == pytest.approx(second, rel=1e-12)


def test_one_confidence_for_all_tokens_is_one_bin() -> None:
    probabilities = np.tile([0.7, 0.3], (10, 1))
    truths = np.array([0, 1] * 5)
    assert token_calibration_error(probabilities, truths) == pytest.approx(0.2)


def test_masked_tokens_are_left_out(rng: np.random.Generator) -> None:
    probabilities = rng.dirichlet(np.ones(3), size=60)
    truths = rng.integers(0, 3, size=60)
    masked = np.where(np.arange(60) % 4 == 0, -1, truths)
    kept = masked >= 0
    assert token_calibration_error(probabilities, masked) == token_calibration_error(
        probabilities[kept], truths[kept]
    )


def test_a_resample_weighs_the_counts_of_its_documents() -> None:
    confidence = [np.array([0.6, 0.9]), np.array([0.7]), np.zeros(0)]
    correct = [np.array([True, False]), np.array([True]), np.zeros(0, dtype=bool)]
    counts = count_reliability(confidence, correct, bins=1)
    error = expected_calibration_error(counts.totals(np.array([[1, 1, 1], [0, 2, 1], [0, 0, 3]])))
    assert error[0] == pytest.approx(abs(0.6 + 0.9 + 0.7 - 2) / 3)
    assert error[1] == pytest.approx(0.3)
    assert math.isnan(error[2])
