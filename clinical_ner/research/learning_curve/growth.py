"""From the counts of the trainings to the growth of the scores, and its continuation.

All trainings are scored on the same documents, so one matrix of bootstrap weights serves all sizes,
and what differs between sizes differs on the same resamples. With several seeds, each of which has
its own draw of the notes and its own training, a resample draws seeds as well, the same for all
sizes: the subsets of a seed are nested.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...scoring.bootstrap import percentile_interval, resample_weights
from ...scoring.counts import DocumentCounts
from ...scoring.evaluation import EvaluationCounts
from ...scoring.prior import rarest_third
from ...scoring.spans import FN, TP, label_f, macro_f, micro_scores
from .power_law import LEAST_SIZES, fit_power_law

#: The scores with a continuation, and their titles.
SCORES = {"micro_f": "micro-F", "macro_f": "macro-F", "macro_f_rare": "macro-F, rare third"}


def measure_growth(
    notes: Sequence[int],
    counts: Sequence[Sequence[EvaluationCounts]],
    mentions: Mapping[str, int],
    *,
    resamples: int,
    seed: int = 0,
) -> dict[str, Any]:
    """Scores at every size, how they still grow, and what twice the notes would give.

    Args:
        notes: the sizes, rising.
        counts: by size and seed, all on the same documents in the same order.
        mentions: by type, of the notes of the largest size.
        resamples: of the bootstrap over documents (and seeds).
        seed: of the bootstrap.

    Returns:
        Ready for JSON: ``rare_types``, the third of test's types that `mentions` has least of;
        ``support``, test mentions by type; ``curves``, for each of `SCORES` and under ``types`` for
        each type of test, by size the ``value`` (mean over seeds), those of the ``seeds`` and the
        95 % ``interval``; ``gains``, likewise, see `_gain`; and ``continuation``, for each of
        `SCORES` what `_continued` gives.
    """
    found = [[_spans(of_seed) for of_seed in of_size] for of_size in counts]
    totals = dict(zip(found[0][0].names, found[0][0].totals(), strict=True))
    support = {label: int(of[TP] + of[FN]) for label, of in totals.items() if of[TP] + of[FN]}
    # A type without a mention to learn from is the rarest of all.
    rare = rarest_third({label: mentions.get(label, 0) + 1 for label in support})
    documents = len(found[0][0].counts)
    drawn = resample_weights(documents, resamples=resamples, seed=seed)
    weights = np.concatenate([np.ones_like(drawn[:1]), drawn])
    scores = [[_scores(of_seed, weights, support, rare) for of_seed in row] for row in found]
    seeds = len(counts[0])
    of_seeds = resample_weights(seeds, resamples=resamples, seed=seed + 1)
    shares = np.concatenate([np.ones_like(of_seeds[:1]), of_seeds]) / seeds
    # *Shape of each curve:* ``(1 + resamples, sizes)``; first the documents as they are.
    by_seed = {
        name: np.array([[of_seed[name] for of_seed in row] for row in scores])
        for name in scores[0][0]
    }
    curves = {name: np.einsum("ksr,rs->rk", of, shares) for name, of in by_seed.items()}

    def divided(of: Mapping[str, Any]) -> dict[str, Any]:
        return {
            **{name: of[name] for name in SCORES},
            "types": {t: of[f"type {t}"] for t in support},
        }

    return {
        "rare_types": list(rare),
        "support": support,
        "curves": divided(
            {
                name: [
                    {
                        "value": plain(curve[0, size]),
                        "seeds": [plain(value) for value in by_seed[name][size, :, 0]],
                        "interval": percentile_interval(curve[1:, size]),
                    }
                    for size in range(len(notes))
                ]
                for name, curve in curves.items()
            }
        ),
        "gains": divided({name: _gain(notes, curve) for name, curve in curves.items()}),
        "continuation": {name: _continued(notes, curves[name]) for name in SCORES},
    }


def _spans(counts: EvaluationCounts) -> DocumentCounts:
    """Counts of entities; of a pipeline with overlaps, those of all its mentions."""
    return counts.entities.mentions or counts.entities.spans


def _scores(
    counts: DocumentCounts, weights: NDArray[Any], types: Mapping[str, int], rare: Sequence[str]
) -> dict[str, NDArray[np.float64]]:
    """Micro-F, macro-F and the F of types, by name. *Shape of each:* ``(1 + resamples,)``."""
    totals = counts.totals(weights)
    of_rare = totals[:, [counts.names.index(label) for label in rare]]
    values = (micro_scores(totals)[2], macro_f(totals)[0], macro_f(of_rare)[0])
    f = dict(zip(counts.names, label_f(totals).T, strict=True))
    return dict(zip(SCORES, values, strict=True)) | {f"type {label}": f[label] for label in types}


def _gain(notes: Sequence[int], curve: NDArray[np.float64]) -> dict[str, Any]:
    """What the last doubling gave: from the largest size of at most half the notes (or the first).

    Returns:
        ``from`` and ``to`` in notes, the ``gain``, its paired 95 % ``interval``, and whether the
        score ``climbs``: the whole interval is above 0.
    """
    first = max([i for i, of in enumerate(notes) if 2 * of <= notes[-1]], default=0)
    gain = curve[:, -1] - curve[:, first]
    interval = percentile_interval(gain[1:])
    return {
        "from": notes[first],
        "to": notes[-1],
        "gain": plain(gain[0]),
        "interval": interval,
        "climbs": interval is not None and interval[0] > 0,
    }


def _continued(notes: Sequence[int], curve: NDArray[np.float64]) -> dict[str, Any] | None:
    """The power law through a curve, at twice the notes.

    Returns:
        ``a``, ``b`` and ``c`` of the law; how far it is ``off`` from a measured score at most;
        ``notes``, twice the largest size; there the ``value``, and the ``gain`` since the largest
        size, with their 95 % intervals, for which the law is fitted to each resample; with more
        sizes than the law needs, ``check``: what those before the last one would have foretold for
        it. None with fewer sizes.
    """
    curve = curve[~np.isnan(curve).any(axis=1)]
    if len(notes) < LEAST_SIZES or len(curve) < 2:
        return None
    deviations = curve[1:].std(axis=0)
    law = fit_power_law(notes, curve, deviations)
    after = law.at(2 * notes[-1])
    gain = after - law.at(notes[-1])
    continued: dict[str, Any] = {
        **{name: float(getattr(law, name)[0]) for name in "abc"},
        "off": max(abs(float(law.at(n)[0] - of)) for n, of in zip(notes, curve[0], strict=True)),
        "notes": 2 * notes[-1],
        "value": float(after[0]),
        "interval": percentile_interval(after[1:]),
        "gain": float(gain[0]),
        "gain_interval": percentile_interval(gain[1:]),
        "check": None,
    }
    if len(notes) > LEAST_SIZES:
        foretold = fit_power_law(notes[:-1], curve[:, :-1], deviations[:-1]).at(notes[-1])
        continued["check"] = {
            "up_to": notes[-2],
            "value": float(foretold[0]),
            "interval": percentile_interval(foretold[1:]),
            "measured": float(curve[0, -1]),
        }
    return continued


def plain(value: Any) -> float | None:
    """A number for JSON, None for NaN."""
    return None if math.isnan(value) else float(value)
