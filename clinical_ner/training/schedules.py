"""Schedules that know the corpus, so that one config serves 3,000 words as well as 70,000.

spaCy's own schedules count steps, and how many steps an epoch has depends on the corpus and the
batcher. The functions here count them: they put the training documents through a batcher, by
default the lengths of the documents through ``spacy.batch_by_words.v1``.
"""

import math
import statistics
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

from spacy.training.batchers import minibatch_by_words

from ..errors import check_number
from .steps import count_steps, document_lengths, read_examples

#: Epochs over which the steps of one are averaged: batches depend on the order of the documents.
N_EPOCHS = 20
#: Epochs among which the shortest is looked for: the mean hides it where an epoch has few steps,
#: and one step is then a large part of it.
N_EPOCHS_SHORTEST = 200


def warmup_linear_epochs(
    *,
    path: str | Path,
    epochs: int,
    warmup: float,
    words_per_batch: int,
    initial_rate: float,
    tolerance: float = 0.2,
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
        path,
        epochs=epochs,
        words_per_batch=words_per_batch,
        tolerance=tolerance,
        batcher=batcher,
    )
    return _warmup_linear(total, round(warmup * total), initial_rate)


def evaluation_interval(
    *,
    path: str | Path,
    epochs: int,
    words_per_batch: int,
    tolerance: float = 0.2,
    batcher: Callable | None = None,
) -> int:
    """Steps between evaluations: at least once per epoch, the last in the last tenth of training.

    spaCy evaluates where step % interval == 0 and never at the end, so an interval of a twelfth of
    all steps leaves room for epochs that turn out a few batches longer or shorter than planned.

    Register name: ``clinical_ner.evaluation_interval.v1`` (``@misc``), for
    ``training.eval_frequency``. The arguments are those of ``warmup_linear_epochs``.

    Raises:
        ClinicalNerError: a number outside its range, a corpus that cannot be read, or one that the
            batcher refuses.
    """
    steps = _epoch_steps(
        path,
        epochs=epochs,
        words_per_batch=words_per_batch,
        tolerance=tolerance,
        batcher=batcher,
        counted=N_EPOCHS_SHORTEST,
    )
    total = _planned_steps(steps, epochs)
    return max(1, min(total // 12, int(0.95 * total / epochs), min(steps)))


def patience(
    *,
    path: str | Path,
    patience_epochs: int,
    words_per_batch: int,
    tolerance: float = 0.2,
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

    Args:
        patience_epochs: passes over the corpus, 0 to never stop early.
        path: as for ``warmup_linear_epochs``.
        words_per_batch: see `path`.
        tolerance: see `path`.
        batcher: see `path`.

    Raises:
        ClinicalNerError: a number outside its range, a corpus that cannot be read, or one that the
            batcher refuses.
    """
    check_number("patience_epochs", patience_epochs, least=0)
    if patience_epochs == 0:
        return 0
    steps = _epoch_steps(
        path,
        epochs=patience_epochs,
        words_per_batch=words_per_batch,
        tolerance=tolerance,
        batcher=batcher,
        counted=N_EPOCHS,
    )
    return math.ceil(patience_epochs * statistics.fmean(steps))


def planned_steps(
    path: str | Path,
    *,
    epochs: int,
    words_per_batch: int,
    tolerance: float,
    batcher: Callable | None = None,
) -> int:
    """Expected number of steps in training. The arguments are those of ``warmup_linear_epochs``.

    Raises:
        ClinicalNerError: a number outside its range, a corpus that cannot be read, or one that the
            batcher refuses.
    """
    steps = _epoch_steps(
        path,
        epochs=epochs,
        words_per_batch=words_per_batch,
        tolerance=tolerance,
        batcher=batcher,
        counted=N_EPOCHS,
    )
    return _planned_steps(steps, epochs)


def _planned_steps(steps: list[int], epochs: int) -> int:
    """Steps of all epochs, from those of single ones."""
    return round(epochs * statistics.fmean(steps[:N_EPOCHS]))


def _epoch_steps(
    path: str | Path,
    *,
    epochs: int,
    words_per_batch: int,
    tolerance: float,
    batcher: Callable | None,
    counted: int,
) -> list[int]:
    """Steps of each of ``counted`` epochs."""
    check_number("epochs", epochs, least=1)
    check_number("words_per_batch", words_per_batch, least=1)
    check_number("tolerance", tolerance, least=0)
    if batcher is not None:
        return count_steps(read_examples(Path(path)), batcher, epochs=counted)
    by_words = partial(
        minibatch_by_words,
        size=words_per_batch,
        tolerance=tolerance,
        get_length=lambda length: length,
    )
    return count_steps(document_lengths(Path(path)), by_words, epochs=counted)


def _warmup_linear(total: int, warmup_steps: int, rate: float) -> Iterator[float]:
    if total == 1:
        # It would learn nothing at the rate 0, with which any longer training ends.
        yield rate
    else:
        # However long the rise, it leaves the last step its 0.
        warmup_steps = min(warmup_steps, total - 1)
        for step in range(total):
            if step < warmup_steps:
                yield rate * (step + 1) / warmup_steps
            else:
                yield rate * (total - 1 - step) / max(1, total - 1 - warmup_steps)
    while True:
        yield 0.0
