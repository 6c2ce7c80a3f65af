"""What split.json says of a division: where the documents went, and what each part lacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc

from .units import Units

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
    labels: tuple[str, ...]
    entities: Sequence[Counter[str]]
    groups: NDArray[np.int64] | None
    regex: str | None

    @classmethod
    def of(
        cls,
        docs: Sequence[Doc],
        ids: Sequence[str],
        *,
        groups: NDArray[np.int64] | None = None,
        regex: str | None = None,
    ) -> Corpus:
        """Count the entities of documents."""
        entities = [Counter(ent.label_ for ent in doc.ents) for doc in docs]
        labels = sorted({label for counts in entities for label in counts})
        return cls(docs, ids, tuple(labels), entities, groups, regex)

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
        presence, groups = self.presence, self.groups
        lacks = {
            name: np.logical_not(presence[list(rows)].any(axis=0)).tolist()
            for name, rows in parts.items()
            if rows
        }
        inside = np.array(sorted(row for rows in parts.values() for row in rows), dtype=np.intp)
        units = Units.of(presence[inside], None if groups is None else groups[inside])
        unit, few = ("documents", TOO_FEW) if groups is None else ("groups", TOO_FEW_GROUPS)
        return [
            {
                "label": self.labels[label],
                unit: number,
                "missing": missing,
                "reason": few if number < len(lacks) else UNMET,
            }
            for label, number in enumerate((units.holding > 0).sum(axis=0).tolist())
            if (missing := [name for name, of_label in lacks.items() if of_label[label]])
        ]


def division_report(corpus: Corpus, parts: Mapping[str, Sequence[int]]) -> dict[str, Any]:
    """What is in each part.

    Args:
        corpus: what was divided.
        parts: rows of each part's documents.

    Returns:
        ``documents``, the ids of each part; ``entities`` and ``documents_with``, by type the number
        of entities, and of documents that hold it, in each part; and ``group_by``, None without
        groups, otherwise the ``regex`` and the number of ``groups`` of each part.
    """
    entities, groups = corpus.entities, corpus.groups
    return {
        "documents": {part: [corpus.ids[row] for row in rows] for part, rows in parts.items()},
        "entities": {
            label: {part: sum(entities[row][label] for row in rows) for part, rows in parts.items()}
            for label in corpus.labels
        },
        "documents_with": {
            label: {
                part: sum(label in entities[row] for row in rows) for part, rows in parts.items()
            }
            for label in corpus.labels
        },
        "group_by": groups
        if groups is None
        else {
            "regex": corpus.regex,
            "groups": {part: len(np.unique(groups[list(rows)])) for part, rows in parts.items()},
        },
    }


def fold_gaps(
    corpus: Corpus,
    parts: Mapping[str, Sequence[int]],
    tests: Sequence[dict[str, Any]],
    name: str,
) -> list[dict[str, Any]]:
    """The types that a fold's parts lack: those of its test, then those of its train and dev.

    Args:
        corpus: what was divided.
        parts: rows of the fold's train, dev and test.
        tests: gaps of the tests of all folds, which share all documents out.
        name: of the fold in `tests`.
    """
    in_test = [{**gap, "missing": ["test"]} for gap in tests if name in gap["missing"]]
    return in_test + corpus.gaps({part: parts[part] for part in ("train", "dev")})
