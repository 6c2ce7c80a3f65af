"""Both steps from held-out documents, each fitted on what the other has not seen.

A decoded span's probability is the product of tokens' probabilities. Were the entity step fitted on
those of tokens that chose their own calibration, it would take that fit's luck for the model's
skill. So the documents are divided into folds: the token step fitted on the other folds gives a
fold's span probabilities, and all of these fit the entity step. The token step that is kept is
fitted on all documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..calibration.calibration import Calibration
from ..calibration.entity_step import EntityCalibration
from ..tags.scheme import MASKED
from ..types import LogProbs, TagIds, TokenMask, Transitions
from .fit_entities import fit_entities
from .fit_tokens import MIN_SUPPORT, TokenFit, fit_tokens
from .fit_transitions import best_weight, gain_at, segment_likelihoods

#: Folds of documents that have none, and the fewest documents that allow more than a temperature.
FOLDS = 5


class HeldOutDocument(Protocol):
    """What is asked of a document."""

    @property
    def log_probs(self) -> LogProbs:
        """log p(tag | text) without any calibration. *Shape:* ``(n, K)``."""

    @property
    def gold(self) -> TagIds:
        """Tag ids, below 0 where masked; see ``fit_tokens``."""

    @property
    def tokens(self) -> TokenMask:
        """True for the tokens that carry a tag. *Shape:* ``(n,)``."""

    @property
    def information(self) -> Transitions | None:
        """``TagStatistics.pair_information`` without this document. *Shape:* ``(K, K)``."""

    def spans(
        self, log_probs: LogProbs, *, transitions: float
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Probabilities of the spans decoded from calibrated tokens, and which are right.

        Args:
            log_probs: *Shape:* ``(n, K)``.
            transitions: as ``Calibration`` has it.

        Returns:
            *Shape of both:* ``(m,)``.
        """


T = TypeVar("T")
Document = TypeVar("Document", bound=HeldOutDocument)


@dataclass(frozen=True)
class CalibrationFit(Generic[Document]):
    """What was fitted.

    Attributes:
        calibration: both steps.
        tokens: the fit of the token step on all documents.
        documents: those that were fitted on; others have no gold token of positive probability.
        held_out: for each of them the calibration fitted without its fold; none
            for a single one, or for those of a single fold.
        transitions_gain: what the transitions of `held_out` add to the log-likelihood of the
            segments of these documents, in nats; see ``fit_transitions``.
        spans: number of spans for the entity step, and of those that are right.
        right_spans: see `spans`.
    """

    calibration: Calibration
    tokens: TokenFit
    documents: list[Document]
    held_out: list[Calibration]
    transitions_gain: float
    spans: int
    right_spans: int


def fit_calibration(
    documents: Sequence[Document],
    counts: NDArray[np.float64],
    *,
    min_support: int = MIN_SUPPORT,
    fold_of: Sequence[int] | None = None,
    transitions: bool = True,
) -> CalibrationFit[Document]:
    """Fit all steps, or the temperature only where there are fewer than five documents.

    A fold is every fifth document, unless they have folds already, so the result is one and the
    same on every run. What is held out flatters in one small way: the spans that fit a fold's
    entity step come from token steps that have seen the fold's tokens.

    Args:
        documents: none of which the model was trained on.
        counts: training tokens by tag. *Shape:* ``(K,)``.
        min_support: see ``fit_tokens``.
        fold_of: of each document the fold of the model that predicted it, where there are several.
        transitions: whether to fit their weight, unless the documents have no ``information``.

    Raises:
        ClinicalNerError: no gold token has a tag of positive probability.
    """
    rows = [row for row, document in enumerate(documents) if _can_be_fitted_on(document)]
    usable = [documents[row] for row in rows]
    places = [i % FOLDS if fold_of is None else fold_of[row] for i, row in enumerate(rows)]
    complete = len(usable) >= FOLDS

    def fit(of: Sequence[Document]) -> TokenFit:
        return fit_tokens(
            [document.log_probs for document in of],
            [document.gold for document in of],
            counts,
            min_support=min_support,
            biases=complete,
        )

    tokens = fit(usable)
    if len({*places}) == 1:
        return CalibrationFit(Calibration(tokens.calibration), tokens, usable, [], 0.0, 0, 0)
    steps = {fold: fit(_others(usable, places, fold)).calibration for fold in sorted({*places})}
    rows_of = [
        steps[place].apply(document.log_probs)
        for document, place in zip(usable, places, strict=True)
    ]
    weights, weight, gain = dict.fromkeys(steps, 0.0), 0.0, 0.0
    information = [of.information for of in usable if of.information is not None]
    if complete and transitions and information:
        likelihoods = segment_likelihoods(
            [rows[document.tokens] for rows, document in zip(rows_of, usable, strict=True)],
            [document.gold[document.tokens] for document in usable],
            information,
        )
        weight = best_weight(likelihoods)
        weights = {fold: best_weight(_others(likelihoods, places, fold)) for fold in steps}
        gain = sum(
            gain_at(weights[place], of) for of, place in zip(likelihoods, places, strict=True)
        )
    spans = [
        document.spans(rows, transitions=weights[place])
        for document, rows, place in zip(usable, rows_of, places, strict=True)
    ]
    entities = _fit_entities(spans) if complete else None
    by_fold = {
        # None, too, where there are enough spans only with those of the fold itself.
        fold: Calibration(
            step,
            None if entities is None else _fit_entities(_others(spans, places, fold)),
            weights[fold],
        )
        for fold, step in steps.items()
    }
    return CalibrationFit(
        calibration=Calibration(tokens.calibration, entities, weight),
        tokens=tokens,
        documents=usable,
        held_out=[by_fold[place] for place in places],
        transitions_gain=gain,
        spans=sum(len(right) for _, right in spans),
        right_spans=sum(int(right.sum()) for _, right in spans),
    )


def _can_be_fitted_on(document: HeldOutDocument) -> bool:
    gold = document.gold if document.gold.ndim == 2 else document.gold[:, None]
    labelled = np.flatnonzero((gold > MASKED).all(axis=1))
    # O and everything else are never impossible.
    of_gold = document.log_probs[labelled[:, None], gold[labelled]]
    return bool(np.isfinite(of_gold).all(axis=1).any())


def _others(values: Sequence[T], places: Sequence[int], fold: int) -> list[T]:
    """Those of the documents that are not in a fold."""
    return [value for value, place in zip(values, places, strict=True) if place != fold]


def _fit_entities(
    spans: Sequence[tuple[NDArray[np.float64], NDArray[np.bool_]]],
) -> EntityCalibration | None:
    probabilities, right = (np.concatenate(of) for of in zip(*spans, strict=True))
    return fit_entities(probabilities, right)
