from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from clinical_ner.data.split.cover import cover
from clinical_ner.data.split.stratify import PARTS, part_sizes
from clinical_ner.data.split.units import Units


def held_in(units: Units, part_of: NDArray[np.intp], parts: int) -> NDArray[np.bool_]:
    """Whether parts hold labels. *Shape:* ``(parts, labels)``."""
    rows = [units.holding[part_of == part].sum(axis=0) > 0 for part in range(parts)]
    return np.array(rows)


def covered(units: Units, part_of: NDArray[np.intp], parts: int) -> set[int]:
    """The labels in every part."""
    return set(np.flatnonzero(held_in(units, part_of, parts).all(axis=0)).tolist())


def documents_of(units: Units, part_of: NDArray[np.intp], parts: int) -> list[int]:
    return [int(units.documents[part_of == part].sum()) for part in range(parts)]


def divisions(units: Units, parts: int) -> Iterator[NDArray[np.intp]]:
    """All without an empty part."""
    for part_of in itertools.product(range(parts), repeat=len(units)):
        if len(set(part_of)) == parts:
            yield np.array(part_of)


@st.composite
def corpora(draw: st.DrawFn, *, grouped: bool) -> tuple[Units, NDArray[np.intp], list[int]]:
    """Tiny corpora, divided anyhow: units, their parts, and the sizes wanted."""
    parts = draw(st.integers(2, 3))
    number = draw(st.integers(parts, 7))
    labels = draw(st.integers(0, 5))
    of_group = draw(st.lists(st.integers(1, 3 if grouped else 1), min_size=number, max_size=number))
    groups = np.repeat(np.arange(number), of_group)
    cells = draw(
        st.lists(st.booleans(), min_size=len(groups) * labels, max_size=len(groups) * labels)
    )
    units = Units.of(np.array(cells, dtype=bool).reshape(len(groups), labels), groups)
    drawn = draw(st.permutations([*range(parts), *[0] * (number - parts)]))
    part_of = np.array(drawn, dtype=np.intp)
    sizes = documents_of(units, part_of, parts)
    if grouped:
        cuts = draw(st.permutations(range(1, len(groups))))[: parts - 1]
        sizes = np.diff([0, *sorted(cuts), len(groups)]).tolist()
    return units, part_of, sizes


@settings(max_examples=60, deadline=None)
@given(corpus=corpora(grouped=False))
def test_no_division_with_these_sizes_has_more_labels_in_every_part(
    corpus: tuple[Units, NDArray[np.intp], list[int]],
) -> None:
    units, part_of, sizes = corpus
    parts = len(sizes)
    result = cover(units, part_of, sizes)
    assert documents_of(units, result, parts) == sizes
    before, after = (covered(units, of, parts) for of in (part_of, result))
    assert before <= after
    # Labels of every part must stay, so only such divisions compete.
    possible = [
        found
        for division in divisions(units, parts)
        if documents_of(units, division, parts) == sizes
        and before <= (found := covered(units, division, parts))
    ]
    assert len(after) == max(map(len, possible))


@settings(max_examples=60, deadline=None)
@given(corpus=corpora(grouped=True))
def test_groups_have_all_labels_in_all_parts_if_any_division_has(
    corpus: tuple[Units, NDArray[np.intp], list[int]],
) -> None:
    units, part_of, sizes = corpus
    parts = len(sizes)
    result = cover(units, part_of, sizes)
    assert set(result.tolist()) == set(range(parts))
    required = set(np.flatnonzero((units.holding > 0).sum(axis=0) >= parts).tolist())
    if any(covered(units, division, parts) >= required for division in divisions(units, parts)):
        assert covered(units, result, parts) >= required

    def distance(division: NDArray[np.intp]) -> int:
        return int(np.abs(np.subtract(documents_of(units, division, parts), sizes)).sum())

    held = held_in(units, result, parts)
    assert distance(result) == min(
        distance(division)
        for division in divisions(units, parts)
        if (held_in(units, division, parts) >= held).all()
    )


def test_what_is_covered_is_left_alone() -> None:
    units = Units.of(np.ones((6, 2), dtype=bool))
    part_of = np.array([2, 0, 1, 0, 0, 2])
    assert cover(units, part_of, [3, 1, 2]).tolist() == part_of.tolist()


def test_a_label_of_too_few_documents_moves_nothing() -> None:
    presence = np.array([[1, 1], [1, 1], [1, 0], [1, 0]], dtype=bool)
    part_of = np.array([0, 0, 1, 2])
    assert cover(Units.of(presence), part_of, [2, 1, 1]).tolist() == part_of.tolist()


@pytest.mark.parametrize("seed", range(8))
def test_the_exchange_that_disturbs_least_is_made(seed: int) -> None:
    rng = np.random.default_rng(seed)
    presence = rng.random((20, 6)) < 0.5
    part_of = np.repeat([0, 1], [12, 8])
    # Label 0 is in the first part only.
    presence[:, 0] = np.isin(np.arange(20), [1, 4, 6, 9])

    def deviation(division: NDArray[np.intp]) -> float:
        return sum(
            (presence[division == part, label].sum() - share * presence[:, label].sum()) ** 2
            / presence[:, label].sum()
            for label in range(6)
            for part, share in enumerate((0.6, 0.4))
        )

    units = Units.of(presence)
    possible = []
    for i, j in itertools.product(range(12), range(12, 20)):
        division = part_of.copy()
        division[[i, j]] = part_of[[j, i]]
        if covered(units, division, 2) == set(range(6)):
            possible.append(deviation(division))
    result = cover(units, part_of, [12, 8])
    assert covered(units, result, 2) == set(range(6))
    assert (result != part_of).sum() == 2
    assert deviation(result) == pytest.approx(min(possible))
    assert min(possible) < max(possible)


def test_exchanges_that_each_uncover_something_are_found_together() -> None:
    # Each document is the only one of its part with one of the labels, so that every exchange of
    # two takes as much as it gives.
    presence = np.array([[1, 1, 0], [0, 0, 1], [1, 0, 1], [0, 1, 0]], dtype=bool)
    part_of = np.array([0, 1, 1, 0])
    units = Units.of(presence)
    assert covered(units, part_of, 2) == {0}
    result = cover(units, part_of, [2, 2])
    assert covered(units, result, 2) == {0, 1, 2}


def test_a_repair_is_the_same_each_time() -> None:
    rng = np.random.default_rng(0)
    units = Units.of(rng.random((40, 12)) < 0.15)
    sizes = part_sizes(40, dev=0.1, test=0.2, source="x")
    part_of = np.repeat(range(3), [sizes[part] for part in PARTS])
    results = [cover(units, part_of, list(sizes.values())).tolist() for _ in range(2)]
    assert results[0] == results[1] != part_of.tolist()


@pytest.mark.parametrize(("first", "sizes"), [(9, [6, 6]), (6, [6, 6]), (9, [3, 9])])
def test_sizes_are_reached_by_moves_first(first: int, sizes: list[int]) -> None:
    units = Units.of(np.zeros((12, 1), dtype=bool))
    part_of = np.repeat([0, 1], [first, 12 - first])
    result = cover(units, part_of, sizes)
    assert documents_of(units, result, 2) == sizes
    assert (result != part_of).sum() == first - sizes[0]
