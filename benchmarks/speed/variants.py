"""What is measured: the encoder alone, our pipeline, spaCy's ner and Hugging Face's pipeline.

The others get the weights of the encoder that our pipeline has, so that only what is around it
differs.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import spacy
import torch
from spacy.language import Language
from spacy.training import Example
from spacy_transformers.data_classes import HFObjects
from spacy_transformers.layers import TransformerModel
from spacy_transformers.layers.transformer_model import set_pytorch_transformer
from spacy_transformers.span_getters import configure_strided_spans
from thinc.api import fix_random_seed
from transformers import AutoModelForTokenClassification, pipeline
from transformers.utils import logging

from clinical_ner.errors import InputError
from clinical_ner.model.windows.window_settings import longest_window
from clinical_ner.model.windows.windowed_transformer import WindowedTransformer
from clinical_ner.pipeline.recognizer import ClinicalNer
from clinical_ner.tags.scheme import tag_names

from . import BARE, OURS, bare_forward, encoder_batches

SIDE_BY_SIDE, NO_CONTEXT = "bare_side_by_side", "bare_no_context"
SPACY_NER, OPTIMIZED, HUGGING_FACE = "spacy_ner", "optimized", "hugging_face"
BARE_TITLES = {
    BARE: "(a) encoder alone, context {context}",
    SIDE_BY_SIDE: "(a1) encoder alone, calls side by side",
    NO_CONTEXT: "(a0) encoder alone, context {context}",
}
#: Spans and largest padded batch of spacy-transformers' own config, in tokens.
WINDOW, STRIDE, MAX_BATCH_ITEMS = 128, 96, 4096
#: Chunks in a batch of Hugging Face's pipeline: its default, and that of its examples.
BATCH_SIZES = (1, 8)
#: The model of configs/recipes/spacy_ner.cfg.
NER_MODEL: dict[str, Any] = {
    "@architectures": "spacy.TransitionBasedParser.v2",
    "state_type": "ner",
    "extra_state_tokens": False,
    "hidden_width": 64,
    "maxout_pieces": 2,
    "use_upper": False,
    "tok2vec": {
        "@architectures": "spacy-transformers.TransformerListener.v1",
        "grad_factor": 1.0,
        "upstream": "*",
        "pooling": {"@layers": "reduce_mean.v1"},
    },
}


@dataclass(frozen=True)
class Variant:
    """Something whose speed is measured.

    title: for tables.
    prepare: gives what is timed, for some texts; whatever is done before does not count.
    entities: the number of entities of each text, read from a stream; None for an encoder alone.
    settings: for the record.
    """

    title: str
    prepare: Callable[[Sequence[str]], Callable[[], Any]]
    entities: Callable[[Iterable[str]], Iterator[int]] | None = None
    settings: dict[str, Any] = field(default_factory=dict)


def load(model: str) -> Language:
    """Load a pipeline by folder or package name.

    Raises:
        InputError: it cannot be loaded.
    """
    is_folder = (Path(model) / "config.cfg").is_file()
    try:
        return spacy.load(Path(model) if is_folder else model)
    except (ImportError, KeyError, OSError, ValueError) as error:
        raise InputError(
            f"{model}: cannot be loaded as a spaCy pipeline ({type(error).__name__})."
        ) from error


class Variants:
    """Builds the variants around one loaded pipeline of ours.

    Args:
        model: ours, by folder or package; with a windowed transformer and a trained recognizer.
        optimized: ours with a faster encoder, or any pipeline; None for none.
        seed: of the untrained head of spaCy's ner.

    Raises:
        InputError: a pipeline cannot be loaded, or lacks what is needed.
    """

    def __init__(self, model: str, *, optimized: str | None = None, seed: int = 0) -> None:
        self._optimized = None if optimized is None else load(optimized)
        self._seed = seed
        self.nlp = load(model)
        parts = [pipe for _, pipe in self.nlp.pipeline]
        models = [getattr(pipe, "model", None) for pipe in parts]
        windowed = [found for found in models if isinstance(found, WindowedTransformer)]
        recognizers = [p for p in parts if isinstance(p, ClinicalNer) and p.is_initialized]
        if len(windowed) != 1 or len(recognizers) != 1:
            raise InputError(
                f"{model}: needs one clinical_ner.WindowedTransformer.v1 and one trained "
                f"clinical_ner component (components: {', '.join(self.nlp.pipe_names) or 'none'}). "
                "Name a pipeline that has both; --optimized takes any pipeline."
            )
        self.transformer: WindowedTransformer = windowed[0]
        self.recognizer: ClinicalNer = recognizers[0]

    def build(self) -> dict[str, Callable[[], Variant]]:
        """What builds each variant that there is, by key, the encoder alone first."""
        builders: dict[str, Callable[[], Variant]] = {
            key: lambda key=key: self._bare(key)  # type: ignore[misc]
            for key in BARE_TITLES
        }
        builders[OURS] = lambda: _pipeline("(b) ours", self.nlp)
        builders[SPACY_NER] = self._spacy_ner
        model = self.transformer
        own = model.settings.max_wordpieces
        longest = longest_window(model.tokenizer, model.transformer) or own
        for length, size in product(dict.fromkeys([longest, own]), BATCH_SIZES):
            builders[f"{HUGGING_FACE}_{length}x{size}"] = (
                lambda length=length, size=size: self._hugging_face(length, size)  # type: ignore[misc]
            )
        if (optimized := self._optimized) is not None:
            builders[OPTIMIZED] = lambda: _pipeline("(e) ours, optimized", optimized)
        return builders

    def _bare(self, key: str) -> Variant:
        model = self.transformer
        context = 0 if key == NO_CONTEXT else model.settings.context
        at_a_time = key == SIDE_BY_SIDE

        def prepare(texts: Sequence[str]) -> Callable[[], None]:
            batches, _ = encoder_batches(self.nlp, model, texts, context=context, small=at_a_time)
            return bare_forward(model, batches, at_a_time=at_a_time)

        title = BARE_TITLES[key].format(context=context)
        return Variant(title, prepare, settings={**asdict(model.settings), "context": context})

    def _spacy_ner(self) -> Variant:
        nlp = untrained_ner(self.nlp, self.transformer, self.recognizer.labels, seed=self._seed)
        settings = {"window": WINDOW, "stride": STRIDE, "max_batch_items": MAX_BATCH_ITEMS}
        return _pipeline(f"(c) spaCy's ner, strided spans {WINDOW}/{STRIDE}", nlp, **settings)

    def _hugging_face(self, length: int, batch_size: int) -> Variant:
        # Its documentation recommends no stride; as many wordpieces as two of our windows share
        # make both read as much.
        stride = 2 * self.transformer.settings.context
        settings = {"length": length, "stride": stride, "batch_size": batch_size}
        read = hugging_face_ner(self.transformer, self.recognizer, **settings)
        return Variant(
            f"(d) Hugging Face, chunks of {length}, batches of {batch_size}",
            lambda texts: lambda: list(read(texts)),
            lambda texts: map(len, read(texts)),
            settings,
        )


def _pipeline(title: str, nlp: Language, **settings: Any) -> Variant:
    """From text to entities with a pipeline of spaCy."""
    return Variant(
        title,
        lambda texts: lambda: list(nlp.pipe(texts)),
        lambda texts: (len(doc.ents) for doc in nlp.pipe(texts)),
        {"batch_size": nlp.batch_size, **settings},
    )


def untrained_ner(
    nlp: Language, encoder: TransformerModel, labels: Iterable[str], *, seed: int
) -> Language:
    """A pipeline of spaCy's ner on an encoder, with the vocabulary and tokenizer of another.

    It reads strided spans, as spacy-transformers does by default. The weights of its head are
    random: it takes one action per token whatever they are, so they hardly change its speed.
    """
    fix_random_seed(seed)
    other = spacy.blank(str(nlp.lang), vocab=nlp.vocab)
    other.tokenizer = nlp.tokenizer
    other.max_length = nlp.max_length
    other.batch_size = nlp.batch_size
    transformer: Any = other.add_pipe("transformer", config={"max_batch_items": MAX_BATCH_ITEMS})
    transformer.model = TransformerModel(
        encoder.attrs["name"], configure_strided_spans(WINDOW, STRIDE)
    )
    vocabulary = encoder.layers[0].shims[0]._hfmodel.vocab_file_contents
    set_pytorch_transformer(
        transformer.model, HFObjects(encoder.tokenizer, encoder.transformer, vocabulary)
    )
    recognizer: Any = other.add_pipe("ner", config={"model": NER_MODEL})
    for label in labels:
        recognizer.add_label(label)
    example = Example.from_dict(other.make_doc("fever"), {"entities": []})
    other.initialize(lambda: [example])
    return other


def hugging_face_ner(
    encoder: TransformerModel,
    recognizer: ClinicalNer,
    *,
    length: int,
    stride: int,
    batch_size: int,
) -> Callable[[Iterable[str]], Iterator[list[Mapping[str, Any]]]]:
    """Hugging Face's token-classification pipeline on an encoder, with the head of a recognizer.

    The head reads wordpieces where the recognizer reads tokens, so it finds about as many entities,
    which is all that matters for speed.

    Args:
        encoder: the transformer.
        recognizer: the head.
        length: wordpieces of a chunk, special tokens included.
        stride: wordpieces that neighbouring chunks share.
        batch_size: chunks in a batch.

    Returns:
        A function that gives the entities of each text, in order.

    Raises:
        InputError: transformers has no token classification for the encoder.
    """
    # The pipeline changes how the tokenizer cuts and pads.
    tokenizer = copy.deepcopy(encoder.tokenizer)
    tokenizer.model_max_length = length
    model = _token_classifier(encoder, recognizer)
    verbosity = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        classify: Any = pipeline(
            "token-classification",
            model=model,
            tokenizer=tokenizer,
            framework="pt",
            device=-1,
            aggregation_strategy="simple",
            stride=stride,
            batch_size=batch_size,
        )
    finally:
        logging.set_verbosity(verbosity)

    def read(texts: Iterable[str]) -> Iterator[list[Mapping[str, Any]]]:
        before = os.environ.get("TOKENIZERS_PARALLELISM")
        try:
            yield from classify(text for text in texts)
        finally:
            # The pipeline turns off the threads of every tokenizer in the process.
            if before is None:
                os.environ.pop("TOKENIZERS_PARALLELISM", None)
            else:
                os.environ["TOKENIZERS_PARALLELISM"] = before

    return read


def _token_classifier(encoder: TransformerModel, recognizer: ClinicalNer) -> Any:
    """A model of transformers' of an encoder and the weights of a recognizer's head."""
    config = copy.deepcopy(encoder.transformer.config)
    tags = tag_names(recognizer.labels)
    config.id2label = dict(enumerate(tags))
    config.label2id = {tag: number for number, tag in enumerate(tags)}
    unfit = InputError(
        f"transformers has no token classification for encoders of type '{config.model_type}', so "
        "Hugging Face's pipeline cannot be measured. Name a pipeline with an encoder like BERT."
    )
    try:
        model = AutoModelForTokenClassification.from_config(config)
    except ValueError as error:
        raise unfit from error
    last = getattr(model, "classifier", None)
    same = type(model.base_model) is type(encoder.transformer)
    if not same or not isinstance(last, torch.nn.Linear):
        raise unfit
    # The encoder itself: a copy would count as memory.
    setattr(model, model.base_model_prefix, encoder.transformer)
    head = recognizer.model.get_ref("head")
    with torch.no_grad():
        last.weight.copy_(torch.from_numpy(np.asarray(head.get_param("W"))))
        last.bias.copy_(torch.from_numpy(np.asarray(head.get_param("b"))))
    return model.eval()
