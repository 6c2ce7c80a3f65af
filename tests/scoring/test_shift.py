from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy.optimize import minimize

from clinical_ner.errors import ClinicalNerError
from clinical_ner.scoring.shift import distance, estimate_shares, permutation_test, rise


@pytest.mark.parametrize("seed", range(6))
def test_shares_are_those_of_maximum_likelihood(seed: int) -> None:
    rng = np.random.default_rng(seed)
    prior = rng.dirichlet(np.full(3, 4.0))
    probabilities = rng.dirichlet(np.full(3, 0.4), size=60)

    def loss(logits: np.ndarray) -> float:
        shares = np.exp(logits - np.logaddexp.reduce(logits))
        return -np.log((probabilities / prior) @ shares).sum()

    starts = [np.log(rng.dirichlet(np.ones(3))) for _ in range(5)]
    found = [minimize(loss, start, method="Nelder-Mead", tol=1e-10) for start in starts]
    best = min(found, key=lambda of: of.fun)
    shares = np.exp(best.x - np.logaddexp.reduce(best.x))
    estimated = estimate_shares(probabilities, prior, tolerance=1e-12, most=100_000)
    assert estimated.converged
    assert estimated.shares == pytest.approx(shares, abs=1e-4)
    assert estimated.shares.sum() == pytest.approx(1.0)


def test_changed_shares_are_found_where_counting_finds_half_of_the_change() -> None:
    # Two classes whose densities are normal, with the exact posterior under pi.
    rng, prior, truth = np.random.default_rng(0), np.array([0.9, 0.1]), np.array([0.5, 0.5])
    classes = rng.random(20_000) < truth[1]
    x = rng.normal(loc=1.5 * classes)
    density = np.stack([np.exp(-(x**2) / 2), np.exp(-((x - 1.5) ** 2) / 2)], axis=1)
    probabilities = prior * density / (density @ prior)[:, None]
    estimated = estimate_shares(probabilities, prior, tolerance=1e-9)
    assert estimated.shares == pytest.approx(truth, abs=0.02)
    assert probabilities.mean(axis=0)[1] < 0.35


def test_probabilities_that_agree_with_the_prior_leave_it() -> None:
    prior = np.array([0.7, 0.0, 0.3])
    same = np.tile(prior, (5, 1))
    assert estimate_shares(same, prior).shares == pytest.approx(prior)
    sure = np.array([[1.0, 0, 0], [0, 0, 1.0]])
    assert estimate_shares(sure, prior).shares == pytest.approx([0.5, 0.0, 0.5])


def test_what_has_not_converged_says_so_and_no_token_is_an_error() -> None:
    prior = np.array([0.9, 0.1])
    found = estimate_shares(np.array([[0.5, 0.5], [0.95, 0.05]]), prior, most=1)
    assert (found.converged, found.iterations) == (False, 1)
    with pytest.raises(ClinicalNerError, match="tokens"):
        estimate_shares(np.zeros((0, 2)), prior)


@pytest.mark.parametrize("statistic", [rise, distance])
def test_the_p_value_is_near_that_of_all_divisions(statistic) -> None:
    rng = np.random.default_rng(0)
    others, new = rng.normal(size=(5, 2)), rng.normal(0.8, size=(4, 2))
    both = np.concatenate([others, new])
    observed = statistic(others, new)
    reached = []
    for chosen in combinations(range(9), 4):
        rest = [of for of in range(9) if of not in chosen]
        reached.append(statistic(both[rest], both[list(chosen)]) >= observed - 1e-12)
    found = permutation_test(others, new, statistic, permutations=20_000)
    assert found == pytest.approx(np.mean(reached), abs=0.01)
    assert found == permutation_test(others, new, statistic, permutations=20_000)


def test_groups_without_a_difference_have_p_1_and_none_has_p_0() -> None:
    same = np.ones((4, 1))
    assert permutation_test(same, same, distance, permutations=50) == 1.0
    apart = permutation_test(np.zeros((30, 1)), np.ones((30, 1)), rise, permutations=99)
    assert apart == pytest.approx(1 / 100)
    assert permutation_test(np.ones((30, 1)), np.zeros((30, 1)), rise, permutations=99) == 1.0


def test_distance_of_shares_is_their_total_variation() -> None:
    assert distance(np.array([[1.0, 0.0]]), np.array([[0.25, 0.75]])) == pytest.approx(0.75)
