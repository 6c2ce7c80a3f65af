from __future__ import annotations

import numpy as np
import pytest

from clinical_ner.scoring.ceiling import (
    KINDS,
    Statement,
    count_mentions,
    mention_scores,
    mention_statistics,
)
from clinical_ner.scoring.counts import DocumentCounts


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
