"""The search for thresholds against brute force over every cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical_ner.errors import ClinicalNerError
from clinical_ner.fitting.thresholds import (
    SILENT,
    Choice,
    LabelEntities,
    Objective,
    best_f_threshold,
    choose_thresholds,
    precision_threshold,
)

MACRO_F = Objective()


def draw(seed: int) -> LabelEntities:
    """Random entities, many of them with equal scores."""
    rng = np.random.default_rng(seed)
    m = int(rng.integers(1, 40))
    scores = rng.random(m) if seed % 2 else rng.integers(0, 6, size=m) / 5
    right = rng.random(m) < scores
    support = int(right.sum() + rng.integers(1, 5))
    return LabelEntities(scores, right, support, np.zeros(m, dtype=np.intp))


def f_at(entities: LabelEntities, threshold: float) -> float:
    kept = [r for s, r in zip(entities.scores, entities.right, strict=True) if s >= threshold]
    return 2 * sum(kept) / (len(kept) + entities.support)


def precision_at(entities: LabelEntities, threshold: float) -> float | None:
    kept = [r for s, r in zip(entities.scores, entities.right, strict=True) if s >= threshold]
    return sum(kept) / len(kept) if kept else None


def all_cuts(entities: LabelEntities) -> list[float]:
    """0, every score, and one beyond each: whatever can be kept is kept by one of them."""
    scores = entities.scores.tolist()
    return sorted({0.0, *scores, *(score + 1e-9 for score in scores)})


@given(seed=st.sampled_from(range(60)))
def test_the_best_f_and_no_higher_threshold_than_it_takes(seed: int) -> None:
    entities = draw(seed)
    found = best_f_threshold(*entities[:3])
    assert found is not None
    best = max(f_at(entities, cut) for cut in all_cuts(entities))
    assert f_at(entities, found) == best
    kept = (entities.scores >= found).sum()
    assert all(
        f_at(entities, cut) < best
        for cut in all_cuts(entities)
        if (entities.scores >= cut).sum() > kept
    )


@given(seed=st.sampled_from(range(60)))
@pytest.mark.parametrize("min_precision", [0.3, 0.75, 0.9, 1.0])
def test_the_lowest_threshold_with_the_precision(seed: int, min_precision: float) -> None:
    entities = draw(seed)
    found = precision_threshold(entities.scores, entities.right, min_precision=min_precision)
    reaching = [
        (entities.scores >= cut).sum()
        for cut in all_cuts(entities)
        if (precision := precision_at(entities, cut)) is not None and precision >= min_precision
    ]
    if found is None:
        assert not reaching
    else:
        assert (entities.scores >= found).sum() == max(reaching)


@given(seed=st.sampled_from(range(60)))
def test_thresholds_are_0_or_lie_apart_from_every_score(seed: int) -> None:
    entities = draw(seed)
    distinct = np.unique(entities.scores)
    for found in (
        best_f_threshold(*entities[:3]),
        precision_threshold(entities.scores, entities.right, min_precision=0.75),
    ):
        if found:
            below, above = distinct[distinct < found].max(), distinct[distinct >= found].min()
            assert found == pytest.approx((below + above) / 2, abs=5.1e-8)
            assert f"{found:.7f}".rstrip("0") == repr(found)


def test_scores_that_only_rounding_tells_apart_are_one() -> None:
    right = np.array([False, True])
    for low in (0.0, 0.7, 0.9999):
        assert best_f_threshold(np.array([low, low + 2e-7]), right, 1) == 0.0
        found = best_f_threshold(np.array([low, low + 4e-6]), right, 1)
        assert found is not None and low + 1e-6 < found < low + 3e-6


def test_where_every_entity_is_right_none_is_dropped() -> None:
    scores, right = np.array([0.1, 0.5, 0.9]), np.array([True, True, True])
    assert best_f_threshold(scores, right, 5) == 0.0
    assert precision_threshold(scores, right, min_precision=1.0) == 0.0


def test_nine_of_ten_are_a_precision_of_nine_tenths() -> None:
    scores, right = np.linspace(0.1, 1.0, 10), np.arange(10) > 0
    assert precision_threshold(scores, right, min_precision=0.9) == 0.0


@pytest.mark.parametrize("support", [0, 3])
def test_nothing_is_learned_without_predictions_or_without_gold(support: int) -> None:
    empty = np.zeros(0), np.zeros(0, dtype=bool)
    assert best_f_threshold(*empty, support) is None
    assert precision_threshold(*empty, min_precision=0.5) is None
    wrong = np.array([0.3, 0.4]), np.array([False, False])
    assert (best_f_threshold(*wrong, support) is None) == (support == 0)


def make(*pairs: tuple[float, bool], missed: int = 0) -> LabelEntities:
    scores, right = zip(*pairs, strict=True) if pairs else ((), ())
    array = np.array(right, dtype=bool)
    documents = np.zeros(len(array), dtype=np.intp)
    return LabelEntities(np.array(scores, dtype=float), array, int(array.sum()) + missed, documents)


GOOD = make((0.2, False), (0.6, True), (0.8, True))
BAD = make((0.5, False), (0.7, False), (0.9, False), missed=1)
FEW = make((0.3, True))


def test_a_label_with_enough_entities_has_its_own_threshold() -> None:
    found = choose_thresholds(
        {"good": GOOD, "few": FEW}, [("good", "few")], objective=MACRO_F, min_support=3
    )
    assert found["good"] == Choice(pytest.approx(0.4), "own")
    # All of both: 0.2 is wrong, 0.3, 0.6 and 0.8 are right.
    assert found["few"] == Choice(pytest.approx(0.25), "group")


def test_groups_do_not_mix() -> None:
    found = choose_thresholds(
        {"good": GOOD, "bad": BAD, "few": FEW},
        [("good", "few"), ("bad",)],
        objective=Objective(1.0),
        min_support=4,
    )
    assert found["good"] == found["few"] == Choice(pytest.approx(0.25), "group")
    assert found["bad"] == Choice(SILENT, "silenced")


def test_without_a_threshold_of_its_own_a_label_takes_that_of_its_group() -> None:
    found = choose_thresholds(
        {"good": GOOD, "bad": make((0.5, False), (0.7, False))},
        [("good", "bad")],
        objective=Objective(0.9),
        min_support=1,
    )
    assert found["good"] == Choice(pytest.approx(0.4), "own")
    assert found["bad"] == Choice(pytest.approx(0.75), "group")


def test_the_best_f_never_silences() -> None:
    found = choose_thresholds(
        {"bad": BAD, "none": make()}, [("bad",), ("none",)], objective=MACRO_F, min_support=1
    )
    assert found == {"bad": Choice(0.0, "own"), "none": Choice(0.0, "group")}


@pytest.mark.parametrize("text", ["macro_f", "recall@precision=0.9", "recall@precision=1"])
def test_an_objective_is_read_and_written(text: str) -> None:
    assert str(Objective.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    ["", "f1", "macro_f=1", "recall@precision", "recall@precision=", "recall@precision=nan"]
    + ["recall@precision=0", "recall@precision=1.1", "recall@precision=-0.5"],
)
def test_another_objective_is_refused(text: str) -> None:
    with pytest.raises(ClinicalNerError):
        Objective.parse(text)
