"""What losses and decision know of the training data: counts per tag, and how it is drawn."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import NotFittedError
from ..types import Transitions
from .batch_sampling import BatchSampling
from .scheme import MASKED, OUTSIDE, class_index, legal_transitions, tag_names

#: Fields that hold what a sampling batcher does; None without one.
SAMPLING = ("sampled_shares", "sampled_document_shares", "type_odds", "type_document_odds")

#: Pseudo-count of ``TagStatistics.pair_information``: of 1, 3, 10, 30, 100 and 1000 the one under
#: which held-out notes are most likely.
PAIR_SMOOTHING = 1.0


@dataclass
class TagStatistics:
    """Counts of the training data, the only state of a loss.

    It exists so that the road back to the empirical probability needs no second look at the corpus:
    it is stored with the component, and the same live object is read by loss and decoder.

    Attributes:
        labels: the entity types, in the order of their tags.
        counts: labelled (not masked) training tokens per tag. *Shape:* ``(K,)``.
        tokens: their number N where a token may have tags of several types; None where N is the sum
            of the counts.
        documents: training documents with at least one labelled token.
        document_shares: mean over these documents of each tag's share in the document, the prior
            under a loss that averages per document first. *Shape:* ``(K,)``.
        sampled_shares: the same shares as a sampling batcher draws them; None where batches are
            drawn as the corpus is. *Shape:* ``(K,)``.
        sampled_document_shares: see `sampled_shares`.
        type_odds: odds of each tag against all but its type in batches of its own type; 1 for O, 0
            for a type that had no batch yet, None without such batches. *Shape:* ``(K,)``.
        type_document_odds: see `type_odds`.
        bigrams: neighbouring labelled training tokens of a document, by their tags [from, to]; None
            where a token may have tags of several types, and where they were not counted. *Shape:*
            ``(K, K)``.
    """

    labels: list[str] = field(default_factory=list)
    counts: NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))
    tokens: int | None = None
    documents: int = 0
    document_shares: NDArray[np.float64] = field(default_factory=lambda: np.zeros(1))
    sampled_shares: NDArray[np.float64] | None = None
    sampled_document_shares: NDArray[np.float64] | None = None
    type_odds: NDArray[np.float64] | None = None
    type_document_odds: NDArray[np.float64] | None = None
    bigrams: NDArray[np.float64] | None = None

    @property
    def tags(self) -> list[str]:
        """Tag names in the order of their ids."""
        return tag_names(self.labels)

    @property
    def total(self) -> float:
        """Number N of labelled training tokens."""
        return float(self.counts.sum() if self.tokens is None else self.tokens)

    @property
    def mentions(self) -> dict[str, int]:
        """Training mentions by type: the tokens that begin one."""
        return dict(zip(self.labels, self.counts[1::2].astype(int).tolist(), strict=True))

    @property
    def seen(self) -> NDArray[np.bool_]:
        """True for the tags with at least one training token. *Shape:* ``(K,)``."""
        return self.counts > 0

    @property
    def prior(self) -> NDArray[np.float64]:
        """Share pi of each tag among the labelled tokens. *Shape:* ``(K,)``."""
        return self.counts / max(self.total, 1.0)

    @property
    def class_counts(self) -> NDArray[np.float64]:
        """Labelled tokens of O and of each entity type. *Shape:* ``(1 + len(labels),)``."""
        classes = class_index(len(self.counts))
        return np.asarray(np.bincount(classes, weights=self.counts), dtype=np.float64)

    def smoothed_prior(self, smoothing: float) -> NDArray[np.float64]:
        """Prior (n_c + a) / (N + a K), which keeps tags seen once from swallowing the text.

        Args:
            smoothing: the pseudo-count a >= 0 of every tag, in tokens.

        Returns:
            *Shape:* ``(K,)``.
        """
        return (self.counts + smoothing) / (self.total + smoothing * len(self.counts))

    def pair_information(self, smoothing: float = PAIR_SMOOTHING) -> Transitions:
        """Pointwise mutual information of neighbouring tags, log P(b | a) - log pi_b, shrunk to 0.

        P(b | a) = (n(a, b) + c pi_b) / (n(a) + c), from n(a, b) pairs of n(a) with a: where
        training tells little of what follows a, all that is left is whether it is legal. See MacKay
        and Peto 1995, A hierarchical Dirichlet language model, eq. 13.

        Args:
            smoothing: the pseudo-count c > 0 of every tag, in pairs.

        Returns:
            [from, to], -inf where illegal. *Shape:* ``(K, K)``.

        Raises:
            NotFittedError: pairs were not counted.
        """
        if self.bigrams is None:
            raise NotFittedError(
                "Pairs of neighbouring tags were not counted when this model was trained, so it "
                "cannot weigh them: set transitions = null, or train again."
            )
        before = self.bigrams.sum(axis=1, keepdims=True)
        # Of a tag without a training token nothing is told; it has probability 0 anyway.
        prior = np.where(self.seen, self.prior, 1.0 / max(self.total, 1.0))
        information = np.log((self.bigrams / prior + smoothing) / (before + smoothing))
        return np.where(legal_transitions(len(self.counts))[:-1], information, -np.inf)

    def count(
        self, labels: Sequence[str], documents: Iterable[NDArray[np.int64] | NDArray[np.float64]]
    ) -> None:
        """Count again, in place, so that whoever holds this object sees the result.

        Args:
            labels: the entity types.
            documents: tag ids of each document, -1 where masked. *Shape of each:* ``(n,)``, or
                ``(n, len(labels))`` where a token may have tags of several types; O is then that
                it has none. Or what tokens are trained on where gold is mixed with soft targets,
                a share of each tag: then counts are those expected, in whole tokens, and at least
                one. *Shape:* ``(n, 1 + 2 * len(labels))``, of floats.
        """
        n_tags = 1 + 2 * len(labels)
        counts = np.zeros(n_tags)
        shares = np.zeros(n_tags)
        n_documents = n_tokens = 0
        overlapping = False
        for ids in documents:
            if ids.dtype.kind == "f":
                ids = ids[ids.any(axis=1)]
                per_tag = ids.sum(axis=0)
            elif ids.ndim == 2:
                overlapping = True
                ids = ids[(ids > MASKED).all(axis=1)]
                per_tag = np.bincount(ids[ids > OUTSIDE], minlength=n_tags)
                per_tag[OUTSIDE] = (ids == OUTSIDE).all(axis=1).sum()
            else:
                ids = ids[ids > MASKED]
                per_tag = np.bincount(ids, minlength=n_tags)
            if len(ids):
                counts += per_tag
                shares += per_tag / len(ids)
                n_documents += 1
                n_tokens += len(ids)
        self.labels = list(labels)
        self.counts = np.where(counts > 0, np.maximum(np.rint(counts), 1.0), 0.0)
        self.tokens = n_tokens if overlapping else None
        self.bigrams = None
        self.documents = n_documents
        self.document_shares = shares / max(n_documents, 1)
        self.observe(None)

    def count_pairs(self, documents: Iterable[NDArray[np.int64] | NDArray[np.float64]]) -> None:
        """Count the pairs of neighbouring tags, in place, after ``count``.

        Args:
            documents: tag ids of the tokens of each document that carry a tag, in their order, -1
                where masked. *Shape of each:* ``(n,)``. Or shares of the tags, as in ``count``: of
                them the numbers expected, in whole pairs.
        """
        self.bigrams = np.zeros((len(self.counts), len(self.counts)))
        for ids in documents:
            if ids.dtype.kind == "f":
                self.bigrams += ids[:-1].T @ ids[1:]
                continue
            known = (ids[:-1] > MASKED) & (ids[1:] > MASKED)
            pairs = ids[:-1][known].astype(np.intp), ids[1:][known].astype(np.intp)
            np.add.at(self.bigrams, pairs, 1)
        self.bigrams = np.rint(self.bigrams)

    def observe(self, batch: BatchSampling | None) -> None:
        """Take over, in place, what the batcher said of a batch.

        Args:
            batch: None for a batch drawn as the corpus is, after which no sampling is left to undo.
        """
        if batch is None:
            for name in SAMPLING:
                setattr(self, name, None)
            return
        self.sampled_shares = self.by_tag(batch["shares"])
        self.sampled_document_shares = self.by_tag(batch["document_shares"])
        if batch["type"] is not None:
            self.type_odds = self._with_odds(self.type_odds, batch["type_odds"])
            self.type_document_odds = self._with_odds(
                self.type_document_odds, batch["type_document_odds"]
            )

    def by_tag(self, values: Mapping[str, float]) -> NDArray[np.float64]:
        """Values by tag name as an array, 0 where a tag has none. *Shape:* ``(K,)``."""
        return np.asarray([values.get(tag, 0.0) for tag in self.tags], dtype=np.float64)

    def sampling_shift(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """What to add to log-probabilities learned under other shares: log pi_c - log share_c.

        The shift of a changed prior (Saerens et al. 2002, Neural Computation 14, eq. 2.4), up to a
        constant that the softmax takes away.

        Args:
            shares: of the tags in training. *Shape:* ``(K,)``.

        Returns:
            -inf for tags that were never drawn. *Shape:* ``(K,)``.
        """
        drawn = self.seen & (shares > 0)
        shift = np.full(len(shares), -np.inf)
        shift[drawn] = np.log(self.prior[drawn]) - np.log(shares[drawn])
        return shift

    def _with_odds(
        self, odds: NDArray[np.float64] | None, of_type: Mapping[str, float]
    ) -> NDArray[np.float64]:
        if odds is None:
            odds = self.by_tag({"O": 1.0})
        return np.where(self.by_tag(dict.fromkeys(of_type, 1.0)) > 0, self.by_tag(of_type), odds)

    def to_dict(self) -> dict[str, Any]:
        """Plain data for JSON."""
        return {
            "labels": list(self.labels),
            "counts": [int(count) for count in self.counts],
            **({} if self.tokens is None else {"tokens": self.tokens}),
            "documents": self.documents,
            **({} if self.bigrams is None else {"bigrams": _as_triples(self.bigrams)}),
            "document_shares": [float(share) for share in self.document_shares],
            "sampling": {name: _as_list(getattr(self, name)) for name in SAMPLING},
        }

    def update_from_dict(self, data: dict[str, Any]) -> None:
        """Take over what ``to_dict`` gave, in place."""
        self.labels = list(data["labels"])
        self.counts = np.asarray(data["counts"], dtype=np.float64)
        self.tokens = data.get("tokens")
        self.documents = int(data["documents"])
        self.document_shares = np.asarray(data["document_shares"], dtype=np.float64)
        self.bigrams = None
        if "bigrams" in data:
            self.bigrams = np.zeros((len(self.counts), len(self.counts)))
            rows, columns, numbers = np.reshape(data["bigrams"], (-1, 3)).T
            self.bigrams[rows, columns] = numbers
        sampling = data.get("sampling", {})
        for name in SAMPLING:
            values = sampling.get(name)
            setattr(self, name, None if values is None else np.asarray(values, dtype=np.float64))


def _as_triples(bigrams: NDArray[np.float64]) -> list[list[int]]:
    """[from, to, number] of every pair that occurs: nearly all of K x K do not."""
    found = np.nonzero(bigrams)
    return np.column_stack([*found, bigrams[found]]).astype(int).tolist()


def _as_list(values: NDArray[np.float64] | None) -> list[float] | None:
    return None if values is None else [float(value) for value in values]
