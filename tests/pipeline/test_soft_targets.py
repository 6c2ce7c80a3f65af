"""Soft targets in the component: what reaches it, what it learns of them, and what it refuses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from spacy.training import Example
from thinc.api import fix_random_seed

from clinical_ner.data.formats.docbin import read_docbin, write_entities
from clinical_ner.errors import ClinicalNerError
from clinical_ner.tags.soft_targets import soft_targets, write_soft_targets
from clinical_ner.training.batchers import configure_batch_balanced

from .examples import LABELS, make_examples, make_nlp

PLAIN = {"@losses": "clinical_ner.WeightedCrossEntropy.v1", "weights": "none"}


def trained(examples: list[Example] | None = None, *, steps: int = 8, **settings: Any) -> Language:
    fix_random_seed(0)
    nlp = make_nlp("tok2vec", Path(), **settings)
    examples = examples or make_examples(nlp)
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(steps):
        nlp.update(examples, sgd=optimizer)
    return nlp


def with_targets(weight: float, rows: Any = None) -> list[Example]:
    """The examples with the same gold as one-hot soft targets, or with the rows."""
    nlp = make_nlp("tok2vec", Path())
    examples = make_examples(nlp)
    nlp.initialize(lambda: examples)
    for example in examples:
        ids = nlp.get_pipe("ner").gold_ids(example)
        targets = np.eye(7)[ids] if rows is None else np.tile(rows, (len(ids), 1))
        write_soft_targets(example.reference, LABELS, targets, np.full(len(ids), weight))
    return examples


def weights_of(nlp: Language) -> np.ndarray:
    nodes = list(nlp.get_pipe("ner").model.walk())
    params = [node.get_param(name).ravel() for node in nodes for name in node.param_names]
    return np.concatenate(params)


@pytest.mark.parametrize("loss", [PLAIN, {**PLAIN, "weights": "sqrt_inverse"}])
def test_one_hot_targets_train_as_gold_does(loss: dict[str, str]) -> None:
    examples = with_targets(1.0)
    for example in examples:
        # Gold that says nothing, and a DocBin in between.
        example.reference.set_ents([], default="missing")
    packed = DocBin(docs=[eg.reference for eg in examples], store_user_data=True).to_bytes()
    vocab = examples[0].reference.vocab
    references = DocBin().from_bytes(packed).get_docs(vocab)
    examples = [Example(eg.predicted, of) for eg, of in zip(examples, references, strict=True)]
    gold, soft = trained(loss=loss), trained(examples, loss=loss)
    assert soft.get_pipe("ner").statistics.to_dict() == gold.get_pipe("ner").statistics.to_dict()
    np.testing.assert_allclose(weights_of(soft), weights_of(gold), atol=1e-4)


def test_weight_0_is_gold() -> None:
    soft = trained(with_targets(0.0, [1, 0, 0, 0, 0, 0, 0]))
    np.testing.assert_allclose(weights_of(soft), weights_of(trained()), atol=1e-4)


def test_statistics_count_what_is_trained_on() -> None:
    rows = np.array([0.5, 0.3, 0.1, 0.1, 0, 0.0, 0])
    nlp = trained(with_targets(0.25, rows), steps=0)
    gold = trained(steps=0).get_pipe("ner").statistics
    expected = 0.75 * gold.counts + 0.25 * gold.total * rows
    found = nlp.get_pipe("ner").statistics.counts
    np.testing.assert_array_equal(found, np.where(expected > 0, np.rint(expected).clip(1), 0))
    # Pairs too: of one-hot targets, those of gold.
    pairs = trained(with_targets(0.5), steps=0).get_pipe("ner").statistics.bigrams
    np.testing.assert_array_equal(pairs, trained(steps=0).get_pipe("ner").statistics.bigrams)
    found = nlp.get_pipe("ner").statistics.bigrams
    assert found is not None and found.sum() == pytest.approx(pairs.sum(), abs=4)


def test_tokens_that_are_not_one_of_gold_have_no_target() -> None:
    nlp = make_nlp("tok2vec", Path())
    gold = Doc(
        nlp.vocab, words=["a", "bc", "d", "e", "\n"], spaces=[True, False, True, True, False]
    )
    targets = np.eye(3)[[0, 1, 2, 0, 0]]
    write_soft_targets(gold, ["Sign"], targets, np.array([0.1, 0.2, 0.3, 0.4, 0.5]))
    # bc d: shifted; e: the same.
    words, spaces = ["a", "b", "cd", "e", "\n"], [True, False, True, True, False]
    found = soft_targets(Example(Doc(nlp.vocab, words=words, spaces=spaces), gold), LABELS)
    assert found is not None
    outside = np.eye(7)[0]
    np.testing.assert_allclose(found[0], [outside, outside * 0, outside * 0, outside, outside * 0])
    np.testing.assert_allclose(found[1], [0.1, 0.2, 0.3, 0.4, 0.0], rtol=1e-6)


def test_every_writer_keeps_them(tmp_path: Path) -> None:
    example = with_targets(0.5, np.full(7, 1 / 7))[0]
    write_entities([example.reference], tmp_path / "a.spacy")
    (kept,) = read_docbin(tmp_path / "a.spacy", example.reference.vocab)
    found = soft_targets(Example(example.predicted, kept), LABELS)
    assert found is not None
    for array, expected in zip(found, soft_targets(example, LABELS), strict=True):
        np.testing.assert_array_equal(array, expected)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": {"@losses": "clinical_ner.Focal.v1"}}, "'Focal' cannot.*LogitAdjusted"),
        ({"loss": {**PLAIN, "reduction": "classes"}}, "'WeightedCrossEntropy' cannot"),
        ({"labels": ["Drug", "Sign"]}, "Label 'Dose' of the soft targets of document of 7 tokens"),
    ],
)
def test_what_cannot_be_learned_is_refused_at_initialization(
    settings: dict[str, Any], message: str
) -> None:
    labels = settings.pop("labels", None)
    examples = with_targets(0.5)
    nlp = make_nlp("tok2vec", Path(), **settings)
    with pytest.raises(ClinicalNerError, match=message):
        nlp.get_pipe("ner").initialize(lambda: examples, labels=labels)


def test_a_sampling_batcher_is_refused() -> None:
    examples = with_targets(0.5)
    nlp = trained(examples, steps=0)
    with pytest.raises(ClinicalNerError, match="drawn by the shares.*batch_by_words"):
        nlp.update(next(iter(configure_batch_balanced(size=8)(examples))))


@pytest.mark.parametrize(
    ("rows", "weights"),
    [(np.eye(3)[:1], [0.5, 0.5]), (np.full((2, 3), 0.5), [0, 1]), (np.eye(3)[:2], [0, 1.5])],
)
def test_what_is_no_probability_is_not_written(rows: Any, weights: Any) -> None:
    doc = Doc(make_nlp("tok2vec", Path()).vocab, words=["secret", "word"])
    with pytest.raises(ClinicalNerError, match="of document of 2 tokens: each of its 2") as caught:
        write_soft_targets(doc, ["Sign"], rows, weights)
    assert "secret" not in str(caught.value) and not doc.user_data
