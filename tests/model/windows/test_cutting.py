"""Where texts are cut, and which window a wordpiece takes its vector from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from clinical_ner.model.windows.cutting import (
    BETWEEN,
    END,
    GAP,
    INSIDE,
    Windows,
    batches_by_length,
    cut_windows,
    tokens_cut_inside,
)


def places(token_lengths: list[int], ends: dict[int, int] | None = None) -> NDArray[np.int8]:
    """Places to cut a text of tokens of so many wordpieces.

    ends: END or GAP by token index, for the place before the token.
    """
    rates = [INSIDE] * (sum(token_lengths) + 1)
    position = 0
    for index, length in enumerate([*token_lengths, 0]):
        rates[position] = (ends or {}).get(index, BETWEEN)
        position += length
    return np.array(rates, dtype=np.int8)


def tuples(windows: Windows) -> list[tuple[int, int, int, int]]:
    return [tuple(int(x) for x in row) for row in zip(*windows, strict=True)]  # type: ignore[misc]


@st.composite
def texts(draw: st.DrawFn) -> tuple[list[int], NDArray[np.int8], int, int]:
    """Token lengths, places to cut, and a size and context that go together."""
    lengths = draw(st.lists(st.sampled_from([1, 1, 1, 2, 3, 7, 40]), max_size=60))
    rates = st.sampled_from([BETWEEN, BETWEEN, END, GAP])
    ends = {index: draw(rates) for index in range(len(lengths))}
    context = draw(st.integers(0, 6))
    size = draw(st.integers(2 * context + 1, 2 * context + 20))
    return lengths, places(lengths, ends), size, context


def room(window: tuple[int, int, int, int], first: int, last: int, n: int) -> float:
    """Wordpieces between a token's and the nearer cut of a window; an end of the text is none."""
    start, end, _, _ = window
    if first < start or last >= end:
        return -1
    left = np.inf if start == 0 else first - start
    right = np.inf if end == n else end - 1 - last
    return min(left, right)


@given(texts())
def test_no_window_is_too_long_and_every_piece_has_one_core(text: tuple) -> None:
    _, cuts, size, context = text
    n = len(cuts) - 1
    windows = tuples(cut_windows(cuts, size, context))
    owners = np.zeros(n, dtype=int)
    for start, end, core_start, core_end in windows:
        assert 0 < end - start <= size
        assert start <= core_start < core_end <= end
        owners[core_start:core_end] += 1
    assert (owners == 1).all()


@given(texts())
def test_the_context_is_whole_except_at_the_ends_of_the_text(text: tuple) -> None:
    _, cuts, size, context = text
    for start, end, core_start, core_end in tuples(cut_windows(cuts, size, context)):
        assert core_start - start == context or start == 0
        assert end - core_end == context or end == len(cuts) - 1


@given(texts())
def test_a_token_has_its_core_where_it_stands_most_central(text: tuple) -> None:
    lengths, cuts, size, context = text
    n = len(cuts) - 1
    windows = tuples(cut_windows(cuts, size, context))
    ends = np.cumsum(lengths, dtype=int)
    for first, last in zip(ends - lengths, ends - 1, strict=True):
        held = [i for i, w in enumerate(windows) if w[2] <= first and last < w[3]]
        if not held:
            continue
        rooms = [room(window, first, last, n) for window in windows]
        assert rooms[held[0]] == max(rooms)
        # No other one shows as much, so the choice is not a matter of order.
        assert rooms.count(max(rooms)) == 1


@given(texts())
def test_only_tokens_that_no_core_holds_are_cut_inside(text: tuple) -> None:
    lengths, cuts, size, context = text
    windows = cut_windows(cuts, size, context)
    ends = np.cumsum(lengths, dtype=np.int64)
    starts = ends - np.array(lengths, dtype=np.int64)
    edges = set(windows.core_starts.tolist())
    expected = [
        index
        for index, (start, end) in enumerate(zip(starts, ends, strict=True))
        if any(edge in edges for edge in range(start + 1, end))
    ]
    assert tokens_cut_inside(windows, starts, ends).tolist() == expected
    assert all(lengths[index] > size - 2 * context for index in expected)


def test_a_text_that_fits_is_one_window() -> None:
    assert tuples(cut_windows(places([1] * 10), 10, 4)) == [(0, 10, 0, 10)]


