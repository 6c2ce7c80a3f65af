"""Batchers that draw documents at other rates than the corpus holds them, and say so.

What they say (``tags.batch_sampling.BatchSampling``) is in ``user_data`` of each gold document of a
batch from just before the batch is yielded, so batches must be used one by one, as spaCy's loop
does. A batcher lives as long as the training, and so do its queues: an epoch goes on where the last
one ended. It holds all examples of an epoch in memory, so it cannot serve an endless stream.
"""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from spacy.tokens import Doc
from spacy.training import Example

from ..errors import check_choice, check_number
from ..tags.batch_sampling import BATCH_SAMPLING, BatchSampling
from .sampling import (
    RATES,
    CorpusCounts,
    batch_sampling,
    count_corpus,
    document_rates,
    draws_per_word,
    type_sampling,
    type_shares,
)

Batcher = Callable[[Iterable[Example]], Iterator[list[Example]]]
#: Row numbers of the documents of a batch, and what to say of it.
Draw = tuple[list[int], BatchSampling]


class SamplingBatcher(ABC):
    """What the batchers share: knowing the documents again, and telling how they are drawn.

    Documents are known by the identity of their gold Doc, since spaCy shuffles its list of examples
    before every epoch. When others come, queues and counts start again, the generator goes on.
    Documents without tokens are left out, and one that is given twice counts once.
    """

    #: What messages call the batcher.
    registered_name: str

    def __init__(self, *, size: int, tolerance: float, seed: int) -> None:
        check_number("size", size, least=1)
        check_number("tolerance", tolerance, least=0)
        self._size = size
        self._limit = size * (1.0 + tolerance)
        self._random = random.Random(seed)
        # They are kept, not only their identities, which would be given to other objects.
        self._documents: dict[int, Doc] | None = None
        self._words: list[int] = []

    def __call__(self, examples: Iterable[Example]) -> Iterator[list[Example]]:
        """Batches of one epoch; all examples are read before the first."""
        given = {id(example.reference): example for example in examples if len(example.predicted)}
        if self._documents is None or given.keys() != self._documents.keys():
            # A corpus that is refused, half way perhaps, must not be taken for a known one.
            self._documents = None
            corpus = count_corpus(list(given.values()), batcher=self.registered_name)
            self._words = corpus.words
            self._start(corpus)
            self._documents = {key: example.reference for key, example in given.items()}
        keys = list(self._documents)
        for rows, sampling in self._epoch():
            batch = [given[keys[row]] for row in rows]
            for example in batch:
                example.reference.user_data[BATCH_SAMPLING] = sampling
            yield batch

    def _fill(
        self, queue: deque[int], more: Callable[[], Sequence[int]] | None = None
    ) -> list[int]:
        """Take the documents of a batch out of a queue, in its order, each at most once.

        A document that is in the batch already, or too long for it, stays where it is in the queue,
        so the next batch takes it first.

        Args:
            queue: row numbers; emptied only together with what ``more`` gives.
            more: gives further row numbers when the queue is empty.
        """
        batch: list[int] = []
        words = 0
        while words < self._size:
            if not queue and more is not None:
                queue.extend(more())
            position = next((i for i, row in enumerate(queue) if row not in batch), None)
            if position is None:
                break
            longer = words + self._words[queue[position]]
            if batch and longer > self._limit:
                break
            batch.append(queue[position])
            del queue[position]
            words = longer
        return batch

    @abstractmethod
    def _start(self, corpus: CorpusCounts) -> None:
        """Prepare for drawing from other documents."""

    @abstractmethod
    def _epoch(self) -> Iterator[Draw]:
        """Draw the batches of an epoch."""


class _Pool:
    """The documents that hold a type, and how much of them was drawn."""

    def __init__(
        self, rows: list[int], *, share: float, sampling: BatchSampling, generator: random.Random
    ) -> None:
        self.rows = rows
        self.share = share
        # One object for all batches: the component knows by it that a batch was drawn as one.
        self.sampling = sampling
        self.queue: deque[int] = deque()
        self.words = 0
        self._random = generator

    def next_round(self) -> list[int]:
        """All documents, shuffled."""
        return self._random.sample(self.rows, len(self.rows))


class EntityBatcher(SamplingBatcher):
    """See ``configure_batch_by_entity``."""

    registered_name = "clinical_ner.batch_by_entity.v1"

    def __init__(self, *, size: int, tolerance: float, rates: str, seed: int) -> None:
        super().__init__(size=size, tolerance=tolerance, seed=seed)
        check_choice("rates", rates, RATES)
        self._rates = rates
        self._pools: list[_Pool] = []
        self._drawn = 0
        self._too_many = 0

    def _start(self, corpus: CorpusCounts) -> None:
        shares = type_shares(corpus, self._rates)
        draws = draws_per_word(corpus, shares)
        self._pools = [
            _Pool(
                np.flatnonzero(corpus.type_counts[:, index]).tolist(),
                share=float(shares[index]),
                sampling=type_sampling(corpus, draws, index),
                generator=self._random,
            )
            for index in np.flatnonzero(shares).tolist()
        ]
        self._drawn = 0
        self._too_many = 0

    def _epoch(self) -> Iterator[Draw]:
        left = sum(self._words) - self._too_many
        self._too_many = 0
        while left > 0:
            pool = self._furthest_behind()
            rows = self._fill(pool.queue, pool.next_round)
            words = sum(self._words[row] for row in rows)
            pool.words += words
            self._drawn += words
            left -= words
            # Before the yield, after which an epoch may be given up.
            self._too_many = max(0, -left)
            yield rows, pool.sampling

    def _furthest_behind(self) -> _Pool:
        """The type that lacks most words of its share; one of them by chance if there are more."""
        behind = [pool.share * self._drawn - pool.words for pool in self._pools]
        most = max(behind)
        return self._random.choice(
            [pool for pool, words in zip(self._pools, behind, strict=True) if words == most]
        )


class BalancedBatcher(SamplingBatcher):
    """See ``configure_batch_balanced``."""

    registered_name = "clinical_ner.batch_balanced.v1"
    _sampling: BatchSampling

    def __init__(self, *, size: int, tolerance: float, power: float, seed: int) -> None:
        super().__init__(size=size, tolerance=tolerance, seed=seed)
        check_number("power", power, least=0, most=1)
        self._power = power
        self._expected = np.zeros(0)

    def _start(self, corpus: CorpusCounts) -> None:
        rates = document_rates(corpus, self._power)
        self._expected = rates * (corpus.total_words / float(rates @ corpus.words))
        self._sampling = batch_sampling(corpus, rates)

    def _epoch(self) -> Iterator[Draw]:
        queue = deque(self._draw())
        while queue:
            yield self._fill(queue), self._sampling

    def _draw(self) -> list[int]:
        """Row numbers of an epoch in shuffled order, each as often as expected, rounded."""
        rows = self._random.sample(range(len(self._expected)), len(self._expected))
        # Marks at distance 1 from a random start, on a line of which each document has a stretch as
        # long as its expected draws.
        marks = np.floor(np.cumsum(self._expected[rows]) + self._random.random()).astype(int)
        drawn = np.repeat(rows, np.diff(marks, prepend=0)).tolist()
        self._random.shuffle(drawn)
        return drawn
