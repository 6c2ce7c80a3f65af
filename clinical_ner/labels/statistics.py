"""What the losses and the decision know of the training data: counts per tag."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .scheme import class_index, tag_names


@dataclass
class TagStatistics:
    """Counts of the training data, the only state of a loss.

    It exists so that the road back to the empirical probability needs no second look at the corpus:
    it is stored with the component, and the same live object is read by loss and decoder.

    labels: the entity types, in the order of their tags.
    counts: labelled (not masked) training tokens per tag. *Shape:* ``(K,)``.
    documents: training documents with at least one labelled token.
    document_shares: mean over these documents of each tag's share in the document, the prior under
        a loss that averages per document first. *Shape:* ``(K,)``.
    """

    labels: list[str] = field(default_factory=list)
    counts: NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))
    documents: int = 0
    document_shares: NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))

    @property
    def tags(self) -> list[str]:
        """Tag names in the order of their ids."""
        return tag_names(self.labels)

    @property
    def total(self) -> float:
        """Number N of labelled training tokens."""
        return float(self.counts.sum())

    @property
    def seen(self) -> NDArray[np.bool_]:
        """True for the tags with at least one training token. *Shape:* ``(K,)``."""
        return self.counts > 0

    @property
    def prior(self) -> NDArray[np.float64]:
        """Share pi of each tag among the labelled tokens; sums to 1. *Shape:* ``(K,)``."""
        return self.counts / max(self.total, 1.0)

    @property
    def class_counts(self) -> NDArray[np.float64]:
        """Labelled tokens of O and of each entity type. *Shape:* ``(1 + len(labels),)``."""
        classes = class_index(len(self.counts))
        return np.asarray(np.bincount(classes, weights=self.counts), dtype=np.float64)

    def smoothed_prior(self, smoothing: float) -> NDArray[np.float64]:
        """Prior (n_c + a) / (N + a K), which keeps tags seen once from swallowing the text.

        smoothing: the pseudo-count a >= 0 of every tag, in tokens.

        RETURNS: *Shape:* ``(K,)``.
        """
        return (self.counts + smoothing) / (self.total + smoothing * len(self.counts))

    def count(self, labels: Sequence[str], documents: Iterable[NDArray[np.int64]]) -> None:
        """Count anew, in place, so that whoever holds this object sees the result.

        labels: the entity types.
        documents: tag ids of each document, -1 where masked. *Shape of each:* ``(n,)``.
        """
        n_tags = 1 + 2 * len(labels)
        counts = np.zeros(n_tags)
        shares = np.zeros(n_tags)
        n_documents = 0
        for ids in documents:
            per_tag = np.bincount(ids[ids >= 0], minlength=n_tags)
            if per_tag.sum():
                counts += per_tag
                shares += per_tag / per_tag.sum()
                n_documents += 1
        self.labels = list(labels)
        self.counts = counts
        self.documents = n_documents
        self.document_shares = shares / max(n_documents, 1)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "labels": list(self.labels),
            "counts": [int(count) for count in self.counts],
            "documents": self.documents,
            "document_shares": [float(share) for share in self.document_shares],
        }

    def update_from_dict(self, data: dict[str, Any]) -> None:
        """Take over what ``to_dict`` gave, in place."""
        self.labels = list(data["labels"])
        self.counts = np.asarray(data["counts"], dtype=np.float64)
        self.documents = int(data["documents"])
        self.document_shares = np.asarray(data["document_shares"], dtype=np.float64)
