"""Names in messages: shown if they look like names, and never more than a line."""

from __future__ import annotations

import hashlib
import warnings

import pytest

from clinical_ner.errors import ClinicalNerWarning, InputError, shown, shown_label


@pytest.mark.parametrize("name", ["note-7", "PMC10012.a_b", "Müller", "", 17, "x" * 64])
def test_what_looks_like_an_id_is_shown(name: object) -> None:
    assert shown(name) == str(name)


@pytest.mark.parametrize(
    "name", ["Erna Quandt", "x" * 65, "a\nb", "\x1b[31m", "\u2028", "\ud800", " a", "a\u00a0b"]
)
def test_what_does_not_is_a_hash(name: str) -> None:
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
    assert shown(name) == "#" + digest[:8]


def test_labels_may_have_a_few_words() -> None:
    assert shown_label("Therapeutic or preventive procedure") == (
        "Therapeutic or preventive procedure"
    )
    for label in ("Erna Quandt denies chest pain", "x" * 49, "Sign\x1b", "Sign  symptom"):
        assert shown_label(label).startswith("#")


def test_messages_are_one_line() -> None:
    assert str(InputError("a\nb\x1b[31m\u2028ü\ud800")) == r"a\nb\x1b[31m\u2028ü\ud800"
    with pytest.warns(ClinicalNerWarning, match=r"^a\\nb$"):
        warnings.warn("a\nb", ClinicalNerWarning, stacklevel=1)
