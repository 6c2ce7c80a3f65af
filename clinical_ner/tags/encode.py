"""From entities to the tags of tokens, with a mask where gold says nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from spacy.tokens import Doc, Span
from spacy.training import Alignment, Example

from ..errors import InputError, shown, shown_label
from .scheme import MASKED, OUTSIDE, begin_id, inside_id


def document_id(doc: Doc) -> str:
    """Name of a document for messages: its id if conversion gave it one, else its length.

    Text is never used as an id: it would carry a note's words into a log.
    """
    if "clinical_ner.id" not in doc.user_data:
        return f"of {len(doc)} tokens"
    return shown(doc.user_data["clinical_ner.id"])


def taggable(doc: Doc) -> NDArray[np.bool_]:
    """True for the tokens that carry a tag: all but whitespace. *Shape:* ``(len(doc),)``."""
    # Not token.is_space, which a vocabulary without lexical attributes leaves False.
    return np.fromiter((not token.text.isspace() for token in doc), dtype=bool, count=len(doc))


def gold_tags(example: Example) -> list[str | None]:
    """Gold BIO tags of the tokens of ``example.predicted``.

    Returns:
        One tag per token, None where gold is unknown or cannot be aligned, and on whitespace.
    """
    alignment_of(example)
    return _to_bio(example.predicted, example.get_aligned_ner())


def alignment_of(example: Example) -> Alignment:
    """How the tokens of gold and of the prediction match.

    Raises:
        InputError: they are of two texts; spaCy's own error (E949) quotes both.
    """
    try:
        return example.alignment
    except ValueError:
        raise InputError(
            f"Document {document_id(example.reference)}: gold is another text, of "
            f"{len(example.reference.text)} characters, than what was annotated, of "
            f"{len(example.predicted.text)}. Make both of one text."
        ) from None


def predicted_tags(doc: Doc) -> list[str | None]:
    """BIO tags of the entities of a document, None on whitespace."""
    tags: list[str | None] = ["O"] * len(doc)
    for ent in doc.ents:
        tags[ent.start : ent.end] = [f"I-{ent.label_}"] * len(ent)
        tags[ent.start] = f"B-{ent.label_}"
    return _to_bio(doc, tags)


def encode_example(
    example: Example, label_index: Mapping[str, int], *, name: str
) -> NDArray[np.int64]:
    """Ids of the ``gold_tags`` of an example, -1 where it has None (masked).

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
    for i, tag in enumerate(gold_tags(example)):
        if tag is None:
            continue
        if tag == "O":
            ids[i] = OUTSIDE
            continue
        prefix, label = tag.split("-", 1)
        if label not in label_index:
            raise _unknown_label(label, example.reference, name)
        index = label_index[label]
        ids[i] = begin_id(index) if prefix == "B" else inside_id(index)
    return ids


def encode_overlapping(
    example: Example, spans: Iterable[Span], label_index: Mapping[str, int], *, name: str
) -> NDArray[np.int64]:
    """Ids of the tags of spans that may overlap, in one column for each type.

    A token is masked in all columns if gold is unknown there, or if it belongs to a span that
    cannot be aligned.

    Args:
        example: the gold document and the tokens that the pipeline made.
        spans: of the gold document; those of one label share no token.
        label_index: see ``encode_example``.
        name: see ``encode_example``.

    Returns:
        *Shape:* ``(len(example.predicted), len(label_index))``.

    Raises:
        ClinicalNerError: a span has a label that ``label_index`` lacks.
    """
    spans = list(spans)
    carries_tag = taggable(example.predicted)
    known = np.array([tag is not None for tag in gold_tags(example)], dtype=bool)
    aligned = [example.get_aligned_spans_y2x([span], allow_overlap=True) for span in spans]
    ids = np.full((len(example.predicted), len(label_index)), OUTSIDE, dtype=np.int64)
    for span, found in zip(spans, aligned, strict=True):
        if span.label_ not in label_index:
            raise _unknown_label(span.label_, example.reference, name)
        if not found:
            touched = example.alignment.y2x[span.start : span.end].ravel()
            known[touched] = False
            continue
        index = label_index[span.label_]
        tokens = np.arange(found[0].start, found[0].end)
        tokens = tokens[carries_tag[tokens]]
        ids[tokens, index] = inside_id(index)
        ids[tokens[:1], index] = begin_id(index)
    ids[~known] = MASKED
    return ids


def _unknown_label(label: str, reference: Doc, name: str) -> InputError:
    return InputError(
        f"Label '{shown_label(label)}' of document {document_id(reference)} is not among the "
        "labels of "
        f"component '{name}'. Initialize the component with data, or a label file, that holds "
        "every label."
    )


def _to_bio(doc: Doc, tags: Sequence[str | None]) -> list[str | None]:
    """Turn BILUO or BIO tags into BIO, None where there is none and on whitespace.

    An entity that begins with whitespace begins at its first other token.
    """
    result: list[str | None] = []
    begins = False
    for carries_tag, tag in zip(taggable(doc), tags, strict=True):
        if tag is None or tag in ("-", "O"):
            begins = False
            result.append("O" if tag == "O" and carries_tag else None)
            continue
        prefix, label = tag.split("-", 1)
        begins = begins or prefix in "BU"
        if not carries_tag:
            result.append(None)
            continue
        result.append(f"{'B' if begins else 'I'}-{label}")
        begins = False
    return result
