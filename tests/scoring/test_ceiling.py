from __future__ import annotations

import numpy as np
import pytest
from spacy.tokens import Span
from spacy.training import Example
from spacy.vocab import Vocab

from clinical_ner.scoring.ceiling import (
    BEYOND_KINDS,
    KINDS,
    Statement,
    beyond_flat_scores,
    beyond_flat_statistics,
    count_beyond_flat,
    count_mentions,
    mention_scores,
    mention_statistics,
)
from clinical_ner.scoring.counts import DocumentCounts
from clinical_ner.scoring.spans import GoldSpans

from .examples import make_doc


def said(label: str, *fragments: tuple[int, int]) -> Statement:
    return label, fragments


OUTER, INNER = said("Sign", (0, 20)), said("Sign", (4, 9))
PIECES = said("Drug", (0, 4), (12, 16))


def test_mentions_are_stated_or_found_only_exactly() -> None:
    predicted = {INNER, said("Sign", (0, 19)), said("Sex", (0, 20)), said("Drug", (0, 16))}
    counts = count_mentions({OUTER, INNER, PIECES}, {OUTER, said("Drug", (0, 4))}, predicted)
    assert counts == {"Sign": [2, 1, 1], "Drug": [1, 0, 0]}


def test_entities_that_are_no_mention_count_nothing() -> None:
    assert count_mentions(set(), {OUTER}, {INNER}) == {}


def counts_of(*documents: dict[str, list[int]]) -> DocumentCounts:
    return DocumentCounts.stack(documents, kinds=KINDS)


def test_scores_are_ratios_of_sums_over_documents() -> None:
    scores = mention_scores(
        counts_of({"Sign": [4, 3, 1]}, {}, {"Sign": [1, 1, 1], "Drug": [5, 2, 0]})
    )
    assert scores["gold_mentions"] == 10
    assert scores["recall_ceiling"] == 0.6
    assert scores["recall_all_mentions"] == 0.2
    assert scores["mentions_per_type"]["Sign"] == {
        "gold_mentions": 5,
        "stated_mentions": 4,
        "found_mentions": 2,
        "recall_ceiling": 0.8,
        "recall_all_mentions": 0.4,
    }


def test_no_mentions_give_no_share() -> None:
    scores = mention_scores(counts_of({}, {}))
    assert (scores["gold_mentions"], scores["recall_ceiling"]) == (0, None)
    assert np.isnan(mention_statistics(counts_of({}, {}))["recall_ceiling"])


def test_resamples_weigh_documents() -> None:
    counts = counts_of({"Sign": [4, 3, 1]}, {"Sign": [2, 2, 2]})
    shares = mention_statistics(counts, np.array([[2, 0], [0, 2], [1, 1]]))
    assert shares["recall_ceiling"] == pytest.approx([3 / 4, 1, 5 / 6])
    assert shares["recall_all_mentions"] == pytest.approx([1 / 4, 1, 3 / 6])


def test_unknown_mentions_are_unknown_in_every_resample() -> None:
    shares = mention_statistics(None, np.ones((3, 2)))
    assert all(np.isnan(values).all() and values.shape == (3,) for values in shares.values())
    assert set(mention_scores(None).values()) == {None}


def test_what_flat_entities_leave_out_is_counted_and_found() -> None:
    vocab = Vocab()
    words = ["left", "lung", "cancer"]
    gold = make_doc(vocab, words, [(0, 3, "Sign")])
    spans = [Span(gold, 0, 3, "Sign"), Span(gold, 0, 2, "Site"), Span(gold, 1, 2, "Site")]
    of_gold = GoldSpans(
        Example(make_doc(vocab, words, []), gold), [*spans, Span(gold, 0, 3, "Age")]
    )
    found = [(0, 3, "Sign"), (1, 2, "Site"), (0, 3, "Site")]
    counts = count_beyond_flat(of_gold, {(0, 3, "Sign")}, found)
    assert counts == {"Site": [2, 1], "Age": [1, 0]}
    stacked = DocumentCounts.stack([counts, {}, {"Site": [1, 1]}], kinds=BEYOND_KINDS)
    scores = beyond_flat_scores(stacked)
    assert scores.pop("beyond_flat_per_type")["Age"] == {
        "beyond_flat_mentions": 1,
        "found_beyond_flat": 0,
        "recall_beyond_flat": 0.0,
    }
    assert scores == {
        "beyond_flat_mentions": 4,
        "found_beyond_flat": 2,
        "recall_beyond_flat": 0.5,
    }
    weights = np.array([[1, 0, 0], [0, 0, 2], [0, 3, 0]])
    recall = beyond_flat_statistics(stacked, weights)["recall_beyond_flat"]
    np.testing.assert_allclose(recall, [1 / 3, 1, np.nan])
