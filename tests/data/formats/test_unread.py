from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from clinical_ner.data.formats.detect import detect_format
from clinical_ner.errors import ClinicalNerError

TSV3 = "Export the documents as WebAnno TSV 3"


@pytest.mark.parametrize(
    ("content", "name", "hint"),
    [
        ('{"%TYPES": {}, "%FEATURE_STRUCTURES": [], "%VIEWS": {}}', "UIMA CAS JSON", TSV3),
        ('{"_context": {}, "_views": {}, "_referenced_fss": {}}', "UIMA CAS JSON", TSV3),
        ('<?xml version="1.0"?>\n<!-- a --><xmi:XMI xmlns:x="y"></xmi:XMI>', "UIMA CAS XMI", TSV3),
        ("<GateDocument version='3'/>", "GATE XML", "Convert it to brat"),
        ('<annotations textSource="a.txt"/>', "the XML of Knowtator or eHOST", "Convert"),
        ("<deIdi2b2><TEXT>fever</TEXT></deIdi2b2>", "the XML of i2b2", "Convert"),
        ("<note><fever/></note>", "XML, and not BioC", "Convert"),
        ("#id=1\n#text=No fever .\n1-1\tNo\tO\n1-2\tfever\tB-Sign-x\n", "WebAnno TSV 1 or 2", TSV3),
        ("Sentence #,Word,POS,Tag\n1,fever,NN,B-Sign\n", "CSV", "columns separated by tabs"),
        ('"text","label"\n"fever, pain","a"\n', "CSV", "columns separated by tabs"),
        (
            "1\tfever\tNN\t_\n2\tpain\tNN\t_\n",
            "columns without a tag in the last",
            "--label-column",
        ),
        ('{"text": "fever", "denotations": []}', "PubAnnotation's JSON", "Write each document"),
        ('{"annotatable": {}, "anncomplete": true}', "tagtog's ann.json", "Write each document"),
        ('{"rasa_nlu_data": {}}', "Rasa's JSON", "Write each document"),
        ('{"tokenized_text": ["fever"], "ner": [[0, 0, "S"]]}', "GLiNER's JSON", "Write each"),
        ('{"fields": {"text": "fever"}, "responses": {}}', "Argilla's JSON", "Write each"),
        (
            '{"content": "fever", "annotation": [{"label": ["S"], "points": []}], "extras": null}',
            "DataTurks' JSON, whose ends count the last character in",
            "Write each",
        ),
    ],
)
def test_formats_that_are_known(tmp_path: Path, content: str, name: str, hint: str) -> None:
    (tmp_path / "a").write_text(content)

    with pytest.raises(ClinicalNerError) as caught:
        detect_format(tmp_path / "a")

    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'a'}: is {name}, which is not read. ")
    assert hint in message and message.endswith(".") and "fever" not in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"PAR1\x15\x04\x00", "Parquet"),
        (b"ARROW1\x00\x00", "Arrow"),
        (b"PK\x03\x04\x00\xfe", "a zip archive"),
        (b"\x1f\x8b\x08\x00", "a gzip archive"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\n", "PDF"),
    ],
)
def test_files_that_are_no_text(tmp_path: Path, head: bytes, name: str) -> None:
    (tmp_path / "a").write_bytes(head)

    with pytest.raises(ClinicalNerError, match=f"is {name}.* which is not read"):
        detect_format(tmp_path / "a")


def test_a_protein_is_no_parquet(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("PAR1\tB-Gene\nbinds\tO\n")

    assert detect_format(tmp_path / "a") == "conll"


@pytest.mark.parametrize("record", [{"text": "fever", "spans": [], "denotations": []}])
def test_what_can_be_read_is_read(tmp_path: Path, record: Any) -> None:
    (tmp_path / "a").write_text(json.dumps(record))

    assert detect_format(tmp_path / "a") == "jsonl"
