from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.optimize import least_squares

from clinical_ner.research.learning_curve.growth import measure_growth
from clinical_ner.research.learning_curve.growth_report import notes
from clinical_ner.research.learning_curve.power_law import fit_power_law
from clinical_ner.research.learning_curve.subsets import nested_subsets
from clinical_ner.scoring.counts import DocumentCounts
from clinical_ner.scoring.evaluation import EvaluationCounts
from clinical_ner.scoring.scorers import EntityCounts

SIZES = (20, 40, 80, 160)


def made(counts: NDArray[np.int64], names: Sequence[str]) -> EvaluationCounts:
    """Counts of *shape* ``(documents, types, 3)``."""
    spans = DocumentCounts(tuple(names), counts.astype(np.float64))
    ids = tuple(map(str, range(len(counts))))
    return EvaluationCounts(
        ids, EntityCounts(spans, DocumentCounts((), np.zeros((len(ids), 0, 3))))
    )


@pytest.mark.parametrize(("a", "b", "c"), [(0.8, 2.0, 0.6), (0.9, 1.2, 0.3), (0.6, 0.0, 1.0)])
def test_a_known_curve_is_found_and_continued(a: float, b: float, c: float) -> None:
    sizes = np.array(SIZES)
    law = fit_power_law(SIZES, (a - b * sizes**-c)[None], np.full(4, 0.01))
    assert law.at(320)[0] == pytest.approx(a - b * 320**-c, abs=5e-4)
    assert b == 0 or law.c[0] == pytest.approx(c, rel=0.02)


def test_no_other_search_finds_a_better_law() -> None:
    rng = np.random.default_rng(0)
    deviations = np.array([0.04, 0.03, 0.02, 0.02])
    truth = 0.8 - 1.6 * np.array(SIZES) ** -0.5
    # The last two are beyond a bound: falling, and heading for more than 1.
    curves = [*(truth + rng.normal(0, deviations, size=(8, 4)))]
    curves += [np.array([0.6, 0.5, 0.5, 0.4]), np.array([0.1, 0.3, 0.6, 0.99])]
    laws = fit_power_law(SIZES, np.array(curves), deviations)
    found = np.stack([laws.at(size) for size in SIZES], axis=1)
    for curve, own in zip(curves, found, strict=True):

        def residuals(
            p: NDArray[np.float64], y: NDArray[np.float64] = curve
        ) -> NDArray[np.float64]:
            return np.asarray((p[0] - p[1] * (np.array(SIZES) / 20) ** -p[2] - y) / deviations)

        bounds = ([0, 0, 0.02], [1, np.inf, 3])
        best = min(
            2 * least_squares(residuals, [0.7, 0.3, start], bounds=bounds).cost
            for start in (0.05, 0.3, 1.0, 2.5)
        )
        assert (((own - curve) / deviations) ** 2).sum() <= best * 1.001 + 1e-3


def test_the_interval_of_the_continuation_covers_the_truth() -> None:
    """Documents of different length and difficulty; the expected F of a size is on the curve."""
    rng = np.random.default_rng(0)
    truth, covered = 0.8 - 1.6 * np.array(SIZES) ** -0.5, 0
    gain = 1.6 * (160**-0.5 - 320**-0.5)
    trials = 80
    for _ in range(trials):
        gold = rng.poisson(40 * rng.gamma(4, 1 / 4, size=60))
        p = np.clip(truth[:, None] + 0.6 * (rng.beta(20, 20, size=60) - 0.5), 0.01, 0.99)
        tp = rng.binomial(gold, p)
        tables = np.stack([tp, rng.binomial(gold, 1 - p), gold - tp], axis=-1)[:, :, None]
        counts = [[made(table, ["Sign"])] for table in tables]
        growth = measure_growth(SIZES, counts, {"Sign": 1}, resamples=150)
        low, high = growth["continuation"]["micro_f"]["gain_interval"]
        covered += low <= gain <= high
    assert 0.86 <= covered / trials <= 0.99


