from __future__ import annotations

import random
import sys
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical_ner.checks.corpus import Part
from clinical_ner.checks.duplicates import MISS, bands, find_duplicates
from clinical_ner.errors import ClinicalNerError

from .examples import counts, document, notes, part, where

NOTE = "The patient was admitted with fever and a dry cough that had begun three days before."


def index_of(first: str, second: str) -> float:
    """Jaccard index of runs of three words, for texts of letters and spaces."""
    sets = []
    for text in (first, second):
        row = text.lower().split()
        sets.append({" ".join(row[i : i + 3]) for i in range(max(len(row) - 2, 1))})
    return len(sets[0] & sets[1]) / len(sets[0] | sets[1])


def variants(seed: int, number: int) -> list[str]:
    """Texts of 40 words, each one of a few with some words changed."""
    rng = random.Random(seed)
    words = [f"w{''.join(rng.choices('abcdefgh', k=4))}" for _ in range(200)]
    originals = [rng.choices(words, k=40) for _ in range(6)]
    texts = []
    for _ in range(number):
        row = list(rng.choice(originals))
        for _ in range(rng.choice([0, 1, 1, 2, 3, 5, 8])):
            row[rng.randrange(40)] = rng.choice(words)
        texts.append(" ".join(row))
    return texts


@pytest.mark.parametrize(("seed", "threshold"), product(range(3), [0.3, 0.5, 0.8, 1.0]))
def test_the_documents_found_are_those_of_a_comparison_of_all_pairs(
    seed: int, threshold: float
) -> None:
    texts = variants(seed, 90)
    parts = [
        Part(name, tuple(document(f"{name}{i}", text) for i, text in enumerate(texts[at:end])))
        for name, at, end in (("train", 0, 50), ("dev", 50, 70), ("test", 70, 90))
    ]
    placed = [(p.name, d.id, d.text) for p in parts for d in p.documents]
    expected: dict[str, list[str]] = {"C020": [], "C021": [], "C022": [], "C023": []}
    for at, (name, id_, text) in enumerate(placed):
        before = placed[:at]
        is_copy = any(t == text and n == name for n, _, t in before)
        if is_copy:
            expected["C022"].append(id_)
        if any(t == text and n != name for n, _, t in before):
            expected["C020"].append(id_)
        for code, is_own in (("C021", False), ("C023", True)):
            near = (
                index_of(text, t) >= threshold
                for n, _, t in before
                if (n == name) is is_own and t != text
            )
            if not is_copy and any(near):
                expected[code].append(id_)
    found = {
        f.code: [p.document for p in f.places] for f in find_duplicates(parts, threshold=threshold)
    }
    assert found == {code: ids for code, ids in expected.items() if ids}
    assert "C020" in found and ("C021" in found or threshold == 1.0)


def test_copies_differ_at_most_in_case_and_whitespace() -> None:
    copies = [document("b", NOTE.upper()), document("c", NOTE.replace(" ", "\n"))]
    findings = find_duplicates([part("x", document("a", NOTE), *copies)])
    assert counts(findings) == {"C022": 2}
    assert notes(findings, "C022") == ["as a", "as a"]


def test_other_punctuation_makes_a_copy_nearly_the_same() -> None:
    other = document("b", NOTE.replace(" and", ", and"))
    findings = find_duplicates([part("x", document("a", NOTE), other)], threshold=1.0)
    assert notes(findings, "C023") == ["as a, Jaccard 1.00"]


def test_a_leak_is_an_error_and_names_the_earlier_document() -> None:
    changed = document("c", NOTE.replace("dry ", ""))
    parts = [part("train", document("a", NOTE)), part("test", document("b", NOTE), changed)]
    findings = find_duplicates(parts, threshold=0.6)
    errors = [finding for finding in findings if finding.kind.severity == "error"]
    assert [finding.code for finding in errors] == ["C020", "C021"]
    assert where(errors, "C020") == [("b", None, None)]
    assert notes(errors, "C020") == ["as a of train"]
    # 14 runs of three words in the original, 13 in the other, 11 in both.
    assert notes(errors, "C021") == ["as a of train, Jaccard 0.69"]


def test_texts_without_words_are_left_out() -> None:
    empty = [document(id, "-- \n") for id in "ab"]
    assert find_duplicates([part("x", *empty)]) == []


def test_short_texts_are_compared_as_a_whole() -> None:
    texts = [document("a", "No fever."), document("b", "No fever!"), document("c", "No cough.")]
    findings = find_duplicates([part("x", *texts)])
    assert where(findings, "C023") == [("b", None, None)]


def test_an_id_of_another_text_in_another_part_is_found() -> None:
    parts = [
        part("train", document("a", NOTE), document("b", "Well.")),
        part("dev", document("a", "Not " + NOTE[4:40]), document("b", "Well.")),
    ]
    findings = find_duplicates(parts)
    assert where(findings, "C024") == [("a", None, None)]
    assert notes(findings, "C024") == ["as in train"]


@given(st.floats(min_value=0.08, max_value=1.0))
def test_bands_miss_hardly_any_pair_at_the_threshold(threshold: float) -> None:
    number, rows = bands(threshold)
    assert number >= 2 and number * rows <= 128
    assert (1 - threshold**rows) ** number <= max(MISS, (1 - threshold) ** 128)


def test_a_missing_package_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasketch", None)
    with pytest.raises(
        ClinicalNerError,
        match=r"needs datasketch: pip install 'clinical-ner\[train\]'",
    ):
        find_duplicates([part("x", document("a", NOTE))])
