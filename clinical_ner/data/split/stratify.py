"""Dividing a corpus into train, dev and test by document, each with its share of every label.

The method is iterative stratification (Sechidis, Tsoumakas and Vlahavas 2011, On the Stratification
of Multi-Label Data): the rarest label is dealt out first, to the part that lacks it most. Exchanges
then give the parts the sizes wanted, and put labels into the parts that lack them.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal
from types import ModuleType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...errors import ConfigError, InputError, missing_extra
from .cover import cover
from .units import Units

PARTS = ("train", "dev", "test")


def split_shares(*, dev: float, test: float) -> dict[str, float]:
    """Share of every part; train gets the rest.

    Raises:
        ClinicalNerError: the shares are not in [0, 1), or their sum is not below 1.
    """
    shares_valid = 0 <= dev < 1 and 0 <= test < 1
    # Decimals: in binary, shares such as 0.7 and 0.3 need not sum to 1 sharp.
    train = 1 - _decimal(dev) - _decimal(test) if shares_valid else Decimal(0)
    if train <= 0:
        raise ConfigError(
            f"The shares of dev ({dev}) and test ({test}) must lie in [0, 1) and sum to less than "
            "1: the rest is the share of train."
        )
    return {"train": float(train), "dev": dev, "test": test}


def part_sizes(documents: int, *, dev: float, test: float, source: str) -> dict[str, int]:
    """Documents per part: shares rounded to the nearest, halves up, but at least 1 of a share > 0.

    Raises:
        ClinicalNerError: a share is out of range, or `source` has too few documents.
    """
    shares = split_shares(dev=dev, test=test)
    parts = sum(share > 0 for share in shares.values())
    if documents < parts:
        raise InputError(
            f"{source}: {documents} documents are too few for {parts} parts with a share above 0. "
            "Give more documents, or set --dev or --test to 0."
        )
    sizes = {}
    for part in ("dev", "test"):
        exact = _decimal(shares[part]) * documents
        rounded = int(exact.to_integral_value(ROUND_HALF_UP))
        sizes[part] = max(rounded, 1) if shares[part] > 0 else 0
    train = documents - sizes["dev"] - sizes["test"]
    if train < 1:
        raise InputError(
            f"{source}: of {documents} documents, {sizes['dev']} for dev and {sizes['test']} for "
            "test leave none for train. Lower --dev or --test."
        )
    return {"train": train, **sizes}


def split_documents(
    presence: NDArray[Any],
    *,
    dev: float,
    test: float,
    seed: int,
    source: str,
    groups: NDArray[Any] | None = None,
) -> dict[str, list[int]]:
    """Divide documents so that every part holds its share of the documents with each label.

    A label that at least as many documents (or groups) hold as there are parts is in every part
    where exchanges reach that; see `cover.cover` for what is guaranteed.

    Args:
        presence: True where a document holds an entity of a label. *Shape:* ``(documents,
            labels)``.
        dev: share of the documents, as in `split_shares`.
        test: see `dev`.
        seed: of the random choices; equal arguments give equal parts.
        source: what is divided, for the message of an error.
        groups: number of the group of each document; a group goes to one part. None for no groups.
            *Shape:* ``(documents,)``.

    Returns:
        For each of train, dev and test the ascending row numbers of its documents, as many as
        `part_sizes` says; with groups, about as many.

    Raises:
        ClinicalNerError: see `part_sizes`, or there are fewer groups than parts.
    """
    sizes = part_sizes(len(presence), dev=dev, test=test, source=source)
    units = Units.of(presence, groups)
    filled = [part for part in PARTS if sizes[part]]
    if len(units) < len(filled):
        raise InputError(
            f"{source}: {len(units)} groups are too few for {len(filled)} parts with a share "
            "above 0. Give more documents, set --dev or --test to 0, or name smaller groups."
        )
    # Groups may differ in size, and are drawn in proportion.
    numbers = sizes if units.are_documents else _numbers_of_groups(len(units), sizes)
    presence = units.holding > 0
    in_test = _draw(presence, numbers["test"], seed=seed)
    in_dev = np.zeros(len(units), dtype=bool)
    in_dev[~in_test] = _draw(presence[~in_test], numbers["dev"], seed=seed)
    drawn = {"train": ~in_test & ~in_dev, "dev": in_dev, "test": in_test}
    part_of = np.argmax([drawn[part] for part in filled], axis=0)
    part_of = cover(units, part_of, [sizes[part] for part in filled])
    return {
        part: units.rows(part_of == filled.index(part)) if part in filled else [] for part in PARTS
    }


def fold_documents(
    presence: NDArray[Any],
    *,
    folds: int,
    dev: float,
    seed: int,
    source: str,
    groups: NDArray[Any] | None = None,
) -> list[dict[str, list[int]]]:
    """Divide documents for a cross-validation: each is in test of one fold.

    Tests have equal sizes, with a difference of at most one document without groups, and a label
    that at least as many documents (or groups) hold as there are folds is in every test where
    exchanges reach that; see `cover.cover`. The rest of each fold is divided by `split_documents`.

    Of `folds`, there are at least 2; `dev` is the share of the documents that are not in test. The
    other arguments are those of `split_documents`.

    Returns:
        By fold, what `split_documents` returns.

    Raises:
        ClinicalNerError: there are fewer documents, or groups, than folds; or what is not in test
            cannot be divided.
    """
    split_shares(dev=dev, test=0)
    presence = np.asarray(presence, dtype=bool)
    units = Units.of(presence, groups)
    if len(units) < folds:
        kind = "documents" if groups is None else "groups"
        raise InputError(
            f"{source}: {len(units)} {kind} are too few for {folds} folds. Lower --folds, or give "
            "more documents."
        )
    labels = _two_columns(units.holding > 0)
    splitter = _splitters().MultilabelStratifiedKFold(
        n_splits=folds, shuffle=True, random_state=seed
    )
    part_of = np.empty(len(units), dtype=np.intp)
    for fold, (_, chosen) in enumerate(splitter.split(labels, labels)):
        part_of[chosen] = fold
    part_of = cover(units, part_of, _equal_sizes(units, part_of, folds))
    divided = []
    for fold in range(folds):
        rest = np.array(units.rows(part_of != fold), dtype=np.intp)
        parts = split_documents(
            presence[rest],
            dev=dev,
            test=0.0,
            seed=seed,
            source=f"{source}, fold {fold + 1}",
            groups=None if groups is None else groups[rest],
        )
        divided.append(
            {
                "train": rest[parts["train"]].tolist(),
                "dev": rest[parts["dev"]].tolist(),
                "test": units.rows(part_of == fold),
            }
        )
    return divided


def _equal_sizes(units: Units, part_of: NDArray[np.intp], folds: int) -> list[int]:
    """Documents per fold, as equal as can be; the folds that have more get those that are over."""
    documents = np.bincount(part_of, weights=units.documents, minlength=folds)
    size, over = divmod(int(documents.sum()), folds)
    sizes = np.full(folds, size)
    sizes[np.argsort(-documents, kind="stable")[:over]] += 1
    return sizes.tolist()


def _numbers_of_groups(groups: int, sizes: dict[str, int]) -> dict[str, int]:
    """Groups per part in proportion to its documents, at least 1 where it has any."""
    total = sum(sizes.values())
    numbers = {part: max(size * groups // total, min(size, 1)) for part, size in sizes.items()}
    while (left := groups - sum(numbers.values())) != 0:
        # What rounding left goes to train; what the parts of 1 took comes from the largest.
        part = "train" if left > 0 else max(numbers, key=lambda part: numbers[part])
        numbers[part] += left if left > 0 else -1
    return numbers


def _draw(presence: NDArray[np.bool_], size: int, *, seed: int) -> NDArray[np.bool_]:
    """Draw `size` documents, stratified by label. *Shape of the result:* ``(documents,)``."""
    drawn = np.zeros(len(presence), dtype=bool)
    if size == 0:
        return drawn
    labels = _two_columns(presence)
    splitter = _splitters().MultilabelStratifiedShuffleSplit(
        n_splits=1, test_size=size, random_state=seed
    )
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
    weights = 1 / np.maximum(of_label, 1)
    sign = 1 if drawn.sum() < size else -1
    # A document with labels x takes the squares of the deviations d from d.w.d to (d + sx).w.(d +
    # sx), with x its own square: by 2s x.w.d + x.w. A move changes d by the labels of one document.
    off = presence[drawn].sum(axis=0) - of_label * (size / len(presence))
    change = 2 * sign * (presence @ (weights * off)) + presence @ weights
    for _ in range(abs(size - int(drawn.sum()))):
        candidates = np.flatnonzero(drawn != (sign > 0))
        # Rounded, so that equal documents are equal whatever the order of the sums.
        chosen = candidates[np.argmin(change[candidates].round(9))]
        drawn[chosen] = sign > 0
        labels = np.flatnonzero(presence[chosen])
        change += 2 * (presence[:, labels] @ weights[labels])
    return drawn


def _two_columns(presence: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Add columns without any True, which weigh nothing, up to the splitters' least number of 2."""
    return np.pad(presence, ((0, 0), (0, max(0, 2 - presence.shape[1]))))


def _splitters() -> ModuleType:
    """Import the package of iterative stratification, which only a division needs."""
    try:
        from iterstrat import ml_stratifiers
    except ImportError as error:
        raise missing_extra("split", "iterative-stratification", "train") from error
    return ml_stratifiers


def _decimal(share: float) -> Decimal:
    return Decimal(str(share))
