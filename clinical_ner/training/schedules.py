"""Schedules that know the corpus, so that one config serves 3,000 words as well as 70,000.

spaCy's own schedules count steps, and how many steps an epoch has depends on the corpus. The
functions
here count them: they put the lengths of the training documents through the batcher
``spacy.batch_by_words.v1``.
"""

import math
import random
import statistics
from collections.abc import Iterator
from pathlib import Path

from spacy.tokens import DocBin
from spacy.training.batchers import minibatch_by_words
from spacy.training.corpus import FILE_TYPE, walk_corpus

from ..errors import ClinicalNerError, Errors

#: Shuffles over which the steps of an epoch are averaged: batches depend on the order of the
#: documents.
N_SHUFFLES = 20
#: Shuffles among which the shortest epoch is looked for: the mean hides it where an epoch has few
#: steps, and one step is then a large part of it.
N_SHUFFLES_SHORTEST = 200


def warmup_linear_epochs(
    *,
    path: str | Path,
    epochs: int,
    warmup: float,
    words_per_batch: int,
    initial_rate: float,
    tolerance: float = 0.2,
) -> Iterator[float]:
    """Learning rates that rise linearly to ``initial_rate``, then fall linearly to 0.

    Register name: ``clinical_ner.warmup_linear_epochs.v1`` (``@schedules``).

    path: the training corpus, a .spacy file or a folder of them.
    epochs: passes over the corpus, as in ``training.max_epochs``.
    warmup: share of the steps during which the rate rises, in [0, 1).
    words_per_batch: ``size`` of ``spacy.batch_by_words.v1``.
    initial_rate: the highest rate, > 0.
    tolerance: ``tolerance`` of ``spacy.batch_by_words.v1``.

    YIELDS: one rate per step, 0 from the last planned step on, and ``initial_rate`` in a training
        of a single step.
    RAISES ClinicalNerError: a number outside its range, or a corpus that cannot be read.
    """
    if not 0.0 <= warmup < 1.0:
        raise ClinicalNerError(
            Errors.E004.format(setting="warmup", range="in [0, 1)", value=warmup)
        )
    if not (math.isfinite(initial_rate) and initial_rate > 0):
        raise ClinicalNerError(
            Errors.E004.format(setting="initial_rate", range="above 0", value=initial_rate)
        )
    total = planned_steps(path, epochs=epochs, words_per_batch=words_per_batch, tolerance=tolerance)
    return _warmup_linear(total, round(warmup * total), initial_rate)


def evaluation_interval(
    *,
    path: str | Path,
    epochs: int,
    words_per_batch: int,
    tolerance: float = 0.2,
) -> int:
    """Steps between evaluations: at least once per epoch, the last in the last tenth of training.

    spaCy evaluates where step % interval == 0 and never at the end, so an interval of a twelfth of
    all steps leaves room for epochs that turn out a few batches longer or shorter than planned.

    Register name: ``clinical_ner.evaluation_interval.v1`` (``@misc``), for
    ``training.eval_frequency``. The arguments are those of ``warmup_linear_epochs``.

    RAISES ClinicalNerError: a number outside its range, or a corpus that cannot be read.
    """
    steps = _epoch_steps(
        path,
        epochs=epochs,
        words_per_batch=words_per_batch,
        tolerance=tolerance,
        shuffles=N_SHUFFLES_SHORTEST,
    )
    total = _planned_steps(steps, epochs)
    return max(1, min(total // 12, int(0.95 * total / epochs), min(steps)))


def planned_steps(path: str | Path, *, epochs: int, words_per_batch: int, tolerance: float) -> int:
    """Expected number of steps in training.

    RAISES ClinicalNerError: a number outside its range, or a corpus that cannot be read.
    """
    steps = _epoch_steps(
        path,
        epochs=epochs,
        words_per_batch=words_per_batch,
        tolerance=tolerance,
        shuffles=N_SHUFFLES,
    )
    return _planned_steps(steps, epochs)


def _planned_steps(steps: list[int], epochs: int) -> int:
    """Steps of all epochs, from those of single ones."""
    return round(epochs * statistics.fmean(steps[:N_SHUFFLES]))


def _epoch_steps(
    path: str | Path, *, epochs: int, words_per_batch: int, tolerance: float, shuffles: int
) -> list[int]:
    """Steps of one epoch, for each of some shuffles; the same on every call."""
    if epochs < 1:
        raise ClinicalNerError(Errors.E004.format(setting="epochs", range=">= 1", value=epochs))
    if words_per_batch < 1:
        raise ClinicalNerError(
            Errors.E004.format(setting="words_per_batch", range=">= 1", value=words_per_batch)
        )
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise ClinicalNerError(
            Errors.E004.format(setting="tolerance", range=">= 0", value=tolerance)
        )
    lengths = document_lengths(Path(path))
    generator = random.Random(0)
    steps = []
    for _ in range(shuffles):
        generator.shuffle(lengths)
        batches = minibatch_by_words(
            lengths, words_per_batch, tolerance=tolerance, get_length=lambda length: length
        )
        steps.append(sum(1 for _ in batches))
    return steps


def document_lengths(path: Path) -> list[int]:
    """Tokens of every document of a corpus, without the empty ones, which spaCy leaves out.

    path: a .spacy file or a folder of them.

    RAISES ClinicalNerError: nothing there, not a .spacy file, or no document with tokens.
    """
    if not path.exists():
        raise ClinicalNerError(Errors.E060.format(path=path))
    lengths: list[int] = []
    for location in walk_corpus(path, FILE_TYPE):
        try:
            tokens = DocBin().from_disk(location).tokens
        # srsly and zlib raise whatever suits them on bytes that are not theirs.
        except Exception:
            raise ClinicalNerError(Errors.E061.format(path=location)) from None
        lengths.extend(len(rows) for rows in tokens if len(rows))
    if not lengths:
        raise ClinicalNerError(Errors.E062.format(path=path))
    return lengths


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
