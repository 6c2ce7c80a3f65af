from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.calibration import calibration_curve
from sklearn.metrics import log_loss

from clinical_ner.scoring.reliability import (
    IMPOSSIBLE,
    bin_means,
    count_reliability,
    count_tokens,
    equal_mass_bins,
    expected_calibration_error,
    token_calibration_error,
    token_statistics,
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


def documents(
    rng: np.random.Generator, lengths: list[int], tags: int = 4
) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Log-probabilities in single precision and gold ids, of which some are of no known tag."""
    log_probs = [np.log(rng.dirichlet(np.full(tags, 0.5), size=n)).astype("f") for n in lengths]
    return log_probs, [rng.integers(0, tags + 1, size=n) for n in lengths]


def test_the_errors_of_tokens_are_those_of_their_definitions(rng: np.random.Generator) -> None:
    log_probs, truths = documents(rng, [40, 0, 77, 30])
    counts = count_tokens(log_probs, truths, tags=list("abcd"))
    rows, gold = np.exp(np.concatenate(log_probs).astype(float)), np.concatenate(truths)
    scores = token_statistics(counts)
    assert scores["token_ece"] == pytest.approx(token_calibration_error(rows, gold))
    n, errors = len(gold), []
    for tag in range(4):
        # No two probabilities are equal, so bins are runs of the sorted ones.
        order = np.argsort(rows[:, tag])
        bins = [order[[i * 15 // n == b for i in range(n)]] for b in range(15)]
        gaps = [abs(rows[b, tag].sum() - (gold[b] == tag).sum()) for b in bins]
        errors.append(sum(gaps) / n)
    assert scores["token_classwise_ece"] == pytest.approx(np.mean(errors), rel=1e-9)
    known = gold < 4
    rows /= rows.sum(axis=1, keepdims=True)
    expected = log_loss(gold[known], rows[known], labels=range(4))
    assert scores["token_nll"] == pytest.approx(expected, rel=1e-6)
    assert counts.likelihood.totals()[0, IMPOSSIBLE] == (~known).sum()


def test_the_classwise_error_is_over_tags_with_gold_tokens() -> None:
    rows = np.log(np.array([[0.75, 0.15, 0.1]] * 4))
    truths = np.array([0, 0, 0, 1])
    counts = count_tokens([rows], [truths], tags=list("abc"))
    # One bin per tag: gaps of 0 and 0.1; the third tag would have one of 0.1.
    assert token_statistics(counts)["token_classwise_ece"] == pytest.approx(0.05)


def test_a_gold_tag_of_probability_zero_is_left_out_of_the_likelihood() -> None:
    with np.errstate(divide="ignore"):
        rows = np.log(np.array([[0.5, 0.5, 0.0], [0.25, 0.75, 0.0]]))
    counts = count_tokens([rows], [np.array([0, 2])], tags=list("abc"))
    assert token_statistics(counts)["token_nll"] == pytest.approx(np.log(2))
    assert counts.likelihood.totals()[0, IMPOSSIBLE] == 1


def test_a_resample_of_tokens_is_that_of_repeated_documents(rng: np.random.Generator) -> None:
    log_probs, truths = documents(rng, [9, 25, 14])
    counts = count_tokens(log_probs, truths, tags=list("abcd"))
    resampled = token_statistics(counts, np.array([[2, 0, 1], [0, 0, 3]]))
    for row, drawn in enumerate(([0, 0, 2], [2, 2, 2])):
        # Bins are those of all documents, so only what needs none can be counted again.
        again = count_tokens([log_probs[i] for i in drawn], [truths[i] for i in drawn], tags="abcd")
        expected = token_statistics(again)["token_nll"]
        assert resampled["token_nll"][row] == pytest.approx(expected)
        totals = sum(counts.classwise.counts[i] for i in drawn)
        in_gold = totals[..., 2].sum(axis=-1) > 0
        errors = np.abs(totals[..., 1] - totals[..., 2]).sum(axis=-1) / totals[0, :, 0].sum()
        assert resampled["token_classwise_ece"][row] == pytest.approx(errors[in_gold].mean())


def test_without_a_token_all_is_undefined() -> None:
    counts = count_tokens([np.zeros((0, 2))], [np.zeros(0, dtype=int)], tags=["a", "b"])
    assert all(math.isnan(value) for value in token_statistics(counts).values())


def test_bins_of_a_diagram_are_means_and_leave_empty_ones_out() -> None:
    totals = np.array([[4, 1.0, 2], [0, 0.0, 0], [1, 0.9, 1]])
    assert bin_means(totals) == [
        {"confidence": 0.25, "accuracy": 0.5, "count": 4},
        {"confidence": 0.9, "accuracy": 1.0, "count": 1},
    ]
