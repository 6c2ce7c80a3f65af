"""The best legal sequence against brute force over all of them."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical_ner.decoding.decision import Decision, decision_scores
from clinical_ner.decoding.lattice import best_sequence, entities_of
from clinical_ner.tags.scheme import legal_transitions, tag_names
from clinical_ner.tags.statistics import TagStatistics

from .brute_force import LABELS, K, best_path


@given(seed=st.sampled_from(range(60)))
def test_viterbi_finds_the_best_legal_sequence(seed):
    generator = np.random.default_rng(seed)
    scores = np.log(generator.dirichlet(np.full(K, 0.3), size=1 + seed % 6))
    if seed % 3 == 0:
        # Tags without a training token.
        scores[:, generator.integers(1, K)] = -np.inf
    assert tuple(best_sequence(scores)) == best_path(scores)[1]


def test_best_sequence_differs_from_argmax_where_argmax_is_illegal():
    scores = np.log(np.array([[0.4, 0.35, 0.05, 0.15, 0.05], [0.1, 0.02, 0.8, 0.04, 0.04]]))
    assert list(scores.argmax(1)) == [0, 2]
    assert list(best_sequence(scores)) == [1, 2]


def test_of_equal_sequences_the_one_with_the_smaller_tag_is_best():
    scores = np.full((3, K), -np.inf)
    scores[0, 1] = scores[1, [1, 2]] = scores[2, 2] = 0.0
    assert list(best_sequence(scores)) == [1, 1, 2]


def test_empty_document():
    assert best_sequence(np.zeros((0, K))).shape == (0,)


def test_legal_transitions_agree_with_the_names():
    names = tag_names(LABELS)
    legal = legal_transitions(K)
    for i, j in itertools.product(range(K), repeat=2):
        assert legal[i, j] == (names[j][0] != "I" or names[i][1:] == names[j][1:])
    assert [names[j] for j in np.flatnonzero(legal[-1])] == ["O", "B-a", "B-b"]


@pytest.mark.parametrize(
    "path, tokens, expected",
    [
        ([1, 2, 0, 3], [1, 1, 1, 1], [(0, 2, "a"), (3, 4, "b")]),
        ([1, 1, 3, 4], [1, 1, 1, 1], [(0, 1, "a"), (1, 2, "a"), (2, 4, "b")]),
        ([1, 2], [0, 1, 0, 1, 0], [(1, 4, "a")]),
        ([1, 0], [1, 0, 1], [(0, 1, "a")]),
        ([], [0, 0], []),
    ],
)
def test_entities_hold_whitespace_inside_only(path, tokens, expected):
    found = entities_of(np.array(path, dtype=int), LABELS, np.array(tokens, dtype=bool))
    assert found == expected


def test_prior_strength_zero_is_the_argmax_of_the_likelihood_ratio():
    statistics = TagStatistics()
    statistics.count(["a"], [np.repeat([0, 1, 2], [900, 90, 10])])
    log_probs = np.log(np.array([[0.8, 0.15, 0.05]]))
    decision = Decision(1.0, {}, statistics.smoothed_prior(0.0))
    full = decision_scores(log_probs, decision.at(1.0))
    np.testing.assert_array_equal(full, log_probs)
    none = decision_scores(log_probs, decision.at(0.0))
    np.testing.assert_allclose(np.exp(none[0]), [0.8 / 0.9, 0.15 / 0.09, 0.05 / 0.01])
    half = decision_scores(log_probs, decision.at(0.5))
    np.testing.assert_allclose(half, (full + none) / 2)


def test_smoothing_enters_the_prior_as_pseudo_counts():
    statistics = TagStatistics()
    statistics.count(["a"], [np.repeat([0, 1, 2], [900, 90, 10])])
    np.testing.assert_allclose(statistics.smoothed_prior(10.0), np.array([910, 100, 20]) / 1030)
