from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spacy

from clinical_ner.data.conversion import to_flat_doc
from clinical_ner.data.formats.brat import write_brat
from clinical_ner.data.formats.conll import write_conll
from clinical_ner.data.formats.detect import FORMATS
from clinical_ner.data.formats.docbin import write_docbin
from clinical_ner.data.formats.jsonl import write_jsonl
from clinical_ner.data.formats.reading import SETTINGS, read_texts
from clinical_ner.data.mentions import AnnotatedText, Mention
from clinical_ner.errors import ClinicalNerError, ClinicalNerWarning

from .examples import (
    spans,
    write_bioc_json,
    write_huggingface,
    write_pubtator,
    write_webanno,
)

NOTE = AnnotatedText("a", "Chest pain", (Mention("T1", "Sign", ((0, 10),)),))
DOC, _ = to_flat_doc(NOTE.text, NOTE.mentions, spacy.blank("en"), document="a")
WRITERS: dict[str, Callable[[Path], object]] = {
    "brat": lambda path: write_brat([NOTE], path),
    "conll": lambda path: write_conll([DOC], path),
    "jsonl": lambda path: write_jsonl([NOTE], path),
    "huggingface": lambda path: write_huggingface([NOTE], path),
    "webanno": lambda path: write_webanno([NOTE], path),
    "pubtator": lambda path: write_pubtator([NOTE], path),
    "bioc": lambda path: write_bioc_json([NOTE], path),
    "docbin": lambda path: write_docbin([DOC], path),
}
ARGUMENTS: dict[str, Any] = {
    "annotator": "-",
    "label_column": -1,
    "word_column": 0,
    "scheme": "IOB2",
    "n_sents": 0,
    "label": "Sign",
    "layer": "Span",
    "offsets": "code-points",
}


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_by_name_and_by_content(tmp_path: Path, format: Any) -> None:
    WRITERS[format](tmp_path / "a")

    for name in ("auto", format):
        [document] = read_texts(tmp_path / "a", format=name)
        assert (document.id, document.text, spans(document)) == ("a", NOTE.text, spans(NOTE))


@pytest.mark.parametrize("format", FORMATS)
def test_a_setting_is_taken_or_refused(tmp_path: Path, format: Any) -> None:
    WRITERS[format](tmp_path / "a")

    (tmp_path / "names").write_text("O\n")
    for name, value in {**ARGUMENTS, "tag_names": tmp_path / "names"}.items():
        if name in SETTINGS[format]:
            [document] = read_texts(tmp_path / "a", **{name: value})
            assert spans(document) == spans(NOTE)
        else:
            assert len(list(read_texts(tmp_path / "a", **{name: None}))) == 1
            with pytest.raises(ClinicalNerError, match=f"is {format}, for which .*'{name}'"):
                read_texts(tmp_path / "a", **{name: value})


def test_an_unknown_format(tmp_path: Path) -> None:
    with pytest.raises(ClinicalNerError, match="format must be one of auto, brat"):
        read_texts(tmp_path, format="xml")  # type: ignore[arg-type]


@pytest.mark.parametrize("format", ["jsonl", "bioc"])
def test_a_file_without_documents_among_others(tmp_path: Path, format: Any) -> None:  # H2
    WRITERS[format](tmp_path / "notes.json")
    (tmp_path / "a.json").write_text("[\n]\n")

    with pytest.warns(ClinicalNerWarning) as caught:
        documents = list(read_texts(tmp_path))

    assert [spans(document) for document in documents] == [spans(NOTE)]
    assert [str(w.message) for w in caught] == [f"{tmp_path / 'a.json'}: holds no documents."]
