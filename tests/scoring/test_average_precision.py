from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import average_precision_score, precision_recall_curve

from clinical_ner.scoring import average_precision as module
from clinical_ner.scoring.average_precision import (
    RankedSpans,
    average_precision,
    average_precisions,
    coverage_points,
    macro_average,
    precision_recall_points,
)
from clinical_ner.scoring.bootstrap import resample_weights

Candidates = list[list[tuple[str, float, bool]]]


def random_candidates(
    rng: np.random.Generator, documents: int, *, digits: int = 2
) -> tuple[Candidates, list[Counter[str]]]:
    """Candidates with many equal probabilities, and gold of which some is no candidate."""
    candidates, support = [], []
    for _ in range(documents):
        of: list[tuple[str, float, bool]] = []
        for _ in range(int(rng.integers(0, 15))):
            probability = round(float(rng.random()), digits)
            right = bool(rng.random() < probability)
            of.append((str(rng.choice(["Age", "Sex", "Sign"])), probability, right))
        gold = Counter(label for label, _, right in of if right)
        if rng.random() < 0.5:
            gold[str(rng.choice(["Age", "Sign", "Rare"]))] += 1
        candidates.append(of)
        support.append(gold)
    return candidates, support


def reference(candidates: Candidates, support: list[Counter[str]], labels: set[str]) -> float:
    """Average precision by scikit-learn, whose recall knows candidates only."""
    flat = [c for of in candidates for c in of if c[0] in labels]
    gold = sum(n for of in support for label, n in of.items() if label in labels)
    found = [right for _, _, right in flat]
    if not gold:
        return math.nan
    if not any(found):
        return 0.0
    ap = average_precision_score(found, [probability for _, probability, _ in flat])
    return ap * sum(found) / gold


@given(seed=st.sampled_from(range(10)))
def test_it_is_that_of_scikit_learn_over_all_of_gold(seed: int) -> None:
    candidates, support = random_candidates(np.random.default_rng(seed), 12, digits=1)
    spans = RankedSpans.rank(candidates, support)
    labels = set(spans.gold.names)
    assert average_precision(spans) == pytest.approx(reference(candidates, support, labels))
    for name, value in average_precisions(spans).items():
        assert value == pytest.approx(reference(candidates, support, {name}), nan_ok=True)


@pytest.mark.parametrize("numbers", [1, 100_000])
def test_a_resample_is_that_of_repeated_documents(
    numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_MOST_NUMBERS", numbers)
    candidates, support = random_candidates(np.random.default_rng(3), 8)
    spans = RankedSpans.rank(candidates, support)
    weights = resample_weights(8, resamples=25, seed=0)
    micro, per_type = average_precision(spans, weights), average_precisions(spans, weights)
    macro = macro_average(per_type, like=micro)
    for row, drawn in enumerate(weights):
        again = [i for i, times in enumerate(drawn) for _ in range(times)]
        of = [candidates[i] for i in again], [support[i] for i in again]
        assert micro[row] == pytest.approx(reference(*of, set(spans.gold.names)))
        expected = {name: reference(*of, {name}) for name in spans.gold.names}
        for name, value in expected.items():
            assert per_type[name][row] == pytest.approx(value, nan_ok=True)
        assert macro[row] == pytest.approx(np.nanmean(list(expected.values())))


def test_gold_that_is_no_candidate_is_never_found() -> None:
    spans = RankedSpans.rank([[("Age", 0.9, True)]], [{"Age": 4, "New": 2}])
    values = average_precisions(spans)
    assert values == {"Age": 0.25, "New": 0.0}
    assert macro_average(values, like=0.0) == 0.125


def test_a_type_without_gold_has_none() -> None:
    spans = RankedSpans.rank([[("Age", 0.9, True), ("Sex", 0.8, False)]], [{"Age": 1}])
    values = average_precisions(spans)
    assert values["Age"] == 1.0 and math.isnan(values["Sex"])
    assert macro_average(values, like=0.0) == 1.0


def test_without_anything_it_is_undefined() -> None:
    spans = RankedSpans.rank([[], []], [{}, {}])
    assert math.isnan(average_precision(spans))
    weights = np.array([[2, 0]])
    assert math.isnan(average_precision(spans, weights)[0])
    assert math.isnan(macro_average({}, like=np.zeros(3))[0])
    assert precision_recall_points(spans)["recall"] == []


def test_the_curve_is_that_of_scikit_learn() -> None:
    candidates, support = random_candidates(np.random.default_rng(5), 10)
    spans = RankedSpans.rank(candidates, support)
    points = precision_recall_points(spans)
    precision, recall, thresholds = precision_recall_curve(spans.right, spans.probability)
    gold = sum(of.total() for of in support)
    # Scikit-learn starts at the lowest threshold, and adds a last point of precision 1.
    np.testing.assert_allclose(points["threshold"], thresholds[::-1])
    np.testing.assert_allclose(points["precision"], precision[-2::-1])
    np.testing.assert_allclose(points["recall"], recall[-2::-1] * spans.right.sum() / gold)


def test_a_long_curve_is_thinned_and_keeps_its_end() -> None:
    rng = np.random.default_rng(0)
    right = rng.random(5000) < 0.3
    candidates = [
        [("Age", float(p), bool(r)) for p, r in zip(rng.random(5000), right, strict=True)]
    ]
    spans = RankedSpans.rank(candidates, [{"Age": int(right.sum()) + 10}])
    points = precision_recall_points(spans, most=40)
    assert 35 <= len(points["recall"]) <= 40
    assert (np.diff(points["recall"]) > 0).all() and (np.diff(points["threshold"]) < 0).all()
    assert points["recall"][-1] == pytest.approx(right.sum() / (right.sum() + 10))


def test_some_labels_are_ranked_apart() -> None:
    candidates = [[("Age", 0.9, False), ("Sex", 0.8, True)], [("Sign", 0.7, True)]]
    spans = RankedSpans.rank(candidates, [{"Sex": 1}, {"Sign": 1}])
    chosen = spans.of(["Sign", "Sex", "Other"])
    assert chosen.gold.names == ("Sex", "Sign")
    assert average_precision(chosen) == 1.0 and average_precision(spans) < 1.0


@pytest.mark.parametrize("most", [7, 500])
def test_the_share_that_a_threshold_keeps(most: int) -> None:
    spans = RankedSpans.rank(*random_candidates(np.random.default_rng(3), 10))
    points = coverage_points(spans, most=most)
    assert points["share"][-1] == 1.0 and len(points["share"]) <= most
    for share, precision, recall, threshold in zip(*points.values(), strict=True):
        kept = spans.probability >= threshold
        assert share == pytest.approx(kept.mean())
        assert precision == pytest.approx(spans.right[kept].mean())
        assert recall == pytest.approx(spans.right[kept].sum() / spans.gold.counts.sum())
