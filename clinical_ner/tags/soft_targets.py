"""Soft targets: probabilities of tags that tokens learn beside, or in place of, gold.

They are those of another model: of an ensemble that is distilled, or of an earlier model whose
labels the present gold does not have. A gold Doc carries them in its ``user_data``, which is what
survives a DocBin and the copies that spaCy makes of a batch.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc
from spacy.training import Example

from ..errors import InputError, shown_label
from ..types import TagIds
from .encode import document_id, taggable
from .scheme import tag_names

#: Key of ``doc.user_data`` under which they are.
SOFT_TARGETS = "clinical_ner.soft_targets"


def write_soft_targets(
    doc: Doc, labels: Sequence[str], probabilities: NDArray[np.floating], weights: NDArray
) -> None:
    """Give a gold document soft targets.

    Args:
        doc: the document.
        labels: entity types, in the order of the tags.
        probabilities: p of each tag; a row of zeros where it is not known. *Shape:* ``(len(doc),
            K)``.
        weights: share a of the soft target in the loss of each token, in [0, 1]; gold has the rest.
            *Shape:* ``(len(doc),)``.

    Raises:
        InputError: they are not of such shapes, or no probabilities and shares.
    """
    p = np.asarray(probabilities, dtype=np.float32)
    a = np.asarray(weights, dtype=np.float32)
    sums = p.sum(axis=-1)
    if (
        p.shape != (len(doc), len(tag_names(labels)))
        or a.shape != (len(doc),)
        or not ((p >= 0).all() and ((np.abs(sums - 1) < 1e-3) | (sums == 0)).all())
        or not ((a >= 0) & (a <= 1)).all()
    ):
        raise InputError(
            f"Soft targets of document {document_id(doc)}: each of its {len(doc)} tokens needs the "
            f"probabilities of {len(tag_names(labels))} tags, which sum to 1 (or are all 0), and a "
            "weight in [0, 1]."
        )
    # Bytes, which every writer of .spacy files takes.
    content = {"labels": list(labels), "probabilities": p.tobytes(), "weights": a.tobytes()}
    doc.user_data[SOFT_TARGETS] = content


def soft_labels(doc: Doc) -> list[str]:
    """Entity types of the soft targets of a gold document, none without soft targets."""
    return list(doc.user_data.get(SOFT_TARGETS, {}).get("labels", ()))


def soft_targets(
    example: Example, labels: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Soft targets of the tokens of ``example.predicted``.

    A token that is not one token of gold keeps the largest weight of those that it shares
    characters with, and its target is not known: gold is not trusted more there than beside it.

    Args:
        example: the gold document and the tokens that the pipeline made.
        labels: entity types, in the order of the tags that are wanted.

    Returns:
        Probabilities, a row of zeros where they are not known, *shape* ``(n, K)``, and weights a,
        0 on whitespace, *shape* ``(n,)``; None where gold carries none.

    Raises:
        InputError: they have a label that ``labels`` lacks.
    """
    reference, n_tokens = example.reference, len(example.predicted)
    content = reference.user_data.get(SOFT_TARGETS)
    if content is None:
        return None
    position = {tag: i for i, tag in enumerate(tag_names(labels))}
    for label in content["labels"]:
        if label not in labels:
            raise InputError(
                f"Label '{shown_label(label)}' of the soft targets of document "
                f"{document_id(reference)} is not "
                "among the labels of the component: initialize it with data, or a label file, that "
                "holds every label."
            )
    columns = [position[tag] for tag in tag_names(content["labels"])]
    p = np.frombuffer(content["probabilities"], dtype=np.float32).reshape(len(reference), -1)
    a = np.frombuffer(content["weights"], dtype=np.float32)
    targets, weights = np.zeros((n_tokens, len(position))), np.zeros(n_tokens)
    to_gold, from_gold = example.alignment.x2y, example.alignment.y2x
    for token in np.flatnonzero(taggable(example.predicted)).tolist():
        gold = to_gold[token]
        weights[token] = a[gold].max(initial=0.0)
        if len(gold) == 1 and len(from_gold[int(gold[0])]) == 1:
            targets[token, columns] = p[gold[0]]
    return targets, weights


def stack_soft_targets(
    examples: Sequence[Example], labels: Sequence[str]
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Soft targets of the tokens of a batch, weight 0 in documents without; None in no document."""
    found = [soft_targets(example, labels) for example in examples]
    if not any(of is not None for of in found):
        return None
    sizes = [len(example.predicted) for example in examples]
    n_tags = len(tag_names(labels))
    targets, weights = zip(
        *(of or (np.zeros((n, n_tags)), np.zeros(n)) for of, n in zip(found, sizes, strict=True)),
        strict=True,
    )
    return np.concatenate(targets), np.concatenate(weights)


def mixed_tags(
    ids: TagIds, targets: NDArray[np.float64], weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """What each token is trained on: (1 - a) of its gold tag and a of its soft target.

    Args:
        ids: gold tags, -1 where masked. *Shape:* ``(n,)``.
        targets: see ``soft_targets``. *Shape:* ``(n, K)``.
        weights: a. *Shape:* ``(n,)``.

    Returns:
        Rows sum to less than 1 where one of the two is not known. *Shape:* ``(n, K)``.
    """
    mixed = weights[:, None] * targets
    labelled = np.flatnonzero(ids >= 0)
    mixed[labelled, ids[labelled]] += 1.0 - weights[labelled]
    return mixed
