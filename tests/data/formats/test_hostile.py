"""Files made to do harm: each ends in one line, in little time and memory."""

from __future__ import annotations

import gc
import json
import os
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
import srsly
from spacy.tokens import Doc, DocBin, Span
from spacy.vocab import Vocab

from clinical_ner.data.formats import docbin
from clinical_ner.data.formats.docbin import read_docbin, write_docbin
from clinical_ner.data.formats.reading import read_texts
from clinical_ner.errors import InputError


def _content() -> dict[str, Any]:
    """What a .spacy file holds, unpacked."""
    doc = Doc(Vocab(), words=["chest", "pain"])
    doc.spans["gold_all"] = [Span(doc, 1, 2, "Sign")]
    packed = DocBin(docs=[doc], store_user_data=True).to_bytes()
    return srsly.msgpack_loads(zlib.decompress(packed))


def _groups(words: int, start: int, label: str) -> list[bytes]:
    doc = Doc(Vocab(), words=["a"] * words)
    doc.spans["gold_all"] = [Span(doc, start, start + 1, label)]
    return [doc.spans.to_bytes()]


def _bioc(offset: int, length: int, text: str = "pain", label: str = "S") -> dict[str, Any]:
    location = {"offset": offset, "length": length}
    annotation = {"id": "1", "infons": {"type": label}, "text": "pain", "locations": [location]}
    passage = {"offset": offset, "infons": {}, "text": text, "sentences": [], "relations": []}
    passage["annotations"] = [annotation]
    return {"id": str(offset), "infons": {}, "passages": [passage], "relations": []}


@pytest.mark.parametrize(
    "change",
    [
        {"attrs": []},
        {"attrs": [65, 66, 67, 2**40]},
        {"lengths": (-5).to_bytes(4, "little", signed=True)},
        # Fewer words than there are, more, and less than nothing; a document without its words.
        *({"lengths": np.array(of, "int32").tobytes()} for of in ([1], [3], [-1, 3], [0, 2], [])),
        {"cats": [{}, {}]},
        {"spaces": b"\x01\x01\x01"},
        {"strings": []},
        {"tokens": b""},
        {"spaces": b"1"},
        {"user_data": [srsly.msgpack_dumps({"clinical_ner.lang": ["en"]})]},
        {"user_data": [srsly.msgpack_dumps([1])]},
        {"span_groups": _groups(10_000, 9_000, "Sign")},
        {"span_groups": _groups(2, 0, "a label that the file does not hold")},
    ],
)
def test_damage_is_one_line(tmp_path: Path, change: dict[str, Any]) -> None:
    path = tmp_path / "a.spacy"
    path.write_bytes(zlib.compress(srsly.msgpack_dumps({**_content(), **change})))
    with pytest.raises(InputError, match="not a readable .spacy file") as caught:
        read_docbin(path, Vocab())
    assert caught.value.__cause__ is None and gc.isenabled()


@pytest.mark.parametrize(
    "attrs",
    [
        {"ids": 1, "fragments": 1},
        {"ids": ["T1"], "fragments": [[[0]]]},
        {"ids": ["T1"], "fragments": [[[0, 99]]]},
        {"ids": ["T1"], "fragments": [[]]},
        {"ids": ["T1"], "fragments": [[["0", "5"]]]},
    ],
)
def test_attributes_of_mentions_are_not_believed(tmp_path: Path, attrs: dict[str, Any]) -> None:
    doc = Doc(Vocab(), words=["chest", "pain"])
    doc.spans["gold_all"] = [Span(doc, 0, 1, "Sign")]
    doc.spans["gold_all"].attrs.update(attrs)
    write_docbin([doc], tmp_path / "a.spacy")
    with pytest.raises(InputError, match="attributes of its spans 'gold_all' do not fit"):
        list(read_texts(tmp_path / "a.spacy"))


def test_a_compression_bomb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(docbin, "_MOST_BYTES", 2**20)
    (tmp_path / "a.spacy").write_bytes(zlib.compress(b"\0" * 2**24))
    with pytest.raises(InputError, match="bytes unpack to more than 1048576"):
        read_docbin(tmp_path / "a.spacy", Vocab())


