"""Whatever is done to a file, reading it gives documents or one line of error, nothing else."""

from __future__ import annotations

import json
import random
import tempfile
import zlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pytest
import spacy
import srsly
from hypothesis import given, settings
from hypothesis import strategies as st

from clinical_ner.data.conversion import to_flat_doc
from clinical_ner.data.formats.brat import write_brat
from clinical_ner.data.formats.conll import write_conll
from clinical_ner.data.formats.docbin import write_docbin
from clinical_ner.data.formats.jsonl import write_jsonl
from clinical_ner.data.formats.reading import read_texts
from clinical_ner.data.mentions import AnnotatedText
from clinical_ner.errors import ClinicalNerError

from .examples import (
    documents,
    write_bioc_json,
    write_huggingface,
    write_pubtator,
    write_webanno,
)

NLP = spacy.blank("en")
#: What formats are made of, and what no UTF-8 text holds.
BYTES = b'\n\r\t |#-0123456789{}[]",:TBIOSE\xff\xf0\x00'
PIECES = [b"\n", b"\xef\xbb\xbf", b"null", b"-1", b"\\ud83d", b"\\n"]
Texts = list[AnnotatedText]


def _docs(texts: Texts) -> list[spacy.tokens.Doc]:
    return [to_flat_doc(text.text, text.mentions, NLP, document=text.id)[0] for text in texts]


WRITERS: dict[str, Callable[[Texts, Path], object]] = {
    "brat": write_brat,
    "conll": lambda texts, path: write_conll(_docs(texts), path),
    "jsonl": write_jsonl,
    "huggingface": write_huggingface,
    "webanno": write_webanno,
    "pubtator": write_pubtator,
    "bioc": write_bioc_json,
    "docbin": lambda texts, path: write_docbin(_docs(texts), path),
}


def _damaged(data: bytes, rng: random.Random) -> bytes:
    """Cut, repeat, swap or overwrite some bytes; the new ones are those that formats live on."""
    if not data:
        return rng.choice([b"\xff", b"\n", b"T"])
    start, end = sorted(rng.choices(range(len(data) + 1), k=2))
    end = min(end, start + rng.choice([1, 2, 5, 20, len(data)]))
    kind = rng.choice(["cut", "truncate", "repeat", "swap", "overwrite", "insert"])
    if kind == "truncate":
        return data[:start]
    new = {
        "cut": b"",
        "repeat": data[start:end] * 2,
        "swap": data[start:end][::-1],
        "overwrite": bytes(rng.choices(BYTES, k=end - start)),
        "insert": data[start:end] + rng.choice(PIECES),
    }[kind]
    return data[:start] + new + data[end:]


@pytest.mark.parametrize("format", WRITERS)
def test_damaged_files(tmp_path: Path, format: str) -> None:
    for seed in range(25):
        _damage(tmp_path / str(seed), format, seed)


def _damage(folder: Path, format: str, seed: int) -> None:
    rng = random.Random(seed)
    folder.mkdir()
    path = folder / "notes"
    WRITERS[format](documents(seed, number=2), path)
    files = sorted(path.iterdir()) if path.is_dir() else [path]
    whole = {file: file.read_bytes() for file in files}
    for _ in range(8):
        file = rng.choice(files)
        file.write_bytes(_damaged(whole[file], rng))
        for name in (format, "auto"):
            try:
                texts = list(read_texts(path, format=name))  # type: ignore[arg-type]
            except ClinicalNerError as error:
                message = str(error)
                assert str(folder) in message and "\n" not in message
                continue
            _check(texts)
        file.write_bytes(whole[file])


def _check(texts: Iterable[AnnotatedText]) -> None:
    """What is read is text, with mentions inside of it."""
    for text in texts:
        strings = [text.id, text.text, *(mention.label for mention in text.mentions)]
        "".join(strings).encode()
        for mention in text.mentions:
            for start, end in mention.fragments:
                assert 0 <= start <= end <= len(text.text)


