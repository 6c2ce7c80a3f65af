"""The bare forward pass of an encoder over the windows of a pipeline: the ceiling of its speed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from spacy.language import Language

from ...model.threads import side_by_side
from ...model.windows.cutting import batches_by_length, cut_windows
from ...model.windows.encoder_calls import cpu_items
from ...model.windows.windowed_transformer import WindowedTransformer
from ...model.windows.wordpieces import wordpieces_of

#: The arguments of one call of the encoder.
Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class WindowCounts:
    """What the windows of texts cost.

    windows: their number.
    wordpieces: those of the texts.
    repeated: wordpieces that are encoded again, as the context of another window.
    special: special tokens.
    padding: places of batches that hold none of these.
    """

    windows: int
    wordpieces: int
    repeated: int
    special: int
    padding: int

    def to_dict(self) -> dict[str, float]:
        """The numbers, and two shares that follow from them.

        RETURNS: also ``overlap``, repeated wordpieces over those of the texts, and
            ``padding_share``, padding over all places that the encoder computes.
        """
        computed = self.wordpieces + self.repeated + self.special + self.padding
        return {
            **asdict(self),
            "overlap": self.repeated / max(self.wordpieces, 1),
            "padding_share": self.padding / max(computed, 1),
        }


def encoder_batches(
    nlp: Language,
    model: WindowedTransformer,
    texts: Sequence[str],
    *,
    context: int | None = None,
    small: bool = False,
) -> tuple[list[Batch], WindowCounts]:
    """The calls that an encoder needs for texts, by length, and what they are made of.

    Windows of all texts are put together, as far as ``max_batch_items`` lets them.

    context: wordpieces shown on both sides of a window; by default as many as in prediction.
    small: whether the calls are no larger than those of the pipeline on a CPU.
    """
    settings, special = model.settings, model.special_tokens()
    shown = settings.context if context is None else context
    windows = []
    n_pieces = 0
    for pieces in wordpieces_of(model.tokenizer, [nlp.make_doc(text) for text in texts]):
        n_pieces += len(pieces.ids)
        cut = cut_windows(pieces.cuts, settings.max_wordpieces - special.count, shown)
        windows += [pieces.ids[start:end] for start, end in zip(cut.starts, cut.ends, strict=True)]
    lengths = np.array([len(window) + special.count for window in windows], dtype=np.int64)
    items = settings.max_batch_items
    if small:
        items = cpu_items(int(lengths.sum()), items)
    rows_of = batches_by_length(lengths, items)
    batches = [_batch([windows[row] for row in rows], special) for rows in rows_of]
    counts = WindowCounts(
        windows=len(windows),
        wordpieces=n_pieces,
        repeated=sum(map(len, windows)) - n_pieces,
        special=len(windows) * special.count,
        padding=sum(batch["input_ids"].numel() for batch in batches) - int(lengths.sum()),
    )
    return batches, counts


def bare_forward(
    model: WindowedTransformer, batches: Sequence[Batch], *, at_a_time: bool = False
) -> Callable[[], None]:
    """A run of the encoder over batches, whose outputs are dropped at once.

    at_a_time: whether each thread makes calls of its own, as in the pipeline, instead of all
        sharing one call after the other.
    """
    encoder = model.transformer

    def call(batch: Batch) -> None:
        with torch.inference_mode():
            encoder(**batch)

    def run() -> None:
        encoder.eval()
        for _ in side_by_side(call, batches) if at_a_time else map(call, batches):
            pass

    return run


def _batch(windows: list[Any], special: Any) -> Batch:
    rows = [np.concatenate([special.prefix, ids, special.suffix]) for ids in windows]
    shape = (len(rows), max(map(len, rows)))
    ids = np.full(shape, special.pad, dtype=np.int64)
    mask = np.zeros(shape, dtype=np.float32)
    types = np.zeros(shape, dtype=np.int64)
    for number, row in enumerate(rows):
        ids[number, : len(row)] = row
        mask[number, : len(row)] = 1
        if special.types is not None:
            before, own, after = special.types
            middle = np.full(len(row) - len(before) - len(after), own)
            types[number, : len(row)] = np.concatenate([before, middle, after])
    batch = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
    if special.types is not None:
        batch["token_type_ids"] = torch.from_numpy(types)
    return batch
