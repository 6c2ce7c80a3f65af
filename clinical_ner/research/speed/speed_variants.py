"""What the benchmark of speed runs: the encoder alone, our pipeline, and what else there is."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from itertools import product
from pathlib import Path
from typing import Any

import spacy
from spacy.language import Language
from spacy_transformers.layers import TransformerModel

from ...errors import InputError
from ...model.windows.window_settings import longest_window
from ...model.windows.windowed_transformer import WindowedTransformer
from ...pipeline.recognizer import ClinicalNer
from .speed import BARE, NO_CONTEXT, OPTIMIZED, OURS, SIDE_BY_SIDE, SPACY_NER, hugging_face_key
from .speed_rivals import (
    MAX_BATCH_ITEMS,
    STRIDE,
    WINDOW,
    HuggingFaceNer,
    check_spacy_ner,
    untrained_ner,
    use_strided_spans,
)
from .speed_windows import bare_forward, encoder_batches

#: Chunks in a batch of Hugging Face's pipeline: its default, and that of its examples.
BATCH_SIZES = (1, 8)
BARE_TITLES = {
    BARE: "(a) encoder alone, context {context}",
    SIDE_BY_SIDE: "(a1) encoder alone, calls side by side",
    NO_CONTEXT: "(a0) encoder alone, context {context}",
}


@dataclass(frozen=True)
class Variant:
    """Something whose speed is measured.

    key: what results are kept under.
    title: for tables.
    prepare: gives what is timed, for some texts; whatever is done before does not count.
    entities: the number of entities of each text, read from a stream; None for an encoder alone.
    settings: for the record.
    """

    key: str
    title: str
    prepare: Callable[[Sequence[str]], Callable[[], Any]]
    entities: Callable[[Iterable[str]], Iterator[int]] | None = None
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Sources:
    """Which pipelines are compared, by folder or package.

    model: ours, with a windowed transformer.
    spacy_ner: a trained pipeline of spaCy's ner; None for one with an untrained head.
    optimized: ours with a faster encoder, or any pipeline; None for none.
    seed: of the untrained head.
    """

    model: str
    spacy_ner: str | None = None
    optimized: str | None = None
    seed: int = 0

    def to_dict(self) -> dict[str, Any]:
        """For another process."""
        return asdict(self)


def load(model: str) -> Language:
    """Load a pipeline that is known to be one."""
    is_folder = (Path(model) / "config.cfg").is_file()
    return spacy.load(Path(model) if is_folder else model)


class Variants:
    """Builds the variants; every pipeline is loaded when it is first needed, and shared.

    sources: the pipelines.
    load: from a folder or package to its pipeline.
    """

    def __init__(self, sources: Sources, *, load: Callable[[str], Language] = load) -> None:
        self._sources = sources
        self._load = load

    @cached_property
    def nlp(self) -> Language:
        """Our pipeline."""
        return self._load(self._sources.model)

    @cached_property
    def transformer(self) -> WindowedTransformer:
        """The transformer of our pipeline.

        RAISES ClinicalNerError: it has none, or one of another architecture.
        """
        model, found = self._sources.model, self._parts(TransformerModel)
        windowed = [part for part in found if isinstance(part, WindowedTransformer)]
        if not found:
            components = ", ".join(self.nlp.pipe_names) or "none"
            raise InputError(
                f"{model}: has no transformer component, whose speed is the measure of all else "
                f"(components: {components}). Name a pipeline that has one."
            )
        if len(windowed) != 1:
            raise InputError(
                f"{model}: its transformer is not a clinical_ner.WindowedTransformer.v1, over "
                "whose windows the encoder is measured. Name a pipeline that has one; "
                "--optimized takes any pipeline."
            )
        return windowed[0]

    @cached_property
    def recognizer(self) -> ClinicalNer:
        """The recognizer of our pipeline.

        RAISES ClinicalNerError: it has none, more than one, or one that is not trained.
        """
        found = [pipe for _, pipe in self.nlp.pipeline if isinstance(pipe, ClinicalNer)]
        if len(found) != 1 or not found[0].is_initialized:
            components = ", ".join(self.nlp.pipe_names) or "none"
            raise InputError(
                f"{self._sources.model}: needs one trained clinical_ner component, whose labels "
                f"the others get (components: {components}). Name a pipeline that has one."
            )
        return found[0]

    def available(self) -> list[str]:
        """The variants that there are, the ceiling first."""
        keys = [BARE, SIDE_BY_SIDE, NO_CONTEXT, OURS, SPACY_NER, *self._hugging_face()]
        return keys + ([OPTIMIZED] if self._sources.optimized is not None else [])

    def build(self, key: str) -> Variant:
        """Build one, and load what it needs.

        RAISES ClinicalNerError: a pipeline lacks what the variant needs.
        """
        if key in BARE_TITLES:
            return self._bare(key)
        if key == OURS:
            return _pipeline(key, "(b) ours", self.nlp)
        if key == SPACY_NER:
            return self._spacy_ner()
        if key == OPTIMIZED and self._sources.optimized is not None:
            return _pipeline(key, "(e) ours, optimized", self._load(self._sources.optimized))
        return self._hugging_face_ner(key)

    def _parts(self, kind: type) -> list[Any]:
        """The models of a kind in the components of our pipeline."""
        models = [getattr(pipe, "model", None) for _, pipe in self.nlp.pipeline]
        return [model for model in models if isinstance(model, kind)]

    def _bare(self, key: str) -> Variant:
        model = self.transformer
        context = 0 if key == NO_CONTEXT else model.settings.context

        at_a_time = key == SIDE_BY_SIDE

        def prepare(texts: Sequence[str]) -> Callable[[], None]:
            batches, _ = encoder_batches(self.nlp, model, texts, context=context, small=at_a_time)
            return bare_forward(model, batches, at_a_time=at_a_time)

        title = BARE_TITLES[key].format(context=context)
        settings = {**asdict(model.settings), "context": context}
        return Variant(key, title, prepare, settings=settings)

    def _spacy_ner(self) -> Variant:
        trained = self._sources.spacy_ner
        if trained is None:
            nlp = untrained_ner(
                self.nlp, self.transformer, self.recognizer.labels, seed=self._sources.seed
            )
        else:
            nlp = self._load(trained)
            use_strided_spans(nlp, *check_spacy_ner(nlp, trained))
        settings = {"window": WINDOW, "stride": STRIDE, "max_batch_items": MAX_BATCH_ITEMS}
        title = f"(c) spaCy's ner, strided spans {WINDOW}/{STRIDE}"
        return _pipeline(SPACY_NER, title, nlp, **settings, trained=trained is not None)

    def _hugging_face(self) -> dict[str, tuple[int, int]]:
        """Lengths and batch sizes: as long as the encoder allows, and as long as our windows."""
        model = self.transformer
        places = longest_window(model.tokenizer, model.transformer)
        own = model.settings.max_wordpieces
        lengths = dict.fromkeys([own if places is None else places, own])
        return {hugging_face_key(*pair): pair for pair in product(lengths, BATCH_SIZES)}

    def _hugging_face_ner(self, key: str) -> Variant:
        length, batch_size = self._hugging_face()[key]
        settings = {
            "length": length,
            "stride": 2 * self.transformer.settings.context,
            "batch_size": batch_size,
        }
        rival = HuggingFaceNer(self.transformer, self.recognizer, **settings)
        return Variant(
            key,
            f"(d) Hugging Face, chunks of {length}, batches of {batch_size}",
            lambda texts: lambda: list(rival.pipe(texts)),
            lambda texts: map(len, rival.pipe(texts)),
            settings,
        )


def _pipeline(key: str, title: str, nlp: Language, **settings: Any) -> Variant:
    """From text to entities with a pipeline of spaCy."""
    return Variant(
        key,
        title,
        lambda texts: lambda: list(nlp.pipe(texts)),
        lambda texts: (len(doc.ents) for doc in nlp.pipe(texts)),
        {"batch_size": nlp.batch_size, **settings},
    )
