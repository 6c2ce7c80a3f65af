"""What the benchmark of the queue computes from the scores of its trainings."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.simulated_annotation import saved

SIZES = [20, 40, 60, 80]


def test_notes_saved_are_read_off_the_mean_curve() -> None:
    at_random = np.array([[0.1, 0.3, 0.4, 0.5]] * 3)
    chosen = np.array([[0.1, 0.4, 0.6, 0.6]] * 3)
    # 0.5 lies half way between 40 and 60 notes.
    found = saved(SIZES, at_random, chosen, 80)
    assert found["notes"] == pytest.approx(30) and found["interval"] == pytest.approx([30, 30])
    assert saved(SIZES, at_random, at_random, 80)["notes"] == pytest.approx(0)
    worse = saved(SIZES, at_random, chosen / 2, 80)
    assert worse == {"notes": None, "interval": [None, None]}
    assert saved(SIZES, np.zeros((3, 4)), chosen, 80)["notes"] is None


def test_seeds_that_differ_make_the_interval() -> None:
    at_random = np.array([[0.1, 0.3, 0.4, 0.5]] * 4)
    gains = np.array([0.0, 0.05, 0.1, 0.3])[:, None] * [0, 1, 1, 1]
    found = saved(SIZES, at_random, at_random + gains, 80)
    low, high = found["interval"]
    assert low < found["notes"] < high <= 60
    # One seed never reaches it.
    found = saved(SIZES, at_random, at_random - gains, 80)
    assert found["notes"] is None and found["interval"][0] is None
