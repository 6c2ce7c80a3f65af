from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from spacy.vocab import Vocab

from clinical_ner.research.compare.comparison import SCORES, Entry, compare_entries
from clinical_ner.scoring.evaluation import EvaluationCounts, evaluation_scores
from clinical_ner.scoring.scorers import count_entities

from ..scoring.examples import LABELS, random_example

MENTIONS = dict.fromkeys(LABELS[:2], 10)


def counts(seed: int) -> EvaluationCounts:
    rng = np.random.default_rng(seed)
    vocab = Vocab()
    examples = [random_example(rng, vocab) for _ in range(12)]
    names = tuple(f"doc-{i}" for i in range(len(examples)))
    return EvaluationCounts(names, count_entities(examples), training_mentions=MENTIONS)


def entry(name: str, seeds: Sequence[int]) -> Entry:
    return Entry(
        name, name, None, {seed: counts(seed) for seed in seeds}, {s: 100.0 + s for s in seeds}
    )


def test_a_recipe_does_not_differ_from_itself() -> None:
    first, same = compare_entries([entry("a", [0, 1]), entry("b", [0, 1])], resamples=50, seed=0)
    for name in SCORES:
        score = same["scores"][name]
        if name in ("token_ece", "mass_ratio_rarest_third"):
            assert score["difference"] is None and score["difference_interval"] is None
        else:
            assert score["difference"] == 0.0
            assert score["difference_interval"] == (0.0, 0.0)
            assert score["interval"] == first["scores"][name]["interval"]


def test_all_mentions_are_scored_of_recipes_that_overlap() -> None:
    flat = counts(0)
    entities = replace(flat.entities, mentions=counts(1).entities.spans)
    overlaps = Entry("b", "b", None, {0: replace(flat, entities=entities)}, {0: 1.0})
    first, other = compare_entries([entry("a", [0]), overlaps], resamples=20, seed=0)
    assert first["scores"]["spans_f"]["value"] is None
    score = other["scores"]["spans_f"]
    assert score["value"] == evaluation_scores(counts(1))["ents_f"]
    assert score["interval"] is not None and score["difference"] is None
    assert score["difference_interval"] is None
    assert "spans_f" not in compare_entries([entry("a", [0])], resamples=5, seed=0)[0]["scores"]


def test_values_are_means_over_seeds_with_their_range() -> None:
    row = compare_entries([entry("a", [0, 1, 2])], resamples=10, seed=0)[0]
    single = [evaluation_scores(counts(seed))["ents_f"] for seed in range(3)]
    score = row["scores"]["ents_f"]
    assert score["seeds"] == single
    assert score["value"] == pytest.approx(sum(single) / 3)
    assert (score["low"], score["high"]) == (min(single), max(single))
    assert row["words_per_second"] == 101.0


def test_the_interval_of_a_difference_is_that_of_paired_resamples() -> None:
    rows = compare_entries([entry("a", [0]), entry("b", [1])], resamples=200, seed=7)
    drawn = np.random.default_rng(7).multinomial(12, np.full(12, 1 / 12), size=200)
    tables = [counts(seed).entities.spans.counts for seed in (1, 0)]
    differences = []
    for weights in drawn:
        f = []
        for spans in tables:
            tp, fp, fn = (spans.sum(axis=1) * weights[:, None]).sum(axis=0)
            f.append(2 * tp / (2 * tp + fp + fn))
        differences.append(f[0] - f[1])
    expected = np.quantile(differences, [0.025, 0.975])
    found = rows[1]["scores"]["ents_f"]["difference_interval"]
    assert expected[0] < expected[1]
    np.testing.assert_allclose(found, expected)


def test_runs_on_other_documents_cannot_be_compared() -> None:
    other = EvaluationCounts(("x",) * 12, counts(1).entities, training_mentions=MENTIONS)
    with pytest.raises(ValueError, match="same documents"):
        compare_entries(
            [entry("a", [0]), Entry("b", "b", None, {0: other}, {0: 1.0})], resamples=5, seed=0
        )
