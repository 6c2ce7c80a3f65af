"""Rounds, and the figures that follow from times."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest

from clinical_ner.research.speed.speed import (
    BARE,
    OURS,
    Times,
    fastest_hugging_face,
    hugging_face_key,
    measure,
    seconds,
    summarise,
)

TIMES = {
    BARE: Times([1.0, 2.0, 4.0], [1.0, 1.0, 1.0]),
    OURS: Times([2.0, 2.0, 5.0], [2.0, 1.25, 1.6]),
    "other": Times([6.0, 3.0, 5.0], [4.0, 2.5, 3.2]),
}


def run_rounds(seed: int, rounds: int = 6) -> list[str]:
    """The order in which four variants are timed."""
    order: list[str] = []

    def timed(run: Callable[[], Any]) -> tuple[float, float]:
        order.append(run())
        return 1.0, 1.0

    runs = {key: lambda key=key: key for key in "abcd"}
    measure(runs, rounds=rounds, seed=seed, timed=timed)
    return order


def test_each_is_run_once_in_each_round() -> None:
    order = run_rounds(seed=0)
    assert [sorted(order[start : start + 4]) for start in range(0, 24, 4)] == [[*"abcd"]] * 6


def test_the_order_changes_with_the_round_and_follows_from_the_seed() -> None:
    order = run_rounds(seed=0)
    assert len({tuple(order[start : start + 4]) for start in range(0, 24, 4)}) > 1
    assert order == run_rounds(seed=0) != run_rounds(seed=1)


def test_times_are_kept_by_variant_and_round() -> None:
    clock = iter([(1.0, 0.1), (2.0, 0.2), (3.0, 0.3), (4.0, 0.4)])
    times = measure({"a": lambda: None}, rounds=4, seed=0, timed=lambda run: next(clock))
    assert times == {"a": Times([1.0, 2.0, 3.0, 4.0], [0.1, 0.2, 0.3, 0.4])}


def test_a_result_is_freed_before_the_next_run() -> None:
    class Result:
        pass

    assert all(taken >= 0 for taken in seconds(Result))
    assert not any(isinstance(found, Result) for found in gc.get_objects())


def test_speed_is_the_median_over_the_rounds() -> None:
    rows = summarise(TIMES, words=600)
    assert rows["other"]["words_per_second"] == {"wall": 120.0, "processor": 187.5}
    assert rows["other"]["seconds"] == {"wall": [6.0, 3.0, 5.0], "processor": [4.0, 2.5, 3.2]}


def test_ratios_are_taken_within_rounds() -> None:
    rows = summarise(TIMES, words=600)
    # 1/2, 2/2, 4/5; the ratio of the medians would be 1.
    assert rows[OURS]["of_bare"] == pytest.approx({"wall": 0.8, "processor": 0.625})
    # 6/2, 3/2, 5/5; the ratio of the medians would be 2.5.
    assert rows["other"]["ours_over"]["wall"] == {"median": 1.5, "low": 1.0, "high": 3.0}
    assert rows["other"]["ours_over"]["processor"] == {"median": 2.0, "low": 2.0, "high": 2.0}


def test_the_encoder_is_its_own_ceiling() -> None:
    rows = summarise(TIMES, words=1)
    assert rows[BARE]["of_bare"] == {"wall": 1.0, "processor": 1.0}
    assert rows[OURS]["ours_over"]["wall"] == {"median": 1.0, "low": 1.0, "high": 1.0}


def test_the_fastest_of_hugging_face_is_found_among_its_own() -> None:
    slow, fast = hugging_face_key(512, 1), hugging_face_key(512, 8)
    times = {**TIMES, slow: Times([9.0], [1.0]), fast: Times([8.0], [2.0])}
    rows = summarise({key: Times(t.wall[:1], t.processor[:1]) for key, t in times.items()}, words=1)
    assert fastest_hugging_face(rows) == fast
