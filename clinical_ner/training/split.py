"""Dividing a corpus into train, dev and test by document, each with its share of every label.

The method is iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011, On the Stratification
of Multi-Label Data): the rarest label is dealt out first, to the part that lacks it most.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from typing import Any

import numpy as np
from iterstrat.ml_stratifiers import MultilabelStratifiedShuffleSplit
from numpy.typing import NDArray

from ..errors import ClinicalNerError, Errors

PARTS = ("train", "dev", "test")


def split_shares(*, dev: float, test: float) -> dict[str, float]:
    """Share of every part; train gets the rest.

    dev, test: shares of the documents, in [0, 1) and with a sum below 1.
    RAISES ClinicalNerError: they are not.
    """
    shares_valid = 0 <= dev < 1 and 0 <= test < 1
    # Decimals: in binary, shares such as 0.7 and 0.3 need not sum to 1 sharp.
    train = 1 - _decimal(dev) - _decimal(test) if shares_valid else Decimal(0)
    if train <= 0:
        raise ClinicalNerError(Errors.E200.format(dev=dev, test=test))
    return {"train": float(train), "dev": dev, "test": test}


def part_sizes(documents: int, *, dev: float, test: float, source: str) -> dict[str, int]:
    """Documents per part: shares rounded to the nearest, halves up, but at least 1 of a share > 0.

    documents: number of documents to divide.
    dev, test: as in `split_shares`.
    source: what is divided, for the message of an error.
    RAISES ClinicalNerError: a share is out of range, or there are too few documents.
    """
    shares = split_shares(dev=dev, test=test)
    parts = sum(share > 0 for share in shares.values())
    if documents < parts:
        raise ClinicalNerError(Errors.E201.format(source=source, documents=documents, parts=parts))
    sizes = {}
    for part in ("dev", "test"):
        exact = _decimal(shares[part]) * documents
        rounded = int(exact.to_integral_value(ROUND_HALF_UP))
        sizes[part] = max(rounded, 1) if shares[part] > 0 else 0
    train = documents - sizes["dev"] - sizes["test"]
    if train < 1:
        raise ClinicalNerError(Errors.E202.format(source=source, documents=documents, **sizes))
    return {"train": train, **sizes}


def split_documents(
    presence: NDArray[Any], *, dev: float, test: float, seed: int, source: str
) -> dict[str, list[int]]:
    """Divide documents so that every part holds its share of the documents with each label.

    presence: True where a document holds an entity of a label. *Shape:* ``(documents, labels)``.
    dev, test: as in `split_shares`.
    seed: of the random choices; equal arguments give equal parts.
    source: what is divided, for the message of an error.

    RETURNS: for each of train, dev and test the ascending row numbers of its documents, as many as
        `part_sizes` says.
    RAISES ClinicalNerError: see `part_sizes`.
    """
    sizes = part_sizes(len(presence), dev=dev, test=test, source=source)
    presence = np.asarray(presence, dtype=bool)
    everything = np.arange(len(presence))
    in_test = _draw(presence, sizes["test"], seed=seed)
    rest = everything[~in_test]
    in_dev = _draw(presence[rest], sizes["dev"], seed=seed)
    return {
        "train": rest[~in_dev].tolist(),
        "dev": rest[in_dev].tolist(),
        "test": everything[in_test].tolist(),
    }


def _draw(presence: NDArray[np.bool_], size: int, *, seed: int) -> NDArray[np.bool_]:
    """Draw `size` documents, stratified by label. *Shape of the result:* ``(documents,)``."""
    drawn = np.zeros(len(presence), dtype=bool)
    if size == 0:
        return drawn
    # The splitter takes two columns or more for a multi-label problem; columns without any True
    # weigh nothing.
    missing = max(0, 2 - presence.shape[1])
    labels = np.pad(presence, ((0, 0), (0, missing)))
    splitter = MultilabelStratifiedShuffleSplit(n_splits=1, test_size=size, random_state=seed)
    _, chosen = next(splitter.split(labels, labels))
    drawn[chosen] = True
    return _with_exact_size(presence, drawn, size)


def _with_exact_size(
    presence: NDArray[np.bool_], drawn: NDArray[np.bool_], size: int
) -> NDArray[np.bool_]:
    """Move documents in or out until `size` are drawn, since the splitter may miss the size.

    Each move is the one after which the drawn numbers of documents per label deviate least from the
    wanted ones, in squares relative to the label's documents; of equals, the first document.
    """
    drawn = drawn.copy()
    of_label = presence.sum(axis=0)
    wanted = of_label * (size / len(presence))
    while (number := int(drawn.sum())) != size:
        add = number < size
        candidates = np.flatnonzero(drawn != add)
        change = presence[candidates].astype(float) * (1 if add else -1)
        deviation = (presence[drawn].sum(axis=0) + change - wanted) ** 2 / np.maximum(of_label, 1)
        drawn[candidates[np.argmin(deviation.sum(axis=1))]] = add
    return drawn


def _decimal(share: float) -> Decimal:
    return Decimal(str(share))
