from __future__ import annotations

import stat
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import srsly
from spacy.tokens import Doc, DocBin, Span
from spacy.vocab import Vocab

from clinical_ner.data.formats.docbin import DOCUMENT_ID, read_docbin, write_docbin
from clinical_ner.errors import ClinicalNerError


def _doc(*words: str) -> Doc:
    doc = Doc(Vocab(), words=list(words))
    doc.user_data[DOCUMENT_ID] = words[0]
    return doc


def test_round_trip_keeps_entities_and_user_data(tmp_path: Path) -> None:
    first, second = _doc("chest", "pain"), _doc("fever")
    first.set_ents([Span(first, 0, 2, "Sign")], default="outside")
    first.user_data["clinical_ner.batch"] = {"type": None, "odds": {"B-Sign": 0.5}}
    vocab = Vocab()

    write_docbin([first, second], tmp_path / "docs.spacy")
    read = read_docbin(tmp_path / "docs.spacy", vocab)

    assert [doc.text for doc in read] == [first.text, second.text]
    assert [(ent.start, ent.end, ent.label_) for ent in read[0].ents] == [(0, 2, "Sign")]
    assert read[0].user_data == first.user_data
    assert read[1].user_data[DOCUMENT_ID] == "fever"
    assert read[0].vocab is vocab


def test_unknown_annotation_stays_unknown(tmp_path: Path) -> None:
    doc = _doc("chest", "pain")
    doc.set_ents([], missing=[doc[0:1]], default="outside")

    write_docbin([doc], tmp_path / "docs.spacy")

    [read] = read_docbin(tmp_path / "docs.spacy", Vocab())
    assert [token.ent_iob_ for token in read] == ["", "O"]


def test_spacy_reads_what_is_written(tmp_path: Path) -> None:
    write_docbin([_doc("fever")], tmp_path / "docs.spacy")

    [read] = DocBin().from_disk(tmp_path / "docs.spacy").get_docs(Vocab())
    assert read.text.strip() == "fever"


def test_missing_parent_folders_are_created(tmp_path: Path) -> None:
    write_docbin([_doc("fever")], tmp_path / "a" / "b" / "docs.spacy")

    assert len(read_docbin(tmp_path / "a" / "b" / "docs.spacy", Vocab())) == 1


def test_file_has_the_usual_permissions(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("")

    write_docbin([_doc("fever")], tmp_path / "docs.spacy")

    modes = {stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("other", "docs.spacy")}
    assert len(modes) == 1


def test_error_while_writing_leaves_the_old_file_alone(tmp_path: Path) -> None:
    path = tmp_path / "docs.spacy"
    write_docbin([_doc("old")], path)

    def docs() -> Iterator[Doc]:
        yield _doc("new")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_docbin(docs(), path)
    assert [doc.user_data[DOCUMENT_ID] for doc in read_docbin(path, Vocab())] == ["old"]
    assert list(tmp_path.iterdir()) == [path]


def test_parent_that_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ClinicalNerError, match=r"file/docs\.spacy: cannot be written"):
        write_docbin([_doc("fever")], tmp_path / "file" / "docs.spacy")


def test_output_that_is_a_folder(tmp_path: Path) -> None:
    (tmp_path / "docs.spacy").mkdir()

    with pytest.raises(ClinicalNerError, match="it is a folder"):
        write_docbin([_doc("fever")], tmp_path / "docs.spacy")
    assert list(tmp_path.iterdir()) == [tmp_path / "docs.spacy"]


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ClinicalNerError, match=r"docs\.spacy: no such file"):
        read_docbin(tmp_path / "docs.spacy", Vocab())


def test_every_truncation_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "docs.spacy"
    write_docbin([_doc("chest", "pain")], path)
    data = path.read_bytes()

    for length in range(len(data)):
        path.write_bytes(data[:length])
        with pytest.raises(ClinicalNerError, match=r"docs\.spacy: not a readable"):
            read_docbin(path, Vocab())


@pytest.mark.parametrize("content", [None, 3, "text", [], [1, 2], {}, {"tokens": 1}], ids=repr)
def test_other_content_is_an_error(tmp_path: Path, content: object) -> None:
    path = tmp_path / "docs.spacy"
    path.write_bytes(zlib.compress(srsly.msgpack_dumps(content)))

    with pytest.raises(ClinicalNerError, match=r"docs\.spacy: not a readable"):
        read_docbin(path, Vocab())