def test_growth_is_that_of_the_resampled_documents_and_seeds() -> None:
    rng = np.random.default_rng(3)
    types, sizes, seeds = ["Age", "Date", "Drug", "Sign"], (10, 30, 50), 2
    tables = rng.integers(0, 5, size=(3, seeds, 12, 4, 3))
    # Gold is the same for all; test has no Drug, and Date does not differ between the sizes.
    tables[..., 2] = tables[0, 0, :, :, 0] + 5 - tables[..., 0]
    tables[..., 2, :] = [0, 1, 0]
    tables[..., 1, :] = tables[0, 0, :, 1]
    tables[2, ..., 3, :] = tables[2, ..., 3, :1] * [1, 0, 0] + [5, 0, 0]
    counts = [[made(of_seed, types) for of_seed in of_size] for of_size in tables]
    mentions = {"Age": 9, "Sign": 5}
    growth = measure_growth(sizes, counts, mentions, resamples=40, seed=1)
    # Three types, of which Date was never learned.
    assert growth["rare_types"] == ["Date"] and set(growth["support"]) == {"Age", "Date", "Sign"}

    def f(table: NDArray[np.int64]) -> float:
        tp, fp, fn = table.reshape(-1, 3).sum(axis=0)
        return float(2 * tp / (2 * tp + fp + fn))

    draws = np.random.default_rng(1).multinomial(12, np.full(12, 1 / 12), size=40)
    of_seeds = np.random.default_rng(2).multinomial(2, [0.5, 0.5], size=40)
    for name, columns in (("micro_f", [0, 1, 2, 3]), ("Sign", [3]), ("Date", [1])):
        of_type = name in types
        value = [np.mean([f(of[:, columns]) for of in size]) for size in tables]
        curve = (growth["curves"]["types"] if of_type else growth["curves"])[name]
        assert [point["value"] for point in curve] == pytest.approx(value)
        gains = []
        for documents, drawn in zip(draws, of_seeds, strict=True):
            means = [
                sum(
                    times * f(np.repeat(size[seed], documents, axis=0)[:, columns])
                    for seed, times in enumerate(drawn)
                )
                / seeds
                for size in tables
            ]
            gains.append(means[2] - means[0])
        of = (growth["gains"]["types"] if of_type else growth["gains"])[name]
        # 30 is more than half of 50.
        assert (of["from"], of["to"], of["gain"]) == (10, 50, pytest.approx(value[2] - value[0]))
        assert of["interval"] == pytest.approx(np.quantile(gains, [0.025, 0.975]))
    climbs = {label: of["climbs"] for label, of in growth["gains"]["types"].items()}
    assert climbs["Sign"] and not climbs["Date"]
    assert growth["continuation"]["micro_f"]["check"] is None


def test_the_lines_say_what_twice_the_notes_would_give_and_what_no_one_knows() -> None:
    def report(*found: int) -> str:
        tables = [[[[of, 1000 - of, 1000 - of]] for _ in range(30)] for of in found]
        counts = [[made(np.array(table), ["Sign"])] for table in tables]
        sizes = SIZES[: len(found)]
        growth = measure_growth(sizes, counts, {"Sign": 1}, resamples=20)
        settings = {"documents": 30, "seeds": [0], "sizes": [{"notes": n} for n in sizes]}
        return "\n".join(notes({**settings, **growth}))

    # 0.9 - 0.8 / sqrt(n / 20), which is 0.7 at 320 notes.
    text = report(100, 334, 500, 617)
    line = r"notes \(320\): micro-F \+8\.[234] \(\+8\.\d to \+8\.\d\), so (69\.9|70\.[01])\."
    assert re.search(line, text)
    assert "From up to 80 notes alone, 61." in text and "where 61.7 was measured" in text
    assert "from 80 to 160 notes, beyond doubt of the test documents: Sign (1 of 1" in text
    assert "One seed" in text and "Not to be relied on" not in text
    assert "Not to be relied on: the law misses a score by" in report(0, 0, 100, 900)
    assert "No continuation" in report(100, 300) and "Twice" not in report(100, 300)
    assert "no type" in report(300, 300, 300)


def test_subsets_are_nested_and_hold_their_share_of_every_label() -> None:
    rng = np.random.default_rng(0)
    holding = rng.random((100, 12)) < np.geomspace(0.03, 0.9, 12)
    sizes = [10, 25, 50, 100]
    subsets = [set(rows) for rows in nested_subsets(holding, sizes, seed=4)]
    assert [len(rows) for rows in subsets] == sizes
    assert all(small < large for small, large in zip(subsets, subsets[1:], strict=False))
    for size, rows in zip(sizes, subsets, strict=True):
        off = holding[sorted(rows)].sum(axis=0) - holding.sum(axis=0) * size / 100
        assert abs(off).max() < 2.5
    assert subsets[0] != set(nested_subsets(holding, sizes, seed=5)[0])
