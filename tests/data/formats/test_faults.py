"""Faults that people and tools make, as reports of them show, each with what it gives here.

That is either the right mentions, or one line of error that names the file and, where it has lines,
the line, and holds nothing of the note.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from spacy.tokens import Doc
from spacy.vocab import Vocab

from clinical_ner.data.formats.docbin import write_docbin
from clinical_ner.data.formats.reading import read_texts
from clinical_ner.errors import ClinicalNerError

#: Words of the notes below, which no message may hold.
WORDS = ("chest", "pain", "fever", "Fieber", "über", "😷")


@dataclass(frozen=True)
class Case:
    """An input: the files of a brat folder, or the one file of another format.

    gives: the texts and labels of the mentions, or how the message goes on behind the path.
    """

    name: str
    format: Any
    content: dict[str, bytes] | bytes
    gives: list[tuple[str, str]] | str


def _brat(name: str, text: bytes | str, ann: bytes | str, gives: Any) -> Case:
    files = {"a.txt": text, "a.ann": ann}
    return Case(
        f"brat: {name}",
        "brat",
        {
            key: value if isinstance(value, bytes) else value.encode()
            for key, value in files.items()
        },
        gives,
    )


def _lines(format: str, name: str, content: bytes | str, gives: Any) -> Case:
    data = content if isinstance(content, bytes) else content.encode()
    return Case(f"{format}: {name}", format, data, gives)


def _docbin(path: Path) -> bytes:
    write_docbin([Doc(Vocab(), words=["chest", "pain"])], path)
    return path.read_bytes()


PAIN = '{"text": "chest pain", "label": [[6, 10, "Sign"]]}\n'
SIGN = [("pain", "Sign")]

CASES = [
    _brat("fragments where a line ends", "chest\npain", "T1\tSign 0 5;6 10\tchest pain",
          [("chest|pain", "Sign")]),
    _brat("CRLF counts as two", "chest\r\npain", "T1\tSign 7 11\tpain\r\n", SIGN),
    _brat("offsets that count CRLF as one", "chest\r\npain", "T1\tSign 6 10\tpain", SIGN),
    _brat("offsets of another text", "chest\r\npain", "T1\tSign 5 9\tpain",
          "/a.ann, line 1: the text of T1 does not match"),
    _brat("byte order mark, not counted", b"\xef\xbb\xbfpain", "T1\tSign 0 4\tpain", SIGN),
    _brat("byte order mark, counted", b"\xef\xbb\xbfpain", "T1\tSign 1 5\tpain", SIGN),
    _brat("Latin-1", "Fieber\nüber".encode("latin-1"), "", "/a.txt, line 2: not UTF-8"),
    _brat("UTF-16", "chest pain".encode("utf-16"), "", "/a.txt, line 1: not UTF-8"),
    _brat("UTF-16 annotation", "chest", "T1\tX 0 5\tchest".encode("utf-16"),
          "/a.ann, line 1: not UTF-8"),
    _brat("emoji count as one", "😷 pain", "T1\tSign 2 6\tpain", SIGN),
    _brat("emoji counted as two", "😷 pain", "T1\tSign 3 7\tpain", SIGN),
    _brat("emoji counted as three", "😷 pain", "T1\tSign 4 8\tpain",
          "/a.ann, line 1: offsets 4 8 of T1 do not fit the text of document a, which counts 6 "
          "code-points"),
    _brat("combining characters", "e\u0301 pain", "T1\tSign 3 7\tpain", SIGN),
    _brat("empty .ann", "chest pain", "", []),
    Case("brat: .ann without .txt", "brat", {"a.txt": b"", "a.ann": b"", "b.ann": b""},
         "/b.ann: has no b.txt beside it"),
    Case("brat: .txt without .ann", "brat", {"a.txt": b"", "a.ann": b"", "b.txt": b""},
         "/b.txt: has no b.ann beside it"),
    Case("brat: BioNLP's .a1", "brat", {"a.txt": b"", "a.a1": b""},
         "/a.txt: has no a.ann beside it"),
    _brat("duplicate ids", "chest pain", "T1\tA 0 5\tchest\nT1\tB 6 10\tpain",
          "/a.ann, line 2: T1 is on line 1 already"),
    _brat("overlapping duplicates", "pain",
          "T1\tSign 0 4\tpain\nT2\tSign 0 4\tpain\nT3\tX 0 4\tpain",
          [*SIGN, *SIGN, ("pain", "X")]),
    _brat("negative offset", "pain", "T1\tSign -1 4\tpain", "/a.ann, line 1: offsets -1 4"),
    _brat("swapped offsets", "pain", "T1\tSign 4 0\tpain", "/a.ann, line 1: offsets 4 0"),
    _brat("offsets beyond the end", "pain", "T1\tSign 0 40\tpain", "/a.ann, line 1: offsets 0 40"),
    _brat("spaces for tabs", "pain", "T1 Sign 0 4 pain", "/a.ann, line 1: malformed mention"),
    _brat("label of two words", "pain", "T1\tMy Sign 0 4\tpain", "/a.ann, line 1: the label"),
    _brat("broken line in the middle", "pain", "T1\tA 0 4\tpain\nchest pain\nT2\tA 0 4\tpain",
          "/a.ann, line 2: not a line of brat standoff"),
    _brat("no mention text", "pain", "T1\tSign 0 4", "/a.ann, line 1: malformed mention"),
    _lines("conll", "B- without label", "chest O\npain B-\n", ", line 2: the label column"),
    _lines("conll", "B without hyphen", "chest O\npain B\n", ", line 2: the label column"),
    _lines("conll", "I- first in IOB2", "chest B-A\nand O\npain I-Sign\n",
           ", line 3: I follows no word of its entity (IOB2)"),
    _lines("conll", "I- of another label", "chest B-A\npain I-Sign\n",
           ", line 2: I follows no word of its entity (IOB2)"),
    _lines("conll", "IOB1", "chest I-A\npain B-A\n", [("chest", "A"), ("pain", "A")]),
    _lines("conll", "BIOES in a file named .iob", "chest B-Sign\npain E-Sign\n",
           [("chest pain", "Sign")]),
    _lines("conll", "BIOES without end", "chest B-Sign\npain I-Sign\n\nfever S-Sign\n",
           ", line 2: the entity has no end (BIOES)"),
    _lines("conll", "BIOES and BILUO mixed", "chest U-Sign\npain S-Sign\n",
           ", line 2: the prefix S does not belong to the scheme (BILUO)"),
    _lines("conll", "byte order mark and CRLF", b"\xef\xbb\xbfpain B-Sign\r\n\r\n", SIGN),
    _lines("conll", "a column too few", "chest NN O\npain O\n", ", line 2: 2 columns, where"),
    _lines("conll", "spaces among tabs", "chest\tO\npain B-Sign\n", ", line 2: 1 columns"),
    _lines("conll", "one column", "chest\npain\n", ", line 1: the label column holds no tag"),
    _lines("conll", "word that is empty", "chest\tO\n\tB-Sign\n", ", line 2: the word column is"),
    _lines("conll", "Latin-1", "Fieber O\nüber O\n".encode("latin-1"), ", line 2: not UTF-8"),
    _lines("conll", "word that its text lacks", '# document_text = "chest"\npain O\n',
           ", line 2: the word is not what follows"),
    _lines("conll", "text that goes on", '# document_text = "chest pain"\nchest O\n',
           ", line 2: the word is not what follows"),
    _lines("conll", "duplicate document ids", "# newdoc id = a\npain O\n# newdoc id = a\npain O\n",
           ", line 3: the document's id a is used at "),
    _lines("jsonl", "broken line in the middle", PAIN + '{"text": "chest\n' + PAIN,
           ", line 2: not JSON"),
    _lines("jsonl", "truncated", PAIN + PAIN[:20], ", line 2: not JSON"),
    _lines("jsonl", "one big array", f"[{PAIN},{PAIN}]", [*SIGN, *SIGN]),
    _lines("jsonl", "array that breaks off", f"[{PAIN},{PAIN}", ", line 3: not JSON"),
    _lines("jsonl", "array without commas", f"[{PAIN}{PAIN}]", ", line 2: not JSON"),
    _lines("jsonl", "comma behind the last", f"[{PAIN},]", ", line 2: not JSON"),
    _lines("jsonl", "array and more", f"[{PAIN}]\n{PAIN}", ", line 3: not JSON"),
    _lines("jsonl", "single quotes", "{'text': 'pain'}\n", ", line 1: not JSON, from column 2 on"),
    _lines("jsonl", "null text", '{"text": null, "label": []}', ", line 1: the text is null"),
    _lines("jsonl", "text of numbers", '{"text": 3, "label": []}', ": the text is a number"),
    _lines("jsonl", "null annotations", '{"text": "pain", "label": null}',
           ", line 1: the mentions (label) are null"),
    _lines("jsonl", "no annotations", '{"text": "pain"}',
           ", line 1: not a record of a known shape"),
    _lines("jsonl", "null label", '{"text": "pain", "label": [[0, 4, null]]}',
           ", line 1: annotation T1 of document a-1 has no label"),
    _lines("jsonl", "empty label", '{"text": "pain", "label": [[0, 4, " "]]}',
           ", line 1: annotation T1 of document a-1 has no label"),
    _lines("jsonl", "category for a mention", '{"text": "pain", "label": ["Cardiology"]}',
           ", line 1: annotation T1 of document a-1 is a string"),
    _lines("jsonl", "offsets as strings", '{"text": "pain", "label": [["0", "4", "Sign"]]}',
           ", line 1: annotation T1 of document a-1 has no offsets"),
    _lines("jsonl", "offsets with a point", '{"text": "pain", "label": [[0.0, 4.0, "Sign"]]}',
           ", line 1: annotation T1 of document a-1 has no offsets"),
    _lines("jsonl", "end before start", '{"text": "pain", "label": [[4, 0, "Sign"]]}',
           ", line 1: offsets 4 0 of T1 do not fit"),
    _lines("jsonl", "offset that wraps around", '{"text": "pain", "label": [[-4, -1, "Sign"]]}',
           ", line 1: offsets -4 -1 of T1 do not fit"),
    _lines("jsonl", "UTF-16 offsets, told by the quote", json.dumps(
        {"text": "😷 pain", "spans": [{"start": 3, "end": 7, "label": "Sign", "text": "pain"}]}
    ), SIGN),
    _lines("jsonl", "UTF-16 offsets without quote", json.dumps(
        {"text": "😷 pain", "label": [[3, 7, "Sign"]]}
    ), SIGN),
    _lines("jsonl", "offsets that fit in no unit", json.dumps(
        {"text": "😷 pain", "label": [[3, 70, "Sign"]]}
    ), "offsets 3 70 of T1 do not fit the text of document a-1, which counts 6 code-points"),
    _lines("jsonl", "quote of another text", json.dumps(
        {"text": "chest pain", "spans": [{"start": 0, "end": 4, "label": "Sign", "text": "pain"}]}
    ), ", line 1: the text of T1 does not match document a-1 at 0 4"),
    _lines("jsonl", "sentences that are none", '{"text": "pain", "label": [], "sents": [3]}',
           ", line 1: sents are an array, not an array of objects"),
    _lines("jsonl", "sentence without start", '{"text": "pain", "label": [], "sents": [{}]}',
           ", line 1: sents have no offsets"),
    _lines("jsonl", "sentence of another text",
           '{"text": "pain", "label": [], "sents": [{"start": 9}]}',
           ", line 1: a sentence of document a-1 starts outside of its text"),
    _lines("jsonl", "half of an emoji", '{"text": "\\ud83d pain", "label": []}',
           ", line 1: the text holds half of a UTF-16 pair"),
    _lines("jsonl", "half of an emoji in a label", '{"text": "pain", "label": [[0, 4, "\\ud83d"]]}',
           ", line 1: annotation T1 of document a-1 has a label with half"),
    _lines("jsonl", "duplicate ids", '{"id": 1, "text": "pain", "label": []}\n' * 2,
           ", line 2: the document's id 1 is used at "),
    _lines("jsonl", "duplicate ids in an array on one line",
           json.dumps([{"id": 1, "text": "pain", "label": []}] * 2),
           ", line 1: the document's id 1 is used at "),
    _lines("jsonl", "line break in an id", '{"id": "a\\nb", "text": "pain", "label": []}',
           ", line 1: the id is neither a name nor a number"),
    _lines("jsonl", "byte order mark", b"\xef\xbb\xbf" + PAIN.encode(), SIGN),
    _lines("jsonl", "UTF-16", PAIN.encode("utf-16"), ", line 1: not UTF-8"),
    _lines("jsonl", "empty file", "", ", line 1: no record"),
    _lines("jsonl", "columns", "chest O\npain O\n", ", line 1: not JSON"),
    _lines("jsonl", "brackets of thousands", "[" * 100_000, "not JSON"),
    _lines("jsonl", "number of thousands of digits",
           '{"text": "pain", "label": [[0, ' + "9" * 5000 + ', "Sign"]]}', ", line 1: not JSON"),
    _lines("pubtator", "mention of another document", "7|t|pain\n8\t0\t4\tpain\tSign\n",
           ", line 2: the line belongs to no document"),
    _lines("pubtator", "no title", "7|a|pain\n", ", line 1: the line belongs to no document"),
    _lines("pubtator", "title twice", "7|t|pain\n7|t|pain\n",
           ", line 2: the document's id 7 is used at "),
    _lines("pubtator", "abstract behind mentions", "7|t|pain\n7\t0\t4\tpain\tSign\n7|a|chest\n",
           ", line 3: the abstract is not behind the title"),
    _lines("pubtator", "abstract of several lines", "7|t|pain\n7|a|chest\nfever\n",
           ", line 3: the line belongs to no document"),
    _lines("pubtator", "spaces for tabs", "7|t|pain\n7 0 4 pain Sign\n",
           ", line 2: the line belongs to no document"),
    _lines("pubtator", "no label", "7|t|pain\n7\t0\t4\tpain\n",
           ", line 2: a mention or a relation of 4 columns"),
    _lines("pubtator", "offsets with a point", "7|t|pain\n7\t0.0\t4.0\tpain\tSign\n",
           ", line 2: offsets that are not whole numbers"),
    _lines("pubtator", "offsets of many digits", f"7|t|pain\n7\t0\t{'4' * 5000}\tpain\tSign\n",
           ", line 2: offsets that are not whole numbers"),
    _lines("pubtator", "empty label", "7|t|pain\n7\t0\t4\tpain\t \tD1\n",
           ", line 2: a mention without label"),
    _lines("pubtator", "offsets of another text", "7|t|chest pain\n7\t0\t4\tpain\tSign\n",
           ", line 2: the text of T1 does not match"),
    _lines("pubtator", "swapped offsets", "7|t|chest pain\n7\t10\t6\tpain\tSign\n",
           ", line 2: offsets 10 6 of T1 do not fit"),
    _lines("pubtator", "half a relation", "7|t|pain\n7\tCID\tD1\n",
           ", line 2: a mention or a relation of 3 columns"),
    _lines("bioc", "JSON of a tool", PAIN, ", line 1: not BioC"),
    _lines("bioc", "other XML", "<note>pain</note>", ", line 1: not BioC"),
    _lines("conll", "numbers for words", "1\tchest\tB-Sign\n2\tpain\tI-Sign\n",
           ", line 1: the word column holds numbers only"),
    _lines("conll", "places for words", "1-1\tchest\tO\n1-2\tpain\tO\n\n2-1\tfever\tO\n",
           ", line 1: the word column holds numbers only"),
    _lines("conll", "words that are numbers", "120 B-Value\n80 B-Value\n",
           [("120", "Value"), ("80", "Value")]),
    _lines("docbin", "JSON renamed to .spacy", PAIN, ": not a readable .spacy file"),
    _lines("docbin", "something else that zlib packed", zlib.compress(b"pain"), ": not a readable"),
    _lines("docbin", "empty", "", ": not a readable .spacy file"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_fault(tmp_path: Path, case: Case) -> None:
    path = tmp_path / ("notes" if case.format == "brat" else "a.iob")
    if isinstance(case.content, dict):
        path.mkdir()
        for name, data in case.content.items():
            (path / name).write_bytes(data)
    else:
        path.write_bytes(case.content)

    if isinstance(case.gives, str):
        with pytest.raises(ClinicalNerError) as caught:
            list(read_texts(path, format=case.format))
        message = str(caught.value)
        assert message.startswith(str(path)) and case.gives in message
        assert "\n" not in message
        rest = message.removeprefix(str(path))
        assert not any(word in rest for word in WORDS)
        # What the user sees must not carry the note either, in the error that it came from.
        assert caught.value.__cause__ is None or case.format == "docbin"
        return
    found = [
        ("|".join(text.text[start:end] for start, end in mention.fragments), mention.label)
        for text in read_texts(path, format=case.format)
        for mention in text.mentions
    ]
    assert found == case.gives


def test_there_are_as_many_as_asked_for() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 40


def test_truncated_docbin(tmp_path: Path) -> None:
    data = _docbin(tmp_path / "a.spacy")
    (tmp_path / "a.spacy").write_bytes(data[: len(data) // 2])

    with pytest.raises(ClinicalNerError, match=r"a\.spacy: not a readable"):
        list(read_texts(tmp_path / "a.spacy", format="docbin"))


@pytest.mark.parametrize("format", ["conll", "jsonl", "pubtator", "bioc", "docbin"])
def test_what_is_not_there(tmp_path: Path, format: Any) -> None:
    with pytest.raises(ClinicalNerError, match="absent: no such file"):
        list(read_texts(tmp_path / "absent", format=format))


@pytest.mark.parametrize("format", ["conll", "jsonl", "pubtator", "bioc"])
def test_folder_without_files(tmp_path: Path, format: Any) -> None:
    (tmp_path / "README.md").write_text("not a note")

    with pytest.raises(ClinicalNerError, match=r"holds no \.\w+"):
        read_texts(tmp_path, format=format)
