from __future__ import annotations

import pytest

from clinical_ner.checks.corpus import Part
from clinical_ner.checks.findings import Finding
from clinical_ner.checks.labels import count_labels, find_label_faults

from .examples import document, part

TEXT = "fever cough night sweats rash"


def labelled(id: str, *labels: str) -> object:
    return document(id, TEXT, *(("fever", label) for label in labels))


def faults(*parts: Part) -> dict[str, list[str | None]]:
    findings: list[Finding] = find_label_faults(parts, count_labels(parts))
    return {finding.code: [place.label for place in finding.places] for finding in findings}


def test_a_label_is_counted_over_parts() -> None:
    parts = [
        part(
            "train",
            document("a", TEXT, ("fever", "Sign"), ("night sweats", "Sign")),
            document("b", TEXT, ("cough", "Sign")),
        ),
        part("dev", document("c", TEXT, ("cough night sweats", "Sign"), ("rash", "Skin"))),
    ]
    counts = count_labels(parts)
    assert list(counts) == ["Sign", "Skin"]
    sign = counts["Sign"]
    assert (sign.mentions, sign.documents) == (4, 3)
    assert sign.by_part == {"train": 3, "dev": 1}
    assert sign.shares == {"train": 0.75, "dev": 0.25}
    assert (sign.median_words, sign.max_words) == (1.5, 3)
    assert counts["Skin"].by_part == {"train": 0, "dev": 1}
    assert (sign.flat, sign.overlapping) == (4, 4)


def test_what_flat_entities_lose_is_counted_by_label() -> None:
    marked = document("a", TEXT, ("fever cough", "Sign"), ("fever", "Heat"), ("cough", "Sign"))
    counts = count_labels([part("train", marked)])
    held = {label: (of.mentions, of.flat, of.overlapping) for label, of in counts.items()}
    assert held == {"Sign": (2, 1, 1), "Heat": (1, 0, 1)}


def test_labels_are_compared_between_parts() -> None:
    found = faults(
        part("train", labelled("a", "All", "NoTest"), labelled("b", "All")),  # type: ignore[arg-type]
        part("test", labelled("c", "All", "OnlyTest", "OnlyTest")),  # type: ignore[arg-type]
    )
    assert found["C011"] == ["OnlyTest"]
    assert found["C014"] == ["NoTest"]
    assert found["C013"] == ["NoTest"]
    assert found["C012"] == ["OnlyTest", "NoTest"]


def test_without_train_no_label_is_unlearned() -> None:
    found = faults(part("x", labelled("a", "A")), part("y", labelled("b", "B")))  # type: ignore[arg-type]
    assert "C011" not in found
    assert found["C014"] == ["A", "B"]


def test_more_parts_need_more_documents() -> None:
    documents = [labelled(id, "A") for id in "abc"]
    assert faults(part("x", *documents)) == {}  # type: ignore[arg-type]
    parts = [Part(str(n), (document(f"{n}", TEXT, ("fever", "B")),)) for n in range(3)]
    found = faults(part("x", *documents), *parts)  # type: ignore[arg-type]
    assert found["C012"] == ["A", "B"]


@pytest.mark.parametrize("other", ["sign_symptom", "Sign-Symptom", "SIGN SYMPTOM", "SignSymptom"])
def test_spellings_of_one_label_are_an_error(other: str) -> None:
    documents = [labelled(id, "Sign_symptom", "Sign") for id in "abc"]
    documents.append(labelled("d", other))
    findings = find_label_faults(
        [part("x", *documents)],  # type: ignore[arg-type]
        count_labels([part("x", *documents)]),  # type: ignore[arg-type]
    )
    [finding] = [finding for finding in findings if finding.code == "C010"]
    assert finding.kind.severity == "error"
    assert [(place.label, place.note) for place in finding.places] == [
        (other, "1 mentions; as Sign_symptom 3")
    ]
