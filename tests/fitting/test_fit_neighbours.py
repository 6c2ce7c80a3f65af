from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from clinical_ner.errors import ClinicalNerError
from clinical_ner.fitting.fit_neighbours import MIXING, fit_neighbours, k_grid
from clinical_ner.neighbours.datastore import Datastore


def clusters(
    rng: np.random.Generator, n: int, *, informative: bool
) -> tuple[np.ndarray, np.ndarray]:
    """Tokens of three tags, whose vectors tell the tag or nothing."""
    tags = rng.choice(3, p=[0.6, 0.3, 0.1], size=n)
    centres = tags if informative else rng.permutation(tags)
    return centres[:, None] * 10.0 + rng.normal(size=(n, 2)), tags


def data(*, informative: bool, n: int = 400) -> tuple[Datastore, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    datastore = Datastore.build(*clusters(rng, 2000, informative=informative), n_tags=3)
    return datastore, *clusters(rng, n, informative=informative)


def constant(probabilities: list[float], n: int) -> np.ndarray:
    return np.log(np.tile(probabilities, (n, 1)))


def test_neighbours_that_know_more_than_the_model_are_trusted() -> None:
    datastore, vectors, gold = data(informative=True)
    fit = fit_neighbours(datastore, constant([0.6, 0.3, 0.1], 400), vectors, gold)
    assert fit.neighbours.mixing == max(MIXING)
    assert fit.nll_after < 0.15 < 0.8 < fit.nll_before


def test_neighbours_that_know_nothing_are_not_mixed_into_a_model_that_does() -> None:
    datastore, vectors, gold = data(informative=False)
    log_probs = np.log(np.full((400, 3), 0.005))
    log_probs[np.arange(400), gold] = np.log(0.99)
    fit = fit_neighbours(datastore, log_probs, vectors, gold)
    assert fit.neighbours.mixing == 0
    assert fit.nll_after == fit.nll_before == pytest.approx(-math.log(0.99))


def test_many_neighbours_are_better_than_few_where_vectors_tell_nothing() -> None:
    datastore, vectors, gold = data(informative=False)
    fit = fit_neighbours(datastore, constant([0.1, 0.1, 0.8], 400), vectors, gold, max_k=200)
    assert fit.neighbours.k >= 128


def test_the_likelihood_reported_is_that_of_the_mixture() -> None:
    datastore, vectors, gold = data(informative=True)
    # Blurred, so that no single neighbour can be relied upon.
    rng = np.random.default_rng(1)
    vectors = vectors + rng.normal(scale=5.0, size=vectors.shape)
    log_probs = np.log(rng.dirichlet([1, 1, 1], size=400))
    fit = fit_neighbours(datastore, log_probs, vectors, gold)
    mixed = fit.neighbours.mix(log_probs, vectors)
    own = sum(float(-row[tag]) for row, tag in zip(log_probs, gold, strict=True)) / 400
    after = sum(float(-row[tag]) for row, tag in zip(mixed, gold, strict=True)) / 400
    assert fit.nll_before == pytest.approx(own)
    assert fit.nll_after == pytest.approx(after, rel=1e-6)
    for change in ({"k": 1}, {"temperature": fit.neighbours.temperature / 1000}, {"mixing": 0.1}):
        other = replace(fit.neighbours, **change).mix(log_probs, vectors)
        assert -other[np.arange(400), gold].mean() > fit.nll_after


def test_tokens_that_no_setting_could_help_are_left_out_and_counted() -> None:
    datastore = Datastore(np.arange(8.0)[:, None], np.array([0, 1] * 4), n_tags=3)
    log_probs = constant([0.5, 0.5, 0.0001], 3)
    log_probs[:, 2] = -np.inf
    fit = fit_neighbours(datastore, log_probs, np.zeros((3, 1)), np.array([0, 2, 1]), max_k=8)
    assert (fit.tokens, fit.unseen) == (2, 1)
    assert fit.nll_before == pytest.approx(math.log(2))


def test_a_tag_that_only_the_datastore_knows_makes_the_likelihood_finite() -> None:
    datastore = Datastore(np.arange(8.0)[:, None], np.array([0, 1] * 4), n_tags=2)
    log_probs = np.array([[0.0, -np.inf]] * 2)
    fit = fit_neighbours(datastore, log_probs, np.zeros((2, 1)), np.array([0, 1]), max_k=8)
    assert math.isinf(fit.nll_before)
    assert math.isfinite(fit.nll_after)
    assert fit.neighbours.mixing > 0


def test_vectors_that_are_all_the_same_can_be_fitted() -> None:
    datastore = Datastore(np.zeros((8, 1)), np.array([0, 1] * 4), n_tags=2)
    fit = fit_neighbours(
        datastore, constant([0.9, 0.1], 2), np.zeros((2, 1)), np.array([0, 1]), max_k=8
    )
    # The neighbours say one half each, which is the truth.
    assert fit.nll_after == pytest.approx(-math.log(0.5), abs=0.01)


def test_no_token_that_anyone_knows_is_an_error() -> None:
    datastore = Datastore(np.zeros((8, 1)), np.array([0, 1] * 4), n_tags=3)
    log_probs = np.array([[0.0, -np.inf, -np.inf]])
    with pytest.raises(ClinicalNerError, match="No held-out token has a tag that the model"):
        fit_neighbours(datastore, log_probs, np.zeros((1, 1)), np.array([2]), max_k=8)


def test_k_larger_than_the_datastore_is_an_error() -> None:
    datastore = Datastore(np.zeros((8, 1)), np.array([0, 1] * 4), n_tags=3)
    with pytest.raises(ClinicalNerError, match="64.*neighbours were asked for, but the.*8 vectors"):
        fit_neighbours(datastore, constant([1, 1, 1], 1), np.zeros((1, 1)), np.array([0]))


@pytest.mark.parametrize(
    ("largest", "tried"), [(64, [4, 8, 16, 32, 64]), (20, [4, 8, 16, 20]), (4, [4]), (2, [2])]
)
def test_doubles_up_to_the_largest_k_are_tried(largest: int, tried: list[int]) -> None:
    assert k_grid(largest) == tried


def test_a_token_that_no_neighbour_reaches_does_not_hide_what_the_others_gain() -> None:
    """The model knows neither tag 1 nor tag 2; the datastore knows 2 only far from that token."""
    vectors = np.r_[np.zeros(8), np.full(8, 100.0)][:, None]
    datastore = Datastore(vectors, np.r_[[1] * 8, [2] * 8], n_tags=3)
    log_probs = constant([1.0, 1.0, 1.0], 3)
    log_probs[:, 1:] = -np.inf
    gold = np.array([1, 1, 2])
    fit = fit_neighbours(datastore, log_probs, np.zeros((3, 1)), gold, max_k=8)
    assert (fit.tokens, fit.unseen) == (2, 1)
    assert fit.neighbours.mixing == max(MIXING)
    assert fit.nll_after == pytest.approx(-math.log(max(MIXING)))
