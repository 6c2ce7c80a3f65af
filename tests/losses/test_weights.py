"""Class weights."""

import numpy as np
import pytest

from clinical_ner.errors import ClinicalNerError
from clinical_ner.losses.cross_entropy import WeightedCrossEntropy
from clinical_ner.losses.weights import tag_weights

from .examples import DOCUMENTS, PRIOR, statistics_of

STATISTICS = statistics_of(*DOCUMENTS)


def test_b_and_i_share_a_weight():
    for scheme in ("paper", "inverse", "sqrt_inverse", "effective_number"):
        weights = tag_weights(STATISTICS, scheme, beta=0.9)
        assert weights[1] == weights[2]
        assert weights[3] == weights[4]
        assert weights[3] > weights[1] > weights[0]


def test_paper_weights_are_one_minus_the_share_of_the_type():
    np.testing.assert_allclose(
        tag_weights(STATISTICS, "paper", beta=0.9), [0.2, 0.83, 0.83, 0.97, 0.97]
    )


def test_inverse_weights_have_expectation_one():
    weights = tag_weights(STATISTICS, "inverse", beta=0.9)
    assert (weights * PRIOR).sum() == pytest.approx(1.0)


def test_paper_weights_move_the_raw_optimum_away_from_the_prior():
    weights = tag_weights(STATISTICS, "paper", beta=0.9)
    raw = weights * PRIOR / (weights * PRIOR).sum()
    assert raw[0] == pytest.approx(0.2 * 0.8 / (0.2 * 0.8 + 0.17 * 0.83 + 0.03 * 0.97))
    assert abs(raw[0] - PRIOR[0]) > 0.2


def test_effective_number_with_beta_zero_gives_every_class_one():
    np.testing.assert_allclose(tag_weights(STATISTICS, "effective_number", beta=0.0), 1.0)


def test_effective_number_tends_to_inverse_frequency():
    weights = tag_weights(STATISTICS, "effective_number", beta=1 - 1e-9)
    inverse = tag_weights(STATISTICS, "inverse", beta=0.0)
    np.testing.assert_allclose(weights / weights[0], inverse / inverse[0], rtol=1e-5)


def test_paper_weights_of_a_single_class_are_refused():
    with pytest.raises(ClinicalNerError, match="'L0'.*no other class is left in the corpus"):
        WeightedCrossEntropy(weights="paper").initialize(statistics_of([0, 4, 4]))
