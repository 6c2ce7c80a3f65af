"""All that an evaluation counts, document by document, and the scores computed from it.

The counts hold numbers, labels and document ids, no text. They are kept as JSON, so that pipelines
can be compared on the same resamples of the documents long after they ran.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from . import prior, reliability, spans
from .average_precision import average_precisions
from .bootstrap import intervals
from .counts import DocumentCounts, ratio
from .probabilities import (
    DETAIL_SCORES,
    ProbabilityDetails,
    before_statistics,
    detail_statistics,
    left_out_tokens,
    precision_recall,
    reliability_bins,
    risk_coverage,
)
from .scorers import EntityCounts, entity_scores, entity_statistics
from .tokens import OUTSIDE

#: Types with fewer training mentions than this are the rare ones of ``ents_macro_f_rare``.
RARE_MENTIONS = 100


@dataclass(frozen=True)
class ProbabilityCounts:
    """What the scores of probabilities are computed from.

    Attributes:
        bins: see ``reliability.count_reliability``. *Shape of its counts:* ``(documents, bins,
            3)``.
        tags: see ``prior.count_prior``. *Shape of its counts:* ``(documents, K, 3)``.
        rarest_third: the types whose mass is pooled; see ``prior.rarest_third``.
    """

    bins: DocumentCounts
    tags: DocumentCounts
    rarest_third: tuple[str, ...]


@dataclass(frozen=True)
class EvaluationCounts:
    """Counts of one pipeline on some documents, under one decision.

    Attributes:
        documents: their ids.
        entities: what the decision found.
        probabilities: None for a pipeline that has none.
        training_mentions: mentions by type in the training data, None if unknown.
        details: None for a pipeline without probabilities, for a decision that is not the
            pipeline's own, and for counts that were read: they are too large to keep.
    """

    documents: tuple[str, ...]
    entities: EntityCounts
    probabilities: ProbabilityCounts | None = None
    training_mentions: Mapping[str, int] | None = None
    details: ProbabilityDetails | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON, without ``details``."""
        found, mentions = self.probabilities, self.entities.mentions
        return {
            "documents": list(self.documents),
            "spans": _counts_to_dict(self.entities.spans),
            "tokens": _counts_to_dict(self.entities.tokens),
            **({} if mentions is None else {"mentions": _counts_to_dict(mentions)}),
            "probabilities": None
            if found is None
            else {
                "bins": _counts_to_dict(found.bins),
                "tags": _counts_to_dict(found.tags),
                "rarest_third": list(found.rarest_third),
            },
            "training_mentions": None
            if self.training_mentions is None
            else dict(sorted(self.training_mentions.items())),
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> EvaluationCounts:
        """What ``to_dict`` gave; ``details`` is None."""
        found = data["probabilities"]
        return cls(
            documents=tuple(data["documents"]),
            entities=EntityCounts(
                _counts_from_dict(data["spans"]),
                _counts_from_dict(data["tokens"]),
                _counts_from_dict(data["mentions"]) if "mentions" in data else None,
            ),
            probabilities=None
            if found is None
            else ProbabilityCounts(
                _counts_from_dict(found["bins"]),
                _counts_from_dict(found["tags"]),
                tuple(found["rarest_third"]),
            ),
            training_mentions=data["training_mentions"],
        )


def evaluation_statistics(
    counts: EvaluationCounts, weights: NDArray[Any] | None = None
) -> dict[str, NDArray[np.float64]]:
    """Overall scores, of the documents as they are or of every resample of them.

    Beside those of `scorers.entity_statistics`: ``ents_macro_f_rare``, the mean F1 over the types
    of gold with fewer than ``RARE_MENTIONS`` training mentions (none at all is fewer);
    ``token_ece``; ``mass_ratio_rarest_third``, the probability given to the rarest third of
    the types over their share in gold of these documents, which is calibration in the large; and,
    NaN without ``details``, those of `probabilities.detail_statistics`.

    Args:
        counts: of every document.
        weights: see `bootstrap.resample_weights`. *Shape:* ``(resamples, documents)``.

    Returns:
        By name, NaN where undefined. *Shape of each:* ``()``, or with weights ``(resamples,)``.
    """
    return _statistics(counts, _precisions(counts, weights), weights)


def evaluation_scores(counts: EvaluationCounts) -> dict[str, Any]:
    """Scores as plain numbers, ready for JSON.

    Returns:
        What `evaluation_statistics` and `scorers.entity_scores` name, None where undefined, with
        the average precision ``ap`` of each type in ``ents_per_type``, or, where all mentions are
        scored, in ``spans_per_type``; ``ents_macro_rare_types``,
        the number of types behind ``ents_macro_f_rare``, None if it is unknown; the
        ``rarest_third`` of the types; ``prior_ratios``, by tag its ``share`` in gold and its
        ``mass`` and ``argmax`` ratio to that, and ``prior_ratios_per_type``, the same for B and I
        together, with the number of gold ``tokens``; None without probabilities. From ``details``,
        and None without: whether the pipeline is ``calibrated``; its scores ``before_calibration``,
        None if it is not; ``token_nll_left_out``, ``reliability``, ``precision_recall`` and
        ``risk_coverage``, see `probabilities`.
    """
    scores = entity_scores(counts.entities)
    precisions = _precisions(counts)
    scores |= {name: _plain(of) for name, of in _statistics(counts, precisions).items()}
    per_type = scores["spans_per_type" if "spans_f" in scores else "ents_per_type"] or {}
    for label, of_type in per_type.items():
        of_type["ap"] = _plain(precisions.get(label, np.nan))
    known = counts.training_mentions is not None
    found, details = counts.probabilities, counts.details
    before = None if details is None else before_statistics(details)
    return {
        **scores,
        "ents_macro_rare_types": int(spans.macro_f(_rare_totals(counts))[1]) if known else None,
        "rarest_third": None if found is None else list(found.rarest_third),
        "prior_ratios": None if found is None else _tag_ratios(found),
        "prior_ratios_per_type": None if found is None else _type_ratios(found),
        "calibrated": None if details is None else details.before is not None,
        "before_calibration": None
        if before is None
        else {name: _plain(value) for name, value in before.items()},
        "token_nll_left_out": None if details is None else left_out_tokens(details),
        "reliability": None if details is None else reliability_bins(details),
        "precision_recall": None
        if details is None
        else precision_recall(details, counts.training_mentions),
        "risk_coverage": None
        if details is None or found is None
        else risk_coverage(details, found.rarest_third),
    }


def evaluation_metrics(counts: EvaluationCounts, weights: NDArray[Any]) -> dict[str, Any]:
    """Scores with their 95 % intervals, ready for JSON.

    Args:
        counts: of every document.
        weights: see `bootstrap.resample_weights`. *Shape:* ``(resamples, documents)``.

    Returns:
        `evaluation_scores`; the ``intervals`` of what `evaluation_statistics` names, as (low,
        high); ``ents_ap_intervals``, those of the average precision of each type; and in each of
        ``prior_ratios_per_type`` the ``mass_interval``. None where undefined.
    """
    scores = evaluation_scores(counts)
    precisions = _precisions(counts, weights)
    scores["intervals"] = intervals(_statistics(counts, precisions, weights))
    scores["ents_ap_intervals"] = None if counts.details is None else intervals(precisions)
    if counts.probabilities is not None:
        totals = _type_totals(counts.probabilities, weights)
        masses = {
            name: ratio(of[..., prior.MASS], of[..., prior.GOLD]) for name, of in totals.items()
        }
        for name, interval in intervals(masses).items():
            scores["prior_ratios_per_type"][name]["mass_interval"] = interval
    return scores


def _precisions(
    counts: EvaluationCounts, weights: NDArray[Any] | None = None
) -> dict[str, NDArray[np.float64]]:
    """Average precision by type; nothing without details."""
    return {} if counts.details is None else average_precisions(counts.details.ranked, weights)


def _statistics(
    counts: EvaluationCounts,
    precisions: Mapping[str, NDArray[np.float64]],
    weights: NDArray[Any] | None = None,
) -> dict[str, NDArray[np.float64]]:
    """See `evaluation_statistics`.

    Args:
        counts: of every document.
        precisions: average precision by type, with the same weights.
        weights: of each document in each resample.
    """
    statistics = entity_statistics(counts.entities, weights)
    undefined = np.full_like(statistics["ents_f"], np.nan)
    statistics["ents_macro_f_rare"] = undefined
    if counts.training_mentions is not None:
        statistics["ents_macro_f_rare"] = spans.macro_f(_rare_totals(counts, weights))[0]
    statistics |= dict.fromkeys(("token_ece", "mass_ratio_rarest_third"), undefined)
    found = counts.probabilities
    if found is not None:
        group = [i for i, tag in enumerate(found.tags.names) if tag[2:] in found.rarest_third]
        of_group = found.tags.totals(weights)[..., group, :].sum(axis=-2)
        statistics |= {
            "token_ece": reliability.expected_calibration_error(found.bins.totals(weights)),
            "mass_ratio_rarest_third": ratio(of_group[..., prior.MASS], of_group[..., prior.GOLD]),
        }
    if counts.details is None:
        return statistics | dict.fromkeys(DETAIL_SCORES, undefined)
    return statistics | detail_statistics(counts.details, precisions, weights)


def _rare_totals(
    counts: EvaluationCounts, weights: NDArray[Any] | None = None
) -> NDArray[np.float64]:
    """Entity counts of the rare types. *Shape:* ``(..., types, 3)``."""
    mentions = counts.training_mentions or {}
    names = counts.entities.spans.names
    rare = [i for i, name in enumerate(names) if mentions.get(name, 0) < RARE_MENTIONS]
    return counts.entities.spans.totals(weights)[..., rare, :]


def _tag_ratios(counts: ProbabilityCounts) -> dict[str, dict[str, float | None]]:
    totals = dict(zip(counts.tags.names, counts.tags.totals(), strict=True))
    tokens = _tokens(counts)
    return {tag: _ratios(of_tag, tokens) for tag, of_tag in totals.items()}


def _type_ratios(counts: ProbabilityCounts) -> dict[str, dict[str, Any]]:
    tokens = _tokens(counts)
    return {
        label: {"tokens": int(of_type[prior.GOLD]), **_ratios(of_type, tokens)}
        for label, of_type in _type_totals(counts).items()
    }


def _type_totals(
    counts: ProbabilityCounts, weights: NDArray[Any] | None = None
) -> dict[str, NDArray[np.float64]]:
    """Counts of B and I together, by type. *Shape of each:* ``(..., 3)``."""
    totals = counts.tags.totals(weights)
    ids: dict[str, list[int]] = {}
    for i, tag in enumerate(counts.tags.names):
        if tag != OUTSIDE:
            ids.setdefault(tag[2:], []).append(i)
    return {label: totals[..., of_label, :].sum(axis=-2) for label, of_label in ids.items()}


def _ratios(totals: NDArray[np.float64], tokens: float) -> dict[str, float | None]:
    """Share in gold of a tag or type, and ratios to it. *totals:* ``(3,)``."""
    gold = totals[prior.GOLD]
    return {
        "share": _plain(ratio(gold, np.asarray(tokens))),
        "mass": _plain(ratio(totals[prior.MASS], gold)),
        "argmax": _plain(ratio(totals[prior.ARGMAX], gold)),
    }


def _tokens(counts: ProbabilityCounts) -> float:
    return float(counts.bins.totals()[..., reliability.TOKENS].sum())


def _plain(value: Any) -> float | None:
    return None if math.isnan(value) else float(value)


def _counts_to_dict(counts: DocumentCounts) -> dict[str, Any]:
    # Nine digits are more than any score needs, and whole numbers need no point: the files of a
    # comparison are to be small enough to keep.
    rows = [
        [[int(x) if x.is_integer() else float(f"{x:.9g}") for x in kinds] for kinds in names]
        for names in counts.counts.tolist()
    ]
    return {"names": list(counts.names), "counts": rows}


def _counts_from_dict(data: Mapping[str, Any]) -> DocumentCounts:
    counts = np.asarray(data["counts"], dtype=np.float64)
    # Without a name, an axis has no entry from which its neighbour's length could be read.
    shape = (len(counts), len(data["names"]), -1) if data["names"] else (len(counts), 0, 3)
    return DocumentCounts(tuple(data["names"]), counts.reshape(shape))
