from __future__ import annotations

import math

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from clinical_ner.scoring.bootstrap import resample_weights
from clinical_ner.scoring.entities import (
    DocumentEntities,
    count_entity_reliability,
    entity_reliability_statistics,
)

NONE = np.zeros(0)


def random_documents(rng: np.random.Generator, n: int) -> list[DocumentEntities]:
    documents = []
    for _ in range(n):
        scores = rng.random(int(rng.integers(0, 12)))
        right = rng.random(len(scores)) < scores**2
        documents.append(DocumentEntities(scores, right, rng.random(int(rng.integers(0, 5)))))
    return documents


def test_scores_are_those_of_scikit_learn() -> None:
    documents = random_documents(np.random.default_rng(0), 30)
    scores = np.concatenate([of.scores for of in documents])
    right = np.concatenate([of.right for of in documents])
    missed = np.concatenate([of.missed for of in documents])
    found = entity_reliability_statistics(count_entity_reliability(documents))
    assert found["ents_brier"] == pytest.approx(brier_score_loss(right, scores))
    expected = brier_score_loss(np.ones(len(missed)), missed, pos_label=1)
    assert found["ents_missed_brier"] == pytest.approx(expected)
    assert found["ents_missed_probability"] == pytest.approx(missed.mean())
    assert found["ents_missed_ece"] == pytest.approx(1 - missed.mean())
    order = np.argsort(scores)
    bins = [order[[i * 15 // len(order) == b for i in range(len(order))]] for b in range(15)]
    gaps = [abs(scores[b].sum() - right[b].sum()) for b in bins]
    assert found["ents_ece"] == pytest.approx(sum(gaps) / len(scores))


def test_a_resample_is_that_of_repeated_documents() -> None:
    documents = random_documents(np.random.default_rng(1), 6)
    weights = resample_weights(6, resamples=8, seed=0)
    found = entity_reliability_statistics(count_entity_reliability(documents), weights)
    for row, drawn in enumerate(weights):
        again = [of for of, times in zip(documents, drawn, strict=True) for _ in range(times)]
        expected = entity_reliability_statistics(count_entity_reliability(again))
        for name in ("ents_brier", "ents_missed_brier", "ents_missed_probability"):
            assert found[name][row] == pytest.approx(float(expected[name]), nan_ok=True)


def test_without_entities_all_is_undefined() -> None:
    empty = DocumentEntities(NONE, NONE.astype(bool), NONE)
    found = entity_reliability_statistics(count_entity_reliability([empty]))
    assert all(math.isnan(value) for value in found.values())
