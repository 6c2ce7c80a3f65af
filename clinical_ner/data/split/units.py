"""What a division deals out whole: documents, or groups of documents that belong together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import InputError, shown


@dataclass(frozen=True)
class Units:
    """Documents, or groups of them.

    Attributes:
        of_document: the unit of each document, numbered from 0. *Shape:* ``(documents,)``.
        documents: how many documents each unit has. *Shape:* ``(units,)``.
        holding: how many of these hold an entity of each label. *Shape:* ``(units, labels)``.
    """

    of_document: NDArray[np.intp]
    documents: NDArray[np.int64]
    holding: NDArray[np.int64]

    @classmethod
    def of(cls, presence: NDArray[Any], groups: NDArray[Any] | None = None) -> Units:
        """Count documents by unit.

        Args:
            presence: True where a document holds an entity of a label. *Shape:* ``(documents,
                labels)``.
            groups: number of the group of each document; None makes each document a unit of its
                own. *Shape:* ``(documents,)``.
        """
        presence = np.asarray(presence, dtype=bool)
        if groups is None:
            groups = np.arange(len(presence))
        found, of_document = np.unique(groups, return_inverse=True)
        holding = np.zeros((len(found), presence.shape[1]), dtype=np.int64)
        np.add.at(holding, of_document, presence)
        return cls(of_document, np.bincount(of_document, minlength=len(found)), holding)

    def __len__(self) -> int:
        """Their number."""
        return len(self.documents)

    @property
    def are_documents(self) -> bool:
        """Whether each unit is one document."""
        return bool((self.documents == 1).all())

    def rows(self, units: NDArray[np.bool_]) -> list[int]:
        """The documents of some units, ascending. *Shape of units:* ``(units,)``."""
        return np.flatnonzero(units[self.of_document]).tolist()


def group_documents(
    ids: Sequence[str], pattern: re.Pattern[str], *, source: str
) -> NDArray[np.int64]:
    """Number the group of each document, in the order of first appearance.

    Args:
        ids: of the documents.
        pattern: searched in each id; its first capture group, or without one the whole match, names
            the document's group.
        source: what is divided, for the message of an error.

    Raises:
        ClinicalNerError: an id does not match, or its group is empty.
    """
    matches = [pattern.search(id_) for id_ in ids]
    names = [match and match[1 if pattern.groups else 0] for match in matches]
    unmatched = [id_ for id_, name in zip(ids, names, strict=True) if not name]
    if unmatched:
        raise InputError(
            f"{source}: the ids of {len(unmatched)} documents, the first of them "
            f"'{shown(unmatched[0])}', do not match the regex '{pattern.pattern}'. Give one that "
            "names "
            "the group of every document."
        )
    numbers: dict[str | None, int] = {}
    return np.array([numbers.setdefault(name, len(numbers)) for name in names], dtype=np.int64)
