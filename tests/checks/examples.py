from __future__ import annotations

from collections.abc import Sequence

from clinical_ner.checks.corpus import Part
from clinical_ner.checks.findings import Finding
from clinical_ner.data.mentions import AnnotatedText, Mention


def document(id: str, text: str, *mentions: tuple[object, ...], **fields: object) -> AnnotatedText:
    """A document with mentions, each ("words of it", label) or (start, end, ..., label)."""
    made = []
    for number, (*place, label) in enumerate(mentions, start=1):
        if isinstance(place[0], str):
            start = text.index(place[0])
            place = [start, start + len(place[0])]
        fragments = tuple(zip(place[::2], place[1::2], strict=True))
        made.append(Mention(f"T{number}", str(label), fragments))  # type: ignore[arg-type]
    return AnnotatedText(id, text, tuple(made), **fields)  # type: ignore[arg-type]


def part(name: str, *documents: AnnotatedText) -> Part:
    return Part(name, documents)


def counts(findings: Sequence[Finding]) -> dict[str, int]:
    return {finding.code: finding.count for finding in findings}


def where(findings: Sequence[Finding], code: str) -> list[tuple[object, ...]]:
    """The places of a finding: document, start, end."""
    [finding] = [finding for finding in findings if finding.code == code]
    return [(place.document, place.start, place.end) for place in finding.places]


def notes(findings: Sequence[Finding], code: str) -> list[str]:
    [finding] = [finding for finding in findings if finding.code == code]
    return [place.note for place in finding.places]
