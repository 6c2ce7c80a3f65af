"""From a gold example to tag ids, with a mask where gold says nothing."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc
from spacy.training import Example

from ..errors import InputError
from .scheme import MASKED, OUTSIDE, begin_id, inside_id


def document_id(doc: Doc) -> str:
    """Name of a document for messages: its id if conversion gave it one, else its length.

    Text is never used as an id: it would carry a note's words into a log.
    """
    return str(doc.user_data.get("clinical_ner.id", f"of {len(doc)} tokens"))


def taggable(doc: Doc) -> NDArray[np.bool_]:
    """True for the tokens that carry a tag: all but whitespace. *Shape:* ``(len(doc),)``."""
    # Not token.is_space, which a vocabulary without lexical attributes leaves False.
    return np.fromiter((not token.text.isspace() for token in doc), dtype=bool, count=len(doc))


def encode_example(
    example: Example, label_index: Mapping[str, int], *, name: str
) -> NDArray[np.int64]:
    """Tag ids of the tokens of ``example.predicted``.

    A token is masked (-1) where gold is unknown, where it cannot be aligned with the tokenizer, and
    where it is whitespace. An entity that begins with whitespace begins at its first other token.

    Args:
        example: the gold document and the tokens that the pipeline made.
        label_index: position of each label.
        name: the component, for the message of an error.

    Returns:
        *Shape:* ``(len(example.predicted),)``.

    Raises:
        ClinicalNerError: gold holds a label that ``label_index`` lacks.
    """
    ids = np.full(len(example.predicted), MASKED, dtype=np.int64)
    begins = False
    tokens = taggable(example.predicted)
    for i, (carries_tag, tag) in enumerate(zip(tokens, example.get_aligned_ner(), strict=True)):
        if tag is None or tag == "-":
            continue
        if tag == "O":
            if carries_tag:
                ids[i] = OUTSIDE
            continue
        prefix, label = tag.split("-", 1)
        if label not in label_index:
            raise InputError(
                f"Label '{label}' of document {document_id(example.reference)} is not among the "
                f"labels of component '{name}'. Initialize the component with data, or a label "
                "file, that holds every label."
            )
        begins = begins or prefix in "BU"
        if not carries_tag:
            continue
        index = label_index[label]
        ids[i] = begin_id(index) if begins else inside_id(index)
        begins = False
    return ids
