"""What split.json says of a division: where the documents went, and what each part lacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc

#: Why a type is not in a part.
TOO_FEW, UNMET = "too few documents", "no exchange found"
TOO_FEW_GROUPS = "too few groups"


@dataclass(frozen=True)
class Corpus:
    """Documents to divide.

    Attributes:
        labels: all that the entities have, sorted.
        entities: by document, how many entities have each label.
        groups: number of the group of each document, None without groups. *Shape:*
            ``(documents,)``.
        regex: that names the groups, None without groups.
    """

    docs: Sequence[Doc]
    ids: Sequence[str]
    labels: Sequence[str]
    entities: Sequence[Counter[str]]
    groups: NDArray[np.int64] | None = None
    regex: str | None = None

    @property
    def presence(self) -> NDArray[np.bool_]:
        """True where a document holds a label. *Shape:* ``(documents, labels)``."""
        rows = [[label in counts for label in self.labels] for counts in self.entities]
        return np.array(rows, dtype=bool).reshape(len(self.ids), len(self.labels))

    def gaps(self, parts: Mapping[str, Sequence[int]]) -> list[dict[str, Any]]:
        """The types that are not in every part, for split.json.

        Args:
            parts: rows of each part's documents; parts without documents are left out of account.

        Returns:
            For each its ``label``, the ``documents`` that hold it (``groups``, if these are what is
            divided), the parts that it is ``missing`` in, and the ``reason``.
        """
        unit, few = ("documents", TOO_FEW) if self.groups is None else ("groups", TOO_FEW_GROUPS)
        unit_of = range(len(self.ids)) if self.groups is None else self.groups.tolist()
        gaps = []
        for label in self.labels:
            holding = {
                part: {unit_of[row] for row in rows if label in self.entities[row]}
                for part, rows in parts.items()
                if rows
            }
            number = len(set().union(*holding.values()))
            if missing := [part for part, units in holding.items() if not units]:
                reason = few if number < len(holding) else UNMET
                gaps.append({"label": label, unit: number, "missing": missing, "reason": reason})
        return gaps

    def report(self, parts: Mapping[str, Sequence[int]]) -> dict[str, Any]:
        """What is in each part, for split.json.

        Args:
            parts: rows of each part's documents.

        Returns:
            ``documents``, the ids of each part; ``entities`` and ``documents_with``, by type the
            number of entities, and of documents that hold it, in each part; and ``group_by``, None
            without groups, otherwise the ``regex`` and the number of ``groups`` of each part.
        """

        def table(number: Callable[[int], int]) -> dict[str, dict[str, int]]:
            return {
                label: {
                    part: sum(number(self.entities[row][label]) for row in rows)
                    for part, rows in parts.items()
                }
                for label in self.labels
            }

        group_by = None
        if self.groups is not None:
            numbers = {
                part: len(np.unique(self.groups[list(rows)])) for part, rows in parts.items()
            }
            group_by = {"regex": self.regex, "groups": numbers}
        return {
            "documents": {part: [self.ids[row] for row in rows] for part, rows in parts.items()},
            "entities": table(int),
            "documents_with": table(bool),
            "group_by": group_by,
        }
