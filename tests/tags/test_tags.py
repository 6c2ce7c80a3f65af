"""Gold to tag ids, and counts."""

import itertools
import json

import numpy as np
import pytest
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.vocab import Vocab

from clinical_ner.errors import ClinicalNerError, NotFittedError
from clinical_ner.tags.encode import (
    encode_example,
    encode_overlapping,
    gold_tags,
    predicted_tags,
    taggable,
)
from clinical_ner.tags.scheme import legal_transitions
from clinical_ner.tags.statistics import TagStatistics

INDEX = {"a": 0, "b": 1}


def make_example(words, entities, predicted_words=None, spaces=None):
    vocab = Vocab()
    reference = Doc(vocab, words=words, spaces=spaces)
    reference.set_ents([Span(reference, s, e, label=label) for s, e, label in entities])
    predicted = Doc(vocab, words=predicted_words or words, spaces=spaces)
    return Example(predicted, reference)


def test_entities_become_begin_and_inside_tags():
    example = make_example(["x", "y", "z", "w"], [(0, 2, "a"), (2, 3, "a"), (3, 4, "b")])
    assert list(encode_example(example, INDEX, name="ner")) == [1, 2, 1, 3]


def test_whitespace_is_masked_and_an_entity_begins_after_it():
    example = make_example(["\n", "x", "\n", "y", "\n"], [(0, 4, "a")])
    assert list(encode_example(example, INDEX, name="ner")) == [-1, 1, -1, 2, -1]
    assert list(taggable(example.predicted)) == [False, True, False, True, False]


def test_unknown_gold_is_masked_not_outside():
    example = make_example(["x", "y", "z"], [])
    example.reference.set_ents(
        [Span(example.reference, 0, 1, label="a")],
        missing=[Span(example.reference, 1, 2)],
        default="outside",
    )
    assert list(encode_example(example, INDEX, name="ner")) == [1, -1, 0]


def test_a_document_without_annotation_is_masked():
    vocab = Vocab()
    example = Example(Doc(vocab, words=["x", "y"]), Doc(vocab, words=["x", "y"]))
    assert list(encode_example(example, INDEX, name="ner")) == [-1, -1]


def test_what_cannot_be_aligned_is_masked():
    example = make_example(
        ["ab", "c"], [(0, 1, "a")], predicted_words=["a", "bc"], spaces=[False, False]
    )
    assert list(encode_example(example, INDEX, name="ner")) == [-1, -1]


def test_an_unknown_label_names_the_document_not_its_text():
    example = make_example(["secret", "words"], [(0, 1, "c")])
    example.reference.user_data["clinical_ner.id"] = "note-7"
    with pytest.raises(
        ClinicalNerError, match="'c'.*note-7.*Initialize the component with data, or a"
    ) as caught:
        encode_example(example, INDEX, name="ner")
    assert "secret" not in str(caught.value)


def doc_of(words, entities):
    doc = Doc(Vocab(), words=words)
    doc.set_ents([Span(doc, s, e, label=label) for s, e, label in entities], default="outside")
    return doc


def test_adjacent_entities_begin_again():
    doc = doc_of(list("abcd"), [(0, 2, "a"), (2, 3, "a")])
    assert predicted_tags(doc) == gold_tags(Example(doc.copy(), doc)) == ["B-a", "I-a", "B-a", "O"]


def test_a_beginning_moves_past_whitespace():
    doc = doc_of(["a", "\n", "b", "\n", "c"], [(1, 5, "a")])
    expected = ["O", None, "B-a", None, "I-a"]
    assert predicted_tags(doc) == gold_tags(Example(doc.copy(), doc)) == expected


def test_an_entity_of_whitespace_moves_no_beginning():
    doc = doc_of(["\n", "x", "y", "z"], [(0, 1, "a"), (2, 4, "a")])
    assert predicted_tags(doc) == [None, "O", "B-a", "I-a"]
    assert list(encode_example(Example(doc.copy(), doc), INDEX, name="ner")) == [-1, 0, 1, 2]


