"""The weight of neighbouring tags against all legal sequences, and where it is fitted."""

from __future__ import annotations

import numpy as np
import pytest

from clinical_ner.fitting.fit_transitions import (
    WEIGHTS,
    best_weight,
    gain_at,
    segment_likelihoods,
)
from clinical_ner.tags.scheme import legal_transitions

from ..decoding.brute_force import K, brute_force, text

LEGAL = legal_transitions(K)[:-1]
INFORMATION = np.where(LEGAL, np.random.default_rng(5).normal(scale=2.0, size=(K, K)), -np.inf)
#: Tags of a text, what is judged of it: tokens of O, and spans with their type.
GOLD = [
    ([0, 1, 2, 0, 3, 4], [0, 3], [(1, 3, 0), (4, 6, 1)]),
    ([1, 3, 4, -1, 0, 1], [4], [(0, 1, 0), (5, 6, 0)]),
    ([-1, 2, 0, 1, -1], [2], []),
    ([0, 0], [0, 1], []),
    ([-1], [], []),
]


def test_likelihoods_are_those_of_all_legal_sequences() -> None:
    texts = [text("flat", len(ids) - 1) for ids, _, _ in GOLD]
    assert [len(of) for of in texts] == [len(ids) for ids, _, _ in GOLD]
    # A gold tag that has no probability tells nothing.
    texts[3][1, 0] = -np.inf
    found = segment_likelihoods(
        texts, [np.array(ids) for ids, _, _ in GOLD], [INFORMATION] * len(texts)
    )
    for column in (0, 3, 20):
        transitions = np.where(LEGAL, WEIGHTS[column] * np.where(LEGAL, INFORMATION, 0), -np.inf)
        for log_probs, (_, outside, spans), likelihoods in zip(texts, GOLD, found, strict=True):
            exact = brute_force(log_probs, transitions)
            values = [*exact.outside[outside], *(exact.spans[span] for span in spans)]
            expected = sum(np.log(value) for value in values if value)
            assert likelihoods[column] == pytest.approx(expected, abs=1e-9)
    totals = [sum(of[column] for of in found) for column in range(len(WEIGHTS))]
    best = best_weight(found)
    assert best == WEIGHTS[int(np.argmax(totals))]
    assert sum(gain_at(best, of) for of in found) == pytest.approx(max(totals) - totals[0])


def test_texts_drawn_with_a_weight_get_most_of_it() -> None:
    weight = 0.6
    rng = np.random.default_rng(1)
    transitions = np.where(LEGAL, weight * np.where(LEGAL, INFORMATION, 0), -np.inf)
    texts, gold = [], []
    for _ in range(80):
        log_probs = np.log(rng.dirichlet(np.full(K, 0.8), size=40))
        # Backward sums, then forward draws.
        after = np.zeros((41, K))
        for i in range(39, 0, -1):
            arriving = transitions + log_probs[i] + after[i + 1]
            after[i] = np.logaddexp.reduce(arriving, axis=1)
        ids: list[int] = []
        for i in range(40):
            before = transitions[ids[-1]] if ids else np.array([0, 0, -np.inf, 0, -np.inf])
            scores = before + log_probs[i] + after[i + 1]
            ids.append(int(rng.choice(K, p=np.exp(scores - np.logaddexp.reduce(scores)))))
        texts.append(log_probs)
        gold.append(np.array(ids))
    found = best_weight(segment_likelihoods(texts, gold, [INFORMATION] * len(texts)))
    assert 0.5 * weight < found < weight