# Halves of pairs too, which JSON can hold.
CHARACTERS = st.text(st.characters(exclude_categories=()), max_size=4)
KEYS = """id text label labels entities spans start end start_offset end_offset tokens ner_tags tags
documents passages annotations infons type locations offset length data result value paragraphs raw
sentences answer classes document_id"""
SCALARS = (
    st.none() | st.booleans() | st.integers() | st.integers(0, 9) | st.floats() | CHARACTERS
) | st.sampled_from(["accept", "B-X", "I-X", "O", "chest pain", "1", [0, 5, "X"], 10**30])


def _tables(keys: str, values: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    return st.dictionaries(st.sampled_from(keys.split()) | CHARACTERS, values, max_size=7)


VALUES = st.recursive(
    SCALARS, lambda of: st.lists(of, max_size=4) | _tables(KEYS, of), max_leaves=20
)
JSON = st.lists(_tables(KEYS, VALUES), min_size=1, max_size=3).map(
    lambda records: "\n".join(map(json.dumps, records)).encode()
)
#: Parts of a .spacy file, of any type.
PACKED = _tables(
    "attrs tokens spaces lengths strings cats flags span_groups user_data",
    st.binary(max_size=16) | st.lists(st.integers(0, 90) | st.binary(max_size=4), max_size=3),
).map(lambda content: zlib.compress(_packed(content)))


def _packed(content: dict[str, Any]) -> bytes:
    return srsly.msgpack_dumps({k.encode("utf-8", "replace").decode(): content[k] for k in content})


def _lines(*parts: str) -> st.SearchStrategy[bytes]:
    """Files of these parts, line breaks and any other text."""
    common = ["\n", "\n\n", "\t", " ", "0", "1", "12", "\ufeff", "99999999999"]
    pieces = st.lists(st.sampled_from([*parts, *common]) | CHARACTERS, max_size=30)
    return pieces.map("".join).map(lambda text: text.encode("utf-8", "surrogatepass"))


CONTENTS: dict[str, st.SearchStrategy[bytes]] = {
    "brat": _lines("T1\tSign 0 5\tchest\n", "T", "R1\t", "#1\t", ";", "Sign ", "chest", "5 10"),
    "conll": _lines("chest B-X\n", "pain I-X\n", "-DOCSTART-", "# newdoc id = ", "O", "S-X"),
    "jsonl": JSON,
    "huggingface": JSON,
    "webanno": st.builds(
        bytes.__add__,
        st.just(b"#FORMAT=WebAnno TSV 3.3\n#T_SP=webanno.custom.Finding|value\n\n\n"),
        _lines("#Text=Chest pain.\n", "1-1\t0-5\tChest\tSign[1]\n", "|", "_", "[1]", "1-2", "\\"),
    ),
    "pubtator": _lines("7|t|Chest\n", "7|a|pain\n", "7\t0\t5\tChest\tX\tD1\n", "|", "7", "-1"),
    "bioc": st.sampled_from(["a.json", "a.xml"]).flatmap(
        lambda name: JSON
        if name == "a.json"
        else _lines(
            "<collection>", "<document>", "<id>1</id>", "<passage>", "<offset>", "</offset>",
            "<text>pain</text>", "<annotation id='1'>", "<infon key='type'>X</infon>", "&lt;",
            "<location offset='0' length='4'/>", "</annotation>", "</passage>", "</document>",
            "</collection>", "<![CDATA[", "<!DOCTYPE a [<!ENTITY x 'y'>]>", "&x;",
        )
    ),
    "docbin": PACKED,
}  # fmt: skip


@pytest.mark.parametrize("format", CONTENTS)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_whatever_a_file_holds(data: st.DataObject, format: Any) -> None:
    content = data.draw(CONTENTS[format] | st.binary(max_size=40))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "note.txt"
        path.write_bytes(content)
        if format == "brat":
            path.write_text("chest pain")
            path.with_suffix(".ann").write_bytes(content)
            path = path.parent
        for name in (format, "auto"):
            try:
                _check(read_texts(path, format=name, errors="record"))
            except ClinicalNerError as error:
                assert folder in str(error) and str(error).isprintable()
