"""A transformer that reads documents of any length in windows of wordpieces.

spacy-transformers cuts windows by tokens of spaCy, loses the tail of one that has too many
wordpieces, and averages a token over all windows that hold it. Here no window exceeds the encoder,
no token is without one, and each has its vector from the window in which it stands most central.
The component and the listeners stay those of spacy-transformers.
"""

import copy
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from spacy.tokens import Doc
from spacy_transformers.data_classes import HFObjects, TransformerData
from spacy_transformers.layers import TransformerModel, split_trf_batch, trfs2arrays
from spacy_transformers.layers.transformer_model import (
    huggingface_from_pretrained,
    set_pytorch_transformer,
)
from thinc.api import Model, chain, get_torch_default_device, xp2torch
from thinc.types import Floats2d, Ragged

from ...errors import ConfigError, damage_in_one_line
from ..safe_shim import SafeShim
from ..threads import limit_threads
from .cutting import cut_windows, tokens_cut_inside
from .encoder_calls import Encoder, Window, gradient_like
from .window_settings import SpecialTokens, WindowSettings, check_encoder
from .windowed_output import HIDDEN, WindowedOutput, document_output
from .wordpieces import Wordpieces, wordpieces_of

#: Key of a Doc's user data: how many of its tokens no window could hold, so that they were cut
#: inside. Prediction sets it on every document.
CUT_TOKENS = "clinical_ner.cut_tokens"


def build_windowed_transformer(
    name: str,
    max_wordpieces: int,
    context: int,
    training_context: int,
    max_batch_items: int,
    tokenizer_config: dict[str, Any],
    transformer_config: dict[str, Any],
    mixed_precision: bool,
    grad_scaler_config: dict[str, Any],
    training_shift: bool = False,
) -> Model[list[Doc], WindowedOutput]:
    """Build a pretrained transformer that reads its documents in windows.

    The parameters and their file are those of ``spacy-transformers.TransformerModel.v3``.

    Register name: ``clinical_ner.WindowedTransformer.v1`` (``@architectures``).

    Args:
        name: public name or folder of the pretrained model.
        max_wordpieces: longest window, special tokens included; at most what the encoder has
            places.
        context: wordpieces that a window shows, on both sides, beyond those it gives vectors for.
        training_context: the same in training, where every wordpiece costs three times as much.
        max_batch_items: largest number of windows times the length of the longest, in one call of
            the encoder. It bounds the memory, in training as in prediction.
        tokenizer_config: settings for Hugging Face's tokenizer, which must be a fast one, and
            model.
        transformer_config: see `tokenizer_config`.
        mixed_precision: whether to compute in half precision where that is safe, on a GPU. On a CPU
            it changes nothing.
        grad_scaler_config: settings of the gradient scaler for mixed precision.
        training_shift: whether training cuts a document that does not fit into one window at other
            places each time, so that the encoder learns a text at many places of a window, and
            beside many cuts. The draws are those of numpy, which spaCy's seed sets.

    Returns:
        A model from documents to the transformer's output.

    Raises:
        ClinicalNerError: numbers that do not fit together. When the encoder is loaded: they do not
            fit the encoder, or its tokenizer is a slow one.
    """
    settings = WindowSettings(
        max_wordpieces, context, training_context, max_batch_items, training_shift
    )
    return WindowedTransformer(
        name,
        settings,
        tokenizer_config,
        transformer_config,
        mixed_precision,
        grad_scaler_config,
    )


