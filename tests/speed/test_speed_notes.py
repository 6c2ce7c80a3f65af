"""Notes that are read, and notes that are made."""

from __future__ import annotations

from itertools import islice
from pathlib import Path

import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc

from clinical_ner.data.formats.docbin import DOCUMENT_ID, write_docbin
from clinical_ner.errors import ClinicalNerError
from clinical_ner.research.speed.speed_notes import made_notes, pieces_of, read_notes


@pytest.fixture
def nlp() -> Language:
    return spacy.blank("en")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in (("b", "No fever.\n"), ("a", "Cough  and\nfever"), ("c", "")):
        (tmp_path / f"{name}.txt").write_text(text, encoding="utf-8")
    (tmp_path / "a.ann").write_text("T1\tSign 0 5\tCough\n", encoding="utf-8")
    return tmp_path


def test_the_texts_of_a_folder_are_read_in_order(folder: Path, nlp: Language) -> None:
    assert read_notes(folder, nlp, limit=10) == ["Cough  and\nfever", "No fever.\n", ""]


def test_no_more_notes_are_read_than_the_limit(folder: Path, nlp: Language) -> None:
    assert read_notes(folder, nlp, limit=1) == ["Cough  and\nfever"]


def test_the_texts_of_a_docbin_are_read(tmp_path: Path, nlp: Language) -> None:
    write_docbin([nlp("One fever"), nlp("Two"), nlp("Three")], tmp_path / "notes.spacy")
    assert read_notes(tmp_path / "notes.spacy", nlp, limit=2) == ["One fever", "Two"]


@pytest.mark.parametrize(
    ("name", "code"),
    [("gone", "no such file or folder"), ("note.json", "Name one, or a folder of")],
)
def test_what_is_no_note_is_an_error(name: str, code: str, tmp_path: Path, nlp: Language) -> None:
    (tmp_path / "note.json").write_text("{}", encoding="utf-8")
    with pytest.raises(ClinicalNerError, match=code):
        read_notes(tmp_path / name, nlp, limit=1)


def test_a_folder_without_notes_is_an_error(tmp_path: Path, nlp: Language) -> None:
    with pytest.raises(ClinicalNerError, match="Name the file, or the folder in which the"):
        read_notes(tmp_path, nlp, limit=1)


def test_notes_without_a_word_are_an_error(tmp_path: Path, nlp: Language) -> None:
    (tmp_path / "a.txt").write_text(" \n", encoding="utf-8")
    with pytest.raises(ClinicalNerError, match="holds no note with words, so there is"):
        read_notes(tmp_path, nlp, limit=1)


def test_an_empty_docbin_is_an_error(tmp_path: Path, nlp: Language) -> None:
    write_docbin([], tmp_path / "notes.spacy")
    with pytest.raises(ClinicalNerError, match="holds no note with words, so there is"):
        read_notes(tmp_path / "notes.spacy", nlp, limit=1)


def test_a_note_too_long_for_the_pipeline_is_named(tmp_path: Path, nlp: Language) -> None:
    doc = Doc(nlp.vocab, words=["fever"] * 5)
    doc.user_data[DOCUMENT_ID] = "discharge-7"
    write_docbin([doc], tmp_path / "notes.spacy")
    nlp.max_length = 20
    with pytest.raises(ClinicalNerError, match="discharge-7.*30 characters.*20") as caught:
        read_notes(tmp_path / "notes.spacy", nlp, limit=1)
    assert "fever" not in str(caught.value)


def test_pieces_are_the_tokens_with_their_space(nlp: Language) -> None:
    pieces = pieces_of(nlp, ["No fever. ", "Cough"])
    assert pieces == ["No ", "fever", ". ", "Cough\n"]


def test_texts_do_not_run_into_each_other(nlp: Language) -> None:
    assert pieces_of(nlp, ["No", "", "fever"]) == ["No\n", "fever\n"]


def test_made_notes_have_their_number_and_length_and_go_on_where_the_last_ended() -> None:
    pieces = ["a ", "b ", "c\n"]
    assert list(made_notes(pieces, notes=3, words=2)) == ["a b ", "c\na ", "b c\n"]
    assert list(made_notes(pieces, notes=1, words=7)) == ["a b c\na b c\na "]


def test_made_notes_come_one_at_a_time() -> None:
    # All of them would not fit any memory.
    endless = made_notes(["a "], notes=10**12, words=2)
    assert list(islice(endless, 2)) == ["a a ", "a a "]
