from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import entropy

from clinical_ner.checks.corpus import Part
from clinical_ner.checks.imbalance import find_few, measure_imbalance, recommendation
from clinical_ner.checks.labels import count_labels

from .examples import counts, document, notes, part


def corpus(**numbers: int) -> Part:
    """One-word mentions, as many of each type as said, and one word outside."""
    labels = [label for label, number in numbers.items() for _ in range(number)]
    mentions = [(2 * at, 2 * at + 1, label) for at, label in enumerate(labels)]
    return part("train", document("a", "x " * len(labels) + "out", *mentions))


def test_a_token_is_of_the_longest_mention_that_touches_it() -> None:
    text = "severe chest pain, 5mg"
    mentions = [("chest", "Body"), ("chest pain", "Sign"), ("5", "Dose"), (19, 20, "Other")]
    imbalance = measure_imbalance([part("x", document("a", text, *mentions))])
    # severe, chest, pain, the comma, 5mg
    assert imbalance.tokens == 5
    assert imbalance.token_shares == {"Dose": 0.2, "O": 0.4, "Sign": 0.4}
    assert sum(imbalance.token_shares.values()) == pytest.approx(1)


def test_pieces_leave_their_gap_outside() -> None:
    imbalance = measure_imbalance([part("x", document("a", "left and arm", (0, 4, 9, 12, "B")))])
    assert imbalance.token_shares == {"B": pytest.approx(2 / 3), "O": pytest.approx(1 / 3)}


def test_figures_of_the_types() -> None:
    imbalance = measure_imbalance([corpus(A=300, B=20, C=19, D=2)])
    assert (imbalance.commonest, imbalance.rarest, imbalance.ratio) == ("A", "D", 150)
    assert (imbalance.mentions, imbalance.types, imbalance.rare_types) == (341, 4, 1)
    assert imbalance.few == {"C": 19, "D": 2}
    assert imbalance.effective_types == pytest.approx(np.exp(entropy([300, 20, 19, 2])))
    [finding] = find_few(imbalance)
    assert counts([finding]) == {"C080": 2}
    assert notes([finding], "C080") == ["19 mentions", "2 mentions"]


def test_only_train_is_measured_where_there_is_one() -> None:
    dev = part("dev", document("b", "y", ("y", "Z")))
    imbalance = measure_imbalance([dev, corpus(A=3)])
    assert imbalance.parts == ("train",)
    assert imbalance.types == 1
    assert imbalance.effective_types == pytest.approx(1)


def recommended(of: Part) -> list[str]:
    return recommendation(measure_imbalance([of]), count_labels([of]))


def test_a_recipe_is_named_where_types_are_imbalanced_as_in_what_was_measured() -> None:
    assert "minilm.cfg" in recommended(corpus(A=50, B=5))[0]
    [even] = recommended(corpus(A=49, B=5))
    assert "No recipe was measured" in even


@pytest.mark.parametrize(("nested", "chosen"), [(1, False), (2, True)])
def test_the_recipe_overlaps_is_named_where_flat_entities_lose_a_tenth(
    nested: int, chosen: bool
) -> None:
    outer = [(10 * at, 10 * at + 9, "Outer") for at in range(10)]
    inner = [(start, start + 4, "Inner") for start, *_ in outer[:nested]]
    lines = recommended(part("train", document("a", "four more " * 10, *outer, *inner)))
    assert lines[0].startswith("Start with the recipe overlaps") == chosen
    assert ("12 of 12, and flat entities hold 10" in lines[0]) == chosen


def test_without_mentions_there_is_no_advice() -> None:
    empty = part("x", document("a", ""))
    imbalance = measure_imbalance([empty])
    assert (imbalance.ratio, imbalance.effective_types, imbalance.token_shares) == (None, 0, {})
    assert "no mention" in recommended(empty)[0]
