from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss
from spacy.tokens import Doc
from spacy.training import Example
from spacy.vocab import Vocab

from clinical_ner.scoring.bootstrap import resample_weights
from clinical_ner.scoring.entities import (
    DocumentEntities,
    GoldSpans,
    count_entity_reliability,
    entity_reliability_statistics,
)
from clinical_ner.scoring.spans import count_spans

from .examples import make_doc, random_example

NONE = np.zeros(0)


def offsets(doc: Doc) -> list[tuple[int, int, str]]:
    return [(ent.start, ent.end, ent.label_) for ent in doc.ents]


@given(seed=st.sampled_from(range(20)))
def test_verdicts_are_those_that_the_counts_of_spans_rest_on(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vocab = Vocab()
    for _ in range(30):
        example = random_example(rng, vocab)
        gold, spans = GoldSpans(example), offsets(example.predicted)
        counts: dict[str, list[int]] = {}
        for (_, _, label), verdict in zip(spans, gold.judge(spans), strict=True):
            of_label = counts.setdefault(label, [0, 0, 0])
            if verdict is not None:
                of_label[0 if verdict else 1] += 1
        for label, number in gold.support.items():
            of_label = counts.setdefault(label, [0, 0, 0])
            of_label[2] = number - of_label[0]
        expected = count_spans(example)
        # Without annotation, not even labels are counted.
        assert {label: of for label, of in counts.items() if any(of)} == {
            label: of for label, of in expected.items() if any(of)
        }


@given(seed=st.sampled_from(range(10)))
def test_what_was_missed_would_be_right(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vocab = Vocab()
    number = 0
    for _ in range(30):
        example = random_example(rng, vocab)
        gold, spans = GoldSpans(example), offsets(example.predicted)
        missed = gold.missed(spans)
        n_right = sum(verdict is True for verdict in gold.judge(spans))
        assert n_right + len(missed) <= gold.support.total()
        verdicts = gold.judge([*missed, *spans])[: len(missed)]
        # None: a token of unknown status that is cut otherwise may lie inside.
        assert set(verdicts) <= {True, None}
        number += verdicts.count(True)
    assert number > 10


def test_missed_spans_are_given_in_the_tokens_of_the_prediction() -> None:
    vocab = Vocab()
    gold = Doc(vocab, words=["a", "bc", "d", "e"], spaces=[False] * 4)
    ents = [gold.char_span(0, 3, label="Age"), gold.char_span(4, 5, label="Sex")]
    gold.set_ents(ents, default="outside")
    predicted = Doc(vocab, words=["ab", "c", "de"], spaces=[False] * 3)
    # "a bc" is "ab c"; "e" is only a part of "de".
    assert GoldSpans(Example(predicted, gold)).missed([]) == [(0, 2, "Age")]


def test_of_two_spans_that_align_with_one_entity_the_first_finds_it() -> None:
    vocab = Vocab()
    gold = Doc(vocab, words=["ab"], spaces=[False])
    gold.set_ents([gold.char_span(0, 2, label="Age")], default="outside")
    example = Example(Doc(vocab, words=["a", "b"], spaces=[False, False]), gold)
    assert GoldSpans(example).judge([(0, 1, "Age"), (1, 2, "Age")]) == [True, False]


def test_a_document_without_annotation_judges_nothing() -> None:
    vocab = Vocab()
    example = Example(make_doc(vocab, ["a"], [(0, 1, "Age")]), Doc(vocab, words=["a"]))
    gold = GoldSpans(example)
    assert gold.judge([(0, 1, "Age")]) == [None]
    assert gold.missed([]) == [] and not gold.support


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
