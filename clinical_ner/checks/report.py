"""All checks of a corpus in one report."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, TypeAlias

from .characters import find_characters
from .consistency import find_other_labels, find_unlabelled
from .corpus import Part, all_documents
from .duplicates import THRESHOLD, find_duplicates
from .findings import SEVERITIES, Finding, Place
from .imbalance import Imbalance, find_few, measure_imbalance, recommendation
from .labels import LabelCounts, count_labels, find_label_faults
from .lengths import MAX_WORDS, find_forms
from .long_notes import ENCODER, find_long
from .overlaps import find_overlaps
from .sizes import PartCounts, count_part, find_empty

#: The texts of the documents, by part and id.
Texts: TypeAlias = Mapping[tuple[str, str], str]


@dataclass(frozen=True)
class Report:
    """What is known of a corpus.

    Attributes:
        parts: counts of each part, in the order given; labels: of each label, the commonest first.
        findings: the gravest first, and of these the most frequent.
    """

    parts: dict[str, PartCounts]
    labels: dict[str, LabelCounts]
    imbalance: Imbalance
    recommendation: list[str]
    findings: list[Finding]

    def number(self, severity: str) -> int:
        """Count the findings of a severity."""
        return sum(finding.kind.severity == severity for finding in self.findings)


def check_parts(
    parts: Sequence[Part],
    *,
    near_duplicate: float = THRESHOLD,
    max_words: int = MAX_WORDS,
    encoder: str | None = ENCODER,
    say: Callable[[str], object] = lambda message: None,
) -> Report:
    """Run every check.

    Args:
        parts: with names of their own, the one to learn from first (see corpus.learned).
        near_duplicate: least Jaccard index of nearly the same texts, in (0, 1].
        max_words: longest mention that is not reported.
        encoder: see long_notes.find_long; None leaves that check out.
        say: is called with what comes next.

    Raises:
        ClinicalNerError: datasketch is not installed.
    """
    say("counting")
    labels = count_labels(parts)
    imbalance = measure_imbalance(parts)
    findings = [*find_empty(parts), *find_label_faults(parts, labels), *find_few(imbalance)]
    say("characters")
    findings += find_characters(parts)
    say("mentions")
    findings += [*find_forms(parts, max_words=max_words), *find_overlaps(parts)]
    say("texts that are labelled differently")
    findings += [*find_other_labels(parts), *find_unlabelled(parts)]
    say("documents that occur twice")
    findings += find_duplicates(parts, threshold=near_duplicate)
    if encoder is not None:
        say("lengths in wordpieces")
        findings += find_long(parts, encoder=encoder)
    findings.sort(key=lambda of: (SEVERITIES.index(of.kind.severity), -of.count, of.code))
    return Report(
        parts={part.name: count_part(part) for part in parts},
        labels=labels,
        imbalance=imbalance,
        recommendation=recommendation(imbalance, labels),
        findings=findings,
    )


def texts_of(parts: Sequence[Part]) -> Texts:
    """Give the texts of all documents, for excerpts."""
    return {(part.name, document.id): document.text for part, document in all_documents(parts)}


def excerpt(texts: Texts, place: Place) -> str | None:
    """Give the text of a place, with characters that do not show as their code points.

    None for a place without offsets: a document is not quoted, and a label has no text.
    """
    if place.document is None or place.start is None:
        return None
    text = texts[place.part, place.document][place.start : place.end]
    return "".join(char if char.isprintable() else f"\\u{ord(char):04x}" for char in text)


def to_dict(report: Report, texts: Texts | None = None) -> dict[str, Any]:
    """Give a report as plain data for JSON: its fields, the number of errors and of warnings.

    A label also has the shares of the parts, a finding its severity, unit and title, and a place
    with offsets its text, if the texts of the documents are given.
    """
    return {
        "errors": report.number("error"),
        "warnings": report.number("warning"),
        "parts": {name: asdict(counts) for name, counts in report.parts.items()},
        "labels": {
            label: {**asdict(counts), "shares": counts.shares}
            for label, counts in report.labels.items()
        },
        "imbalance": {**asdict(report.imbalance), "parts": list(report.imbalance.parts)},
        "recommendation": report.recommendation,
        "findings": [
            {
                "code": finding.code,
                **finding.kind._asdict(),
                "count": finding.count,
                "of": finding.of,
                "detail": finding.detail,
                "places": [_place(place, texts) for place in finding.places],
            }
            for finding in report.findings
        ],
    }


def _place(place: Place, texts: Texts | None) -> dict[str, Any]:
    text = None if texts is None else excerpt(texts, place)
    return {**place._asdict(), **({} if text is None else {"text": text})}
