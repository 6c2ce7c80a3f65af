from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from clinical_ner.errors import ClinicalNerError
from clinical_ner.scoring.bootstrap import intervals, percentile_interval, resample_weights
from clinical_ner.scoring.counts import DocumentCounts


def test_every_resample_draws_as_many_documents_as_there_are() -> None:
    weights = resample_weights(17, resamples=50, seed=3)
    assert weights.shape == (50, 17)
    assert (weights.sum(axis=1) == 17).all()
    assert (weights >= 0).all()


def test_documents_are_drawn_alike_and_with_replacement() -> None:
    documents, resamples = 8, 20_000
    weights = resample_weights(documents, resamples=resamples, seed=0)
    # Each weight is binomial(8, 1/8): mean 1, variance 7/8.
    assert weights.mean(axis=0) == pytest.approx(np.ones(documents), abs=0.05)
    assert weights.var(axis=0) == pytest.approx(np.full(documents, 7 / 8), abs=0.05)


def test_the_seed_decides_the_resamples() -> None:
    first = resample_weights(10, resamples=20, seed=1)
    assert (first == resample_weights(10, resamples=20, seed=1)).all()
    assert (first != resample_weights(10, resamples=20, seed=2)).any()


@pytest.mark.parametrize(("documents", "resamples"), [(0, 10), (10, 0)])
def test_nothing_to_draw_is_an_error(documents: int, resamples: int) -> None:
    with pytest.raises(ClinicalNerError, match="must be a number"):
        resample_weights(documents, resamples=resamples)


def test_totals_of_a_resample_are_those_of_the_documents_drawn() -> None:
    rng = np.random.default_rng(0)
    counts = DocumentCounts(("a", "b"), rng.integers(0, 9, (6, 2, 3)).astype(float))
    weights = resample_weights(6, resamples=30, seed=0)
    for row, totals in zip(weights, counts.totals(weights), strict=True):
        drawn = [i for i, times in enumerate(row) for _ in range(times)]
        assert (totals == sum(counts.counts[i] for i in drawn)).all()


def test_stack_fills_missing_names_with_zero() -> None:
    counts = DocumentCounts.stack([{"b": [1, 2]}, {}, {"a": [3, 4]}], kinds=2)
    assert counts.names == ("a", "b")
    assert counts.counts.tolist() == [[[0, 0], [1, 2]], [[0, 0], [0, 0]], [[3, 4], [0, 0]]]


def test_interval_of_a_mean_is_the_normal_one() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=400)
    means = resample_weights(400, resamples=20_000, seed=0) @ values / 400
    deviation = values.std() / np.sqrt(400)
    expected = values.mean() + norm.ppf([0.025, 0.975]) * deviation
    assert percentile_interval(means) == pytest.approx(expected, abs=0.05 * deviation)


def test_paired_differences_vary_less_than_unpaired_ones() -> None:
    rng = np.random.default_rng(0)
    first = rng.normal(size=100)
    second = first + 0.1 + 0.01 * rng.normal(size=100)
    weights = resample_weights(100, resamples=500, seed=0)
    low, high = percentile_interval(weights @ second / 100 - weights @ first / 100)
    assert 0.09 < low < high < 0.11


def test_undefined_resamples_are_left_out() -> None:
    values = np.array([np.nan, 1.0, 1.0, np.nan])
    result = intervals({"some": values, "none": np.full(4, np.nan)})
    assert result == {"some": (1.0, 1.0), "none": None}


def test_coverage_widens_the_interval() -> None:
    assert percentile_interval(np.arange(101.0), coverage=0.5) == (25.0, 75.0)
    assert percentile_interval(np.arange(101.0), coverage=0.9) == pytest.approx((5.0, 95.0))
