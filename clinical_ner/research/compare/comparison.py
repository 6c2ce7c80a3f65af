"""From the counts of runs to a table of scores with paired differences from the first recipe.

All runs scored the same documents, so one matrix of bootstrap weights serves them all, and the
interval of a difference is that of the differences on the same resamples. Where a recipe has
several seeds, its statistic on a resample is the mean over them: the interval then speaks of the
documents, and the range over seeds, given beside it, of the training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...scoring.bootstrap import percentile_interval, resample_weights
from ...scoring.evaluation import EvaluationCounts, evaluation_statistics
from ...scoring.spans import label_scores

#: The scores of the table: their titles, and the factor and the decimals of their numbers.
SCORES: dict[str, tuple[str, float, int]] = {
    "ents_f": ("micro-F", 100.0, 1),
    "ents_macro_f": ("macro-F", 100.0, 1),
    "ents_macro_f_rare": ("macro-F rare", 100.0, 1),
    "token_unweighted_accuracy": ("unw. accuracy", 100.0, 1),
    "token_ece": ("token ECE", 100.0, 2),
    "mass_ratio_rarest_third": ("rarest mass", 1.0, 2),
}
#: The same, where a recipe has overlaps: over all mentions.
SPAN_SCORES: dict[str, tuple[str, float, int]] = {
    "spans_f": ("micro-F, all mentions", 100.0, 1),
    "spans_macro_f": ("macro-F, all mentions", 100.0, 1),
}


@dataclass(frozen=True)
class Entry:
    """A row of the table before anything is computed.

    Attributes:
        name: of the recipe, with the prior strength if that is not its own.
        recipe: name of the recipe.
        prior_strength: of the decision, None without probabilities.
        counts: by seed.
        words_per_second: of training, by seed.
    """

    name: str
    recipe: str
    prior_strength: float | None
    counts: Mapping[int, EvaluationCounts]
    words_per_second: Mapping[int, float]


def compare_entries(entries: Sequence[Entry], *, resamples: int, seed: int) -> list[dict[str, Any]]:
    """Scores of every entry, and how they differ from those of the first.

    Args:
        entries: at least one; all counted on the same documents in the same order.
        resamples: of the bootstrap over documents.
        seed: see `resamples`.

    Returns:
        A row per entry, ready for JSON: ``name``, ``recipe``, ``prior_strength``, ``seeds``,
        ``words_per_second`` (mean over seeds), ``types`` (by type the mean F1 ``f``, None where
        gold has none, and the ``support``), and ``scores``: for each of `SCORES`, and of
        `SPAN_SCORES` where an entry has overlaps, the ``value`` (mean over seeds), those of the
        ``seeds`` and their range ``low`` to ``high``, the 95 % ``interval``, the ``difference``
        from the first entry and its paired 95 % ``difference_interval``. What is undefined is None.
    """
    documents = {counts.documents for entry in entries for counts in entry.counts.values()}
    if len(documents) != 1:
        raise ValueError("the runs were not scored on the same documents")
    weights = resample_weights(len(documents.pop()), resamples=resamples, seed=seed)
    overlaps = any(of.entities.mentions for entry in entries for of in entry.counts.values())
    names = [*SCORES, *(SPAN_SCORES if overlaps else ())]
    first = _statistics(entries[0], weights, names)
    rows = []
    for entry in entries:
        own = first if entry is entries[0] else _statistics(entry, weights, names)
        rows.append(
            {
                "name": entry.name,
                "recipe": entry.recipe,
                "prior_strength": entry.prior_strength,
                "seeds": list(entry.counts),
                "words_per_second": float(np.mean(list(entry.words_per_second.values()))),
                "types": _types(entry),
                "scores": {name: _score(own[name], first[name]) for name in names},
            }
        )
    return rows


@dataclass(frozen=True)
class _Statistic:
    """A score as it is and on every resample.

    Attributes:
        seeds: of the documents as they are. *Shape:* ``(seeds,)``.
        resampled: mean over seeds. *Shape:* ``(resamples,)``.
    """

    seeds: NDArray[np.float64]
    resampled: NDArray[np.float64]


def _statistics(
    entry: Entry, weights: NDArray[np.int64], names: Sequence[str]
) -> dict[str, _Statistic]:
    # What a recipe without overlaps lacks is undefined.
    lacking = dict.fromkeys(names, np.full(len(weights), np.nan))
    whole = [
        dict.fromkeys(names, np.nan) | evaluation_statistics(counts)
        for counts in entry.counts.values()
    ]
    resampled = [
        lacking | evaluation_statistics(counts, weights) for counts in entry.counts.values()
    ]
    return {
        name: _Statistic(
            np.array([float(statistics[name]) for statistics in whole]),
            np.mean([statistics[name] for statistics in resampled], axis=0),
        )
        for name in names
    }


def _score(own: _Statistic, first: _Statistic) -> dict[str, Any]:
    return {
        "value": _plain(own.seeds.mean()),
        "seeds": [_plain(value) for value in own.seeds],
        "low": _plain(own.seeds.min()),
        "high": _plain(own.seeds.max()),
        "interval": percentile_interval(own.resampled),
        "difference": _plain(own.seeds.mean() - first.seeds.mean()),
        "difference_interval": percentile_interval(own.resampled - first.resampled),
    }


def _types(entry: Entry) -> dict[str, dict[str, Any]]:
    """F1 by type, for the types of gold and those predicted with any seed."""
    per_seed = [
        label_scores(counts.entities.spans.names, counts.entities.spans.totals())
        for counts in entry.counts.values()
    ]
    types: dict[str, dict[str, Any]] = {}
    for label in sorted({label for scores in per_seed for label in scores}):
        found = [scores[label] for scores in per_seed if label in scores]
        support = found[0]["support"]
        f = sum(scores["f"] for scores in found) / len(per_seed) if support else None
        types[label] = {"f": f, "support": support}
    return types


def _plain(value: Any) -> float | None:
    return None if math.isnan(value) else float(value)
