from __future__ import annotations

import random
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_ner.checks.consistency import find_other_labels, find_unlabelled
from clinical_ner.checks.corpus import Part
from clinical_ner.data.mentions import AnnotatedText

from .examples import counts, document, notes, part, where


def labelled(id: str, text: str, *labels: str) -> AnnotatedText:
    """The same text once per label, on lines of its own."""
    ends = [(len(text) + 1) * (n + 1) - 1 for n in range(len(labels))]
    mentions = [(end - len(text), end, label) for end, label in zip(ends, labels, strict=True)]
    return document(id, "\n".join([text] * len(labels)), *mentions)


def test_mentions_against_a_clear_majority_are_found() -> None:
    parts = [
        part("train", labelled("a", "Chest pain", *["Sign"] * 3)),
        part("dev", labelled("b", "chest  pain", "Sign", "Disease")),
    ]
    findings = find_other_labels(parts)
    assert counts(findings) == {"C050": 1}
    assert where(findings, "C050") == [("b", 12, 23)]
    assert notes(findings, "C050") == ["Sign in 4 of 5"]
    assert findings[0].places[0].label == "Disease"
    assert findings[0].of == 5
    assert findings[0].detail.startswith("1 texts")


@pytest.mark.parametrize(
    ("labels", "notes_of"),
    [
        (["A", "A", "A", "B"], ["A in 3 of 4"]),
        (["B", "A"], ["A in 1 of 2"]),
        (["A"] * 7 + ["B", "C"], ["A in 7 of 9"] * 2),
    ],
)
def test_without_a_clear_majority_it_is_told_apart(labels: list[str], notes_of: list[str]) -> None:
    findings = find_other_labels([part("x", labelled("a", "mass", *labels))])
    assert counts(findings) == {"C051": len(notes_of)}
    assert notes(findings, "C051") == notes_of


def test_one_label_per_text_is_no_finding() -> None:
    texts = [labelled("a", "mass", "A", "A"), labelled("b", "fever", "B")]
    assert find_other_labels([part("x", *texts)]) == []


def test_an_unlabelled_repeat_is_found() -> None:
    text = "Fever. No FEVER, no feverish look; post-fever state."
    parts = [part("x", labelled("a", "fever", "Sign", "Sign", "Time"), document("b", text))]
    findings = find_unlabelled(parts)
    assert where(findings, "C052") == [("b", 0, 5), ("b", 10, 15)]
    assert set(notes(findings, "C052")) == {"labelled 3 of 5 times"}
    assert {place.label for place in findings[0].places} == {"Sign"}
    assert findings[0].detail == "1 texts, labelled 3 times"


def test_a_text_that_is_mostly_unlabelled_is_told_apart() -> None:
    parts = [part("x", labelled("a", "no", "Sign", "Sign"), document("b", "no, no; no"))]
    assert counts(find_unlabelled(parts)) == {"C053": 3}


def test_a_mention_that_touches_a_place_labels_it() -> None:
    covered = document("b", "chest pain, pain.", ("chest pain", "Sign"))
    touched = document("c", "pain relief", ("in relief", "Drug"))
    parts = [part("x", labelled("a", "pain", "Sign", "Sign"), covered, touched)]
    assert where(find_unlabelled(parts), "C052") == [("b", 12, 16)]


def test_a_place_in_the_gap_of_a_mention_is_unlabelled() -> None:
    gap = document("b", "left pain arm", (0, 4, 10, 13, "Body"))
    parts = [part("x", labelled("a", "pain", "Sign", "Sign"), gap)]
    assert where(find_unlabelled(parts), "C052") == [("b", 5, 9)]


@pytest.mark.parametrize("text", ["12.5", "±"])
def test_texts_without_letters_are_left_out(text: str) -> None:
    parts = [part("x", labelled("a", text, "Value", "Value"), document("b", f"at {text} now"))]
    assert find_unlabelled(parts) == []


@pytest.mark.parametrize("place", ["2.4 mm", "2,4 mm", "x-4 mm", "4 mm-x"])
def test_a_part_of_a_number_or_of_a_word_with_a_hyphen_is_no_repeat(place: str) -> None:
    def found(text: str) -> int:
        parts = [part("x", labelled("a", "4 mm", "Size", "Size"), document("b", text))]
        return sum(finding.count for finding in find_unlabelled(parts))

    assert found(f"of {place} wide") == 0
    assert found(place.replace(".", ". ").replace(",", ", ").replace("-", " - ")) == 1


def test_the_longest_run_counts() -> None:
    texts = [labelled("a", "pain", *"AA"), labelled("b", "chest pain", *"BB")]
    findings = find_unlabelled([part("x", *texts, document("c", "Chest pain and pain"))])
    assert where(findings, "C052") == [("c", 0, 10), ("c", 15, 19)]


def scan(corpus: Part) -> set[tuple[str, int, int]]:
    """Free places of labelled texts, by a search for every text at every offset."""
    texts: dict[str, int] = {}
    for doc in corpus.documents:
        for mention in doc.mentions:
            text = doc.text[mention.start : mention.end]
            texts[text] = texts.get(text, 0) + 1
    known = [text for text, number in texts.items() if number >= 2 and re.search("[a-z]", text)]
    places = set()
    for doc in corpus.documents:
        offset = 0
        while offset < len(doc.text):
            fitting = [
                text
                for text in known
                if re.match(rf"(?<!\w)(?<!\w-){re.escape(text)}(?!\w)(?!-\w)", doc.text[offset:])
                and not re.match(r"\w", doc.text[offset - 1 : offset])
                and not re.match(r"\w-", doc.text[max(offset - 2, 0) : offset])
                and not any(
                    mention.start < offset + len(text) and offset < mention.end
                    for mention in doc.mentions
                )
            ]
            if fitting:
                longest = max(fitting, key=len)
                places.add((doc.id, offset, offset + len(longest)))
                offset += len(longest)
            else:
                offset += 1
    return places


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10_000))
def test_unlabelled_places_are_those_of_a_naive_scan(seed: int) -> None:
    rng = random.Random(seed)
    documents = []
    for number in range(6):
        # One space between words, and hyphens within them.
        words = rng.choices(["a", "b", "ab", "b a", "a-b", "7"], k=25)
        text = " ".join(words)
        edges = [m.span() for m in re.finditer(r"\w+", text)]
        mentions = []
        for _ in range(6):
            first = rng.randrange(len(edges))
            last = min(first + rng.randrange(3), len(edges) - 1)
            mentions.append((edges[first][0], edges[last][1], "X"))
        documents.append(document(str(number), text, *mentions))
    corpus = part("x", *documents)
    findings = find_unlabelled([corpus])
    found = [
        (place.document, place.start, place.end) for finding in findings for place in finding.places
    ]
    assert len(found) > 0
    assert len(set(found)) == len(found)
    assert set(found) == scan(corpus)
