from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import balanced_accuracy_score, recall_score
from spacy.training import Example
from spacy.vocab import Vocab

from clinical_ner.scoring.counts import DocumentCounts
from clinical_ner.scoring.tokens import (
    KINDS,
    count_confusions,
    count_tokens,
    unweighted_accuracy,
)
from clinical_ner.tags.encode import gold_tags, predicted_tags

from .examples import make_doc, random_ents, random_example


def test_unknown_gold_is_masked() -> None:
    vocab = Vocab()
    gold = make_doc(vocab, ["a", "b"], [])
    gold.set_ents([], missing=[gold[1:2]], default="outside")
    assert count_tokens(Example(make_doc(vocab, ["a", "b"], []), gold)) == {"O": [1, 1]}


def test_wrong_tag_counts_for_gold_only() -> None:
    vocab = Vocab()
    words = list("abc")
    gold = make_doc(vocab, words, [(0, 2, "Age")])
    predicted = make_doc(vocab, words, [(0, 1, "Age"), (1, 2, "Sex")])
    assert count_tokens(Example(predicted, gold)) == {"B-Age": [1, 1], "I-Age": [1, 0], "O": [1, 1]}


def test_confusions_are_of_types_and_o_where_they_differ() -> None:
    vocab = Vocab()
    words = list("abcdef")
    gold = make_doc(vocab, words, [(0, 2, "Age"), (2, 3, "Sex"), (5, 6, "Age")])
    gold.set_ents(list(gold.ents), missing=[gold[4:5]], default="outside")
    predicted = make_doc(vocab, words, [(0, 1, "Age"), (1, 3, "Sex"), (3, 6, "Sex")])
    # b, of Age, is one of Sex, and so is f; d is none; what e is nobody knows.
    assert count_confusions(Example(predicted, gold)) == {("Age", "Sex"): 2, ("O", "Sex"): 1}
    assert count_confusions(Example(make_doc(vocab, words, []), gold)) == {
        **{("Age", "O"): 3, ("Sex", "O"): 1}
    }


@given(seed=st.sampled_from(range(10)))
def test_unweighted_accuracy_agrees_with_sklearn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    vocab = Vocab()
    examples = [random_example(rng, vocab) for _ in range(20)]
    words = [str(i) for i in range(30)]
    examples.append(
        Example(
            make_doc(vocab, words, random_ents(rng, 30)),
            make_doc(vocab, words, random_ents(rng, 30)),
        )
    )
    pairs = [
        (gold, predicted)
        for eg in examples
        for gold, predicted in zip(gold_tags(eg), predicted_tags(eg.predicted), strict=True)
        if gold is not None
    ]
    gold, predicted = zip(*pairs, strict=True)
    counts = DocumentCounts.stack([count_tokens(eg) for eg in examples], kinds=KINDS)
    totals = counts.totals()
    not_o = [i for i, tag in enumerate(counts.names) if tag != "O"]

    expected = balanced_accuracy_score(gold, predicted)
    assert unweighted_accuracy(totals) == pytest.approx(expected)
    in_gold = sorted(set(gold) - {"O"})
    expected = recall_score(gold, predicted, labels=in_gold, average="macro", zero_division=0)
    assert unweighted_accuracy(totals[not_o]) == pytest.approx(expected)


def test_unweighted_accuracy_of_no_tags_is_undefined() -> None:
    assert np.isnan(unweighted_accuracy(np.zeros((0, KINDS))))
