"""What people would use instead with the same encoder: spaCy's ner, Hugging Face's pipeline.

They get the weights of the encoder that a pipeline of ours has, so that only what is around it
differs.
"""

from __future__ import annotations

import copy
import os
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
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

from ...errors import InputError
from ...pipeline.recognizer import ClinicalNer
from ...tags.scheme import tag_names

#: Spans of spacy-transformers' own config, in tokens.
WINDOW, STRIDE = 128, 96
#: Largest padded batch of spacy-transformers' own config, in tokens.
MAX_BATCH_ITEMS = 4096
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
#: Hugging Face's switch for threads in its tokenizers.
TOKENIZER_THREADS = "TOKENIZERS_PARALLELISM"


def use_strided_spans(nlp: Language, name: str, source: TransformerModel) -> None:
    """Let a transformer component read strided spans, as spacy-transformers does by default.

    name: of the component; its listeners stay.
    source: where encoder and tokenizer come from; they are shared, not copied.
    """
    shim: Any = source.layers[0].shims[0]
    model = TransformerModel(source.attrs["name"], configure_strided_spans(WINDOW, STRIDE))
    set_pytorch_transformer(
        model, HFObjects(source.tokenizer, source.transformer, shim._hfmodel.vocab_file_contents)
    )
    component: Any = nlp.get_pipe(name)
    component.model = model
    component.cfg["max_batch_items"] = MAX_BATCH_ITEMS


def untrained_ner(
    nlp: Language, encoder: TransformerModel, labels: Iterable[str], *, seed: int
) -> Language:
    """A pipeline of spaCy's ner on an encoder, with the tokenizer of another pipeline.

    The weights of its head are random: it takes one action per token whatever they are, so they
    hardly change its speed.

    nlp: whose vocabulary, tokenizer and ``batch_size`` it gets.
    """
    fix_random_seed(seed)
    other = spacy.blank(str(nlp.lang), vocab=nlp.vocab)
    other.tokenizer = nlp.tokenizer
    other.max_length = nlp.max_length
    other.batch_size = nlp.batch_size
    other.add_pipe("transformer")
    use_strided_spans(other, "transformer", encoder)
    recognizer: Any = other.add_pipe("ner", config={"model": NER_MODEL})
    for label in labels:
        recognizer.add_label(label)
    example = Example.from_dict(other.make_doc("fever"), {"entities": []})
    other.initialize(lambda: [example])
    return other


def check_spacy_ner(nlp: Language, model: str) -> tuple[str, TransformerModel]:
    """The transformer of a trained pipeline of spaCy's ner, and its name.

    RAISES ClinicalNerError: it has no transformer of its own, or no ner of spaCy's.
    """
    factories = [nlp.get_pipe_meta(name).factory for name in nlp.pipe_names]
    if "transformer" in factories and "ner" in factories:
        name = nlp.pipe_names[factories.index("transformer")]
        found: Any = nlp.get_pipe(name)
        if isinstance(found.model, TransformerModel):
            return name, found.model
    components = ", ".join(nlp.pipe_names) or "none"
    raise InputError(
        f"{model}: has no transformer component with spaCy's ner (components: {components}). Name "
        "a pipeline trained with configs/recipes/spacy_ner.cfg, or omit --spacy-ner."
    )


class HuggingFaceNer:
    """Hugging Face's token-classification pipeline on an encoder, with the head of a recognizer.

    The head reads wordpieces where the recognizer reads tokens, so it finds about as many entities,
    which is all that matters for speed.

    length: wordpieces of a chunk, special tokens included.
    stride: wordpieces that neighbouring chunks share. Its documentation recommends none; as many
        as two of our windows share makes both read as much.
    batch_size: chunks in a batch.

    RAISES ClinicalNerError: transformers has no token classification for the encoder.
    """

    def __init__(
        self,
        encoder: TransformerModel,
        recognizer: ClinicalNer,
        *,
        length: int,
        stride: int,
        batch_size: int,
    ) -> None:
        # The pipeline changes how the tokenizer cuts and pads.
        tokenizer = copy.deepcopy(encoder.tokenizer)
        tokenizer.model_max_length = length
        model = _token_classifier(encoder, recognizer)
        with _quiet():
            self._pipeline: Any = pipeline(
                "token-classification",
                model=model,
                tokenizer=tokenizer,
                framework="pt",
                device=-1,
                aggregation_strategy="simple",
                stride=stride,
                batch_size=batch_size,
            )

    def pipe(self, texts: Iterable[str]) -> Iterator[list[Mapping[str, Any]]]:
        """The entities of each text, in order; texts may come from a generator."""
        with _tokenizer_threads_kept():
            yield from self._pipeline(text for text in texts)


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


@contextmanager
def _tokenizer_threads_kept() -> Iterator[None]:
    """Take back that the pipeline turns off the threads of every tokenizer in the process."""
    before = os.environ.get(TOKENIZER_THREADS)
    try:
        yield
    finally:
        if before is None:
            os.environ.pop(TOKENIZER_THREADS, None)
        else:
            os.environ[TOKENIZER_THREADS] = before


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the lines in which transformers tells which device it uses."""
    before = logging.get_verbosity()
    logging.set_verbosity_error()
    try:
        yield
    finally:
        logging.set_verbosity(before)
