"""A pipeline that annotates texts of any origin, and says of each what became of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

from spacy.language import Language
from spacy.tokens import Doc

from ..errors import ConfigError, check_number, close_matches, no_posterior
from ..pipeline.loading import load_pipeline, only_recognizer
from ..pipeline.recognizer import ClinicalNer

OK, EMPTY, ERROR = "ok", "empty", "error"
#: Batches after which their words are forgotten. Words that notes share are made again then, which
#: after every batch would cost a small model a sixth of its speed.
ZONE = 16


class Entity(NamedTuple):
    """An entity of a note.

    Attributes:
        start: its first character, counted in code points of the text.
        end: one past its last character.
        label: its type.
        probability: None if what made it gives none.
    """

    start: int
    end: int
    label: str
    probability: float | None


class Annotated(NamedTuple):
    """What became of a text.

    Attributes:
        status: "ok", "empty" (nothing but whitespace, or no text at all) or "error".
        error: the type of the exception, whose message could quote the note; None without one.
        entities: by start; none unless the status is "ok".
        words: number of tokens.
        measured: what a subclass of `TextAnnotator` tells beside; None without it.
    """

    status: str
    error: str | None = None
    entities: tuple[Entity, ...] = ()
    words: int = 0
    measured: Any = None


@dataclass(frozen=True)
class Settings:
    """What is asked of a pipeline, beside what it does by itself.

    Attributes:
        labels: those that are kept; empty for all.
        min_probability: entities below it are dropped.
        prior_strength: in place of the pipeline's, None to keep that; see ``Decision``.
        thresholds: of labels, in place of all of the pipeline's; None to keep those.
        batch_size: texts that the pipeline gets at a time; 0: as many as it says.
    """

    labels: tuple[str, ...] = ()
    min_probability: float = 0.0
    prior_strength: float | None = None
    thresholds: tuple[tuple[str, float], ...] | None = None
    batch_size: int = 0

    def __post_init__(self) -> None:
        """Check the numbers."""
        check_number("min_probability", self.min_probability, least=0, most=1)
        check_number("batch_size", self.batch_size, least=0, integer=True)


class TextAnnotator:
    """A loaded pipeline under some settings.

    Attributes:
        nlp: the pipeline.
        name: as it is installed, such as "en_clinical_ner".
        version: of the model.
        labels: those that its components may give.

    Raises:
        ClinicalNerError: the pipeline cannot be loaded, lacks a label, or cannot do what is asked.
    """

    def __init__(self, model: str | Path, settings: Settings) -> None:
        self.nlp = load_pipeline(model)
        self.name = f"{self.nlp.meta['lang']}_{self.nlp.meta['name']}"
        self.version = str(self.nlp.meta["version"])
        self._settings = settings
        self._recognizers = [of for _, of in self.nlp.pipeline if isinstance(of, ClinicalNer)]
        self.labels = {of for _, pipe in self.nlp.pipeline for of in getattr(pipe, "labels", ())}
        for label in settings.labels:
            if label not in self.labels:
                known = close_matches(label, self.labels)
                raise ConfigError(f"{model}: has no label {label!r}. {known}")
        _configure(self.nlp, model, settings, self._recognizers)

    def annotate(self, texts: Sequence[object]) -> list[Annotated]:
        """Annotate texts, each on its own: one that fails leaves the others as they are.

        Args:
            texts: of any length. None and NaN are texts that are empty; of another type is an error
                of that text.

        Returns:
            One for each text, in their order.
        """
        found = [_without_pipeline(text) for text in texts]
        rows = [row for row, of in enumerate(found) if of is None]
        size = self._settings.batch_size or self.nlp.batch_size
        batches = (rows[start : start + size] for start in range(0, len(rows), size))
        while some := list(islice(batches, ZONE)):
            # What notes add to the vocabulary is forgotten, or it would grow with every note.
            with self.nlp.memory_zone():
                for batch in some:
                    made = self._annotate([str(texts[row]) for row in batch])
                    for row, of in zip(batch, made, strict=True):
                        found[row] = of
        return [of for of in found if of is not None]

    def _annotate(self, batch: list[str]) -> list[Annotated]:
        try:
            return [self.read(doc) for doc in self.nlp.pipe(batch, batch_size=len(batch))]
        except Exception as error:
            if len(batch) == 1:
                return [Annotated(ERROR, type(error).__name__)]
        return [self._annotate([text])[0] for text in batch]

    def read(self, doc: Doc) -> Annotated:
        """What is kept of a document that the pipeline annotated."""
        settings, entities = self._settings, []
        overlapping = [of for of in self._recognizers if of.overlaps]
        spans = [span for of in overlapping for span in doc.spans[of.spans_key]] or doc.ents
        for span in spans:
            values = (getattr(span._, of.probability_attribute) for of in self._recognizers)
            probability = next((value for value in values if value is not None), None)
            if probability is not None and probability < settings.min_probability:
                continue
            if not settings.labels or span.label_ in settings.labels:
                entities.append(Entity(span.start_char, span.end_char, span.label_, probability))
        return Annotated(OK, None, tuple(sorted(entities, key=lambda of: of[:3])), len(doc))


@lru_cache(maxsize=2)
def text_annotator(model: str, settings: Settings) -> TextAnnotator:
    """A pipeline that this process loads once, however often it is asked for."""
    return TextAnnotator(model, settings)


def _without_pipeline(text: object) -> Annotated | None:
    """What becomes of a text that no pipeline is needed for; None for any other."""
    # NaN is what pandas makes of a text that is missing; only it is not equal to itself.
    if text is None or (isinstance(text, float) and text != text):
        return Annotated(EMPTY)
    if not isinstance(text, str):
        return Annotated(ERROR, "TypeError")
    if not text.strip():
        return Annotated(EMPTY)
    try:
        text.encode()
    except UnicodeEncodeError:
        return Annotated(ERROR, "UnicodeEncodeError")
    return None


def _configure(
    nlp: Language, model: str | Path, settings: Settings, recognizers: Sequence[ClinicalNer]
) -> None:
    if settings.prior_strength is not None or settings.thresholds is not None:
        _, component = only_recognizer(nlp, model)
        if settings.prior_strength is not None:
            component.prior_strength = settings.prior_strength
        if settings.thresholds is not None:
            component.threshold, component.thresholds = 0.0, dict(settings.thresholds)
    if settings.min_probability:
        for of in recognizers:
            if not of.loss.has_posterior:
                raise no_posterior(type(of.loss).__name__)
        if not recognizers:
            raise ConfigError(
                f"{model}: has no component that gives probabilities, so no entity is below "
                "min_probability: leave it out."
            )
