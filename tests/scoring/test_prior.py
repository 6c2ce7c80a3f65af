from __future__ import annotations

import math

import numpy as np
import pytest

from clinical_ner.scoring.prior import (
    ARGMAX,
    GOLD,
    MASS,
    count_prior,
    pooled_mass_ratio,
    prior_ratios,
    rarest_third,
)


def test_no_signal_has_mass_one_and_argmax_zero_but_for_the_commonest() -> None:
    shares = np.array([0.8, 0.15, 0.05])
    mass, argmax = prior_ratios(np.tile(shares, (20, 1)), shares)
    np.testing.assert_allclose(mass, 1.0)
    np.testing.assert_allclose(argmax, [1 / 0.8, 0, 0])


def test_ratios_against_shares_that_are_given() -> None:
    probabilities = np.array([[0.6, 0.4, 0.0], [0.2, 0.8, 0.0]])
    mass, argmax = prior_ratios(probabilities, np.array([0.5, 0.5, 0.0]))
    np.testing.assert_allclose(mass[:2], [0.8, 1.2])
    np.testing.assert_allclose(argmax[:2], [1.0, 1.0])
    assert math.isnan(mass[2]) and math.isnan(argmax[2])


def test_a_group_is_pooled_before_the_ratio() -> None:
    probabilities = np.array([[0.7, 0.2, 0.1], [0.5, 0.1, 0.4]])
    shares = np.array([0.9, 0.09, 0.01])
    assert pooled_mass_ratio(probabilities, shares, {1, 2}) == pytest.approx(0.4 / 0.1)
    assert math.isnan(pooled_mass_ratio(probabilities, np.array([1.0, 0, 0]), {1, 2}))


def test_masked_tokens_count_nowhere_and_unknown_tags_only_as_tokens() -> None:
    probabilities = np.array([[0.9, 0.1], [0.3, 0.7], [0.2, 0.8], [0.6, 0.4]])
    counts = count_prior(probabilities, np.array([0, -1, 1, 2]))
    np.testing.assert_allclose(counts[:, GOLD], [1, 1])
    np.testing.assert_allclose(counts[:, MASS], [0.9 + 0.2 + 0.6, 0.1 + 0.8 + 0.4])
    np.testing.assert_allclose(counts[:, ARGMAX], [2, 1])


@pytest.mark.parametrize(
    ("tokens", "third"),
    [
        ({"a": 5, "b": 1, "c": 9, "d": 0, "e": 3, "f": 2, "g": 8}, ("b", "f")),
        ({"a": 4, "b": 0}, ("a",)),
        ({"b": 1, "a": 1, "c": 1}, ("a",)),
        ({}, ()),
    ],
)
def test_the_rarest_third_is_of_the_types_seen(
    tokens: dict[str, float], third: tuple[str, ...]
) -> None:
    assert rarest_third(tokens) == third
