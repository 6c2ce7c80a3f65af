from __future__ import annotations

import pytest

from clinical_ner.checks.lengths import find_forms

from .examples import counts, document, notes, part

TEXT = "Pain at 12.5 \n (+) of fevers, very bad"


@pytest.mark.parametrize(
    ("mention", "codes"),
    [
        (("Pain", "X"), set()),
        ((12, 15, "X"), {"C040"}),
        ((4, 4, "X"), {"C040"}),
        ((4, 7, "X"), {"C041"}),
        ((22, 27, "X"), {"C042"}),
        (("very bad", "X"), set()),
        (("of fevers, very bad", "X"), {"C043"}),
        ((8, 18, "X"), {"C044", "C047"}),
        ((16, 17, "X"), {"C045", "C046"}),
        ((15, 18, "X"), {"C046"}),
        (("12.5", "X"), {"C047"}),
        # Wrapped: whitespace between fragments is inside the mention.
        ((8, 12, 15, 18, "X"), {"C044", "C047"}),
    ],
)
def test_the_form_of_a_mention(mention: tuple[object, ...], codes: set[str]) -> None:
    findings = find_forms([part("x", document("a", TEXT, mention))], max_words=3)
    assert set(counts(findings)) == codes


def test_the_words_of_a_long_mention_are_said() -> None:
    findings = find_forms([part("x", document("a", TEXT, (0, len(TEXT), "X")))], max_words=7)
    assert notes(findings, "C043") == ["8 words"]
    assert "C043" not in counts(
        find_forms([part("x", document("a", TEXT, (0, len(TEXT), "X")))], max_words=8)
    )
