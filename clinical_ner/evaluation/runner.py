"""The one way to run a pipeline over annotated documents, with a stop at its recognizer."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple

from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.util import minibatch

from ..decoding.decision import Decoded
from ..pipeline.annotation import blocked_tokens
from ..pipeline.recognizer import ClinicalNer
from ..types import LogProbs


class Recognized(NamedTuple):
    """What a recognizer made of a document.

    Attributes:
        doc: the tokens and entities that it got, without the rest that earlier components made.
        log_probs: as its ``predict`` gives them, on the CPU. *Shape:* ``(len(doc), K)``.
        decoded: the entities of its own decision that it put into ``doc.ents``; with ``overlaps``
            all that it found.
    """

    doc: Doc
    log_probs: LogProbs
    decoded: Decoded


class Runner:
    """Runs a pipeline over the texts of annotated documents.

    The probabilities are those that the recognizer decodes in that pass. To ask it again afterwards
    would search its neighbours twice, and would find the output of the transformer gone where a
    later component cleans it away.

    Attributes:
        component: the recognizer whose probabilities are kept, None where there is not one; see
            ``recognizer_of``.
        seconds: wall time of the pipeline so far, from text to entities.
    """

    def __init__(self, nlp: Language) -> None:
        found = recognizer_of(nlp)
        self.component = None if found is None else found[1]
        self.seconds = 0.0
        self._nlp = nlp
        self._name = None if found is None else found[0]
        self._recognized: deque[Recognized] = deque()

    def run(
        self,
        references: Sequence[Doc],
        *,
        track: Callable[[Iterable[Doc]], Iterable[Doc]] = iter,
    ) -> Iterator[tuple[Doc, Doc, Recognized | None]]:
        """Yield each reference, its prediction, and what the recognizer made of it.

        They are handed on one by one, since the transformer's output that a document may carry
        would fill the memory if all were kept.
        """
        predictions = self._predictions(references)
        for reference in track(references):
            start = time.perf_counter()
            predicted = next(predictions)
            self.seconds += time.perf_counter() - start
            yield reference, predicted, self._recognized.popleft() if self.component else None

    def _predictions(self, references: Sequence[Doc]) -> Iterator[Doc]:
        if self._name is None:
            return self._nlp.pipe(unannotated(self._nlp, reference) for reference in references)
        before = before_recognizer(self._nlp, self._name, references)
        earlier = self._nlp.pipe_names[: self._nlp.pipe_names.index(self._name) + 1]
        return self._nlp.pipe(self._recognize(before), disable=earlier)

    def _recognize(self, docs: Iterable[Doc]) -> Iterator[Doc]:
        """What ``ClinicalNer.pipe`` does, and keep what it saw and made."""
        component = self.component
        assert component is not None
        for batch in minibatch(docs, self._nlp.batch_size):
            scores = component.predict(batch)
            start = time.perf_counter()
            seen = [
                (bare(doc), component.model.ops.to_numpy(rows))
                for doc, rows in zip(batch, scores, strict=True)
            ]
            decoding = time.perf_counter()
            component.set_annotations(batch, scores)
            decoded = time.perf_counter()
            for (before, log_probs), doc in zip(seen, batch, strict=True):
                annotator = component.annotator
                made = annotator.found(doc) if component.overlaps else annotator.made(doc)
                self._recognized.append(Recognized(before, log_probs, made))
            # The time of keeping is not the pipeline's.
            self.seconds -= time.perf_counter() - decoded + decoding - start
            yield from batch


def before_recognizer(nlp: Language, name: str, references: Iterable[Doc]) -> Iterator[Doc]:
    """The documents as a recognizer gets them: the components before it ran on gold's texts."""
    from_here = nlp.pipe_names[nlp.pipe_names.index(name) :]
    return nlp.pipe((unannotated(nlp, of) for of in references), disable=from_here)


def recognizer_of(nlp: Language) -> tuple[str, ClinicalNer] | None:
    """The component whose probabilities are scored, and its name.

    Returns:
        None if no component, or more than one, is a ``ClinicalNer`` with a posterior: then there is
        not one p(tag | text) that the entities come from.
    """
    found = [
        (name, component)
        for name, component in nlp.pipeline
        if isinstance(component, ClinicalNer) and component.loss.has_posterior
    ]
    return found[0] if len(found) == 1 else None


def sets_entities_later(nlp: Language, name: str) -> str | None:
    """The first component after ``name`` that declares to set ``doc.ents``, None without one."""
    later = nlp.pipe_names[nlp.pipe_names.index(name) + 1 :]
    return next((other for other in later if "doc.ents" in nlp.get_pipe_meta(other).assigns), None)


def unannotated(nlp: Language, reference: Doc) -> Doc:
    """Tokenize the text, or take gold's words where the spaces between them are unknown."""
    if not reference.has_unknown_spaces:
        return nlp.make_doc(reference.text)
    words = [token.text for token in reference]
    return Doc(nlp.vocab, words=words, spaces=[bool(t.whitespace_) for t in reference])


def bare(doc: Doc) -> Doc:
    """The tokens and entities of a document, without the output of the other components."""
    copy = Doc(doc.vocab, words=[t.text for t in doc], spaces=[bool(t.whitespace_) for t in doc])
    copy.set_ents(
        [Span(copy, ent.start, ent.end, label=ent.label_) for ent in doc.ents],
        blocked=[copy[i : i + 1] for i in blocked_tokens(doc)],
    )
    return copy
