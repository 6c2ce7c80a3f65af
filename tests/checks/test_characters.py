from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from clinical_ner.checks.characters import find_characters, suspicious

from .examples import document, part


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("caf\ufffd", "C030"),
        ("a\x0cb", "C032"),
        ("a\x00b", "C032"),
        ("a\x85b", "C032"),
        ("a\u200bb", "C033"),
        ("a\ufeffb", "C033"),
        ("co\u00adop", "C033"),
        ("a\u200d b", "C033"),
        ("\ue000", "C034"),
        ("\ud800", "C034"),
        ("5\u00a0mg", "C035"),
        ("5\u2009mg", "C035"),
        ("a\u2028b", "C035"),
    ],
)
def test_a_suspicious_character_is_found(text: str, code: str) -> None:
    [(found, start, end)] = suspicious(text)
    assert found == code
    assert end - start == 1 and not 32 <= ord(text[start]) < 127


@pytest.mark.parametrize(
    "text",
    [
        "Fever\tof 39 °C\r\nfor ≥ 3 days – “high”, 5 µg ± 2, naïve café, Ærø, Größe",
        "👩\u200d⚕ and नमस्\u200dते",
        "„FUß“, SPÖ“, À la carte, PRÉVU À “X”",
    ],
)
def test_sound_text_is_left_alone(text: str) -> None:
    assert list(suspicious(text)) == []


@pytest.mark.parametrize("sound", ["é", "ü", "°", "µ", "α", "β", "’", "“", "–", "≥", "™", "ﬁ"])
@pytest.mark.parametrize("decoder", ["cp1252", "latin-1"])
def test_utf8_decoded_wrongly_is_found(sound: str, decoder: str) -> None:
    # Decoders give the five bytes that Windows-1252 leaves undefined as in Latin-1.
    undefined = "\x81\x8d\x8f\x90\x9d"
    broken = "".join(
        chr(byte) if chr(byte) in undefined else bytes([byte]).decode(decoder)
        for byte in sound.encode()
    )
    assert list(suspicious(f"a {broken} b")) == [("C031", 2, 2 + len(broken))]


@given(st.text())
def test_places_are_in_order_and_apart(text: str) -> None:
    end_before = 0
    for _, start, end in suspicious(text):
        assert end_before <= start < end <= len(text)
        end_before = end


def test_findings_say_where_and_in_how_many_documents() -> None:
    corpus = part("x", document("a", "a\u200bb\u200b"), document("b", "\u200b"), document("c", "d"))
    [finding] = find_characters([corpus])
    assert (finding.code, finding.count, finding.detail) == ("C033", 3, "in 2 documents")
    assert [(p.document, p.start, p.end, p.note) for p in finding.places] == [
        ("a", 1, 2, "U+200B"),
        ("a", 3, 4, "U+200B"),
        ("b", 0, 1, "U+200B"),
    ]
