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
from .counts import DocumentCounts, ratio
from .scorers import EntityCounts, entity_scores, entity_statistics

#: Types with fewer training mentions than this are the rare ones of ``ents_macro_f_rare``.
RARE_MENTIONS = 100


@dataclass(frozen=True)
class ProbabilityCounts:
    """What the scores of probabilities are computed from.

    bins: see ``reliability.count_reliability``. *Shape of its counts:* ``(documents, bins, 3)``.
    tags: see ``prior.count_prior``. *Shape of its counts:* ``(documents, K, 3)``.
    rarest_third: the types whose mass is pooled; see ``prior.rarest_third``.
    """

    bins: DocumentCounts
    tags: DocumentCounts
    rarest_third: tuple[str, ...]


@dataclass(frozen=True)
class EvaluationCounts:
    """Counts of one pipeline on some documents, under one decision.

    documents: their ids.
    entities: what the decision found.
    probabilities: None for a pipeline that has none.
    training_mentions: mentions by type in the training data, None if unknown.
    """

    documents: tuple[str, ...]
    entities: EntityCounts
    probabilities: ProbabilityCounts | None = None
    training_mentions: Mapping[str, int] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        found = self.probabilities
        return {
            "documents": list(self.documents),
            "spans": _counts_to_dict(self.entities.spans),
            "tokens": _counts_to_dict(self.entities.tokens),
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
        """What ``to_dict`` gave."""
        found = data["probabilities"]
        return cls(
            documents=tuple(data["documents"]),
            entities=EntityCounts(
                _counts_from_dict(data["spans"]), _counts_from_dict(data["tokens"])
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
    ``token_ece``; and ``mass_ratio_rarest_third``, the probability given to the rarest third of
    the types over their share in gold of these documents, which is calibration in the large.

    weights: see `bootstrap.resample_weights`. *Shape:* ``(resamples, documents)``.

    RETURNS: by name, NaN where undefined. *Shape of each:* ``()``, or with weights
        ``(resamples,)``.
    """
    statistics = entity_statistics(counts.entities, weights)
    undefined = np.full_like(statistics["ents_f"], np.nan)
    statistics["ents_macro_f_rare"] = undefined
    if counts.training_mentions is not None:
        statistics["ents_macro_f_rare"] = spans.macro_f(_rare_totals(counts, weights))[0]
    found = counts.probabilities
    if found is None:
        return {**statistics, "token_ece": undefined, "mass_ratio_rarest_third": undefined}
    group = [i for i, tag in enumerate(found.tags.names) if tag[2:] in found.rarest_third]
    of_group = found.tags.totals(weights)[..., group, :].sum(axis=-2)
    return {
        **statistics,
        "token_ece": reliability.expected_calibration_error(found.bins.totals(weights)),
        "mass_ratio_rarest_third": ratio(of_group[..., prior.MASS], of_group[..., prior.GOLD]),
    }


def evaluation_scores(counts: EvaluationCounts) -> dict[str, Any]:
    """Scores as plain numbers, ready for JSON.

    RETURNS: what `evaluation_statistics` and `scorers.entity_scores` name, None where undefined;
        ``ents_macro_rare_types``, the number of types behind ``ents_macro_f_rare``, None if it is
        unknown; the ``rarest_third`` of the types and ``prior_ratios``, by tag its ``share`` in
        gold and its ``mass`` and ``argmax`` ratio to that; None without probabilities.
    """
    scores = entity_scores(counts.entities)
    scores |= {name: _plain(value) for name, value in evaluation_statistics(counts).items()}
    known = counts.training_mentions is not None
    found = counts.probabilities
    return {
        **scores,
        "ents_macro_rare_types": int(spans.macro_f(_rare_totals(counts))[1]) if known else None,
        "rarest_third": None if found is None else list(found.rarest_third),
        "prior_ratios": None if found is None else _tag_ratios(found),
    }


def _rare_totals(
    counts: EvaluationCounts, weights: NDArray[Any] | None = None
) -> NDArray[np.float64]:
    """Entity counts of the rare types. *Shape:* ``(..., types, 3)``."""
    mentions = counts.training_mentions or {}
    names = counts.entities.spans.names
    rare = [i for i, name in enumerate(names) if mentions.get(name, 0) < RARE_MENTIONS]
    return counts.entities.spans.totals(weights)[..., rare, :]


def _tag_ratios(counts: ProbabilityCounts) -> dict[str, dict[str, float | None]]:
    totals = counts.tags.totals()
    tokens = counts.bins.totals()[..., reliability.TOKENS].sum()
    gold = totals[:, prior.GOLD]
    columns = {
        "share": ratio(gold, np.full(len(gold), tokens)),
        "mass": ratio(totals[:, prior.MASS], gold),
        "argmax": ratio(totals[:, prior.ARGMAX], gold),
    }
    return {
        tag: {name: _plain(values[i]) for name, values in columns.items()}
        for i, tag in enumerate(counts.tags.names)
    }


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