def build_windowed_tok2vec(
    name: str,
    max_wordpieces: int,
    context: int,
    training_context: int,
    max_batch_items: int,
    tokenizer_config: dict[str, Any],
    transformer_config: dict[str, Any],
    mixed_precision: bool,
    grad_scaler_config: dict[str, Any],
    pooling: Model[Ragged, Floats2d],
    grad_factor: float = 1.0,
    training_shift: bool = False,
) -> Model[list[Doc], list[Floats2d]]:
    """Build the same transformer as a layer of one component, which shares it with nobody.

    It is what ``nlp.replace_listeners`` puts in the place of a listener. ``pooling`` leads from the
    vectors of a token's wordpieces to that of the token, and ``grad_factor`` is a multiple of the
    gradient that goes to the encoder; the other parameters are those of
    ``build_windowed_transformer``.

    Register name: ``clinical_ner.WindowedTok2VecTransformer.v1`` (``@architectures``).

    Returns:
        A model from documents to token vectors. *Output shape, per document:* ``(n, width)``.
    """
    transformer = build_windowed_transformer(
        name,
        max_wordpieces,
        context,
        training_context,
        max_batch_items,
        tokenizer_config,
        transformer_config,
        mixed_precision,
        grad_scaler_config,
        training_shift,
    )
    # A chain in a chain, as replacing a listener makes it: nodes are stored by their order.
    split: Any = split_trf_batch()
    by_document: Model[list[Doc], list[TransformerData]] = chain(transformer, split)
    return chain(by_document, trfs2arrays(pooling, grad_factor))


class WindowedTransformer(TransformerModel):
    """The stock model with windows of wordpieces instead of spans of tokens."""

    settings: WindowSettings

    def __init__(
        self,
        name: str,
        settings: WindowSettings,
        tokenizer_config: dict[str, Any],
        transformer_config: dict[str, Any],
        mixed_precision: bool,
        grad_scaler_config: dict[str, Any],
    ) -> None:
        for config in (tokenizer_config, transformer_config):
            # A saved model that is a folder, as of spacy-transformers 1.0, is read by stock code.
            if config.get("trust_remote_code"):
                raise ConfigError(
                    "trust_remote_code: code that comes with an encoder is not run. Take an "
                    "encoder whose architecture transformers itself has."
                )
        mixed = mixed_precision and get_torch_default_device().type == "cuda"
        super().__init__(name, _no_spans, tokenizer_config, transformer_config)
        self.layers[0].shims[0] = SafeShim(
            HFObjects(None, None, None, tokenizer_config, transformer_config),
            mixed_precision=mixed,
            # The stock wrapper writes into it.
            grad_scaler_config=dict(grad_scaler_config),
        )
        # Not attributes of thinc: these are stored, and would win over the config.
        self.settings = settings
        self._checked: tuple[Any, SpecialTokens] | None = None
        # Also after a fork or through a pickle, the process that made it.
        self._process = os.getpid()
        self.init = init
        self._func = forward
        self.attrs["set_transformer"] = set_transformer
        self.attrs["replace_listener_cfg"] = replace_listener_cfg

    def special_tokens(self) -> SpecialTokens:
        """The special tokens of the encoder.

        Raises:
            ClinicalNerError: the settings do not fit the encoder.
        """
        tokenizer = self.tokenizer
        if self._checked is None or self._checked[0] is not tokenizer:
            check_encoder(self.attrs["name"], tokenizer, self.transformer, self.settings)
            self._checked = tokenizer, SpecialTokens.of(tokenizer)
        return self._checked[1]

    def enter_process(self) -> None:
        """See to the threads of this process, once, if the model was made in another one."""
        if self._process != os.getpid():
            limit_threads()
            self._process = os.getpid()

    def from_bytes(self, bytes_data: bytes) -> "WindowedTransformer":
        """Load the parameters; InputError where they are damaged."""
        with damage_in_one_line("The encoder"):
            super().from_bytes(bytes_data)
        return self

    def from_dict(self, msg: dict[str, Any]) -> "WindowedTransformer":
        """Load the parameters, and check the settings against the encoder."""
        super().from_dict(msg)
        if self.attrs["has_transformer"]:
            self.special_tokens()
        return self

    def copy(self) -> "WindowedTransformer":
        """Deep copy with new node ids."""
        return self._copy()

    def _copy(self, seen: dict[int, Any] | None = None) -> "WindowedTransformer":
        # The stock class copies itself here, but is copied as a plain model within a chain.
        copied = WindowedTransformer(self.attrs["name"], self.settings, {}, {}, False, {})
        copied.name = self.name
        copied.attrs.update(self.attrs)
        for dim in self.dim_names:
            if self.has_dim(dim):
                copied.set_dim(dim, self.get_dim(dim))
        copied.layers[0] = copy.deepcopy(self.layers[0])
        if seen is not None:
            seen[id(self)] = copied
        return copied


