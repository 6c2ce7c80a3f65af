"""The embedded corpus: its files, its annotation, and what its README.md says about them.

Every check is run on the corpus and on a planted fault.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from clinical_ner.data.formats.brat import read_brat

from .checks import (
    CHECKS,
    CORPUS,
    EXCEPTIONS,
    FRONT_MATTER,
    KINDS,
    MACCROBAT_LABELS,
    OTHER_SENSES,
    PHRASES,
    SPECIALTIES,
    Catalog,
    Check,
    Report,
    Reports,
    cut_words,
    inconsistent_labels,
    inexact_offsets,
    line_breaks,
    load,
    malformed_lines,
    miscounted,
    missing_labels,
    missing_shapes,
    out_of_order,
    read,
    read_catalog,
    repeated_sentences,
    shared_runs,
    template_sentences,
    too_balanced,
    too_few,
    unknown_labels,
    unlabelled_repeats,
    unpaired,
    untidy_edges,
    wrong_catalog,
    wrong_front_matter,
    wrong_length,
    wrong_overlaps,
)

FOLDER = CORPUS / "case_reports"

# --- the corpus passes


@pytest.fixture(scope="module")
def reports() -> Reports:
    return load(FOLDER)


@pytest.fixture(scope="module")
def readme() -> str:
    return read(FOLDER / "README.md")


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return read_catalog(CORPUS / "notes.tsv")


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_corpus_has_no_problem(check: Check, reports: Reports) -> None:
    assert reports
    assert check(reports) == []


def test_corpus_is_paired() -> None:
    assert unpaired(FOLDER) == []


def test_every_report_has_its_kind_and_specialty(catalog: Catalog, reports: Reports) -> None:
    assert wrong_catalog(catalog, reports) == []


def test_readme_agrees_with_the_corpus(readme: str, reports: Reports, catalog: Catalog) -> None:
    assert wrong_front_matter(readme) == []
    assert miscounted(readme, reports, catalog) == []


@pytest.mark.parametrize("phrase", PHRASES)
def test_an_allowed_phrase_recurs(phrase: str, reports: Reports) -> None:
    others = [other for other in PHRASES if other != phrase]
    assert repeated_sentences(reports, others) or shared_runs(reports, others)


def test_an_allowed_other_sense_occurs(reports: Reports) -> None:
    assert set(unlabelled_repeats(reports, {})) == {
        f"{document}: {text}" for text, documents in OTHER_SENSES.items() for document in documents
    }


def test_the_guideline_has_a_row_for_every_type() -> None:
    rows = re.findall(r"(?m)^\| (\w+) \| .+ \| .*\[.+\].* \|$", read(CORPUS / "GUIDELINE.md"))
    assert sorted(rows) == sorted(MACCROBAT_LABELS)


def test_read_brat_reads_the_corpus(reports: Reports) -> None:
    documents = list(read_brat(FOLDER))

    assert [
        (document.id, document.text, [(m.id, m.label, m.fragments) for m in document.mentions])
        for document in documents
    ] == [
        (report.id, report.text, [(m.id, m.label, m.fragments) for m in report.mentions])
        for report in reports
    ]
    assert all(document.skipped == {} for document in documents)


# --- the checks find planted faults


def _report(text: str, *lines: str, name: str = "note") -> Report:
    return Report(name, text, "".join(f"{line}\n" for line in lines))


def _labelled(*labels: str) -> Reports:
    return [_report("x", *(f"T{i}\t{label} 0 1\tx" for i, label in enumerate(labels, start=1)))]


CLEAN = _report(
    "Pain in the left and right arm at 4 a.m. on Monday.",
    "T1\tSign_symptom 0 4\tPain",
    "T2\tBiological_structure 12 16;27 30\tleft arm",
    "T3\tBiological_structure 21 30\tright arm",
    "T4\tTime 34 40\t4 a.m.",
    "T5\tDate 34 50\t4 a.m. on Monday",
)

FAULTS: list[tuple[Check, Reports, list[str]]] = [
    (too_few, [CLEAN] * 79, ["79 reports", "948 words", "395 mentions"]),
    (malformed_lines, [_report("x", "T1\tAge 0 1\tx", "R1\tMODIFY")], ["note line 2"]),
    (malformed_lines, [_report("x", "T1\tAge 0\tx")], ["note line 1"]),
    (malformed_lines, [_report("x", "T1\tAge 0 1\tx", "")], ["note line 2"]),
    (out_of_order, [_report("x", "T2\tAge 0 1\tx")], ["note T2"]),
    (out_of_order, [_report("x y", "T1\tAge 2 3\ty", "T2\tAge 0 1\tx")], ["note T2"]),
    (out_of_order, [_report("x y", "T1\tAge 2 3;0 1\ty x")], ["note T1"]),
    (out_of_order, [_report("x y", "T1\tAge 1 1\t ")], ["note T1"]),
    (inexact_offsets, [_report("an ache", "T1\tAge 3 6\tache")], ["note T1"]),
    (inexact_offsets, [_report("an ache", "T1\tAge 0 2;3 7\tan  ache")], ["note T1"]),
    (cut_words, [_report("aching", "T1\tAge 0 3\tach")], ["note T1"]),
    (cut_words, [_report("aching", "T1\tAge 3 6\ting")], ["note T1"]),
    (untidy_edges, [_report("an ache.", "T1\tAge 3 8\tache.")], ["note T1"]),
    (untidy_edges, [_report("an ache", "T1\tAge 2 7\t ache")], ["note T1"]),
    (untidy_edges, [_report("4 a.m., x", "T1\tTime 0 7\t4 a.m.,")], ["note T1"]),
    (untidy_edges, [_report("left, right", "T1\tAge 0 5;6 11\tleft, right")], ["note T1"]),
    (untidy_edges, [_report("5mg b.i.d., x", "T1\tDosage 0 11\t5mg b.i.d.,")], ["note T1"]),
    (untidy_edges, [_report("the heart b.", "T1\tAge 4 12\theart b.")], ["note T1"]),
    (untidy_edges, [_report("pain) x", "T1\tAge 0 5\tpain)")], ["note T1"]),
    (untidy_edges, [_report('say "pain" x', 'T1\tAge 4 9\t"pain')], ["note T1"]),
    (untidy_edges, [_report("a | b", "T1\tAge 0 3\ta |")], ["note T1"]),
    (line_breaks, [_report("left\nhand", "T1\tAge 0 4;5 9\tleft hand")], ["note T1"]),
    (
        wrong_overlaps,
        [_report("had gout", "T1\tHistory 0 8\thad gout", "T2\tSign_symptom 4 8\tgout")],
        ["note T1, T2"],
    ),
    (
        wrong_overlaps,
        [_report("had gout", "T1\tHistory 0 7\thad gou", "T2\tDisease_disorder 4 8\tgout")],
        ["note T1, T2"],
    ),
    (wrong_length, [_report("word " * 119)], ["note: 119 words"]),
    (wrong_length, [_report("word " * 251)], ["note: 251 words"]),
    (unknown_labels, _labelled("Age", "Symptom"), ["note T2: Symptom"]),
    (missing_labels, _labelled(*(MACCROBAT_LABELS - {"Mass"})), ["Mass"]),
    (
        repeated_sentences,
        [_report("It hurt! She left at 4 p.m. again.\nIt hurt!")],
        ["note sentence 1 = note sentence 3"],
    ),
    (
        repeated_sentences,
        [_report("Alas. He slept.", name="a"), _report("He slept.", name="b")],
        ["a sentence 2 = b sentence 1"],
    ),
    (
        repeated_sentences,
        [_report("Findings:\n1. Rest.\nFINDINGS\n- rest\n1. Sleep.")],
        ["note sentence 3 = note sentence 5"],
    ),
    (
        shared_runs,
        [
            _report("So one, two three four five six seven EIGHT.", name="a"),
            _report("one two three (four) five six seven\neight nine", name="b"),
        ],
        ["a = b"],
    ),
    (
        template_sentences,
        [
            _report(
                "She had pain for a week. Pain.",
                "T1\tSign_symptom 8 12\tpain",
                "T2\tDuration 17 23\ta week",
                name="a",
            ),
            _report(
                "Then she left. She had fever for two days. Fever.",
                "T1\tSign_symptom 23 28\tfever",
                "T2\tDuration 33 41\ttwo days",
                name="b",
            ),
        ],
        ["a sentence 1 = b sentence 2"],
    ),
    (
        unlabelled_repeats,
        [
            _report("A dry cough.", "T1\tSign_symptom 6 11\tcough", name="a"),
            _report("Cough and coughing; A DRY COUGH!", name="b"),
            _report("dry cough", "T1\tSign_symptom 0 9\tdry cough", name="c"),
        ],
        ["b: cough", "b: cough", "b: dry cough"],
    ),
    (
        inconsistent_labels,
        [
            _report("Pain.", "T1\tSign_symptom 0 4\tPain", name="a"),
            _report("A pain, a mass.", "T1\tHistory 2 6\tpain", "T2\tAge 10 14\tmass", name="b"),
        ],
        ["a T1: Sign_symptom = b T1: History"]
        + [f"exception without a case: {text}" for text in EXCEPTIONS],
    ),
    (missing_shapes, _labelled("Age"), ["discontinuous", "nested"]),
    (too_balanced, _labelled("Age", *["Sex"] * 39), ["Sex 39, Age 1"]),
]


@pytest.mark.parametrize(
    ("check", "reports", "problems"), FAULTS, ids=[check.__name__ for check, _, _ in FAULTS]
)
def test_check_finds_a_planted_fault(check: Check, reports: Reports, problems: list[str]) -> None:
    assert sorted(check(reports)) == sorted(problems)


def test_every_check_has_a_planted_fault() -> None:
    assert {check for check, _, _ in FAULTS} == set(CHECKS)


def test_an_exception_does_not_allow_a_third_label() -> None:
    reports = _labelled("Sign_symptom", "Coreference", "Age")

    assert inconsistent_labels(reports, {"x": {"Sign_symptom", "Coreference"}}) == [
        "note T1: Sign_symptom = note T2: Coreference = note T3: Age"
    ]


def test_another_sense_holds_for_its_reports_alone() -> None:
    reports = [
        _report("The back hurt.", "T1\tBiological_structure 4 8\tback", name="a"),
        _report("He is back.", name="b"),
        _report("She came back.", name="c"),
    ]

    assert unlabelled_repeats(reports, {"back": {"b"}}) == ["c: back"]


def test_an_allowed_phrase_is_no_repeat() -> None:
    phrase = "Come back at once if the fever returns or rises."
    reports = [_report(f"Home. {phrase}", name="a"), _report(f"Well. {phrase}", name="b")]

    assert repeated_sentences(reports, [phrase]) == shared_runs(reports, [phrase]) == []
    assert shared_runs(reports, []) == ["a = b"]


def test_a_disease_may_stand_within_a_history_and_words_may_be_shared() -> None:
    nested = ["T1\tHistory 0 8\thad gout", "T2\tDisease_disorder 4 8\tgout"]

    assert wrong_overlaps([_report("had gout", *nested)]) == []
    assert wrong_overlaps([_report(CLEAN.text, *CLEAN.ann.splitlines()[:3])]) == []


@pytest.mark.parametrize("text", ["4 a.m.", "5mg b.i.d.", "p.o.", "2 g (40 mg/kg)"])
def test_an_abbreviation_or_a_closed_bracket_is_a_tidy_edge(text: str) -> None:
    assert untidy_edges([_report(text, f"T1\tDosage 0 {len(text)}\t{text}")]) == []


def test_a_fault_of_the_catalog_is_found() -> None:
    catalog = {kind: (kind, f"specialty {i}") for i, kind in enumerate(KINDS)}
    reports = [_report("x", name=kind) for kind in KINDS]
    few = f"{len(KINDS)} specialties"

    assert len(KINDS) < SPECIALTIES
    assert wrong_catalog(catalog, reports) == [few]
    assert wrong_catalog(catalog, [*reports, CLEAN]) == ["note", few]
    assert wrong_catalog(catalog | {"a": ("letter", "x")}, reports) == [
        "a",
        "letter",
        f"{len(KINDS) + 1} specialties",
    ]


def test_a_missing_partner_is_found(tmp_path: Path) -> None:
    for name in ("a.txt", "a.ann", "b.txt", "c.ann", "README.md"):
        (tmp_path / name).touch()

    assert unpaired(tmp_path) == ["b", "c"]


def test_a_changed_front_matter_is_found() -> None:
    assert wrong_front_matter("\n".join(["---", "license: CC0-1.0", *FRONT_MATTER]))


README = """
| Documents | 1 |
| Specialties | 1 |
| Referral | 1 |
| Words | 12 |
| Mentions | 5 |
| of these nested | 1 |
| of these discontinuous | 1 |
| Biological_structure | 2 |
| Date | 1 |
| Sign_symptom | 1 |
| Time | 1 |
"""


@pytest.mark.parametrize(
    ("row", "instead", "problems"),
    [
        ("| Time | 1 |", "| Time | 1 |", []),
        ("| Time | 1 |", "| Time | 2 |", ["Time: 1", "Time: 2"]),
        ("| Time | 1 |\n", "", ["Time: 1"]),
        ("| Time | 1 |", "| Time | 1 |\n| Age | 1 |", ["Age: 1"]),
        ("| Time | 1 |", "| Time | 1 |\n| Time | 1 |", ["Time: 1"]),
        ("| Words | 12 |", "| Words | 1,200 |", ["Words: 12", "Words: 1200"]),
    ],
)
def test_a_wrong_row_of_the_readme_is_found(row: str, instead: str, problems: list[str]) -> None:
    catalog = {"note": ("referral", "neurology")}
    assert miscounted(README.replace(row, instead), [CLEAN], catalog) == problems


@pytest.mark.parametrize("check", [malformed_lines, out_of_order, inexact_offsets, cut_words])
def test_a_clean_report_passes(check: Check) -> None:
    assert check([CLEAN]) == []