def overlapping(words, spans, *, ents=(), **of_example):
    """Ids of spans of the gold document, (start, end, label), by token and type."""
    example = make_example(words, ents, **of_example)
    spans = [Span(example.reference, start, end, label=label) for start, end, label in spans]
    return encode_overlapping(example, spans, INDEX, name="ner").tolist()


def test_nested_spans_have_a_column_for_each_type():
    spans = [(0, 3, "a"), (1, 3, "b"), (3, 4, "a"), (4, 5, "b"), (5, 6, "b")]
    expected = [[1, 0], [2, 3], [2, 4], [1, 0], [0, 3], [0, 3], [0, 0]]
    # The entities say only where gold is known: the longest ones here, or none.
    for ents in ([(0, 3, "a"), (4, 5, "b")], []):
        assert overlapping(list("uvwxyz."), spans, ents=ents) == expected


def test_spans_that_do_not_overlap_have_the_tags_of_entities():
    entities = [(0, 2, "a"), (2, 3, "a"), (3, 4, "b")]
    words = ["x", "y", "z", "w", "\n", "v"]
    flat = encode_example(make_example(words, entities), INDEX, name="ner")
    expected = [[tag if (tag + 1) // 2 == j else 0 for j in (1, 2)] for tag in flat]
    expected[4] = [-1, -1]
    assert overlapping(words, entities, ents=entities) == expected


def test_whitespace_is_masked_in_all_columns_and_moves_beginnings():
    found = overlapping(["\n", "x", "\n", "y", "\n"], [(0, 4, "a"), (2, 4, "b"), (4, 5, "b")])
    assert found == [[-1, -1], [1, 0], [-1, -1], [2, 3], [-1, -1]]


@pytest.mark.parametrize("spans", [[(0, 1, "a")], [(0, 1, "b"), (0, 2, "a")]])
def test_spans_that_cannot_be_aligned_mask_their_tokens_in_all_columns(spans):
    """Gold has "ab", "c", "d", the text "a", "bc", "d"."""
    tokens = {"predicted_words": ["a", "bc", "d"], "spaces": [False, True, False]}
    found = overlapping(["ab", "c", "d"], [*spans, (2, 3, "b")], **tokens)
    assert found == [[-1, -1], [-1, -1], [0, 3]]
    # One that covers both of them can be.
    assert overlapping(["ab", "c", "d"], [(0, 2, "a")], **tokens) == [[1, 0], [2, 0], [0, 0]]


def test_unknown_gold_is_masked_in_all_columns():
    example = make_example(["x", "y", "z"], [])
    reference = example.reference
    reference.set_ents([], missing=[Span(reference, 1, 2)], default="outside")
    spans = [Span(reference, 0, 2, label="a"), Span(reference, 2, 3, label="b")]
    assert encode_overlapping(example, spans, INDEX, name="ner").tolist() == [
        [1, 0],
        [-1, -1],
        [0, 3],
    ]


def test_an_unknown_label_of_a_span_names_the_document_not_its_text():
    example = make_example(["secret", "words"], [])
    example.reference.user_data["clinical_ner.id"] = "note-7"
    spans = [Span(example.reference, 0, 1, label="c")]
    with pytest.raises(
        ClinicalNerError, match="'c'.*note-7.*Initialize the component with data, or a"
    ) as caught:
        encode_overlapping(example, spans, INDEX, name="ner")
    assert "secret" not in str(caught.value)


def test_counts_and_document_shares():
    statistics = TagStatistics()
    statistics.count(["a"], [np.array([0, 1, 2, -1]), np.array([0]), np.array([-1, -1])])
    assert list(statistics.counts) == [2, 1, 1]
    assert statistics.documents == 2
    np.testing.assert_allclose(statistics.document_shares, [(1 / 3 + 1) / 2, 1 / 6, 1 / 6])
    np.testing.assert_allclose(statistics.prior, [0.5, 0.25, 0.25])
    assert list(statistics.class_counts) == [2, 2]


def test_counts_of_tags_that_overlap():
    """O is that a token has no type; a token with two counts for both, and once in N."""
    statistics = TagStatistics()
    documents = [
        [[1, 3], [2, 0], [0, 0], [-1, -1], [-1, 0]],
        [[0, 4], [0, 0], [1, 3], [0, 0]],
        [[-1, -1]],
    ]
    statistics.count(["a", "b"], [np.array(ids) for ids in documents])
    assert list(statistics.counts) == [3, 2, 1, 2, 1]
    assert (statistics.total, statistics.tokens, statistics.documents) == (7, 7, 2)
    np.testing.assert_allclose(statistics.prior, np.array([3, 2, 1, 2, 1]) / 7)
    first, second = np.array([1, 1, 1, 1, 0]) / 3, np.array([2, 1, 0, 1, 1]) / 4
    np.testing.assert_allclose(statistics.document_shares, (first + second) / 2)
    assert list(statistics.class_counts) == [3, 3, 3]
    # Counting tags that do not overlap leaves nothing of it.
    statistics.count(["a"], [np.array([0, 1])])
    assert (statistics.total, statistics.tokens) == (2, None)


def test_pairs_are_of_neighbours_whose_tags_are_known():
    statistics = TagStatistics()
    sequences = ([0, 1, 2, 2, 0], [1, -1, 2, 0], [0], [], [-1, 0])
    documents = [np.array(ids, dtype=int) for ids in sequences]
    statistics.count(["a", "b"], documents)
    assert statistics.bigrams is None
    statistics.count_pairs(documents)
    found = {(0, 1): 1, (1, 2): 1, (2, 0): 2, (2, 2): 1}
    assert statistics.to_dict()["bigrams"] == [[*of, number] for of, number in found.items()]
    information = statistics.pair_information(2.0)
    for a, b in itertools.product(range(5), repeat=2):
        if not legal_transitions(5)[a, b]:
            assert information[a, b] == -np.inf
        elif statistics.counts[b]:
            pi, before = statistics.prior[b], statistics.bigrams[a].sum()
            share = (found.get((a, b), 0) + 2.0 * pi) / (before + 2.0)
            assert information[a, b] == pytest.approx(np.log(share / pi), abs=1e-12)
    # The more pseudo-counts, the less is left but legality; nothing is known of what b is before.
    legal = np.isfinite(information)
    np.testing.assert_allclose(statistics.pair_information(1e9)[legal], 0.0, atol=1e-6)
    np.testing.assert_array_equal(information[3, [0, 1, 3, 4]], 0.0)
    other = TagStatistics()
    other.update_from_dict(json.loads(json.dumps(statistics.to_dict())))
    np.testing.assert_array_equal(other.bigrams, statistics.bigrams)
    # Those of another count, and of models that have none, are gone.
    other.update_from_dict(TagStatistics().to_dict())
    with pytest.raises(NotFittedError, match="set transitions = null, or train again"):
        other.pair_information()


@pytest.mark.parametrize(
    "documents", [[np.array([0, 1, 2, 3])], [np.array([[0, 0], [1, 3], [2, 3]])]]
)
def test_statistics_survive_json(documents):
    statistics = TagStatistics()
    statistics.count(["a", "b"], documents)
    other = TagStatistics()
    other.update_from_dict(json.loads(json.dumps(statistics.to_dict())))
    assert other.to_dict() == statistics.to_dict()
    assert other.tags == ["O", "B-a", "I-a", "B-b", "I-b"]
    assert (other.total, other.tokens) == (statistics.total, statistics.tokens)
    np.testing.assert_array_equal(other.prior, statistics.prior)
    assert ("tokens" in statistics.to_dict()) == (documents[0].ndim == 2)