def set_transformer(model: WindowedTransformer, loaded: HFObjects) -> None:
    """Give a model its encoder.

    Raises:
        ClinicalNerError: the settings do not fit the encoder.
    """
    check_encoder(model.attrs["name"], loaded.tokenizer, loaded.transformer, model.settings)
    set_pytorch_transformer(model, loaded)


def init(model: WindowedTransformer, X: Any = None, Y: Any = None) -> None:
    """Load the encoder, if the model has none yet."""
    if not model.attrs["has_transformer"]:
        loaded = huggingface_from_pretrained(
            model.attrs["name"], model._init_tokenizer_config, model._init_transformer_config
        )
        model.attrs["set_transformer"](model, loaded)


def forward(
    model: WindowedTransformer, docs: list[Doc], is_train: bool
) -> tuple[WindowedOutput, Callable]:
    """Encode the windows of documents."""
    model.enter_process()
    special = model.special_tokens()
    pieces = wordpieces_of(model.tokenizer, docs)
    windows = _windows(model.settings, special, docs, pieces, is_train=is_train)
    encoder = Encoder(model.layers[0], special, model.settings, pieces, docs)
    width = model.get_dim("nO")
    vectors: list[Any] = [model.ops.alloc2f(max(len(of_doc.ids), 1), width) for of_doc in pieces]
    calls = []
    if is_train:
        for call in encoder.training_calls(windows):
            encoder.store(call, vectors)
            calls.append(call)
    else:
        encoder.predict(windows, vectors)
    types = None if special.types is None else special.types[1]
    doc_data = [
        document_output(of_doc, of_doc_vectors, types=types, pad=special.pad)
        if len(doc)
        else TransformerData.empty()
        for doc, of_doc, of_doc_vectors in zip(docs, pieces, vectors, strict=True)
    ]

    def backprop(d_output: WindowedOutput) -> list[Doc]:
        gradients: list[Any] = [
            xp2torch(data.model_output[HIDDEN][0]) if data.model_output else None
            for data in d_output.doc_data
        ]
        while calls:
            # From the last on, and given up at once: this frees what each of them keeps.
            call = calls.pop()
            cores = (
                (gradients[doc][in_doc], in_row)
                for doc, in_doc, in_row in encoder.cores(call.windows)
            )
            call.backprop(gradient_like(call.output, cores))
        return docs

    return WindowedOutput(docs, doc_data), backprop


def _windows(
    settings: WindowSettings,
    special: SpecialTokens,
    docs: list[Doc],
    pieces: list[Wordpieces],
    *,
    is_train: bool,
) -> list[Window]:
    """The windows of all documents; in prediction, documents learn what was cut inside."""
    size = settings.max_wordpieces - special.count
    context = settings.training_context if is_train else settings.context
    windows = []
    for index, (doc, of_doc) in enumerate(zip(docs, pieces, strict=True)):
        first = 0
        if is_train and settings.training_shift and len(of_doc.ids) > size:
            first = int(np.random.randint(context + 1, size - context + 1))
        cut = cut_windows(of_doc.cuts, size, context, first=first)
        columns = (column.tolist() for column in cut)
        windows += [Window(index, *row) for row in zip(*columns, strict=True)]
        if not is_train:
            inside = tokens_cut_inside(cut, of_doc.starts, of_doc.ends)
            doc.user_data[CUT_TOKENS] = int(np.size(inside))
    return windows


def replace_listener_cfg(transformer: dict[str, Any], listener: dict[str, Any]) -> dict[str, Any]:
    """Config of a component's own transformer after ``nlp.replace_listeners``."""
    own = {**transformer, "@architectures": "clinical_ner.WindowedTok2VecTransformer.v1"}
    return own | {key: listener[key] for key in ("pooling", "grad_factor") if key in listener}


def _no_spans(docs: list[Doc]) -> list[list[Any]]:
    """Stand for the span getter of the stock class, which is never asked."""
    raise NotImplementedError
