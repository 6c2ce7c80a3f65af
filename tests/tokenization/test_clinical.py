"""The tokenizer for clinical text: where it cuts, where not, and that it is kept whole on disk."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest
import spacy
from hypothesis import given, settings
from hypothesis import strategies as st
from spacy.language import Language
from spacy.tokenizer import Tokenizer

from clinical_ner.errors import ClinicalNerError
from clinical_ner.tokenization.clinical import create_clinical_tokenizer

CONFIG = {"nlp": {"tokenizer": {"@tokenizers": "clinical_ner.ClinicalTokenizer.v1"}}}
#: Text as it is in a note, and its tokens.
EXAMPLES = {
    # Units
    "5mg": "5 mg",
    "0.5mL.": "0.5 mL .",
    "100MG": "100 MG",
    "5mg/kg/day": "5 mg / kg / day",
    "120/80mmHg": "120/80 mmHg",
    "mg/dl": "mg / dl",
    "mg/24h": "mg / 24 h",
    "5×10⁹/L.": "5 × 10⁹ / L .",
    "1,150/µL": "1,150 / µL",
    "cm2": "cm2",
    "5cm2": "5 cm2",
    "37.5°C": "37.5 ° C",
    "3years": "3 years",
    "mL.": "mL .",
    "24 h.": "24 h .",
    # Numbers that belong to a name
    "q12h": "q12h",
    "T790M": "T790M",
    "V600E": "V600E",
    "Fig.3h": "Fig.3h",
    "99mTc": "99mTc",
    "x2": "x2",
    "IL-6": "IL-6",
    # Relations and ranges
    "7.2±0.3": "7.2 ± 0.3",
    ">90%": "> 90 %",
    "≥30": "≥ 30",
    "<3": "< 3",
    "p<0.001": "p < 0.001",
    "n=12": "n = 12",
    "5-10": "5 - 10",
    "5-10mg": "5 - 10 mg",
    "5–10": "5 – 10",
    "20%–25%": "20 % – 25 %",
    "20%-25%": "20 % - 25 %",
    "10:30": "10:30",
    "Hb:12": "Hb : 12",
    # Compounds
    "CT/MRI": "CT / MRI",
    "left-sided": "left - sided",
    "high—7443": "high — 7443",
    "CT+MRI": "CT + MRI",
    "(HER2)-positive": "( HER2 ) - positive",
    "anti-(CD20)": "anti - ( CD20 )",
    "PET)/CT": "PET ) / CT",
    "nodule(s)": "nodule ( s )",
    "fever;cough": "fever ; cough",
    "46,XX": "46,XX",
    # Dotted abbreviations
    "b.i.d.": "b.i.d.",
    "b.i.d": "b.i.d",
    "(p.o.)": "( p.o. )",
    "q.d.,": "q.d. ,",
    "O.R.": "O.R.",
    "e.g.": "e.g.",
    # Where a sentence ends without a space
    "3.Man": "3 . Man",
    "10/10.The": "10/10 . The",
    "MRI.She": "MRI . She",
    "hepatitis C.": "hepatitis C .",
    "movements.5": "movements . 5",
    "lesions.[19]": "lesions . [ 19 ]",
    "Fig.5": "Fig.5",
    "fibers4": "fibers 4",
    "alpha1": "alpha1",
    # Neither a face nor a contraction
    "8)": "8 )",
    "im": "im",
    # As English has them
    "can't": "ca n't",
    "patient's": "patient 's",
    "3.5": "3.5",
    "www.example.org": "www.example.org",
    # Rulers
    "=====": "=====",
    "__________": "__________",
    "==": "= =",
}


def clinical(lang: str = "en") -> Language:
    return spacy.blank(lang, config=CONFIG)


ENGLISH = clinical()


def words(nlp: Language, text: str) -> list[str]:
    return [token.text for token in nlp.tokenizer(text)]


@pytest.mark.parametrize("text", EXAMPLES)
def test_it_cuts_where_mentions_begin_and_end(text: str) -> None:
    assert words(ENGLISH, text) == EXAMPLES[text].split()


@pytest.mark.parametrize("after", [" He slept.", ""])
def test_a_dotted_abbreviation_is_one_token_at_the_end_of_a_sentence_too(after: str) -> None:
    assert words(ENGLISH, f"Taken b.i.d.{after}")[:2] == ["Taken", "b.i.d."]


def test_it_is_a_plain_tokenizer_of_spacy() -> None:
    assert type(ENGLISH.tokenizer) is Tokenizer


PIECES = st.sampled_from([*EXAMPLES, " ", "  ", "\n", "\t", ".", ",", "(", ")", "-", "/", "’s"])
TEXTS = st.one_of(st.text(), st.lists(st.one_of(PIECES, st.characters())).map("".join))


@given(TEXTS)
@settings(max_examples=200, deadline=None)
def test_every_text_is_kept(text: str) -> None:
    assert ENGLISH.tokenizer(text).text == text


@given(st.lists(PIECES).map("".join))
@settings(max_examples=40, deadline=None)
def test_explain_tells_the_tokens(text: str) -> None:
    told = [token for _, token in ENGLISH.tokenizer.explain(text)]
    assert told == [token for token in words(ENGLISH, text) if not token.isspace()]


@pytest.mark.parametrize("lang", ["en", "de", "hu"])
def test_bytes_hold_the_rules(lang: str) -> None:
    text = " ".join([*EXAMPLES, "aujourd'hui", "z.B."])
    nlp = clinical(lang)
    copy = spacy.blank(lang).from_bytes(nlp.to_bytes())
    assert words(copy, text) == words(nlp, text) != words(spacy.blank(lang), text)


def test_a_folder_holds_the_rules(tmp_path: Path) -> None:
    text = " ".join(EXAMPLES)
    ENGLISH.to_disk(tmp_path / "model")
    assert words(spacy.load(tmp_path / "model"), text) == words(ENGLISH, text)


LOAD = """
import json, sys, spacy
print(json.dumps([token.text for token in spacy.load(sys.argv[1])(sys.stdin.read())]))
"""


@pytest.mark.slow
def test_a_saved_pipeline_cuts_alike_in_another_process(tmp_path: Path) -> None:
    text = " ".join(EXAMPLES)
    ENGLISH.to_disk(tmp_path / "model")
    done = subprocess.run(
        [sys.executable, "-X", "utf8", "-c", LOAD, str(tmp_path / "model")],
        input=text,
        capture_output=True,
        encoding="utf-8",
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == words(ENGLISH, text)


@pytest.mark.parametrize(
    ("lang", "text", "expected"),
    [
        ("de", "z.B. 5mg/Tag", "z.B. 5 mg / Tag"),
        ("de", "(HER2)-positiv", "( HER2 ) - positiv"),
        ("it", "l'ospedale 5mg", "l' ospedale 5 mg"),
        ("xx", "3.Man", "3 . Man"),
        pytest.param(
            *("fr", "aujourd'hui l'hôpital 7.2±0.3", "aujourd'hui l' hôpital 7.2 ± 0.3"),
            marks=pytest.mark.slow,
            id="fr",
        ),
    ],
)
def test_rules_of_the_language_stay(lang: str, text: str, expected: str) -> None:
    assert words(clinical(lang), text) == expected.split()


def test_token_match_of_the_language_stays() -> None:
    # Hungarian keeps a number and its ending together by token_match.
    assert spacy.blank("hu").Defaults.token_match is not None
    assert words(clinical("hu"), "13-ról b.i.d.") == ["13-ról", "b.i.d."]
    assert words(spacy.blank("hu"), "13-ról b.i.d.") != ["13-ról", "b.i.d."]


def test_a_language_without_spaces_is_an_error() -> None:
    with pytest.raises(ClinicalNerError, match=r"v1 cuts text at spaces, which language 'zh'"):
        create_clinical_tokenizer()(spacy.blank("zh"))


def test_what_has_no_space_for_long_is_one_token() -> None:
    assert words(ENGLISH, "before " + "5mg" * 1_000 + " after 5mg") == [
        *("before", "5mg" * 1_000, "after", "5", "mg")
    ]


@pytest.mark.parametrize(
    "piece",
    ["a", "a.", "()", "'s", "5mg", "a/1", "-", "abcdef1", "=<", "http://", "a" * 1_990 + " "]
    + ["()" * 990 + " "],
    ids=range(12),
)
def test_no_text_takes_long(piece: str) -> None:
    text = piece * (100_000 // len(piece))
    tokenizer = clinical().tokenizer
    started = time.process_time()
    doc = tokenizer(text)
    assert time.process_time() - started < 2
    assert doc.text == text
