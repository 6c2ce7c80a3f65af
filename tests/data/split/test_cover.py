from __future__ import annotations

import itertools

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


@settings(max_examples=100, deadline=None)
@given(corpus=corpora(grouped=False))
def test_documents_get_their_sizes_and_no_exchange_is_left(
    corpus: tuple[Units, NDArray[np.intp], list[int]],
) -> None:
    units, part_of, sizes = corpus
    parts = len(sizes)
    result = cover(units, part_of, sizes)
    assert documents_of(units, result, parts) == sizes
    assert covered(units, part_of, parts) <= covered(units, result, parts)
    required = (units.holding > 0).sum(axis=0) >= parts
    held = held_in(units, result, parts)
    for i, j in itertools.combinations(range(len(units)), 2):
        division = result.copy()
        division[[i, j]] = result[[j, i]]
        after = held_in(units, division, parts)
        takes_away = (after.sum(axis=0) < held.sum(axis=0)).any()
        assert takes_away or after[:, required].sum() <= held[:, required].sum()


@settings(max_examples=60, deadline=None)
@given(corpus=corpora(grouped=True))
def test_groups_leave_no_part_empty_and_no_move_towards_the_sizes(
    corpus: tuple[Units, NDArray[np.intp], list[int]],
) -> None:
    units, part_of, sizes = corpus
    parts = len(sizes)
    result = cover(units, part_of, sizes)
    assert set(result.tolist()) == set(range(parts))

    def distance(division: NDArray[np.intp]) -> int:
        return int(np.abs(np.subtract(documents_of(units, division, parts), sizes)).sum())

    held = held_in(units, result, parts).sum(axis=0)
    for unit, part in itertools.product(range(len(units)), range(parts)):
        division = result.copy()
        division[unit] = part
        if 0 in documents_of(units, division, parts):
            continue
        takes_away = (held_in(units, division, parts).sum(axis=0) < held).any()
        assert takes_away or distance(division) >= distance(result)


def test_what_is_covered_is_left_alone() -> None:
    units = Units.of(np.ones((6, 2), dtype=bool))
    part_of = np.array([2, 0, 1, 0, 0, 2])
    assert cover(units, part_of, [3, 1, 2]).tolist() == part_of.tolist()


def test_a_label_of_too_few_documents_moves_nothing() -> None:
    presence = np.array([[1, 1], [1, 1], [1, 0], [1, 0]], dtype=bool)
    part_of = np.array([0, 0, 1, 2])
    assert cover(Units.of(presence), part_of, [2, 1, 1]).tolist() == part_of.tolist()


@settings(max_examples=8, deadline=None)
@given(seed=st.integers(0, 10_000))
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
