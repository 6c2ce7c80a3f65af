from __future__ import annotations

from dataclasses import asdict

from clinical_ner.checks.corpus import Part
from clinical_ner.checks.sizes import count_part, find_empty

from .examples import counts, document, part, where

FEVER = document("a", "Fever, chills.", ("Fever", "Sign"), ("chills", "Sign"), ("Fever", "Head"))


def test_a_part_is_counted() -> None:
    mixed = Part(
        "train",
        (FEVER, document("b", "Well."), document("c", " \n")),
        (document("d", "No.", unusable="rejected"),),
    )
    assert asdict(count_part(mixed)) == {
        "documents": 3,
        "without_text": 1,
        "without_mentions": 2,
        "unusable": 1,
        "characters": 21,
        "words": 3,
        "mentions": 3,
        "labels": 2,
    }


def test_documents_without_text_are_told_from_those_without_mentions() -> None:
    findings = find_empty([part("x", FEVER, document("b", "Well."), document("c", " \n"))])
    assert counts(findings) == {"C002": 1, "C003": 1}
    assert where(findings, "C002") == [("c", None, None)]
    assert where(findings, "C003") == [("b", None, None)]


def test_a_part_without_a_mention_is_an_error() -> None:
    [finding] = [
        finding
        for finding in find_empty([part("train", FEVER), part("dev", document("b", "Well."))])
        if finding.kind.severity == "error"
    ]
    assert (finding.code, finding.places[0].part, finding.of) == ("C001", "dev", 2)


def test_unusable_documents_are_reported_with_the_reason() -> None:
    [finding] = find_empty([Part("x", (FEVER,), (document("d", "No.", unusable="rejected"),))])
    assert (finding.code, finding.places[0].document) == ("C004", "d")
    assert finding.places[0].note == "rejected"
