"""spaCy's training JSON: documents of "paragraphs", each with its text, tokens and entities.

Entities are offsets in "entities", or, in older files, only as a BILUO tag of each token.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import Any

from ..mentions import Mention, Place
from ..offsets import Draft, QuotedMention
from .column_tags import OUTSIDE, TagFaultError, chunks, located, parse_tag
from .json_shapes import add_mentions, beside, checked_text, document_id, objects

#: The tag of a token about which nothing is known.
_MISSING = ("-", None)


def is_training_document(record: Any) -> bool:
    """Whether a record is a document of spaCy's training format."""
    return isinstance(record, dict) and "paragraphs" in record


def read_paragraphs(record: Mapping[str, Any], *, place: Place, default_id: str) -> list[Draft]:
    """Read a document: one text for each paragraph, numbered from 1 if there are several.

    Tokens without a tag count as "missing_tag" in what was skipped.

    Raises:
        ClinicalNerError: a paragraph without text and tokens, for a token that the text does not
            hold next, and for tags that are not BILUO.
    """
    document = document_id(record, default_id, place)
    paragraphs = objects(record["paragraphs"], "paragraphs are", place)
    if len(paragraphs) == 1:
        return [_read_paragraph(paragraphs[0], document, place)]
    return [
        _read_paragraph(paragraph, f"{document}-{number}", place)
        for number, paragraph in enumerate(paragraphs, start=1)
    ]


def _read_paragraph(paragraph: Mapping[str, Any], document: str, place: Place) -> Draft:
    sentences = _sentences(paragraph, place)
    raw = paragraph.get("raw")
    if raw is None:
        words = [token for sentence in sentences for token in sentence]
        if not words:
            raise place.fault("a paragraph has neither text nor tokens")
        raw = "".join(token["orth"] + str(token.get("space", " ")) for token in words)
    text = checked_text(raw, place)
    draft = Draft(document, text, skipped=beside(paragraph), units=("code-points",))
    if isinstance(paragraph.get("entities"), list):
        add_mentions(draft, paragraph["entities"], place)
    else:
        _add_tagged(draft, sentences, place)
    return draft


def _sentences(paragraph: Mapping[str, Any], place: Place) -> list[list[dict[str, Any]]]:
    sentences = paragraph.get("sentences", [])
    if not isinstance(sentences, list) or not all(
        isinstance(sentence, dict) and isinstance(sentence.get("tokens"), list)
        for sentence in sentences
    ):
        raise place.fault("sentences are not an array of objects with tokens")
    tokens = [sentence["tokens"] for sentence in sentences]
    for token in chain.from_iterable(tokens):
        if not isinstance(token, dict) or not isinstance(token.get("orth"), str):
            raise place.fault("a token has no 'orth' that is a string")
    return tokens


def _add_tagged(draft: Draft, sentences: list[list[dict[str, Any]]], place: Place) -> None:
    # Offsets are made here, by finding the tokens in the text.
    draft.unit = "code-points"
    words = [token["orth"] for sentence in sentences for token in sentence]
    offsets = located(words, draft.text)
    if len(offsets) < len(words):
        raise place.fault("a token is not what follows in the text")
    before = 0
    for sentence in sentences:
        tags = [_tag(token, place) for token in sentence]
        draft.skipped["missing_tag"] += sum(token.get("ner") in _MISSING for token in sentence)
        try:
            found = chunks(tags, "BILUO")
        except TagFaultError as error:
            raise place.fault(f"tags are not BILUO: {error}") from None
        for first, last, label in found:
            fragment = (offsets[before + first][0], offsets[before + last - 1][1])
            mention = Mention(f"T{len(draft.mentions) + 1}", label, (fragment,))
            draft.mentions.append(QuotedMention(mention))
        before += len(sentence)


def _tag(token: dict[str, Any], place: Place) -> tuple[str, str]:
    if token.get("ner") in _MISSING:
        return OUTSIDE
    tag = parse_tag(str(token["ner"]))
    if tag is None:
        raise place.fault("a token's 'ner' is not a tag", "Write O, or B-, I-, L-, U-LABEL")
    return tag
