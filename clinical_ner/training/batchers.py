"""The registered batchers, which draw documents at other rates than the corpus holds them.

What they say of it (``tags.batch_sampling.BatchSampling``) is in ``user_data`` of each gold
document of a batch from just before the batch is yielded, so batches must be used one by one, as
spaCy's loop does. A batcher lives as long as the training, and so do its queues: an epoch goes on
where the last one ended. It holds all examples of an epoch in memory, so it cannot serve an endless
stream.
"""

import random
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import ClassVar

import numpy as np
from spacy.tokens import Doc
from spacy.training import Example

from ..errors import check_choice, check_numbers, number
from ..tags.batch_sampling import BATCH_SAMPLING, BatchSampling
from .sampling import RATES, CorpusCounts

#: Row numbers of the documents of a batch, and what to say of it.
Draw = tuple[list[int], BatchSampling]


@dataclass(kw_only=True, eq=False)
class SamplingBatcher(ABC):
    """What the batchers share: knowing the documents again, and telling how they are drawn.

    Documents are known by the identity of their gold Doc, since spaCy shuffles its list of examples
    before every epoch. When others come, queues and counts start again, the generator goes on.
    Documents without tokens are left out, and one that is given twice counts once.
    """

    #: What messages call the batcher.
    registered_name: ClassVar[str]

    size: int = number(least=1)
    tolerance: float = number(0.2, least=0)
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the settings."""
        check_numbers(self)
        self._random = random.Random(self.seed)
        # They are kept, not only their identities, which would be given to other objects.
        self._documents: dict[int, Doc] | None = None
        self._words: list[int] = []

    def __call__(self, examples: Iterable[Example]) -> Iterator[list[Example]]:
        """Batches of one epoch; all examples are read before the first."""
        given = {id(example.reference): example for example in examples if len(example.predicted)}
        if self._documents is None or given.keys() != self._documents.keys():
            # A corpus that is refused, half way perhaps, must not be taken for a known one.
            self._documents = None
            corpus = CorpusCounts.of(list(given.values()), batcher=self.registered_name)
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
        while words < self.size:
            if not queue and more is not None:
                queue.extend(more())
            position = next((i for i, row in enumerate(queue) if row not in batch), None)
            if position is None:
                break
            longer = words + self._words[queue[position]]
            if batch and longer > self.size * (1.0 + self.tolerance):
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


@dataclass
class _Pool:
    """The documents that hold a type, and how much of them was drawn.

    Attributes:
        sampling: one object for all batches: the component knows by it that a batch was drawn as
            one.
    """

    rows: list[int]
    share: float
    sampling: BatchSampling
    queue: deque[int] = field(default_factory=deque)
    words: int = 0


@dataclass(kw_only=True, eq=False)
class EntityBatcher(SamplingBatcher):
    """Batches that are for one entity type each.

    The documents of a batch are drawn among those that hold its type, so a document without
    entities is never drawn. Types take turns: the next is that which is furthest behind its share
    of the words drawn so far. The documents of a type come in shuffled rounds, so that in the long
    run all of them are drawn equally often. An epoch draws as many words as the corpus has; what
    one draws too many, the next draws less.

    Register name: ``clinical_ner.batch_by_entity.v1`` (``@batchers``).

    Attributes:
        size: words (tokens) of a batch, at least 1. Documents are added until it is reached; a
            batch is smaller if the next document is too long for it or all documents of the type
            are in it, and larger only by what ``tolerance`` allows, or if a single document is.
        tolerance: share of ``size`` by which a batch of several documents may exceed it, >= 0.
        rates: shares of the types in the words drawn: uniform, or proportional to the type's number
            of labelled tokens, or to the root (sqrt) of that.
        seed: of the batcher's own generator. Equal seeds, and documents in equal order, give equal
            batches.

    Raises:
        ClinicalNerError: a setting outside its range; when called, no entity in the data, or a type
            whose documents have no other token.
    """

    registered_name: ClassVar[str] = "clinical_ner.batch_by_entity.v1"

    rates: str = "uniform"

    def __post_init__(self) -> None:
        """Check the settings."""
        super().__post_init__()
        check_choice("rates", self.rates, RATES)

    def _start(self, corpus: CorpusCounts) -> None:
        shares = corpus.type_shares(self.rates)
        draws = corpus.draws_per_word(shares)
        self._pools = [
            _Pool(
                np.flatnonzero(corpus.type_counts[:, index]).tolist(),
                share=float(shares[index]),
                sampling=corpus.type_sampling(draws, index),
            )
            for index in np.flatnonzero(shares).tolist()
        ]
        self._too_many = 0

    def _epoch(self) -> Iterator[Draw]:
        left = sum(self._words) - self._too_many
        self._too_many = 0
        while left > 0:
            pool = self._furthest_behind()
            shuffled = partial(self._random.sample, pool.rows, len(pool.rows))
            rows = self._fill(pool.queue, shuffled)
            words = sum(self._words[row] for row in rows)
            pool.words += words
            left -= words
            # Before the yield, after which an epoch may be given up.
            self._too_many = max(0, -left)
            yield rows, pool.sampling

    def _furthest_behind(self) -> _Pool:
        """The type that lacks most words of its share; one of them by chance if there are more."""
        drawn = sum(pool.words for pool in self._pools)
        behind = [pool.share * drawn - pool.words for pool in self._pools]
        most = max(behind)
        return self._random.choice(
            [pool for pool, words in zip(self._pools, behind, strict=True) if words == most]
        )


@dataclass(kw_only=True, eq=False)
class BalancedBatcher(SamplingBatcher):
    """Batches in which a document is drawn more often, the rarer its rarest entity type is.

    An epoch is expected to draw as many words as the corpus has. It draws each document as often as
    expected, rounded down or up at random (systematic resampling: Kitagawa 1996, Journal of
    Computational and Graphical Statistics 5; Carpenter et al. 1999, IEE Proceedings F 146), in
    shuffled order, but never twice in a batch. Further settings: see
    ``EntityBatcher``.

    Register name: ``clinical_ner.batch_balanced.v1`` (``@batchers``).

    Attributes:
        power: p in [0, 1] of the rate (1 / share of documents that hold the type)^p; 0 draws all
            documents alike. See ``CorpusCounts.document_rates``.

    Raises:
        ClinicalNerError: a setting outside its range; when called, no entity in the data.
    """

    registered_name: ClassVar[str] = "clinical_ner.batch_balanced.v1"

    power: float = number(0.5, least=0, most=1)

    def _start(self, corpus: CorpusCounts) -> None:
        rates = corpus.document_rates(self.power)
        self._expected = rates * (sum(corpus.words) / float(rates @ corpus.words))
        self._sampling = corpus.batch_sampling(rates)

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


#: The names in setup.cfg, after those of spaCy's own batchers.
configure_batch_by_entity = EntityBatcher
configure_batch_balanced = BalancedBatcher
