"""The documents of a learning curve: one test part, and subsets of the rest, each in the next."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc
from spacy.vocab import Vocab

from ...data.formats.detect import SUFFIXES
from ...data.formats.docbin import read_docbin
from ...data.gold import check_entities
from ...data.split.split import TEST
from ...data.split.stratify import PARTS, split_documents
from ...errors import InputError
from ...files import corpus_files

#: Share of dev, which chooses the epoch, in the notes of each size.
DEV = 0.1


def hold_out(
    corpus: Path, *, test: float | None, seed: int | None
) -> tuple[list[Doc], list[Doc], dict[str, Any] | None]:
    """Read a corpus, and take its test part out of it.

    Args:
        corpus: a .spacy file or a flat folder of them; or a folder that holds train.spacy,
            dev.spacy and test.spacy, whose test part is kept as it is.
        test: share of the test part, 0.2 by default; for a corpus that is not divided.
        seed: of that division, 0 by default.

    Returns:
        The documents to draw from; those of test; the settings of the division, None if it was
        there.

    Raises:
        ClinicalNerError: a file cannot be read, has no entity or too few documents, or a setting
            would do nothing.
    """
    vocab = Vocab()
    division: dict[str, Any] | None = None
    files = {part: corpus / f"{part}.spacy" for part in PARTS}
    if all(path.is_file() for path in files.values()):
        if test is not None or seed is not None:
            raise InputError(
                f"{corpus}: its test documents are divided off already, so --test and --split-seed "
                "would do nothing. Omit them."
            )
        pool, held_out = (
            [doc for part in parts for doc in read_docbin(files[part], vocab)]
            for parts in (PARTS[:2], PARTS[2:])
        )
    else:
        sources = corpus_files(corpus, SUFFIXES["docbin"])
        docs = [doc for source in sources for doc in read_docbin(source, vocab)]
        division = {"test": TEST if test is None else test, "seed": seed or 0}
        rows = split_documents(presence(docs), dev=0.0, source=str(corpus), **division)
        pool, held_out = ([docs[row] for row in rows[part]] for part in ("train", "test"))
    check_entities(corpus, pool)
    if not any(doc.ents for doc in held_out):
        raise InputError(f"{corpus}: its test documents hold no entity. Choose others, or more.")
    return pool, held_out, division


def presence(docs: Sequence[Doc]) -> NDArray[np.bool_]:
    """True where a document holds a label. *Shape:* ``(documents, labels)``."""
    held = [{ent.label_ for ent in doc.ents} for doc in docs]
    labels = sorted(set().union(*held))
    rows = [[label in of for label in labels] for of in held]
    return np.array(rows, dtype=bool).reshape(len(docs), len(labels))


def nested_subsets(
    holding: NDArray[np.bool_], sizes: Sequence[int], *, seed: int
) -> list[list[int]]:
    """Draw subsets, each from the next larger one, with its share of every label.

    Args:
        holding: see `presence`.
        sizes: rising, none above the number of documents.
        seed: of the draw.

    Returns:
        By size, the ascending rows of its documents.
    """
    rows = np.arange(len(holding))
    subsets = []
    for size in reversed(sizes):
        if size < len(rows):
            share = size / len(rows)
            drawn = split_documents(holding[rows], dev=0, test=share, seed=seed, source="corpus")
            rows = rows[drawn["test"]]
        subsets.append(rows.tolist())
    return subsets[::-1]


def divided_subset(docs: Sequence[Doc], *, seed: int) -> dict[str, list[Doc]]:
    """Divide the notes of a size, at least 2, into train and dev."""
    parts = split_documents(presence(docs), dev=DEV, test=0.0, seed=seed, source="corpus")
    return {part: [docs[row] for row in parts[part]] for part in ("train", "dev")}


def mentions_by_type(docs: Sequence[Doc]) -> Counter[str]:
    """Count the entities of each type."""
    return Counter(ent.label_ for doc in docs for ent in doc.ents)
