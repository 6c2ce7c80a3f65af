"""The arithmetic of drawing documents: which tags they hold, and what shares come of a rate.

The shares stated here are expected ones, exact for how often each document is drawn. Those of the
batches that happened to be made would be a noisy copy of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from spacy.training import Example

from ..errors import ConfigError, shown_label
from ..tags.batch_sampling import BatchSampling
from ..tags.encode import encode_example
from ..tags.scheme import OUTSIDE, begin_id, class_index, inside_id, tag_names

#: Power of a type's number of labelled tokens to which its share of the words is proportional.
RATES = {"uniform": 0.0, "sqrt": 0.5, "proportional": 1.0}


@dataclass(frozen=True)
class CorpusCounts:
    """What drawing needs to know of D documents, so that tags are counted once and not per epoch.

    Attributes:
        labels: the L entity types of the documents, sorted.
        counts: labelled tokens per document and tag. *Shape:* ``(D, 1 + 2 L)``.
        words: tokens of each document, with or without a tag.
    """

    labels: list[str]
    counts: NDArray[np.float64]
    words: list[int]

    @classmethod
    def of(cls, examples: Sequence[Example], *, batcher: str) -> CorpusCounts:
        """Count the tags of the documents, on the tokens of ``example.predicted``.

        Raises:
            ClinicalNerError: no document holds a labelled token of an entity.
        """
        labels = sorted({ent.label_ for example in examples for ent in example.reference.ents})
        index = {label: i for i, label in enumerate(labels)}
        counts = np.zeros((len(examples), len(tag_names(labels))))
        for row, example in enumerate(examples):
            ids = encode_example(example, index, name=batcher)
            counts[row] = np.bincount(ids[ids >= 0], minlength=counts.shape[1])
        if not counts[:, OUTSIDE + 1 :].any():
            raise ConfigError(
                f"The documents given to batcher {batcher} hold no entity with a usable token, so "
                "there is nothing to draw them by. Annotate at least one, or use "
                "spacy.batch_by_words.v1."
            )
        return cls(labels, counts, [len(example.predicted) for example in examples])

    @property
    def type_counts(self) -> NDArray[np.float64]:
        """Labelled tokens, B and I, per document and entity type. *Shape:* ``(D, L)``."""
        classes = class_index(self.counts.shape[1])
        of_type = classes[:, None] == 1 + np.arange(len(self.labels))
        return self.counts @ of_type

    def type_shares(self, rates: str) -> NDArray[np.float64]:
        """Share of the words that each entity type gets, by a key of ``RATES``.

        0 for a type without a labelled token; sums to 1. *Shape:* ``(L,)``.
        """
        tokens = self.type_counts.sum(axis=0)
        weights = np.where(tokens > 0, tokens ** RATES[rates], 0.0)
        return weights / weights.sum()

    def document_rates(self, power: float) -> NDArray[np.float64]:
        """How often each document is drawn, relative to others; rare types are drawn more often.

        A document has the highest of the rates (1 / f)^power of its types, where f is the share of
        documents that hold a type; without entities it has the lowest rate of any document.

        Repeat-factor sampling (Gupta, Dollár and Girshick 2019, arXiv 1908.03195, section 5),
        without its threshold, below which a type counts as rare. Its power is 0.5; 0 draws all
        documents alike. *Shape:* ``(D,)``.
        """
        holds = self.type_counts > 0
        share = np.maximum(holds.mean(axis=0), 1.0 / len(holds))
        rates = np.where(holds, share**-power, 0.0).max(axis=1)
        with_entity = holds.any(axis=1)
        return np.where(with_entity, rates, rates[with_entity].min())

    def draws_per_word(self, shares: NDArray[np.float64]) -> NDArray[np.float64]:
        """How often each document is drawn, per word drawn, in batches that are for one type each.

        A type's share of the words, *shape* ``(L,)``, is spread evenly over the documents that hold
        it: q_d = sum over the types m of d of share_m / words of the documents that hold m.
        *Shape:* ``(D,)``.
        """
        holds = self.type_counts > 0
        pool_words = np.asarray(self.words, dtype=np.float64) @ holds
        return holds @ (shares / np.maximum(pool_words, 1.0))

    def batch_sampling(self, draws: NDArray[np.float64]) -> BatchSampling:
        """What to say of batches without a type.

        Args:
            draws: how often each document is drawn, up to a constant. *Shape:* ``(D,)``.
        """
        tokens, documents = self._shares(draws)
        return {
            "type": None,
            "shares": tokens,
            "document_shares": documents,
            "batch_shares": tokens,
            "batch_document_shares": documents,
            "type_odds": {},
            "type_document_odds": {},
        }

    def type_sampling(self, draws: NDArray[np.float64], index: int) -> BatchSampling:
        """What to say of batches for a type, in which all documents that hold it are drawn alike.

        ``draws`` are those over all batches.

        Raises:
            ClinicalNerError: its documents hold no token but of that type, so there are no odds.
        """
        pool = (self.type_counts[:, index] > 0).astype(np.float64)
        if not pool @ (self.counts.sum(axis=1) - self.type_counts[:, index]):
            raise ConfigError(
                "All labelled tokens of the documents that hold "
                f"'{shown_label(self.labels[index])}' are of "
                "that type, so its batches would have nothing else. Add documents, or use "
                "clinical_ner.batch_balanced.v1."
            )
        shares = self._shares(pool)
        tags = [tag_names(self.labels)[tag] for tag in (begin_id(index), inside_id(index))]
        odds, document_odds = (
            {tag: of[tag] / (1.0 - sum(of[own] for own in tags)) for tag in tags} for of in shares
        )
        tokens, documents = shares
        return {
            **self.batch_sampling(draws),
            "type": self.labels[index],
            "batch_shares": tokens,
            "batch_document_shares": documents,
            "type_odds": odds,
            "type_document_odds": document_odds,
        }

    def _shares(self, draws: NDArray[np.float64]) -> tuple[dict[str, float], dict[str, float]]:
        """Shares of the tags among the tokens drawn, and means of the shares in each document.

        Documents without a labelled token have no shares, and do not count in the mean.
        """
        tags = tag_names(self.labels)
        tokens = draws @ self.counts
        labelled = self.counts.sum(axis=1)
        rows = labelled > 0
        in_document = self.counts[rows] / labelled[rows, None]
        documents = draws[rows] @ in_document / draws[rows].sum()
        return (
            dict(zip(tags, (tokens / tokens.sum()).tolist(), strict=True)),
            dict(zip(tags, documents.tolist(), strict=True)),
        )
