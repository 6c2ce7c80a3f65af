"""What split.json says of a division: where the documents went, and what each part lacks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc

from .units import Gap, label_gaps

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
        return np.array(rows, dtype=bool).reshape(len(self.docs), len(self.labels))

    def gaps(self, parts: Mapping[str, Sequence[int]]) -> list[Gap]:
        """The labels that are not in every part; see `label_gaps`."""
        return label_gaps(self.presence, parts, self.groups)


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
    return {
        "documents": {part: [corpus.ids[row] for row in rows] for part, rows in parts.items()},
        "entities": {
            label: {
                part: sum(corpus.entities[row][label] for row in rows)
                for part, rows in parts.items()
            }
            for label in corpus.labels
        },
        "documents_with": {
            label: {
                part: sum(label in corpus.entities[row] for row in rows)
                for part, rows in parts.items()
            }
            for label in corpus.labels
        },
        "group_by": None
        if corpus.groups is None
        else {
            "regex": corpus.regex,
            "groups": {
                part: len(np.unique(corpus.groups[list(rows)])) for part, rows in parts.items()
            },
        },
    }


def gap_records(corpus: Corpus, gaps: Sequence[Gap]) -> list[dict[str, Any]]:
    """The types that are not in every part, for split.json.

    Returns:
        For each its ``label``, the ``documents`` that hold it (``groups``, if these are what is
        divided), the parts that it is ``missing`` in, and the ``reason``.
    """
    unit, few = ("documents", TOO_FEW) if corpus.groups is None else ("groups", TOO_FEW_GROUPS)
    return [
        {
            "label": corpus.labels[gap.label],
            unit: gap.units,
            "missing": list(gap.missing),
            "reason": few if gap.too_few else UNMET,
        }
        for gap in gaps
    ]


def fold_gaps(
    corpus: Corpus, parts: Mapping[str, Sequence[int]], tests: Sequence[Gap], name: str
) -> list[dict[str, Any]]:
    """The types that a fold's parts lack: those of its test, then those of its train and dev.

    Args:
        corpus: what was divided.
        parts: rows of the fold's train, dev and test.
        tests: of the tests of all folds, which share all documents out.
        name: of the fold in `tests`.
    """
    in_test = gap_records(corpus, [gap for gap in tests if name in gap.missing])
    rest = {part: rows for part, rows in parts.items() if part != "test"}
    return [{**record, "missing": ["test"]} for record in in_test] + gap_records(
        corpus, corpus.gaps(rest)
    )
