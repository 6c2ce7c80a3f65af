"""spaCy's training JSON: documents of "paragraphs", each with its text, tokens and entities.

Entities are offsets in "entities", or, in older files, only as a BILUO tag of each token.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from ..mentions import Mention
from ..offsets import QuotedMention
from .column_tags import OUTSIDE, TagFaultError, chunks, parse_tag
from .json_shapes import Place, RecordText, beside, checked_text, document_id, kind, read_mentions

#: The tag of a token about which nothing is known.
_MISSING = ("-", None)


def is_training_document(record: Any) -> bool:
    """Whether a record is a document of spaCy's training format."""
    return isinstance(record, dict) and "paragraphs" in record


def read_paragraphs(
    record: Mapping[str, Any], *, place: Place, default_id: str
) -> list[RecordText]:
    """Read a document: one text for each paragraph, numbered from 1 if there are several.

    Tokens without a tag count as "missing_tag" in what was skipped.

    Args:
        record: what JSON gave, for which is_training_document holds.
        place: file and line, for messages.
        default_id: the id of a document without one.

    Raises:
        ClinicalNerError: a paragraph without text and tokens, for a token that the text does not
            hold next, and for tags that are not BILUO.
    """
    document = document_id(record, default_id, place)
    paragraphs = record["paragraphs"]
    if not isinstance(paragraphs, list) or not all(isinstance(item, dict) for item in paragraphs):
        raise place.fault(f"paragraphs are {kind(paragraphs)}, not an array of objects")
    return [
        _read_paragraph(
            paragraph, document if len(paragraphs) == 1 else f"{document}-{number}", place
        )
        for number, paragraph in enumerate(paragraphs, start=1)
    ]


def _read_paragraph(paragraph: Mapping[str, Any], document: str, place: Place) -> RecordText:
    sentences = _sentences(paragraph, document, place)
    words = [token for sentence in sentences for token in sentence]
    raw = paragraph.get("raw")
    if raw is None:
        if not words:
            raise place.fault("a paragraph has neither text nor tokens")
        raw = "".join(token["orth"] + str(token.get("space", " ")) for token in words)
    text = checked_text(raw, place)
    skipped = beside(paragraph)
    if isinstance(paragraph.get("entities"), list):
        mentions = [
            quoted
            for number, item in enumerate(paragraph["entities"], start=1)
            for quoted in read_mentions(item, number, document=document, place=place)
        ]
        return RecordText(document, text, mentions, +skipped)
    # Offsets that were made here, by finding the tokens in the text.
    mentions = _tagged(text, sentences, skipped, place)
    return RecordText(document, text, mentions, +skipped, counted="code-points")


def _sentences(
    paragraph: Mapping[str, Any], document: str, place: Place
) -> list[list[dict[str, Any]]]:
    sentences = paragraph.get("sentences", [])
    if not isinstance(sentences, list) or not all(
        isinstance(sentence, dict) and isinstance(sentence.get("tokens"), list)
        for sentence in sentences
    ):
        raise place.fault("sentences are not an array of objects with tokens")
    tokens = [sentence["tokens"] for sentence in sentences]
    for sentence in tokens:
        for token in sentence:
            if not isinstance(token, dict) or not isinstance(token.get("orth"), str):
                raise place.fault("a token has no 'orth' that is a string")
    return tokens


def _tagged(
    text: str, sentences: list[list[dict[str, Any]]], skipped: Counter[str], place: Place
) -> list[QuotedMention]:
    mentions: list[QuotedMention] = []
    position = 0
    for sentence in sentences:
        offsets, tags = [], []
        for token in sentence:
            start = text.find(token["orth"], position)
            if start < 0 or text[position:start].strip():
                raise place.fault("a token is not what follows in the text")
            position = start + len(token["orth"])
            offsets.append((start, position))
            if token.get("ner") in _MISSING:
                skipped["missing_tag"] += 1
                tags.append(OUTSIDE)
                continue
            tag = parse_tag(str(token["ner"]))
            if tag is None:
                raise place.fault("a token's 'ner' is not a tag", "Write O, or B-, I-, L-, U-LABEL")
            tags.append(tag)
        try:
            found = chunks(tags, "BILUO")
        except TagFaultError as error:
            raise place.fault(f"tags are not BILUO: {error.problem}") from None
        for first, last, label in found:
            fragment = (offsets[first][0], offsets[last - 1][1])
            mention = Mention(f"T{len(mentions) + 1}", label, (fragment,))
            mentions.append(QuotedMention(mention))
    return mentions
