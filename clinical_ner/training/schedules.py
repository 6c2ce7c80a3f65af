"""Schedules that know the corpus, so that one config serves 3,000 words as well as 70,000.

spaCy's own schedules count steps, and how many steps an epoch has depends on the corpus and the
batcher. The functions here count them: they put the training documents through a batcher, by
default the lengths of the documents through ``spacy.batch_by_words.v1``.
"""

import math
import random
import statistics
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from spacy.tokens import DocBin
from spacy.training import Example
from spacy.training.batchers import minibatch_by_words
from spacy.training.corpus import FILE_TYPE, walk_corpus
from spacy.vocab import Vocab

from ..data.formats.docbin import read_bin
from ..errors import InputError, check_number

Item = TypeVar("Item")

#: Epochs over which the steps of one are averaged: batches depend on the order of the documents.
N_EPOCHS = 20
#: Epochs among which the shortest is looked for: the mean hides it where an epoch has few steps,
#: and one step is then a large part of it.
N_EPOCHS_SHORTEST = 200
#: Register name of the schedule that counts its steps on the training corpus.
EPOCHS_SCHEDULE = "clinical_ner.warmup_linear_epochs.v1"
#: That of the schedule for a number of steps, which a trained pipeline has in its place.
STEPS_SCHEDULE = "clinical_ner.warmup_linear.v1"
#: That of batches by words, unless a config says otherwise.
TOLERANCE = 0.2


def warmup_linear_epochs(
    *,
    path: str | Path,
    epochs: int,
    warmup: float,
    words_per_batch: int,
    initial_rate: float,
    tolerance: float = TOLERANCE,
    batcher: Callable | None = None,
) -> Iterator[float]:
    """Learning rates that rise linearly to ``initial_rate``, then fall linearly to 0.

    Register name: ``clinical_ner.warmup_linear_epochs.v1`` (``@schedules``).

    Args:
        path: the training corpus, a .spacy file or a folder of them.
        epochs: passes over the corpus, as in ``training.max_epochs``.
        warmup: share of the steps during which the rate rises, in [0, 1).
        words_per_batch: ``size`` and ``tolerance`` of ``spacy.batch_by_words.v1``, the batcher of
            the training unless ``batcher`` is given.
        tolerance: see `words_per_batch`.
        initial_rate: the highest rate, > 0.
        batcher: any other batcher of the training, in place of the two numbers; in a config
            ``batcher = ${training.batcher}``, which makes one of its own with equal settings.

    Yields:
        One rate per step, 0 from the last planned step on, and ``initial_rate`` in a training of a
        single step.

    Raises:
        ClinicalNerError: a number outside its range, a corpus that cannot be read, or one that the
            batcher refuses.
    """
    check_number("warmup", warmup, least=0, below=1)
    check_number("initial_rate", initial_rate, above=0)
    total = planned_steps(
        path, epochs=epochs, words_per_batch=words_per_batch, tolerance=tolerance, batcher=batcher
    )
    return warmup_linear(
        initial_rate=initial_rate, warmup_steps=round(warmup * total), total_steps=total
    )


def warmup_linear(*, initial_rate: float, warmup_steps: int, total_steps: int) -> Iterator[float]:
    """The rates of ``warmup_linear_epochs`` for a known number of steps.

    Register name: ``clinical_ner.warmup_linear.v1`` (``@schedules``).

    Args:
        initial_rate: the highest rate.
        warmup_steps: steps during which the rate rises.
        total_steps: planned steps, at least 1.

    Yields:
        One rate per step.
    """
    if total_steps == 1:
        # It would learn nothing at the rate 0, with which any longer training ends.
        yield initial_rate
    else:
        # However long the rise, it leaves the last step its 0.
        rising = min(warmup_steps, total_steps - 1)
        for step in range(total_steps):
            if step < rising:
                yield initial_rate * (step + 1) / rising
            else:
                yield initial_rate * (total_steps - 1 - step) / max(1, total_steps - 1 - rising)
    while True:
        yield 0.0


