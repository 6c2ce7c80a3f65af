"""Scores of the probabilities of one pass that need more than counts of a fixed size."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .average_precision import (
    RankedSpans,
    average_precision,
    coverage_points,
    macro_average,
    precision_recall_points,
)
from .entities import EntityReliability, entity_reliability_statistics
from .reliability import IMPOSSIBLE, TokenReliability, bin_means, token_statistics

#: What `detail_statistics` names.
DETAIL_SCORES = (
    "token_classwise_ece",
    "token_nll",
    "ents_ece",
    "ents_brier",
    "ents_missed_brier",
    "ents_missed_probability",
    "ents_missed_ece",
    "ents_macro_ap",
    "ents_micro_ap",
)
#: What is also computed from the probabilities before calibration.
BEFORE_SCORES = ("token_ece", "token_classwise_ece", "token_nll", "ents_ece", "ents_brier")
#: Groups of types: from so many training mentions on, the commonest first.
FREQUENCIES = (1000, 100, 0)


@dataclass(frozen=True)
class ProbabilityDetails:
    """What these scores are computed from, under one decision.

    Attributes:
        tokens: of the pipeline's probabilities.
        entities: see `tokens`.
        ranked: candidate spans; they depend on no decision.
        made: the entities of the decision; with ``overlaps`` all spans that it made.
        before: of tokens and of entities as they were without the pipeline's calibration, the
            latter decoded again; None for a pipeline that is not calibrated.
    """

    tokens: TokenReliability
    entities: EntityReliability
    ranked: RankedSpans
    made: RankedSpans
    before: tuple[TokenReliability, EntityReliability] | None


def detail_statistics(
    details: ProbabilityDetails,
    precisions: Mapping[str, NDArray[np.float64]],
    weights: NDArray[Any] | None = None,
) -> dict[str, NDArray[np.float64]]:
    """The scores of `DETAIL_SCORES`, of the documents as they are or of every resample.

    See `reliability.token_statistics` and `entities.entity_reliability_statistics`.
    ``ents_macro_ap`` is the mean average precision over the types that gold has, ``ents_micro_ap``
    that of the candidates of all types in one ranking; see `average_precision`.

    Args:
        details: what was counted of one pass.
        precisions: `average_precision.average_precisions` of ``details.ranked`` with these weights.
        weights: see `bootstrap.resample_weights`. *Shape:* ``(resamples, documents)``.

    Returns:
        By name, NaN where undefined. *Shape of each:* ``()``, or with weights ``(resamples,)``.
    """
    micro = average_precision(details.ranked, weights)
    statistics = {
        **token_statistics(details.tokens, weights),
        **entity_reliability_statistics(details.entities, weights),
        "ents_macro_ap": macro_average(precisions, like=micro),
        "ents_micro_ap": micro,
    }
    return {name: statistics[name] for name in DETAIL_SCORES}


def before_statistics(details: ProbabilityDetails) -> dict[str, NDArray[np.float64]] | None:
    """The scores of `BEFORE_SCORES` without the pipeline's calibration, None if it has none."""
    if details.before is None:
        return None
    tokens, entities = details.before
    found = {**token_statistics(tokens), **entity_reliability_statistics(entities)}
    return {name: found[name] for name in BEFORE_SCORES}


def left_out_tokens(details: ProbabilityDetails) -> int:
    """Number of tokens whose gold tag has probability 0, which ``token_nll`` leaves out."""
    return int(details.tokens.likelihood.totals()[0, IMPOSSIBLE])


def reliability_bins(details: ProbabilityDetails) -> dict[str, list[dict[str, float | int]]]:
    """Bins of reliability diagrams; see `reliability.bin_means`.

    Returns:
        Of ``tokens`` and ``entities``, and where the pipeline is calibrated of ``tokens_before``
        and ``entities_before`` calibration.
    """
    counts = {"tokens": details.tokens.bins, "entities": details.entities.bins}
    if details.before is not None:
        tokens, entities = details.before
        counts |= {"tokens_before": tokens.bins, "entities_before": entities.bins}
    return {name: bin_means(of.totals()) for name, of in counts.items()}


def precision_recall(
    details: ProbabilityDetails, mentions: Mapping[str, int] | None
) -> list[dict[str, Any]]:
    """Precision-recall curves of the types of like frequency in training, pooled.

    Args:
        details: what was counted of one pass.
        mentions: training mentions by type; None if unknown, which makes all types one group.

    Returns:
        For each group with a gold span its ``group`` in words, the number of its ``types`` with
        gold spans, that of these ``gold`` spans, its ``ap``, and the curve; see
        `average_precision.precision_recall_points`.
    """
    names = details.ranked.gold.names
    groups = {"all types": list(names)}
    if mentions is not None:
        groups = {_title(number): [] for number in range(len(FREQUENCIES))}
        for name in names:
            seen = mentions.get(name, 0)
            number = next(i for i, least in enumerate(FREQUENCIES) if seen >= least)
            groups[_title(number)].append(name)
    curves = []
    for title, members in groups.items():
        of_group = details.ranked.of(members)
        gold = of_group.gold.totals()
        if not gold.sum():
            continue
        curves.append(
            {
                "group": title,
                "types": int((gold > 0).sum()),
                "gold": int(gold.sum()),
                "ap": float(average_precision(of_group)),
                **precision_recall_points(of_group),
            }
        )
    return curves


def risk_coverage(details: ProbabilityDetails, rarest_third: Sequence[str]) -> list[dict[str, Any]]:
    """Precision and recall over the share of entities kept, of all types and of the rarest third.

    Returns:
        For each of both its ``group`` in words, the number of its entities that are ``made`` and
        that of ``gold``, and the curve; see `average_precision.coverage_points`. Nothing of a group
        without either.
    """
    groups = {"all types": details.made.gold.names, "rarest third of the types": rarest_third}
    curves = []
    for title, members in groups.items():
        spans = details.made.of(members)
        points = coverage_points(spans)
        if points["share"]:
            made, gold = len(spans.right), int(spans.gold.totals().sum())
            curves.append({"group": title, "made": made, "gold": gold, **points})
    return curves


def _title(number: int) -> str:
    """A group of types in words."""
    least = FREQUENCIES[number]
    if number == 0:
        return f"{least} or more training mentions"
    above = FREQUENCIES[number - 1]
    return f"{f'{least} to {above - 1}' if least else f'under {above}'} training mentions"
