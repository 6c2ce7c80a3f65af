from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path

import pytest

from clinical_ner.checks.corpus import Part
from clinical_ner.checks.findings import KINDS, Place
from clinical_ner.checks.report import check_parts, excerpt, texts_of, to_dict
from clinical_ner.data.formats.reading import read_texts

from .examples import document, part

MACCROBAT = Path(__file__).parents[3] / "shared" / "maccrobat"
NOTE = "The patient had a fever and a cough for three days."
PARTS = [
    part("train", document("a", NOTE, ("fever", "Sign"), ("cough", "Sign"), ("days", "sign"))),
    part("dev", document("b", NOTE + "\n"), document("c", "co\u200bugh", ("co\u200bugh", "Sign"))),
]


def test_the_gravest_findings_come_first_and_of_these_the_most_frequent() -> None:
    report = check_parts(PARTS, encoder=None)
    order = [(finding.kind.severity, finding.count) for finding in report.findings]
    ranks = [("error", "warning", "info").index(severity) for severity, _ in order]
    assert ranks == sorted(ranks)
    for severity in ("error", "warning", "info"):
        numbers = [count for name, count in order if name == severity]
        assert numbers == sorted(numbers, reverse=True)
    codes = [finding.code for finding in report.findings]
    assert codes[:2] == ["C010", "C020"]
    assert report.number("error") == 2


def test_lengths_in_wordpieces_are_counted_with_an_encoder_only() -> None:
    assert not {"C070", "C071"} & {of.code for of in check_parts(PARTS, encoder=None).findings}
    assert "C071" in {of.code for of in check_parts(PARTS, encoder="nobody/has-it").findings}


def test_the_report_is_json_without_text_of_the_notes() -> None:
    found = to_dict(check_parts(PARTS, encoder=None))
    dumped = json.dumps(found, allow_nan=False)
    assert json.loads(dumped) == found
    assert not any(word in dumped for word in ("fever", "patient", "co\\u200bugh"))
    assert found["errors"] == 2
    assert found["warnings"] == sum(of["severity"] == "warning" for of in found["findings"])
    for finding in found["findings"]:
        assert finding["severity"] == KINDS[finding["code"]].severity
        assert len(finding["places"]) == finding["count"]
    assert found["labels"]["Sign"]["shares"] == {"train": pytest.approx(2 / 3), "dev": 1 / 3 + 0.0}


def test_texts_are_quoted_where_they_are_given() -> None:
    found = to_dict(check_parts(PARTS, encoder=None), texts_of(PARTS))
    places = {of["code"]: of["places"] for of in found["findings"]}
    assert places["C033"][0]["text"] == "\\u200b"
    assert "text" not in places["C020"][0]


def test_an_excerpt_shows_what_is_invisible() -> None:
    texts = texts_of(PARTS)
    assert excerpt(texts, Place("dev", "c", 1, 4)) == "o\\u200bu"
    assert excerpt(texts, Place("dev", "b", len(NOTE) - 1, len(NOTE) + 1)) == ".\\u000a"
    assert excerpt(texts, Place("dev", "c")) is None


def test_what_comes_next_is_said() -> None:
    said: list[str] = []
    check_parts(PARTS, encoder=None, say=said.append)
    assert len(said) == len(set(said)) > 3


def naive() -> dict[str, int]:
    """Counts of MACCROBAT from the lines of its files, without the readers and the checks."""
    labels: dict[str, Counter[str]] = defaultdict(Counter)
    number: Counter[str] = Counter()
    for path in sorted(MACCROBAT.glob("*.ann")):
        text = path.with_suffix(".txt").read_bytes().decode()
        number["C033"] += sum(text.count(char) for char in "\u200b\u200c\u200d\ufeff\u00ad\u2060")
        spans: dict[str, set[str]] = defaultdict(set)
        for line in path.read_text(encoding="utf-8").split("\n"):
            if not line.startswith("T"):
                continue
            label, _, offsets = line.split("\t")[1].partition(" ")
            edges = [[int(at) for at in piece.split()] for piece in offsets.split(";")]
            quote = " ".join(text[start:end] for start, end in sorted(edges))
            number["mentions"] += 1
            number["C061"] += bool(spans[offsets]) and label not in spans[offsets]
            number["C060"] += label in spans[offsets]
            spans[offsets].add(label)
            labels[" ".join(quote.casefold().split())][label] += 1
            number["C045"] += len(quote) == 1
            number["C046"] += not any(char.isalnum() for char in quote)
            if len(edges) == 1 and quote == quote.strip():
                start, end = edges[0]
                around = (text[start - 1 : start + 1], text[end - 1 : end + 1])
                number["C042"] += any(len(two) == 2 and two.isalnum() for two in around)
    for counts in labels.values():
        total, most = counts.total(), max(counts.values())
        is_clear = total >= 5 and most / total >= 0.8
        number["C050" if is_clear else "C051"] += total - most
    return number


@pytest.mark.slow
@pytest.mark.skipif(not MACCROBAT.is_dir(), reason="the case reports (shared/maccrobat) are absent")
def test_the_case_reports_have_the_counts_of_a_naive_count() -> None:
    report = check_parts([Part("maccrobat", tuple(read_texts(MACCROBAT)))], encoder=None)
    found = {finding.code: finding.count for finding in report.findings}
    expected = naive()
    assert report.parts["maccrobat"].mentions == expected["mentions"] == 20167
    for code in ("C033", "C045", "C046", "C050", "C051", "C060", "C061"):
        assert found.get(code, 0) == expected[code], code
    # The naive count leaves mentions in several pieces out.
    assert 0 <= found["C042"] - expected["C042"] <= found["C064"]
    assert report.number("error") == 0
