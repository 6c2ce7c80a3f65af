from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, logit
from sklearn.linear_model import LogisticRegression

from clinical_ner.calibration.entity_step import EntityCalibration
from clinical_ner.errors import ClinicalNerError
from clinical_ner.fitting.fit_entities import fit_entities

Array = NDArray[np.float64]


def spans(n: int, *, seed: int = 0) -> tuple[Array, NDArray[np.bool_]]:
    """Probabilities that are too large, and whether the span is right."""
    rng = np.random.default_rng(seed)
    probabilities = rng.uniform(0.02, 0.98, size=n)
    return probabilities, rng.random(n) < expit(0.7 * logit(probabilities) - 0.6)


# The step


def test_without_a_tilt_it_is_a_line_in_the_log_odds() -> None:
    values = np.array([0.001, 0.3, 0.5, 0.99, 1 - 1e-9])
    expected = expit(0.7 * logit(values) - 0.6)
    np.testing.assert_allclose(EntityCalibration(0.7, -0.6).apply(values), expected, rtol=1e-9)


def test_with_a_tilt_it_is_beta_calibration() -> None:
    values = np.array([0.01, 0.3, 0.5, 0.99])
    a, b, c = 0.4, 1.2, -0.9
    # Kull et al. 2017, equation 5: 1 / (1 + 1 / (e^c s^a / (1 - s)^b)).
    expected = 1 / (1 + 1 / (np.exp(c) * values**a / (1 - values) ** b))
    found = EntityCalibration((a + b) / 2, c, (a - b) / 2).apply(values)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_slope_1_alone_changes_nothing() -> None:
    values = np.linspace(0, 1, 101)
    np.testing.assert_allclose(EntityCalibration(1.0, 0.0).apply(values), values, atol=1e-12)


@pytest.mark.parametrize("step", [(0.0, 2.0), (0.7, -3.0), (1.5, 40.0), (0.8, -0.5, -0.8)])
def test_it_is_monotone_from_0_to_1(step: tuple[float, ...]) -> None:
    values = np.r_[0.0, np.logspace(-300, -1, 50), np.linspace(0.11, 1.0, 200)]
    found = EntityCalibration(*step).apply(values)
    assert (np.diff(found) >= 0).all()
    assert (found[0], found[-1]) == (0.0, 1.0)
    assert ((found >= 0) & (found <= 1)).all()


def test_a_tilt_of_the_slope_leaves_the_limit_at_0() -> None:
    found = EntityCalibration(0.5, 0.0, 0.5).apply(np.array([1e-30, 0.5]))
    np.testing.assert_allclose(found, [1e-30, 1 / 3])


def test_no_probability_gives_none() -> None:
    assert EntityCalibration(0.7, 0.1).apply(np.zeros(0)).shape == (0,)


@pytest.mark.parametrize(
    "step", [(-0.1, 0.0), (np.inf, 0.0), (np.nan, 0.0), (1.0, np.nan), (0.5, 0.0, 0.6)]
)
def test_numbers_out_of_range(step: tuple[float, ...]) -> None:
    with pytest.raises(ClinicalNerError, match="must be a number"):
        EntityCalibration(*step)


# The fit


def test_it_agrees_with_logistic_regression() -> None:
    probabilities, right = spans(400)
    inputs = np.stack([np.log(probabilities), -np.log1p(-probabilities)], axis=1)
    expected = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(inputs, right)
    assert (expected.coef_ > 0).all()
    step = fit_entities(probabilities, right, sd=np.inf)
    assert step is not None
    np.testing.assert_allclose(
        step.apply(probabilities), expected.predict_proba(inputs)[:, 1], atol=1e-4
    )


def test_too_large_probabilities_are_put_right() -> None:
    step = fit_entities(*spans(5000))
    assert step is not None
    values, right = spans(5000, seed=1)
    calibrated = step.apply(values)
    assert np.abs(calibrated - expit(0.7 * logit(values) - 0.6)).max() < 0.03
    assert ((calibrated - right) ** 2).mean() < ((values - right) ** 2).mean()


def test_a_map_that_would_fall_is_flat() -> None:
    probabilities, right = spans(500)
    step = fit_entities(1 - probabilities, right)
    assert step is not None
    assert step.slope == pytest.approx(0.0, abs=1e-6)
    assert step.apply(np.array([0.2, 0.8])) == pytest.approx(right.mean(), abs=0.01)


def test_separable_spans_and_sure_ones_give_finite_numbers() -> None:
    probabilities = np.repeat([0.0, 0.1, 0.9, 1.0], 20)
    step = fit_entities(probabilities, probabilities > 0.5)
    assert step is not None
    assert np.isfinite([step.slope, step.intercept, step.tilt]).all()


@pytest.mark.parametrize("right", [9, 91])
def test_too_few_of_one_kind_give_no_step(right: int) -> None:
    probabilities = np.linspace(0.1, 0.9, 100)
    assert fit_entities(probabilities, np.arange(100) < right) is None
    assert fit_entities(probabilities, np.arange(100) < right, min_spans=9) is not None
