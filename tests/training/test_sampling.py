"""What the batchers say of their batches, against what they drew and closed forms."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Callable
from itertools import islice
from typing import Any

import pytest
from spacy.tokens import Doc, Span
from spacy.training import Example

from clinical_ner.training.batchers import configure_batch_balanced, configure_batch_by_entity

from .examples import LABELS, TAGS, VOCAB, endless, make_example, small_corpus, tags_of

SIZE = 100


def realised(batches: list[list[Example]]) -> tuple[dict[str, float], dict[str, float]]:
    """Shares of the tags among tokens, and means of the shares per document, as drawn."""
    tokens: Counter[str] = Counter()
    documents: dict[str, float] = defaultdict(float)
    n_documents = 0
    draws = Counter(example for batch in batches for example in batch)
    for example, times in draws.items():
        tags = tags_of(example)
        n_documents += times if tags else 0
        for tag, number in tags.items():
            tokens[tag] += times * number
            documents[tag] += times * number / tags.total()
    return (
        {tag: tokens[tag] / tokens.total() for tag in TAGS},
        {tag: documents[tag] / n_documents for tag in TAGS},
    )


@pytest.mark.parametrize("rates", ["uniform", "sqrt", "proportional"])
def test_what_is_said_of_all_batches_by_entity_is_what_happens(rates: str) -> None:
    batcher = configure_batch_by_entity(size=SIZE, rates=rates)
    drawn = list(islice(endless(batcher, small_corpus()), 5000))
    tokens, documents = realised([batch for _, batch in drawn])
    for sampling in {id(sampling): sampling for sampling, _ in drawn}.values():
        assert sampling["shares"] == pytest.approx(tokens, abs=1e-3)
        assert sampling["document_shares"] == pytest.approx(documents, abs=1e-3)


@pytest.mark.parametrize("label", LABELS)
def test_what_is_said_of_the_batches_of_a_type_is_what_happens(label: str) -> None:
    batcher = configure_batch_by_entity(size=SIZE)
    drawn = list(islice(endless(batcher, small_corpus()), 8000))
    of_type = [batch for sampling, batch in drawn if sampling["type"] == label]
    sampling = next(sampling for sampling, _ in drawn if sampling["type"] == label)
    tokens, documents = realised(of_type)
    assert sampling["batch_shares"] == pytest.approx(tokens, abs=1e-3)
    assert sampling["batch_document_shares"] == pytest.approx(documents, abs=1e-3)
    own = [f"B-{label}", f"I-{label}"]
    for found, shares in (
        (sampling["type_odds"], tokens),
        (sampling["type_document_odds"], documents),
    ):
        rest = sum(share for tag, share in shares.items() if tag not in own)
        assert found == pytest.approx({tag: shares[tag] / rest for tag in own}, abs=1e-3)


@pytest.mark.parametrize("power", [0.0, 0.5, 1.0])
def test_what_is_said_of_balanced_batches_is_what_happens(power: float) -> None:
    batcher = configure_batch_balanced(size=SIZE, power=power)
    drawn = list(islice(endless(batcher, small_corpus()), 12_000))
    tokens, documents = realised([batch for _, batch in drawn])
    sampling = drawn[0][0]
    assert all(other is sampling for other, _ in drawn)
    assert sampling["shares"] == pytest.approx(tokens, abs=2e-3)
    assert sampling["document_shares"] == pytest.approx(documents, abs=2e-3)
    assert sampling["batch_shares"] == sampling["shares"]
    assert sampling["batch_document_shares"] == sampling["document_shares"]
    assert (sampling["type"], sampling["type_odds"], sampling["type_document_odds"]) == (
        None,
        {},
        {},
    )


def test_two_documents_have_the_shares_of_the_closed_form() -> None:
    # Words: 10 and 40. Sign is in both, Drug in the first; each type gets half of the words, so
    # that per word the first is drawn 1/2 / 50 + 1/2 / 10 = 6/100 times, the second 1/100.
    examples = [
        make_example(10, [(0, 2, "Sign"), (2, 3, "Drug")]),
        make_example(40, [(0, 3, "Sign"), (3, 4, "Sign")]),
    ]
    batches = islice(endless(configure_batch_by_entity(size=20), examples), 2)
    by_type = {sampling["type"]: sampling for sampling, _ in batches}
    # O 7, B-Sign 1, I-Sign 1, B-Drug 1 of the first; O 36, B-Sign 2, I-Sign 2 of the second.
    shares = {"O": 78, "B-Sign": 8, "I-Sign": 8, "B-Drug": 6, "I-Drug": 0}
    in_documents = {
        "O": (6 * 0.7 + 0.9) / 7,
        "B-Sign": (6 * 0.1 + 0.05) / 7,
        "I-Sign": (6 * 0.1 + 0.05) / 7,
        "B-Drug": 0.6 / 7,
        "I-Drug": 0.0,
    }
    for sampling in by_type.values():
        assert sampling["shares"] == pytest.approx({tag: n / 100 for tag, n in shares.items()})
        assert sampling["document_shares"] == pytest.approx(in_documents)
    assert by_type["Drug"]["batch_shares"] == pytest.approx(
        {"O": 0.7, "B-Sign": 0.1, "I-Sign": 0.1, "B-Drug": 0.1, "I-Drug": 0.0}
    )
    # Everything but the type counts: of the first, Drug is part of what Sign is held against.
    assert by_type["Drug"]["type_odds"] == pytest.approx({"B-Drug": 1 / 9, "I-Drug": 0.0})
    assert by_type["Sign"]["type_odds"] == pytest.approx({"B-Sign": 3 / 44, "I-Sign": 3 / 44})
    odds = (1 / 10 + 2 / 40) / (8 / 10 + 36 / 40)
    assert by_type["Sign"]["type_document_odds"] == pytest.approx({"B-Sign": odds, "I-Sign": odds})


def test_a_type_that_stays_masked_has_no_batches() -> None:
    # The entity's tokens are cut otherwise in the text, so that none has a usable tag.
    gold = Doc(VOCAB, words=["a", "b", "c"], spaces=[False, True, False])
    gold.set_ents([Span(gold, 0, 1, "Mass")], default="outside")
    masked = Example(Doc(VOCAB, words=["ab", "c"]), gold)
    examples = [masked, make_example(6, [(0, 1, "Sign")])]
    batches = islice(endless(configure_batch_by_entity(size=5), examples), 10)
    assert {sampling["type"] for sampling, _ in batches} == {"Sign"}


def test_power_0_has_the_shares_of_the_corpus() -> None:
    examples = small_corpus()
    tokens, documents = realised([examples])
    sampling, _ = next(endless(configure_batch_balanced(size=SIZE, power=0.0), examples))
    assert sampling["shares"] == pytest.approx(tokens, rel=1e-12)
    assert sampling["document_shares"] == pytest.approx(documents, rel=1e-12)


@pytest.mark.parametrize("configure", [configure_batch_by_entity, configure_batch_balanced])
def test_batches_of_one_kind_carry_one_object_that_fits_json(configure: Callable[..., Any]) -> None:
    objects = defaultdict(set)
    batcher = configure(size=SIZE)
    for sampling, _ in islice(endless(batcher, small_corpus()), 100):
        objects[sampling["type"]].add(id(sampling))
        assert json.loads(json.dumps(sampling)) == sampling
        assert list(sampling["shares"]) == TAGS
        assert sum(sampling["shares"].values()) == pytest.approx(1.0)
        assert sum(sampling["batch_document_shares"].values()) == pytest.approx(1.0)
    assert all(len(found) == 1 for found in objects.values())