def test_a_text_without_pieces_has_no_window() -> None:
    assert tuples(cut_windows(places([]), 10, 4)) == []


def test_windows_overlap_by_the_context_on_both_sides() -> None:
    # Cores of 10 - 2 = 8, then 10 - 2 * 2 = 6, then the rest.
    found = tuples(cut_windows(places([1] * 20), 10, 2))
    assert found == [(0, 10, 0, 8), (6, 16, 8, 14), (12, 20, 14, 20)]


@pytest.mark.parametrize(
    ("ends", "cut"),
    [
        ({}, 40),
        # The last quarter begins at 30.
        ({29: END}, 29),
        ({29: END, 33: END}, 33),
        ({33: END, 36: END}, 36),
        ({33: GAP, 36: END}, 33),
        ({29: GAP, 33: END}, 33),
        # In the second half the later end wins, since a shorter core costs more.
        ({22: GAP, 25: END}, 25),
        ({19: GAP}, 40),
        ({41: GAP}, 40),
    ],
)
def test_a_core_ends_at_a_good_place_near_its_largest_size(ends: dict[int, int], cut: int) -> None:
    assert tuples(cut_windows(places([1] * 80, ends), 40, 0))[0][3] == cut


def test_a_core_ends_between_two_tokens_where_there_is_no_better_place() -> None:
    assert tuples(cut_windows(places([3] * 10), 10, 0))[0][3] == 9


def test_a_token_longer_than_a_core_is_cut_and_its_neighbours_keep_their_context() -> None:
    windows = cut_windows(places([1, 1, 1, 20, 1, 1]), 10, 2)
    found = tuples(windows)
    assert [core for *_, core in found] == [3, 9, 15, 21, 25]
    assert found[0] == (0, 5, 0, 3)
    assert found[-1] == (19, 25, 21, 25)
    starts, ends = np.array([0, 1, 2, 3, 23, 24]), np.array([1, 2, 3, 23, 24, 25])
    assert tokens_cut_inside(windows, starts, ends).tolist() == [3]


def test_a_smaller_first_core_moves_the_cuts() -> None:
    cores = [tuples(cut_windows(places([1] * 40), 12, 2, first=first)) for first in (0, 5)]
    assert [[end for *_, end in found][:2] for found in cores] == [[10, 18], [5, 13]]


@given(
    st.lists(st.integers(1, 30), max_size=40).map(lambda x: np.array(x, dtype=np.int64)),
    st.integers(30, 90),
)
def test_batches_hold_every_row_once_within_the_bound(
    lengths: NDArray[np.int64], bound: int
) -> None:
    batches = batches_by_length(lengths, bound)
    assert sorted(np.concatenate([*batches, []]).tolist()) == list(range(len(lengths)))
    longest = [lengths[batch].max() for batch in batches]
    assert all(len(b) * long <= bound for b, long in zip(batches, longest, strict=True))
    assert longest == sorted(longest, reverse=True)


def test_a_batch_takes_as_many_rows_as_the_bound_allows() -> None:
    found = batches_by_length(np.array([10, 40, 10, 39, 40, 8]), 80)
    assert [batch.tolist() for batch in found] == [[1, 4], [3, 0], [2, 5]]


@given(st.lists(st.integers(1, 300), min_size=1, max_size=60))
def test_little_of_a_batch_is_padding(lengths: list[int]) -> None:
    rows = np.array(lengths)
    for batch in batches_by_length(rows, 4096):
        computed = len(batch) * rows[batch].max()
        assert computed - rows[batch].sum() <= max(0.05 * computed, 40)


@pytest.mark.parametrize("longest", [20, 60, 128])
def test_little_more_is_computed_than_the_best_batches_would(longest: int) -> None:
    lengths = np.random.default_rng(0).integers(5, longest, 40)
    order = np.sort(lengths)[::-1]
    # By dynamic programming over all ways to cut the rows, sorted by length, into batches.
    best = [0.0]
    for end in range(1, len(order) + 1):
        costs = [best[start] + 40 + (end - start) * order[start] for start in range(end)]
        best.append(min(costs))
    batches = batches_by_length(lengths, 10_000)
    found = sum(40 + len(batch) * lengths[batch].max() for batch in batches)
    assert best[-1] <= found <= 1.1 * best[-1]
