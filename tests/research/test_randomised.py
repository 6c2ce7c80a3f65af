"""Randomised data: labels at the shares asked for, and permutations that keep what they should."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from spacy.tokens import Doc, Span
from spacy.vocab import Vocab

from clinical_ner.data.gold import overlapping_gold
from clinical_ner.errors import ClinicalNerError
from clinical_ner.research.bias.randomised import (
    Text,
    move_mentions,
    overlapping_text,
    passages,
    permute_labels,
    permuted_corpus,
    random_text,
)
from clinical_ner.research.bias.words import WORDS


def make_docs(number: int = 10, *, words: int = 60) -> list[Doc]:
    """Documents with a mention of two tokens in every ten, of one of three labels."""
    vocab = Vocab()
    docs = []
    for n in range(number):
        doc = Doc(vocab, words=[f"d{n}w{i}" for i in range(words)])
        spans = [Span(doc, i, i + 2, "ABC"[(n + i) % 3]) for i in range(0, words, 10)]
        doc.set_ents(spans, default="outside")
        docs.append(doc)
    return docs


def texts_of(docs: list[Doc]) -> list[Text]:
    return [
        Text(
            tuple(token.text for token in doc),
            (True,) * len(doc),
            tuple((ent.start, ent.end, ent.label_) for ent in doc.ents),
        )
        for doc in docs
    ]


def test_random_labels_have_the_shares() -> None:
    data = random_text((0.7, 0.2, 0.1), words=20_000, seed=0)
    counts = Counter(label for text in data.train for *_, label in text.mentions)
    # Five standard deviations of a binomial.
    assert counts["L1"] / 20_000 == pytest.approx(0.2, abs=0.015)
    assert counts["L2"] / 20_000 == pytest.approx(0.1, abs=0.011)


def test_types_that_overlap_are_drawn_each_by_itself() -> None:
    data = overlapping_text((0.5, 0.3), words=20_000, seed=0)
    tokens = [set[int](), set[int]()]
    for number, text in enumerate(data.train):
        for start, end, label in text.mentions:
            assert end == start + 1
            tokens[label == "L2"].add(1000 * number + start)
    # Five standard deviations of a binomial; independent types share the product.
    assert len(tokens[0]) / 20_000 == pytest.approx(0.5, abs=0.018)
    assert len(tokens[1]) / 20_000 == pytest.approx(0.3, abs=0.016)
    assert len(tokens[0] & tokens[1]) / 20_000 == pytest.approx(0.15, abs=0.013)


def test_a_document_with_overlaps_has_all_its_mentions_as_gold() -> None:
    text = Text(("fever",) * 3, (True,) * 3, ((0, 1, "A"), (0, 1, "B"), (2, 3, "B")), overlaps=True)
    doc = text.to_doc(Vocab())
    found = [(span.start, span.end, span.label_) for span in overlapping_gold(doc)]
    assert found == list(text.mentions)
    # Known everywhere, so that no token is masked.
    assert [token.ent_iob_ for token in doc] == ["O"] * 3


@pytest.mark.parametrize(
    ("shares", "message"), [((), "at least one"), ((0.5, 1.0), "got 1.0"), ((0.0,), "got 0.0")]
)
def test_shares_of_overlapping_types_that_do_not_fit(
    shares: tuple[float, ...], message: str
) -> None:
    with pytest.raises(ClinicalNerError, match=message):
        overlapping_text(shares, words=10, seed=0)


def test_random_mentions_have_one_token_and_texts_a_hundred_words() -> None:
    data = random_text((0.6, 0.4), words=1050, seed=0)
    assert [len(text.words) for text in data.train] == [100] * 10 + [50]
    assert [len(text.words) for text in data.fresh] == [100, 100, 10]
    assert all(end == start + 1 for t in data.train for start, end, _ in t.mentions)
    doc = data.train[0].to_doc(Vocab())
    assert len(doc.ents) == len(data.train[0].mentions)
    assert {token.ent_iob_ for token in doc} == {"O", "B"}


def test_fresh_text_is_no_copy_of_the_training_text() -> None:
    data = random_text((0.9, 0.1), words=1000, seed=0)
    assert not {text.words for text in data.train} & {text.words for text in data.fresh}


def test_equal_seeds_give_equal_texts() -> None:
    assert random_text((0.9, 0.1), words=500, seed=1) == random_text((0.9, 0.1), words=500, seed=1)
    assert random_text((0.9, 0.1), words=500, seed=1) != random_text((0.9, 0.1), words=500, seed=2)


def test_the_words_are_distinct_and_plain() -> None:
    assert len(set(WORDS)) == len(WORDS) >= 300
    assert all(word.isalpha() and word.islower() for word in WORDS)


@pytest.mark.parametrize(
    ("shares", "message"),
    [
        ((1.0,), "at least two"),
        ((0.9, 0.2), "sum to 1, got 1.1"),
        ((0.9, 0.099), "sum to 1, got 0.999"),
        ((1.0, 0.0), "above 0, got 0.0"),
        ((1.5, -0.5), "above 0, got -0.5"),
        ((0.5, float("nan")), "above 0, got nan"),
    ],
)
def test_bad_shares(shares: tuple[float, ...], message: str) -> None:
    with pytest.raises(ClinicalNerError, match=message):
        random_text(shares, words=100, seed=0)


def test_a_rounded_sum_is_a_sum_of_one() -> None:
    assert random_text((1 / 3, 1 / 3, 0.3333333), words=300, seed=0).labels == ["L1", "L2"]


def test_a_type_that_was_not_drawn_is_an_error() -> None:
    with pytest.raises(ClinicalNerError, match=r"Among 100 words no L1"):
        random_text((0.999999, 0.000001), words=100, seed=0)


def test_permuting_keeps_spans_and_the_multiset_of_labels() -> None:
    before = texts_of(make_docs())
    after = permute_labels(before, np.random.default_rng(0))

    def spans(texts: list[Text]) -> list[list[tuple[int, int]]]:
        return [[mention[:2] for mention in text.mentions] for text in texts]

    def labels(texts: list[Text]) -> list[str]:
        return [label for text in texts for *_, label in text.mentions]

    assert spans(after) == spans(before)
    assert Counter(labels(after)) == Counter(labels(before))
    assert labels(after) != labels(before)


def test_moving_keeps_the_mentions_and_forgets_their_places() -> None:
    text = Text(("w",) * 10, (True,) * 10, ((0, 3, "A"), (3, 4, "B")), frozenset({6}))
    generator = np.random.default_rng(0)
    starts: Counter[int] = Counter()
    for _ in range(3000):
        moved = move_mentions(text, generator).mentions
        assert sorted((end - start, label) for start, end, label in moved) == [(1, "B"), (3, "A")]
        covered = [i for start, end, _ in moved for i in range(start, end)]
        assert len(set(covered)) == 4
        # None comes to the tokens from 6 on, the first of which has no annotation.
        assert max(covered) < 6
        starts.update(start for start, _, label in moved if label == "B")
    # Of the 12 orders of A, B and two other tokens, 3 have B first; A takes three tokens.
    expected = {0: 3, 1: 2, 2: 1, 3: 1, 4: 2, 5: 3}
    assert set(starts) == set(expected)
    for place, orders in expected.items():
        assert starts[place] / 3000 == pytest.approx(orders / 12, abs=0.04)


def test_documents_are_either_for_training_or_fresh() -> None:
    data = permuted_corpus(make_docs(), words=10_000, seed=0, source="x.spacy")
    train, fresh = (
        {text.words[0].split("w")[0] for text in texts} for texts in (data.train, data.fresh)
    )
    assert not train & fresh
    assert len(train | fresh) == 10
    # A fifth as many words are fresh as are for training.
    assert len(fresh) == 2


def test_words_limit_the_training_documents() -> None:
    data = permuted_corpus(make_docs(), words=170, seed=0, source="x.spacy")
    assert data.words == 180
    assert sum(len(text.words) for text in data.fresh) == 60


def test_passages_are_the_text_and_never_cut_a_mention() -> None:
    mentions = ((0, 1, "A"), (98, 103, "B"), (150, 160, "C"), (202, 204, "A"))
    text = Text(tuple(map(str, range(230))), (True,) * 230, mentions, frozenset({50, 120, 229}))
    parts = list(passages(text))
    assert [len(part.words) for part in parts] == [103, 101, 26]
    assert sum((part.words for part in parts), ()) == text.words
    assert [part.mentions for part in parts] == [
        ((0, 1, "A"), (98, 103, "B")),
        ((47, 57, "C"), (99, 101, "A")),
        (),
    ]
    assert [part.unknown for part in parts] == [{50}, {17}, {25}]


def test_missing_annotation_stays_missing() -> None:
    docs = make_docs(3)
    docs[0].set_ents(list(docs[0].ents), missing=[docs[0][5:7]], default="outside")
    data = permuted_corpus(docs, words=1000, seed=0, source="x.spacy")
    (part,) = [p for p in (*data.train, *data.fresh) if p.words[0] == "d0w0"]
    doc = part.to_doc(Vocab())
    assert [token.i for token in doc if not token.ent_iob] == [5, 6]


def test_one_document_cannot_be_divided() -> None:
    with pytest.raises(ClinicalNerError, match=r"x\.spacy: 1 documents"):
        permuted_corpus(make_docs(1), words=100, seed=0, source="x.spacy")


def test_one_label_cannot_be_permuted() -> None:
    docs = make_docs(4, words=10)
    for doc in docs:
        doc.set_ents([Span(doc, 0, 1, "A")], default="outside")
    with pytest.raises(ClinicalNerError, match=r"x\.spacy: 1 labels"):
        permuted_corpus(docs, words=100, seed=0, source="x.spacy")