@pytest.mark.parametrize("kind", [b"\xdd", b"\xdf", b"\xdb", b"\xc6", b"\xc9"])
def test_lengths_that_no_file_holds(tmp_path: Path, kind: bytes) -> None:
    # An array, a table, a string, bytes and an extension of 4 GiB.
    (tmp_path / "a.spacy").write_bytes(zlib.compress(b"\x81\xa6tokens" + kind + b"\xff" * 4 + b"x"))
    with pytest.raises(InputError, match="not a readable .spacy file"):
        read_docbin(tmp_path / "a.spacy", Vocab())


#: Ten of the one before, nine times over.
LAUGHS = "<!ENTITY a0 'haha'>" + "".join(
    f"<!ENTITY a{n} '{f'&a{n - 1};' * 10}'>" for n in range(1, 10)
)


@pytest.mark.parametrize(
    ("entities", "text"),
    [
        (LAUGHS, "&a9;"),
        (f"<!ENTITY a '{'x' * 20_000}'>", "&a;" * 20_000),
        ("<!ENTITY a '&b;'><!ENTITY b '&a;'>", "&a;"),
        ("<!ENTITY % a '%b;'><!ENTITY % b '%a;'> %a;", "x"),
        ("<!ENTITY % a SYSTEM 'file:///dev/zero'> %a;", "x"),
    ],
)
def test_entities_of_xml_do_not_grow(tmp_path: Path, entities: str, text: str) -> None:
    pytest.importorskip("bioc")
    passage = f"<passage><offset>0</offset><text>{text}</text></passage>"
    collection = f"<collection><document><id>1</id>{passage}</document></collection>"
    (tmp_path / "a.xml").write_text(f"<!DOCTYPE collection [{entities}]>{collection}")
    with pytest.raises(InputError, match="not well-formed XML"):
        list(read_texts(tmp_path / "a.xml"))


#: Names of files in a folder, by format.
NAMES = {"brat": "x.txt", "conll": "x.conll", "jsonl": "x.jsonl", "huggingface": "x.jsonl"}
NAMES |= {"webanno": "x.tsv", "pubtator": "x.pubtator", "bioc": "x.xml", "docbin": "x.spacy"}


@pytest.mark.parametrize("target", ["x", "absent", "/dev/zero"])
@pytest.mark.parametrize("format", [*NAMES, "auto"])
def test_a_link_to_itself_to_nothing_or_without_end(
    tmp_path: Path, format: Any, target: str
) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    file = folder / NAMES.get(format, "x.jsonl")
    file.symlink_to(file.name if target == "x" else target)
    if format == "brat":
        (folder / "x.ann").write_text("")
    with pytest.raises(InputError, match=rf"{file.name}: (cannot be read|no such file)"):
        list(read_texts(folder, format=format))


def test_links_to_files_are_read_and_links_to_folders_are_not_entered(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").write_text(json.dumps({"id": "1", "text": "pain", "label": []}))
    folder = tmp_path / "notes"
    folder.mkdir()
    (folder / "a.jsonl").symlink_to(tmp_path / "elsewhere")
    (folder / "b.jsonl").symlink_to(folder, target_is_directory=True)
    assert [document.id for document in read_texts(folder)] == ["1"]


#: Half of a pair in each place of a record that holds a string, by reader.
HALF = "\ud83d"
HALVES: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "jsonl": ("a.jsonl", [
        {"id": "1", "text": f"pain {HALF}", "label": []},
        {"id": HALF, "text": "pain", "label": []},
        {"id": "1", "text": "pain", "label": [[0, 4, HALF]]},
    ]),
    "huggingface": ("a.jsonl", [
        {"id": "1", "tokens": [HALF], "ner_tags": ["O"]},
        {"id": HALF, "tokens": ["pain"], "ner_tags": ["O"]},
        {"id": "1", "tokens": ["pain"], "ner_tags": [f"B-{HALF}"]},
    ]),
    "bioc": ("a.json", [
        {"documents": [{**_bioc(0, 4), "id": HALF}]},
        {"documents": [_bioc(0, 4, text=f"pain{HALF}")]},
        {"documents": [_bioc(0, 4, label=HALF)]},
    ]),
}  # fmt: skip


