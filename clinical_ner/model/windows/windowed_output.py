"""What the windowed transformer gives: each wordpiece of a document once, from its best window."""

from dataclasses import replace
from typing import Any

import numpy as np
from spacy.tokens import Doc, Span
from spacy_transformers.data_classes import FullTransformerBatch, TransformerData, WordpieceBatch
from thinc.api import get_array_module
from thinc.types import Ragged
from transformers.file_utils import ModelOutput

from .wordpieces import Wordpieces

#: Key of the vectors in a model's output.
HIDDEN = "last_hidden_state"


class WindowedOutput(FullTransformerBatch):
    """The output for a batch of documents, kept by document.

    A document is one row of its wordpieces, in their order, without special tokens, context or
    padding. The fields of the stock class are made when they are asked for: there the row of one
    document follows that of another in a single row.
    """

    def __init__(self, docs: list[Doc], doc_data: list[TransformerData]) -> None:
        self.docs = docs
        self.cached_doc_data = doc_data

    @property
    def spans(self) -> list[list[Span]]:  # type: ignore[override]
        """Each document as its only span; none where it has no token."""
        return [[doc[:]] if len(doc) else [] for doc in self.docs]

    @property
    def wordpieces(self) -> WordpieceBatch:  # type: ignore[override]
        """All wordpieces as one row."""
        parts = [data.wordpieces for data in self._filled()]
        if not parts:
            return WordpieceBatch.empty()
        types: Any = [part.token_type_ids for part in parts]
        ids: Any = np.concatenate([part.input_ids for part in parts], axis=1)
        mask: Any = np.concatenate([part.attention_mask for part in parts], axis=1)
        joined: Any = None if types[0] is None else np.concatenate(types, axis=1)
        return WordpieceBatch(
            strings=[[string for part in parts for string in part.strings[0]]],
            input_ids=ids,
            attention_mask=mask,
            lengths=[sum(part.lengths[0] for part in parts)],
            token_type_ids=joined,
        )

    @property
    def model_output(self) -> ModelOutput:  # type: ignore[override]
        """The vectors of all wordpieces. *Shape of the only array:* ``(1, n, width)``."""
        parts = [data.model_output[HIDDEN] for data in self._filled()]
        if not parts:
            return ModelOutput()
        xp = get_array_module(parts[0])
        return ModelOutput(last_hidden_state=xp.concatenate(parts, axis=1))

    @property
    def align(self) -> Ragged:  # type: ignore[override]
        """Wordpieces of every token, counted through all documents."""
        rows: list[Any] = [np.zeros(0, dtype="i")]
        lengths: list[Any] = [np.zeros(0, dtype="i")]
        offset = 0
        for data in self._filled():
            rows.append(data.align.dataXd + offset)
            lengths.append(data.align.lengths)
            offset += data.wordpieces.lengths[0]
        # thinc's types know no arrays of NumPy.
        all_rows: Any = np.concatenate(rows)
        all_lengths: Any = np.concatenate(lengths)
        return Ragged(all_rows, all_lengths)

    def unsplit_by_doc(self, arrays: list[list[Any]]) -> "WindowedOutput":
        """The gradient that listeners give back.

        Args:
            arrays: one list of one array for each document that has a token. *Shape of each:* that
                of the document's output.
        """
        gradients = iter(arrays)
        doc_data = [
            replace(data, model_output=ModelOutput(last_hidden_state=next(gradients)[0]))
            if data.model_output
            else data
            for data in self.doc_data
        ]
        return WindowedOutput(self.docs, doc_data)

    def split_by_doc(self) -> list[TransformerData]:
        """The output of each document."""
        return self.doc_data

    def _filled(self) -> list[TransformerData]:
        return [data for data in self.doc_data if data.model_output]


def document_output(
    pieces: Wordpieces, vectors: Any, *, types: int | None, pad: int
) -> TransformerData:
    """The output for a document.

    Args:
        pieces: the wordpieces of the document.
        vectors: of its wordpieces; of a document without any, a single row of zeros, since
            listeners take an output without rows for a document without tokens. *Shape:* ``(n,
            width)``.
        types: token type id of wordpieces, None for encoders that take none.
        pad: id that stands for a missing wordpiece.
    """
    n = len(vectors)
    ids: Any = pieces.ids if len(pieces.ids) else np.array([pad])
    mask: Any = np.ones((1, n), dtype="f")
    token_types: Any = None if types is None else np.full((1, n), types, dtype=ids.dtype)
    lengths: Any = pieces.ends - pieces.starts
    steps = np.arange(lengths.sum())
    rows: Any = steps + np.repeat(pieces.starts - (np.cumsum(lengths) - lengths), lengths)
    return TransformerData(
        wordpieces=WordpieceBatch(
            strings=[pieces.strings or [""]],
            input_ids=ids[None],
            attention_mask=mask,
            lengths=[n],
            token_type_ids=token_types,
        ),
        model_output=ModelOutput(last_hidden_state=vectors[None]),
        align=Ragged(rows.astype("i"), lengths.astype("i")),
    )
