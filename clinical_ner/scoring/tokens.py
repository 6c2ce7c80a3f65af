"""Token counts per BIO tag, and the unweighted accuracy computed from them.

Unweighted accuracy is the mean recall over tags: every tag counts alike, however rare it is.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc
from spacy.training import Example

from .counts import ratio

#: Kinds of counts, in the order of the last axis: tokens with the tag in gold, those found.
SUPPORT, FOUND = range(2)
KINDS = 2

OUTSIDE = "O"


def gold_tags(example: Example) -> list[str | None]:
    """Gold BIO tags of the tokens of ``example.predicted``.

    Returns:
        One tag per token, None where gold is unknown or cannot be aligned, and on whitespace.
    """
    return _to_bio(example.predicted, example.get_aligned_ner())


def predicted_tags(doc: Doc) -> list[str | None]:
    """BIO tags of the entities of a document, None on whitespace."""
    tags: list[str | None] = [OUTSIDE] * len(doc)
    for ent in doc.ents:
        tags[ent.start : ent.end] = [f"I-{ent.label_}"] * len(ent)
        tags[ent.start] = f"B-{ent.label_}"
    return _to_bio(doc, tags)


def _to_bio(doc: Doc, tags: Iterable[str | None]) -> list[str | None]:
    """Turn BILUO or BIO tags into BIO, masking whitespace.

    An entity that begins with whitespace begins at its first other token, as in training.
    """
    result: list[str | None] = []
    begins = False
    for token, tag in zip(doc, tags, strict=True):
        if tag is None or tag in ("-", OUTSIDE):
            begins = False
            result.append(OUTSIDE if tag == OUTSIDE and not token.is_space else None)
            continue
        prefix, label = tag.split("-", 1)
        begins = begins or prefix in "BU"
        if token.is_space:
            result.append(None)
            continue
        result.append(f"{'B' if begins else 'I'}-{label}")
        begins = False
    return result


def count_tokens(example: Example) -> dict[str, list[int]]:
    """Count the tokens of one document per gold tag; masked tokens count nowhere.

    Args:
        example: predictions and gold, possibly tokenized differently.

    Returns:
        [tokens with this gold tag, those of them with the same predicted tag] by tag.
    """
    counts: dict[str, list[int]] = {}
    pairs = zip(gold_tags(example), predicted_tags(example.predicted), strict=True)
    for gold, predicted in pairs:
        if gold is None:
            continue
        of_tag = counts.setdefault(gold, [0] * KINDS)
        of_tag[SUPPORT] += 1
        of_tag[FOUND] += gold == predicted
    return counts


def unweighted_accuracy(totals: NDArray[np.float64]) -> NDArray[np.float64]:
    """Mean recall over the tags that gold has.

    Args:
        totals: counts by tag; leave out the row of O to leave it out of the mean. *Shape:* ``(...,
            tags, 2)``.

    Returns:
        NaN where gold has none of the tags. *Shape:* ``(...)``.
    """
    recall = ratio(totals[..., FOUND], totals[..., SUPPORT])
    in_gold = ~np.isnan(recall)
    return ratio(np.where(in_gold, recall, 0.0).sum(axis=-1), in_gold.sum(axis=-1))