def evaluation_interval(
    *,
    path: str | Path,
    epochs: int,
    words_per_batch: int,
    tolerance: float = TOLERANCE,
    batcher: Callable | None = None,
) -> int:
    """Steps between evaluations: at least once per epoch, the last in the last tenth of training.

    spaCy evaluates where step % interval == 0 and never at the end, so an interval of a twelfth of
    all steps leaves room for epochs that turn out a few batches longer or shorter than planned.

    Register name: ``clinical_ner.evaluation_interval.v1`` (``@misc``), for
    ``training.eval_frequency``. Arguments and errors are those of ``warmup_linear_epochs``.
    """
    check_number("epochs", epochs, least=1)
    steps = _epoch_steps(path, words_per_batch, tolerance, batcher, N_EPOCHS_SHORTEST)
    total = round(epochs * statistics.fmean(steps[:N_EPOCHS]))
    return max(1, min(total // 12, int(0.95 * total / epochs), min(steps)))


def patience(
    *,
    path: str | Path,
    patience_epochs: int,
    words_per_batch: int,
    tolerance: float = TOLERANCE,
    batcher: Callable | None = None,
) -> int:
    """Steps without a better score on dev after which training ends, from a number of epochs.

    spaCy's loop compares, after every step, the number of the step with that of the best
    evaluation, the earliest of equal ones, and stops when they are this far apart. An evaluation
    is made within one epoch (``evaluation_interval``), so each of these epochs gives the score one
    chance to rise. Of note:

    - The first evaluation comes after the first step, and as long as the score stays at 0 that one
      is the best. Choose more epochs than the first entities take, those of the warmup included.
    - ``warmup_linear_epochs`` still plans for all epochs. A training that stops early ends at a
      high rate, and has missed the last epochs, in which scores rise as the rate falls. Patience
      cuts off a training that has come to nothing; to train for less time, set fewer epochs.

    Register name: ``clinical_ner.patience.v1`` (``@misc``), for ``training.patience``.
    ``patience_epochs`` are passes over the corpus, 0 to never stop early; other arguments, and
    errors, are those of ``warmup_linear_epochs``.
    """
    check_number("patience_epochs", patience_epochs, least=0)
    if patience_epochs == 0:
        return 0
    steps = _epoch_steps(path, words_per_batch, tolerance, batcher, N_EPOCHS)
    return math.ceil(patience_epochs * statistics.fmean(steps))


def planned_steps(
    path: str | Path,
    *,
    epochs: int,
    words_per_batch: int,
    tolerance: float,
    batcher: Callable | None = None,
) -> int:
    """Expected steps of training; arguments and errors are those of ``warmup_linear_epochs``."""
    check_number("epochs", epochs, least=1)
    steps = _epoch_steps(path, words_per_batch, tolerance, batcher, N_EPOCHS)
    return round(epochs * statistics.fmean(steps))


def _epoch_steps(
    path: str | Path,
    words_per_batch: int,
    tolerance: float,
    batcher: Callable | None,
    epochs: int,
) -> list[int]:
    """Batches of each of some epochs, before each of which the documents are shuffled.

    The same on every call with a new batcher; the global generators are left alone.
    """
    check_number("words_per_batch", words_per_batch, least=1)
    check_number("tolerance", tolerance, least=0)
    items: list[Any]
    if batcher is None:
        items = document_lengths(Path(path))
        batcher = partial(
            minibatch_by_words,
            size=words_per_batch,
            tolerance=tolerance,
            get_length=lambda length: length,
        )
    else:
        # On their gold tokens: no pipeline is at hand that could tokenize the text again. They are
        # read for this call alone, so what a batcher writes into them reaches no training.
        items = _read(
            Path(path), lambda found: [Example(d, d) for d in found.get_docs(Vocab()) if len(d)]
        )
    generator = random.Random(0)
    steps = []
    for _ in range(epochs):
        generator.shuffle(items)
        steps.append(sum(1 for _ in batcher(items)))
    return steps


def document_lengths(path: Path) -> list[int]:
    """Tokens of every document of a corpus, without the empty ones, which spaCy leaves out.

    Raises:
        ClinicalNerError: nothing there, not a .spacy file, or no document with tokens.
    """
    return _read(path, lambda found: [len(rows) for rows in found.tokens if len(rows)])


def _read(path: Path, read: Callable[[DocBin], list[Item]]) -> list[Item]:
    files = walk_corpus(path, FILE_TYPE) if path.exists() else [path]
    items = [item for file in files for item in read(read_bin(Path(file)))]
    if not items:
        raise InputError(f"{path}: holds no document with tokens, so there is nothing to train on.")
    return items
