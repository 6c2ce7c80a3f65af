"""Promised thresholds against exact enumeration, closed forms and simulated corpora."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from clinical_ner.errors import ConfigError
from clinical_ner.fitting.promise import (
    GRID,
    Promise,
    check_confidence,
    precision_bound,
    promise_thresholds,
)
from clinical_ner.fitting.thresholds import LabelEntities, Objective


def bound(kept: Any, right: Any, risk: float) -> float:
    columns = (np.asarray(of, dtype=float)[:, None] for of in (kept, right))
    return float(precision_bound(*columns, risk=risk)[0])


@pytest.mark.parametrize("risk", [0.1, 0.025])
@pytest.mark.parametrize("n", [12, 60])
def test_of_independent_entities_the_bound_is_too_high_with_less_than_the_risk(
    n: int, risk: float
) -> None:
    # Every number of right ones, one entity in each document.
    bounds = [bound([1] * n, [1] * x + [0] * (n - x), risk) for x in range(n + 1)]
    assert bounds[0] == 0.0 and bounds[n] == pytest.approx(risk ** (1 / n))
    for p in np.linspace(0.3, 0.98, 35):
        chances = [math.comb(n, x) * p**x * (1 - p) ** (n - x) for x in range(n + 1)]
        assert sum(of for of, low in zip(chances, bounds, strict=True) if low > p) <= risk


def test_entities_that_are_right_together_count_as_few() -> None:
    right = np.arange(50) % 10 > 0
    single = bound(np.ones(50), right, 0.1)
    copied = bound(np.full(50, 30), 30 * right, 0.1)
    independent = bound(np.ones(1500), np.arange(1500) % 10 > 0, 0.1)
    assert copied == pytest.approx(single, abs=0.003) and copied < single < independent - 0.03


def test_one_document_shows_nothing() -> None:
    assert bound([40, 0, 0], [40, 0, 0], 0.1) == 0.0


def entities(levels: list[tuple[float, int, int]], *, support: int) -> LabelEntities:
    """Levels of a probability, how many have it, and how many of them are right; one a document."""
    scores = np.concatenate([np.full(n, score) for score, n, _ in levels])
    right = np.concatenate([np.arange(n) < found for _, n, found in levels])
    return LabelEntities(scores, right, support, np.arange(len(scores)))


def promise(of: LabelEntities, *, risk: float = 0.1) -> Promise:
    (found,) = promise_thresholds(
        {"Sign": of},
        [("Sign",)],
        documents=int(of.documents.max(initial=0)) + 1,
        min_precision=0.9,
        risk=risk,
    )
    return found


def test_thresholds_are_tested_downwards_until_one_fails() -> None:
    found = promise(
        entities([(0.99, 100, 100), (0.9, 100, 94), (0.7, 50, 20), (0.5, 900, 900)], support=2000)
    )
    # The lowest that does not keep those of 0.7, after which all pass again.
    assert found.threshold == GRID[GRID > 0.7].min()
    assert found.kept == 200 and found.precision == 0.97 and found.recall == 194 / 2000
    assert 0.9 < found.bound < 0.97 and found.more_documents == 0


def test_the_first_test_is_where_the_probabilities_expect_most() -> None:
    # Ten at 0.99, of which three are wrong, would end a sequence that begins with the strictest.
    found = promise(entities([(0.99, 40, 34), (0.97, 300, 300), (0.4, 200, 50)], support=500))
    assert found.kept == 340
    # The other order has nothing to go on with: all of the first level are expected to be wrong.
    worse = promise(entities([(0.85, 40, 34), (0.8, 300, 300)], support=500))
    assert worse.threshold is None and worse.kept == 40


def test_a_refusal_says_how_many_more_documents_it_takes() -> None:
    few = [(0.95, 30, 28), (0.5, 30, 10)]
    found = promise(entities(few, support=50))
    assert found.threshold is None and found.more_documents
    assert f"about {found.more_documents} more documents" in found.refusal
    times = 1 + found.more_documents / 60
    for factor, enough in ((1.3 * times, True), (0.7 * times, False)):
        more = [(score, round(n * factor), round(right * factor)) for score, n, right in few]
        assert (promise(entities(more, support=500)).threshold is not None) == enough


def test_where_more_documents_do_not_help() -> None:
    wrong = promise(entities([(0.95, 200, 150)], support=300))
    assert wrong.more_documents is None
    assert "75% of 200 are right, and more documents like" in wrong.refusal
    nothing = promise(entities([(0.9, 0, 0)], support=3))
    assert nothing.refusal == "nothing is predicted" and nothing.precision == 0.0


def simulate(
    rng: np.random.Generator, documents: int, size: float, *, away: float
) -> LabelEntities:
    """A corpus whose documents differ in size and in how often entities are right.

    Args:
        rng: of the corpus.
        documents: their number.
        size: mean number of predicted entities in a document.
        away: log-odds by which right is less frequent than the probabilities say.
    """
    number = rng.poisson(rng.gamma(2.0, size / 2.0, documents))
    where = np.repeat(np.arange(documents), number)
    log_odds = rng.normal(1.0, 2.0, len(where))
    # Not even the surest is always right, as where gold misses entities.
    of_right = np.minimum(log_odds, 3.2) - away + rng.normal(0, 0.4, documents)[where]
    right = rng.random(len(where)) < 1 / (1 + np.exp(-of_right))
    scores = 1 / (1 + np.exp(-log_odds))
    return LabelEntities(scores, right, int(right.sum()), where)


@pytest.mark.parametrize("away", [0.0, 0.4])
def test_promises_hold_with_the_confidence(away: float) -> None:
    sizes = {"Common": 15.0, "Rare": 1.5}
    true = {}
    for label, size in sizes.items():
        of = simulate(np.random.default_rng(1), 40_000, size, away=away)
        order = np.argsort(-of.scores)
        share = np.cumsum(of.right[order]) / np.arange(1, len(order) + 1)
        true[label] = share[np.searchsorted(-of.scores[order], -GRID, side="right") - 1]
    rng = np.random.default_rng(2)
    broken, made = 0, []
    for _ in range(100):
        found = {label: simulate(rng, 80, size, away=away) for label, size in sizes.items()}
        promises = promise_thresholds(
            found, [("Rare",), ("Common",)], documents=80, min_precision=0.9, risk=0.1
        )
        kept = [of for of in promises if of.threshold is not None]
        made.append(len(kept))
        broken += any(true[of.labels[0]][of.threshold == GRID][0] < 0.9 for of in kept)
    assert broken / len(made) <= 0.1
    assert np.mean(made) > 0.5


@pytest.mark.parametrize("confidence", [0.0, 1.0, -0.5, 1.5, math.nan])
def test_a_confidence_outside_0_and_1_is_refused(confidence: float) -> None:
    with pytest.raises(ConfigError, match="confidence"):
        check_confidence(confidence, Objective(0.9))


@pytest.mark.parametrize("objective", [Objective(), Objective(1.0)])
def test_what_cannot_be_promised_is_refused(objective: Objective) -> None:
    with pytest.raises(ConfigError, match=r"recall@precision=0\.9"):
        check_confidence(0.9, objective)
