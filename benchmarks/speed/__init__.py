"""What measurements of speed share: rounds, ratios, notes, and the encoder alone.

``python -m benchmarks.speed`` is the benchmark itself; other scripts of this folder import from
here.
"""

from __future__ import annotations

import gc
import random
import statistics
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import torch
from spacy.language import Language
from spacy.vocab import Vocab

from clinical_ner.data.formats.docbin import DOCUMENT_ID, read_docbin
from clinical_ner.errors import InputError
from clinical_ner.files import corpus_files, read_text
from clinical_ner.model.threads import side_by_side
from clinical_ner.model.windows.cutting import batches_by_length, cut_windows
from clinical_ner.model.windows.encoder_calls import cpu_items
from clinical_ner.model.windows.windowed_transformer import WindowedTransformer
from clinical_ner.model.windows.wordpieces import wordpieces_of

#: Keys of the encoder alone and of our pipeline.
BARE, OURS = "bare", "ours"

#: The arguments of one call of an encoder.
Batch = dict[str, torch.Tensor]


@dataclass(frozen=True)
class Times:
    """Seconds of each round.

    wall: by the clock.
    processor: of all threads of this process together. Less of it is lost to other processes.
    """

    wall: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)


def measure(
    runs: Mapping[str, Callable[[], Any]],
    *,
    rounds: int,
    seed: int,
    say: Callable[[str], None] = lambda message: None,
) -> dict[str, Times]:
    """Run everything once per round, each round in another order.

    So whatever else the machine does hits all alike, and none always follows the same other.

    Args:
        runs: what is timed, by key.
        rounds: how often each is run.
        seed: of the orders.
        say: called with a line for every round.
    """
    orders = random.Random(seed)
    times = {key: Times() for key in runs}
    for number in range(rounds):
        say(f"round {number + 1} of {rounds}")
        for key in orders.sample(list(runs), len(runs)):
            # What others left behind is not collected at this one's cost.
            gc.collect()
            wall, processor = time.perf_counter(), time.process_time()
            result = runs[key]()
            times[key].wall.append(time.perf_counter() - wall)
            times[key].processor.append(time.process_time() - processor)
            # Freed only now: `list(nlp.pipe(texts))` keeps its documents too.
            del result
    return times


def summarise(times: Mapping[str, Times], *, words: int) -> dict[str, dict[str, Any]]:
    """Speeds and ratios of the variants, by the clock (wall) and of the processor.

    Args:
        times: by key; BARE and OURS are among them.
        words: read in each run.

    Returns:
        For each variant the ``seconds`` of the rounds, the median ``words_per_second``, the median
        ratio of its speed to that of the encoder alone (``of_bare``), and the ratio of the speed of
        ours to its own (``ours_over``: median, lowest and highest). Ratios are taken within rounds.
    """
    rows: dict[str, dict[str, Any]] = {}
    for key, taken in times.items():
        row = rows[key] = {
            name: {} for name in ("seconds", "words_per_second", "of_bare", "ours_over")
        }
        for kind in ("wall", "processor"):
            own, bare, ours = (getattr(t, kind) for t in (taken, times[BARE], times[OURS]))
            row["seconds"][kind] = own
            row["words_per_second"][kind] = statistics.median(words / s for s in own)
            row["of_bare"][kind] = statistics.median(b / s for b, s in zip(bare, own, strict=True))
            ratios = [s / o for s, o in zip(own, ours, strict=True)]
            row["ours_over"][kind] = {
                "median": statistics.median(ratios),
                "low": min(ratios),
                "high": max(ratios),
            }
    return rows


def read_notes(path: Path, nlp: Language, *, limit: int) -> list[str]:
    """Read the texts of notes; annotations are ignored.

    Args:
        path: a folder of .txt files, one of them, or a .spacy file.
        nlp: the pipeline that is to read them.
        limit: largest number of notes; the first ones, by file name, are taken.

    Raises:
        InputError: there is nothing there, no note with a word, another kind of file, one that
            cannot be read, or a note too long for the pipeline.
    """
    if path.is_file() and path.suffix == ".spacy":
        docs = read_docbin(path, Vocab())[:limit]
        names = [str(doc.user_data.get(DOCUMENT_ID, index)) for index, doc in enumerate(docs)]
        texts = [doc.text for doc in docs]
    elif path.is_file() and path.suffix.lower() != ".txt":
        raise InputError(
            f"{path}: is neither a .txt nor a .spacy file. Name one, or a folder of .txt files."
        )
    else:
        files = corpus_files(path, (".txt",))[:limit]
        names = [file.stem for file in files]
        texts = [read_text(file) for file in files]
    if not any(text.strip() for text in texts):
        raise InputError(
            f"{path}: holds no note with words, so there is nothing to measure. Name a folder of "
            ".txt files, or a .spacy file."
        )
    for name, text in zip(names, texts, strict=True):
        if len(text) > nlp.max_length:
            raise InputError(
                f"{path}: document {name} has {len(text)} characters, more than the "
                f"{nlp.max_length} that the pipeline takes. Divide the document."
            )
    return texts


def pieces_of(nlp: Language, texts: Sequence[str]) -> list[str]:
    """The tokens of texts, each with the space that follows it: joined they are the text again.

    Between two texts there is a line end at least.
    """
    pieces: list[str] = []
    for text in texts:
        pieces += [token.text_with_ws for token in nlp.make_doc(text)]
        if pieces and not pieces[-1][-1:].isspace():
            pieces[-1] += "\n"
    return pieces


def made_notes(pieces: Sequence[str], *, notes: int, words: int) -> Iterator[str]:
    """Make notes of ``words`` pieces each, one at a time; the pieces are repeated as needed."""
    endless = cycle(pieces)
    for _ in range(notes):
        yield "".join(islice(endless, words))


def encoder_batches(
    nlp: Language,
    model: WindowedTransformer,
    texts: Sequence[str],
    *,
    context: int | None = None,
    small: bool = False,
) -> tuple[list[Batch], dict[str, float]]:
    """The calls that an encoder needs for texts, by length, and what they are made of.

    Windows of all texts are put together, as far as ``max_batch_items`` lets them.

    Args:
        nlp: the pipeline, for its tokenizer.
        model: its transformer.
        texts: what it reads.
        context: wordpieces shown on both sides of a window; by default as many as in prediction.
        small: whether the calls are no larger than those of the pipeline on a CPU.

    Returns:
        The batches; and the numbers of ``windows``, of ``wordpieces`` of the texts, of those
        ``repeated`` as context of another window, of ``special`` tokens and of places of
        ``padding``; ``overlap``, repeated over those of the texts, and ``padding_share``, padding
        over all that the encoder computes.
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
    total, items = int(lengths.sum()), settings.max_batch_items
    rows_of = batches_by_length(lengths, cpu_items(total, items) if small else items)
    batches = [_batch([windows[row] for row in rows], special) for rows in rows_of]
    computed = sum(batch["input_ids"].numel() for batch in batches)
    repeated = sum(map(len, windows)) - n_pieces
    return batches, {
        "windows": len(windows),
        "wordpieces": n_pieces,
        "repeated": repeated,
        "special": len(windows) * special.count,
        "padding": computed - total,
        "overlap": repeated / max(n_pieces, 1),
        "padding_share": (computed - total) / max(computed, 1),
    }


def bare_forward(
    model: WindowedTransformer, batches: Sequence[Batch], *, at_a_time: bool = False
) -> Callable[[], None]:
    """A run of the encoder over batches, whose outputs are dropped at once.

    Args:
        model: the transformer.
        batches: see `encoder_batches`.
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
