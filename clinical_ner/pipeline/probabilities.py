"""From a Doc to probabilities: of its tokens' tags, of the entities, and of any span."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from spacy.tokens import Doc
from thinc.types import Floats2d

from ..arrays import log_softmax
from ..decoding.decision import Decision, Decoded
from ..decoding.decode import EntityStep, decode_all
from ..decoding.document_lattice import Candidate, DocumentLattice
from ..errors import (
    ConfigError,
    check_number,
    close_matches,
    no_posterior,
    not_initialized,
)
from ..tags.encode import taggable
from ..types import LogProbs
from .storage import StoredRecognizer


class ProbableEntities(StoredRecognizer):
    """The part of ``ClinicalNer`` that gives probabilities, and entities with them."""

    @property
    def labels(self) -> tuple[str, ...]:
        """The entity types, in the order of their tags."""
        return tuple(self.cfg["labels"])

    @property
    def is_initialized(self) -> bool:
        """Whether the tag counts, and with them the size of the head, are known."""
        return self.statistics.total > 0

    def predict(self, docs: Iterable[Doc]) -> list[LogProbs]:
        """Log-probabilities log p(tag | text) of each document's tokens, calibrated if possible.

        Returns:
            One array per document. *Shape of each:* ``(len(doc), K)``.

        Raises:
            ClinicalNerError: the component is not initialized.
        """
        docs = list(docs)
        if not self.is_initialized:
            raise not_initialized(self.name)
        if not any(len(doc) for doc in docs):
            return [np.zeros((0, len(self.statistics.counts)), dtype="float32") for _ in docs]
        return self.log_probs(self.token_vectors(docs))

    def token_vectors(self, docs: Sequence[Doc]) -> list[Floats2d]:
        """What the head sees of each document. *Shape of each:* ``(len(doc), width)``.

        Of a document that has lost what the model listens to, or never had it, the components
        before this one make it again on a copy.

        Raises:
            ClinicalNerError: they do not, for instance since they are disabled.
        """
        complete = [self._access.complete(doc, self) for doc in docs]
        return self.model.get_ref("tok2vec").predict(complete)

    def log_probs(self, vectors: list[Floats2d]) -> list[LogProbs]:
        """The chain from token vectors to log p(tag | text), as ``predict`` returns it.

        Args:
            vectors: of each document; see ``token_vectors``.
        """
        ops = self.model.ops
        log_probs = [self._empirical(logits) for logits in self.model.layers[-1].predict(vectors)]
        if self.neighbours is not None:
            # The search is on the CPU.
            mixed = self.neighbours.mix(
                ops.to_numpy(ops.flatten(log_probs)), ops.to_numpy(ops.flatten(vectors))
            )
            lengths = ops.asarray1i([len(rows) for rows in vectors])
            log_probs = ops.unflatten(ops.asarray(mixed), lengths)
        if self.calibration is not None:
            log_probs = [
                self.calibration.tokens.apply(rows) if len(rows) else rows for rows in log_probs
            ]
        return log_probs

    @property
    def decision(self) -> Decision:
        """The present decision."""
        prior = self.statistics.smoothed_prior(self.prior_smoothing)
        return Decision(self.prior_strength, self.thresholds, prior)

    @property
    def entity_step(self) -> EntityStep | None:
        """What the calibration does to the probabilities of entities, None where nothing."""
        if self.calibration is None or self.calibration.entities is None:
            return None
        return self.calibration.entities.apply

    def decode_all(self, docs: Sequence[Doc], log_probs: Sequence[LogProbs]) -> Iterator[Decoded]:
        """Entities of documents under the present decision, and their probabilities.

        Args:
            docs: the documents.
            log_probs: what ``predict`` gave for them. *Shape of each:* ``(len(doc), K)``.

        Yields:
            One after the other; those of the next ones are computed together.
        """
        return decode_all(
            [self.model.ops.to_numpy(rows) for rows in log_probs],
            [taggable(doc) for doc in docs],
            self.labels,
            self.decision,
            entity_step=self.entity_step,
            scored=self.loss.has_posterior,
        )

    def span_probability(self, doc: Doc, start: int, end: int, label: str) -> float:
        """P(exactly this span is an entity with this label | text), of the lattice.

        It is exact under the tokens' probabilities, whichever span is asked for. What an entity
        shows as its probability has, in a calibrated pipeline, another step behind it: that of the
        entities, which are chosen for being probable.

        Args:
            doc: any document; where it does not hold what the model needs, as after a round trip
                through bytes, the components before this one run on its tokens again.
            start: first token and one past the last.
            end: see `start`.
            label: the entity type.

        Returns:
            0 for a span that begins or ends with whitespace, which no entity does.

        Raises:
            ClinicalNerError: no such span or label, the loss has no posterior, or the document can
                not be run again.
        """
        if not 0 <= start < end <= len(doc):
            raise ConfigError(
                f"Tokens {start} to {end} are not a span of a document of {len(doc)} tokens."
            )
        if label not in self.labels:
            hint = close_matches(label, self.labels)
            raise ConfigError(f"Component '{self.name}' has no label '{label}'. {hint}")
        return self._lattice_of(doc).probability(start, end, label)

    def candidates(self, doc: Doc, min_probability: float = 0.05) -> list[Candidate]:
        """Every span with at least this probability, whether it was made an entity or not.

        Spans of the list may overlap; the probabilities of those that share a token sum to at most
        1. See ``span_probability`` for what they are, and for documents.

        Args:
            doc: the document.
            min_probability: in (0, 1].

        Returns:
            In the order of their starts, at one start by label, then by end.

        Raises:
            ClinicalNerError: see ``span_probability``, or min_probability out of range.
        """
        check_number("min_probability", min_probability, above=0, most=1)
        return self._lattice_of(doc).candidates(min_probability)

    def _lattice_of(self, doc: Doc) -> DocumentLattice:
        if not self.loss.has_posterior:
            raise no_posterior(type(self.loss).__name__)
        lattice = self._access.lattice(doc)
        if lattice is None:
            (log_probs,) = self.predict([self._access.complete(doc, self)])
            on_cpu = self.model.ops.to_numpy(log_probs)
            lattice = DocumentLattice.of(taggable(doc), on_cpu, self.labels)
            self._access.keep(doc, lattice)
        return lattice

    def _empirical(self, logits: Floats2d) -> LogProbs:
        """Undo what the loss and the sampling did. *Shape:* ``(n, K)``."""
        if len(logits) == 0:
            return logits
        xp = self.model.ops.xp
        if not self.loss.has_posterior:
            possible = logits.copy()
            possible[:, xp.asarray(~self.statistics.seen)] = -np.inf
            return log_softmax(possible)
        log_probs = log_softmax(self.loss.posterior_logits(logits))
        shares = self.loss.training_odds()
        if shares is None:
            return log_probs
        shift = self.statistics.sampling_shift(shares)
        return log_softmax(log_probs + xp.asarray(shift, dtype=log_probs.dtype))
