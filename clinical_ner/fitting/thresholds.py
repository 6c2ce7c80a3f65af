"""Searching, on held-out documents, the threshold of every label.

A threshold drops entities of one label and touches no other, so each is searched by itself, over
all that differ in what they keep. A label with too few entities, or without a usable threshold of
its own, takes that of its group, which is searched over the entities of all labels in it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError, check_number

#: Drops every entity that is not entirely sure.
SILENT = 1.0
#: Scores no farther apart are one: those of a model differ by as much with the batch. Thresholds
#: have one more digit, so none is lost in the files of a pipeline, which keep ten.
RESOLUTION = 1e-6
DIGITS = 7


@dataclass(frozen=True)
class Objective:
    """What a threshold is chosen for.

    Attributes:
        min_precision: None for the best F1; else the lowest threshold, that is the best recall, at
            which at least this share of the entities is right.

    Raises:
        ClinicalNerError: a precision outside (0, 1].
    """

    min_precision: float | None = None

    def __post_init__(self) -> None:
        """Check the precision."""
        if self.min_precision is not None:
            check_number("The precision of the objective", self.min_precision, above=0, most=1)

    @classmethod
    def parse(cls, text: str) -> Objective:
        """Read ``macro_f`` or, for instance, ``recall@precision=0.9``.

        Raises:
            ClinicalNerError: it is neither, or the precision is out of range.
        """
        if text == "macro_f":
            return cls()
        found = re.fullmatch(r"recall@precision=([0-9]*\.?[0-9]+)", text, flags=re.ASCII)
        if found is None:
            raise ConfigError(
                f"Unknown objective '{text}': choose macro_f, or recall@precision=P with a P "
                "above 0 and at most 1."
            )
        return cls(float(found[1]))

    def __str__(self) -> str:
        """What ``parse`` reads."""
        if self.min_precision is None:
            return "macro_f"
        return f"recall@precision={self.min_precision:g}"

    def threshold(self, entities: LabelEntities) -> float | None:
        """The lowest of the best thresholds; 0 keeps all entities, None says that there is none."""
        if self.min_precision is None:
            return best_f_threshold(entities.scores, entities.right, entities.support)
        return precision_threshold(
            entities.scores, entities.right, min_precision=self.min_precision
        )


class LabelEntities(NamedTuple):
    """The predicted entities of a label, or of a group of labels, and how many gold has.

    Attributes:
        scores: their probabilities. *Shape:* ``(m,)``.
        right: which of them gold has. *Shape:* ``(m,)``.
        support: number of gold entities.
        documents: the number of the document that each is in. *Shape:* ``(m,)``.
    """

    scores: NDArray[np.float64]
    right: NDArray[np.bool_]
    support: int
    documents: NDArray[np.intp]


class Choice(NamedTuple):
    """The threshold of a label and where it comes from.

    Attributes:
        threshold: 0 where all entities are kept.
        source: the label's own entities; those of its group; silenced, since on the held-out
            documents no threshold of either has the precision that is asked for; or promised for
            its group, see ``promise``.
    """

    threshold: float
    source: Literal["own", "group", "silenced", "promised"]


def best_f_threshold(
    scores: NDArray[np.float64], right: NDArray[np.bool_], support: int
) -> float | None:
    """The lowest of the thresholds with the best F1 = 2 TP / (kept + support).

    Args:
        scores: see ``LabelEntities``.
        right: see ``LabelEntities``.
        support: see ``LabelEntities``.

    Returns:
        None where nothing is predicted or gold has none, so that nothing is learned.
    """
    if not len(scores) or not support:
        return None
    thresholds, kept, found = _cuts(scores, right)
    return float(thresholds[np.argmax(2 * found / (kept + support))])


def precision_threshold(
    scores: NDArray[np.float64], right: NDArray[np.bool_], *, min_precision: float
) -> float | None:
    """The lowest threshold at which the share of right entities is at least ``min_precision``.

    Args:
        scores: see ``LabelEntities``.
        right: see ``LabelEntities``.
        min_precision: that the entities kept should have.

    Returns:
        None if there is none that keeps an entity.
    """
    thresholds, kept, found = _cuts(scores, right)
    reached = np.flatnonzero(found / kept >= min_precision)
    return float(thresholds[reached[0]]) if len(reached) else None


def choose_thresholds(
    entities: Mapping[str, LabelEntities],
    groups: Iterable[Sequence[str]],
    *,
    objective: Objective,
    min_support: int,
) -> dict[str, Choice]:
    """A threshold for every label.

    Args:
        entities: by label.
        groups: of labels, each in one of them.
        objective: what to search for.
        min_support: labels with fewer predicted entities share the threshold of their group.
    """
    choices: dict[str, Choice] = {}
    for members in groups:
        pooled = objective.threshold(pool([entities[label] for label in members]))
        for label in members:
            enough = len(entities[label].scores) >= min_support
            own = objective.threshold(entities[label]) if enough else None
            if own is not None:
                choices[label] = Choice(own, "own")
            elif pooled is not None:
                choices[label] = Choice(pooled, "group")
            elif objective.min_precision is None:
                choices[label] = Choice(0.0, "group")
            else:
                choices[label] = Choice(SILENT, "silenced")
    return choices


def _cuts(
    scores: NDArray[np.float64], right: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.int64]]:
    """Every threshold that keeps something else, rising from 0, short of one that keeps nothing.

    Returns:
        Thresholds, midway between two scores that are told apart; how many entities each keeps, and
        how many of these are right. *Shape of each:* ``(thresholds,)``.
    """
    order = np.argsort(scores)
    ordered = scores[order]
    first = np.flatnonzero(np.diff(ordered, prepend=-np.inf) > RESOLUTION)
    thresholds = np.zeros(len(first))
    thresholds[1:] = ((ordered[first - 1] + ordered[first]) / 2)[1:]
    found = np.cumsum(right[order][::-1], dtype=np.int64)[::-1]
    return thresholds.round(DIGITS), len(scores) - first, found[first]


def pool(entities: Sequence[LabelEntities]) -> LabelEntities:
    """The entities of several labels of the same documents."""
    return LabelEntities(
        scores=np.concatenate([of.scores for of in entities]),
        right=np.concatenate([of.right for of in entities]),
        support=sum(of.support for of in entities),
        documents=np.concatenate([of.documents for of in entities]),
    )