@pytest.mark.parametrize(("format", "number"), [(format, n) for format in HALVES for n in range(3)])
def test_half_of_a_pair_in_json(tmp_path: Path, format: Any, number: int) -> None:
    name, records = HALVES[format]
    (tmp_path / name).write_text(json.dumps(records[number]))
    try:
        [document] = read_texts(tmp_path / name, format=format)
    except InputError as error:
        assert str(error).isprintable() and "pain" not in str(error)
        return
    # What is read can be written: an id or a label is taken as it is only if it is text.
    labels = [mention.label for mention in document.mentions]
    "".join([document.id, document.text, *labels]).encode()


@pytest.mark.parametrize("format", ["brat", "conll", "jsonl", "webanno", "pubtator", "bioc"])
def test_half_of_a_pair_in_utf8(tmp_path: Path, format: Any) -> None:
    path = tmp_path / "notes" / NAMES[format]
    path.parent.mkdir()
    path.write_bytes(b"pain \xed\xa0\xbd\n")
    path.with_suffix(".ann").write_text("")
    with pytest.raises(InputError, match="not UTF-8"):
        list(read_texts(path.parent if format == "brat" else path, format=format))


@pytest.mark.parametrize("is_folder", [True, False])
@pytest.mark.parametrize("format", ["brat", "conll", "jsonl", "docbin", "bioc", "auto"])
def test_a_pipe_is_refused(tmp_path: Path, format: Any, is_folder: bool) -> None:
    folder = tmp_path / "notes"
    folder.mkdir()
    name = NAMES.get(format, "x.txt")
    os.mkfifo(folder / name)
    if format == "brat":
        (folder / "x.ann").write_text("")
    path = folder if is_folder or format == "brat" else folder / name
    with pytest.raises(InputError, match=rf"{name}: cannot be read \(it is a pipe or a device\)"):
        list(read_texts(path, format=format))


@pytest.mark.parametrize("offset", [99_999_999, 10**30])
def test_an_offset_that_the_file_could_not_hold(tmp_path: Path, offset: int) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"documents": [_bioc(offset, 4)]}))
    with pytest.raises(InputError, match="beyond what the file holds"):
        list(read_texts(path))
    path.write_text(json.dumps({"documents": [_bioc(0, offset)]}))
    with pytest.raises(InputError, match="do not fit the text"):
        list(read_texts(path))


def test_gaps_of_many_documents_fill_no_more_than_a_multiple_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"documents": [_bioc(40_000 + i, 4) for i in range(200)]}))
    texts = list(read_texts(path, errors="record"))
    size = path.stat().st_size
    assert sum(len(text.text) for text in texts) <= 17 * size
    assert texts[0].text.endswith("pain") and texts[-1].faults


@pytest.mark.parametrize("id", ["../../x", "/etc/x", ".x", "a/b", "a\\b", "a\x00b"])
def test_an_id_that_is_a_path_names_no_file(tmp_path: Path, id: str) -> None:
    from clinical_ner.data.convert import convert

    (tmp_path / "a.jsonl").write_text(json.dumps({"id": id, "text": "pain", "label": []}))
    with pytest.raises(InputError):
        convert(tmp_path / "a.jsonl", tmp_path / "deep" / "out", to="brat", nlp=spacy.blank("en"))
    assert [path.name for path in tmp_path.rglob("*")] == ["a.jsonl"]


@pytest.mark.parametrize("lines", [1, 5])
def test_a_file_that_changes_while_it_is_read(tmp_path: Path, lines: int) -> None:
    # A multiple of the reader's buffer, so that what is behind is read when its turn comes.
    record = json.dumps({"text": "", "label": [[0, 4, "Sign"]]}) + "\n"
    record = record.replace('""', f'"{"x" * (2**17 - len(record))}"')
    path = tmp_path / "a.jsonl"
    path.write_text(record * 3)
    texts = read_texts(path, format="jsonl")
    next(texts)
    path.write_text(record * lines)
    with pytest.raises(InputError, match="changed while it was read"):
        list(texts)


def test_half_of_a_pair_in_the_text_of_a_sentence(tmp_path: Path) -> None:
    header = "#FORMAT=WebAnno TSV 3.3\n#T_SP=webanno.custom.Finding|value\n\n\n"
    lines = "#Text=pain\\ud83d\n1-1\t0-4\tpain\tSign[1]\n"
    (tmp_path / "a.tsv").write_text(header + lines)
    with pytest.raises(InputError, match="the text holds half of a UTF-16 pair"):
        list(read_texts(tmp_path / "a.tsv"))
