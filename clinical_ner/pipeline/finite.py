"""Numbers that are none: found before they reach a weight or an entity."""

from __future__ import annotations

import math
from collections.abc import Sequence

from spacy.tokens import Doc
from thinc.api import get_array_module
from thinc.types import Floats2d

from ..errors import ClinicalNerError
from ..tags.encode import document_id

#: Documents that a message names.
NAMED = 3


def check_rows(
    docs: Sequence[Doc], rows: Sequence[Floats2d], *, what: str, name: str, update: int
) -> None:
    """Check the numbers that an update has for the tokens of its documents.

    Args:
        docs: the documents.
        rows: of each document, the logits or the gradient. *Shape of each:* ``(len(doc), K)``.
        what: the beginning of "... not finite" in the message.
        name: of the component.
        update: its number in the training, from 1 on.

    Raises:
        ClinicalNerError: some are infinite or no number, with the documents where they are.
    """
    broken = [
        doc
        for doc, of_doc in zip(docs, rows, strict=True)
        if not get_array_module(of_doc).isfinite(of_doc).all()
    ]
    if broken:
        raise _error(broken, what=what, name=name, update=update)


def check_loss(docs: Sequence[Doc], loss: float, *, name: str, update: int) -> None:
    """Check the loss of a batch.

    Args:
        docs: the batch. name, update: see ``check_rows``.
        loss: of the batch.
        name: the component's.
        update: its number in the training.

    Raises:
        ClinicalNerError: it is infinite or no number.
    """
    if not math.isfinite(loss):
        raise _error(docs, what="the loss is", name=name, update=update)


def check_probabilities(doc: Doc, log_probs: Floats2d, *, name: str) -> None:
    """Check the log-probabilities of a document, which may be -inf: a tag that cannot be.

    Args:
        doc: the document.
        log_probs: *Shape:* ``(len(doc), K)``.
        name: of the component.

    Raises:
        ClinicalNerError: some are no numbers.
    """
    if get_array_module(log_probs).isnan(log_probs).any():
        raise ClinicalNerError(
            f"Component '{name}' gives no probabilities for document {document_id(doc)}: weights, "
            "or vectors of what it listens to, are not finite. Train again with a lower learn "
            "rate, or set mixed_precision = false in the transformer."
        )


def _error(docs: Sequence[Doc], *, what: str, name: str, update: int) -> ClinicalNerError:
    names = [document_id(doc) for doc in docs[:NAMED]]
    return ClinicalNerError(
        f"Update {update} of component '{name}': {what} not finite, so nothing was learned from "
        "it. Lower training.optimizer.learn_rate or learn_rate_factor, or set mixed_precision = "
        "false in the transformer. Documents: "
        f"{', '.join(names) + (' ...' if len(docs) > NAMED else '')}."
    )
