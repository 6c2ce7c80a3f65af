from __future__ import annotations

import random
from pathlib import Path

import pytest

from clinical_ner.data.formats.detect import detect_format
from clinical_ner.data.formats.reading import read_texts
from clinical_ner.errors import ClinicalNerError

from .examples import document, spans, write_bioc_json

NOTE = """<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE collection SYSTEM "BioC.dtd">
<collection><source>PubTator</source><date></date><key>BioC.key</key>
<document><id>7</id>
<passage><infon key="type">title</infon><offset>0</offset><text>Fever &amp; rash.</text>
<annotation id="1"><infon key="type">Sign</infon><infon key="identifier">D1</infon>
<location offset="0" length="5"/><text>Fever</text></annotation></passage>
<passage><offset>14</offset><sentence><offset>14</offset><text>😷 cough.</text>
<annotation id="2"><infon key="type">Sign</infon><location offset="{}" length="5"/>
<text>cough</text></annotation></sentence></passage>
<relation id="R1"><node refid="1" role="a"/></relation></document></collection>
"""


@pytest.mark.parametrize("offset", [16, 17, 19], ids=["code points", "UTF-16", "bytes"])
@pytest.mark.parametrize("lines", [True, False])
def test_a_collection(
    tmp_path: Path, offset: int, lines: bool, capfd: pytest.CaptureFixture[str]
) -> None:
    content = NOTE.format(offset)
    (tmp_path / "a.xml").write_text(content if lines else content.replace("\n", ""), "utf-8")

    assert detect_format(tmp_path / "a.xml") == "bioc"
    [note] = read_texts(tmp_path)

    assert (note.id, note.text) == ("7", "Fever & rash.\n😷 cough.")
    assert [(m.id, m.label, note.text[m.start : m.end]) for m in note.mentions] == [
        ("1", "Sign", "Fever"),
        ("2", "Sign", "cough"),
    ]
    assert note.skipped == {"relation": 1, "infon": 1}
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("</document>", "", r"line 1\d: not BioC .not well-formed XML"),
        ('length="5"', "", "line 1: not BioC .an element has no attribute 'length'"),
        ('offset="0"', 'offset="x"', "line 1: not BioC .an offset or a length is not"),
        ("<offset>0</offset>", "", "line 1: not BioC .an offset or a length is not"),
        ("<id>7</id>", "", "line 1: not BioC .document 1 has no id"),
        ('<infon key="type">Sign</infon>', "", "line 1: annotation 1 of document 7 has no type"),
        ("<text>Fever</text>", "", "line 1: annotation 1 of document 7 has no text"),
        ("<text>Fever</text>", "<text>x</text>", "the text of 1 does not match document 7"),
    ],
)
def test_faults(tmp_path: Path, old: str, new: str, message: str) -> None:
    assert old in NOTE
    (tmp_path / "a.xml").write_text(NOTE.format(16).replace(old, new), "utf-8")

    with pytest.raises(ClinicalNerError, match=message) as caught:
        list(read_texts(tmp_path / "a.xml"))
    message = str(caught.value).removeprefix(str(tmp_path))
    assert "Fever" not in message and caught.value.__cause__ is None


def test_other_files_are_not_read_into_a_text(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret")
    entity = f'<!DOCTYPE collection [<!ENTITY x SYSTEM "{(tmp_path / "secret").as_uri()}">]>'
    content = NOTE.replace('<!DOCTYPE collection SYSTEM "BioC.dtd">', entity).format(16)
    (tmp_path / "a.xml").write_text(content.replace("&amp; rash.", "&x;"), "utf-8")

    try:
        texts = [note.text for note in read_texts(tmp_path / "a.xml")]
    except ClinicalNerError as error:
        texts = [str(error)]
    assert not any("secret" in text for text in texts)


def test_what_the_library_writes_comes_back(tmp_path: Path) -> None:
    from bioc import biocjson, biocxml

    rng = random.Random(0)
    made = [document(rng, f"note-{number}") for number in range(30)]
    written = [note for note in made if "\x0c" not in note.text]
    write_bioc_json(written, tmp_path / "a.json")
    with (tmp_path / "a.json").open(encoding="utf-8") as file:
        collection = biocjson.load(file)

    (tmp_path / "a.xml").write_text(biocxml.dumps(collection), encoding="utf-8", newline="\n")

    as_json, as_xml = (list(read_texts(tmp_path / name)) for name in ("a.json", "a.xml"))
    assert [(note.id, note.text, spans(note)) for note in as_xml] == [
        (note.id, note.text, spans(note)) for note in as_json
    ]
