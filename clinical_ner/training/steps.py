"""Reading a training corpus only to count the steps of an epoch."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from spacy.tokens import DocBin
from spacy.training import Example
from spacy.training.corpus import FILE_TYPE, walk_corpus
from spacy.vocab import Vocab

from ..errors import InputError

Item = TypeVar("Item")


def count_steps(
    items: Sequence[Item], batcher: Callable[[Iterable[Item]], Iterable[Any]], *, epochs: int
) -> list[int]:
    """Batches of each of some epochs, before each of which the items are shuffled.

    The same on every call with a new batcher; the global generators are left alone.
    """
    generator = random.Random(0)
    order = list(items)
    steps = []
    for _ in range(epochs):
        generator.shuffle(order)
        steps.append(sum(1 for _ in batcher(order)))
    return steps


def document_lengths(path: Path) -> list[int]:
    """Tokens of every document of a corpus, without the empty ones, which spaCy leaves out.

    Args:
        path: a .spacy file or a folder of them.

    Raises:
        ClinicalNerError: nothing there, not a .spacy file, or no document with tokens.
    """
    return _read(path, lambda found: [len(rows) for rows in found.tokens if len(rows)])


def read_examples(path: Path) -> list[Example]:
    """The documents of a corpus as examples on their gold tokens, without the empty ones.

    No pipeline is at hand that could tokenize the text again. The gold documents are read for this
    call alone, so what a batcher writes into them reaches no training.

    path, errors: as for ``document_lengths``.
    """
    return _read(path, lambda found: [Example(d, d) for d in found.get_docs(Vocab()) if len(d)])


def _read(path: Path, read: Callable[[DocBin], list[Item]]) -> list[Item]:
    if not path.exists():
        raise InputError(
            f"{path}: no such file. Run clinical-ner convert and clinical-ner split first."
        )
    items: list[Item] = []
    for location in walk_corpus(path, FILE_TYPE):
        try:
            items.extend(read(DocBin().from_disk(location)))
        # srsly and zlib raise whatever suits them on bytes that are not theirs.
        except Exception:
            raise InputError(
                f"{location}: not a readable .spacy file. Write it again with clinical-ner convert."
            ) from None
    if not items:
        raise InputError(f"{path}: holds no document with tokens, so there is nothing to train on.")
    return items
