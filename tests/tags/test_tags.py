"""Gold to tag ids, and counts."""

import numpy as np
import pytest
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.vocab import Vocab

from clinical_ner.errors import ClinicalNerError
from clinical_ner.tags.encode import encode_example, gold_tags, predicted_tags, taggable
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


def test_counts_and_document_shares():
    statistics = TagStatistics()
    statistics.count(["a"], [np.array([0, 1, 2, -1]), np.array([0]), np.array([-1, -1])])
    assert list(statistics.counts) == [2, 1, 1]
    assert statistics.documents == 2
    np.testing.assert_allclose(statistics.document_shares, [(1 / 3 + 1) / 2, 1 / 6, 1 / 6])
    np.testing.assert_allclose(statistics.prior, [0.5, 0.25, 0.25])
    assert list(statistics.class_counts) == [2, 2]


def test_statistics_survive_json():
    statistics = TagStatistics()
    statistics.count(["a"], [np.array([0, 1, 2])])
    other = TagStatistics()
    other.update_from_dict(statistics.to_dict())
    assert other.to_dict() == statistics.to_dict()
    assert other.tags == ["O", "B-a", "I-a"]
