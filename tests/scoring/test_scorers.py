from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import spacy
from spacy.cli.evaluate import evaluate as spacy_evaluate
from spacy.scorer import get_ner_prf
from spacy.tokens import DocBin, Span
from spacy.training import Example
from spacy.vocab import Vocab

from clinical_ner.scoring.bootstrap import resample_weights
from clinical_ner.scoring.scorers import (
    count_entities,
    entity_scores,
    entity_statistics,
    make_entity_scorer,
    score_entities,
)

from .examples import make_doc, random_example


@pytest.fixture
def examples() -> list[Example]:
    rng = np.random.default_rng(5)
    vocab = Vocab()
    return [random_example(rng, vocab) for _ in range(25)]


def test_micro_scores_are_those_of_spacy(examples: list[Example]) -> None:
    expected, scores = get_ner_prf(examples), score_entities(examples)
    for key in ("ents_p", "ents_r", "ents_f"):
        assert scores[key] == pytest.approx(expected[key], abs=1e-12)


def test_scores_of_a_resample_are_those_of_the_documents_drawn(examples: list[Example]) -> None:
    weights = resample_weights(len(examples), resamples=5, seed=0)
    statistics = entity_statistics(count_entities(examples), weights)
    for i, row in enumerate(weights):
        drawn = [examples[j] for j, times in enumerate(row) for _ in range(times)]
        scores = score_entities(drawn)
        for name, values in statistics.items():
            assert values[i] == pytest.approx(scores[name])


def test_per_type_numbers_add_up(examples: list[Example]) -> None:
    scores = score_entities(examples)
    per_type = scores["ents_per_type"]
    in_gold = [of["f"] for of in per_type.values() if of["support"]]
    assert scores["ents_macro_types"] == len(in_gold)
    assert scores["ents_macro_f"] == pytest.approx(np.mean(in_gold))
    found = sum(of["p"] * of["predicted"] for of in per_type.values())
    assert scores["ents_p"] == pytest.approx(
        found / sum(of["predicted"] for of in per_type.values())
    )


def test_mentions_that_overlap_are_scored_beside_the_entities(examples: list[Example]) -> None:
    assert not [name for name in score_entities(examples) if name.startswith("spans_")]

    def as_entities(example: Example) -> tuple[list[Span], list[tuple[int, int, str]]]:
        found = [(ent.start, ent.end, ent.label_) for ent in example.predicted.ents]
        return list(example.reference.ents), found

    scores = score_entities(examples, mentions=as_entities)
    assert {name: scores[name] for name in score_entities(examples)} == score_entities(examples)
    for name in ("p", "r", "f", "macro_f"):
        assert scores[f"spans_{name}"] == scores[f"ents_{name}"]

    def of_nested(example: Example) -> tuple[list[Span], list[tuple[int, int, str]]]:
        gold = example.reference
        return [Span(gold, 0, 3, "Sign"), Span(gold, 0, 1, "Age"), Span(gold, 2, 3, "Age")], [
            *[(0, 3, "Sign"), (0, 1, "Age"), (1, 3, "Age")]
        ]

    words = ["Man", "in", "fever"]
    vocab = examples[0].predicted.vocab
    nested = Example(make_doc(vocab, words, []), make_doc(vocab, words, [(0, 3, "Sign")]))
    scores = score_entities([nested], mentions=of_nested)
    # Of Age one of two is found, with one that is wrong.
    assert [scores[f"spans_{name}"] for name in ("p", "r", "f", "macro_f")] == pytest.approx(
        [2 / 3, 2 / 3, 2 / 3, (1 + 1 / 2) / 2]
    )
    assert scores["ents_f"] == 0.0


def test_scores_are_plain_numbers(examples: list[Example]) -> None:
    scores = score_entities(examples)
    assert json.loads(json.dumps(scores, allow_nan=False)) == scores


@pytest.mark.parametrize("ents", [None, []])
def test_no_entity_at_all_leaves_entity_scores_undefined(ents: list | None) -> None:
    vocab = Vocab()
    gold = make_doc(vocab, ["a", "b"], [])
    if ents is None:
        gold.set_ents([], default="missing")
    scores = score_entities([Example(make_doc(vocab, ["a", "b"], []), gold)])
    assert scores == {
        "ents_p": None,
        "ents_r": None,
        "ents_f": None,
        "ents_per_type": None,
        "ents_macro_f": None,
        "ents_macro_types": 0,
        "token_unweighted_accuracy": None if ents is None else 1.0,
        "token_unweighted_accuracy_no_o": None,
    }


def test_no_document_at_all() -> None:
    assert score_entities([])["ents_f"] is None


def test_empty_documents_count_nothing(examples: list[Example]) -> None:
    vocab = examples[0].predicted.vocab
    empty = Example(make_doc(vocab, [], []), make_doc(vocab, [], []))
    assert score_entities([*examples, empty]) == score_entities(examples)


def test_reads_a_generator_once(examples: list[Example]) -> None:
    assert entity_scores(count_entities(eg for eg in examples)) == score_entities(examples)


def test_spacy_evaluate_prints_and_saves_the_scores(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nlp = spacy.blank("en")
    ruler = nlp.add_pipe(
        "entity_ruler", config={"scorer": {"@scorers": "clinical_ner.entity_scorer.v1"}}
    )
    assert ruler.scorer is make_entity_scorer()
    ruler.add_patterns([{"label": "Sign", "pattern": "fever"}, {"label": "Sex", "pattern": "in"}])
    nlp.to_disk(tmp_path / "model")
    gold = make_doc(nlp.vocab, ["Man", "in", "fever"], [(2, 3, "Sign")])
    DocBin(docs=[gold]).to_disk(tmp_path / "gold.spacy")

    metrics = tmp_path / "metrics.json"
    spacy_evaluate(str(tmp_path / "model"), tmp_path / "gold.spacy", output=metrics, silent=False)
    assert "Sign" in capsys.readouterr().out
    per_type = json.loads(metrics.read_text())["ents_per_type"]
    assert per_type["Sign"]["f"] == 1.0
    assert per_type["Sex"]["f"] is None
