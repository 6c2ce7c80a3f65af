"""What a format can hold comes back as it was, for any texts and any mentions in them."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import spacy
from hypothesis import given
from spacy.language import Language
from spacy.vocab import Vocab

from clinical_ner.data.conversion import to_flat_doc
from clinical_ner.data.convert import convert
from clinical_ner.data.formats.brat import write_brat
from clinical_ner.data.formats.conll import write_conll
from clinical_ner.data.formats.detect import detect_format
from clinical_ner.data.formats.docbin import read_docbin, write_docbin
from clinical_ner.data.formats.jsonl import write_jsonl
from clinical_ner.data.formats.reading import read_texts
from clinical_ner.data.mentions import AnnotatedText

from .examples import corpora, documents, spans

Writer = Callable[[Iterable[AnnotatedText], Path], None]
WHOLE: list[tuple[str, str, Writer]] = [
    ("brat", "notes", write_brat),
    ("jsonl", "notes.jsonl", write_jsonl),
]


@pytest.fixture(scope="module")
def nlp() -> Language:
    return spacy.blank("en")


@contextmanager
def new_path(name: str) -> Iterator[Path]:
    """A path of its own for each example, which pytest's tmp_path is not."""
    with tempfile.TemporaryDirectory() as folder:
        yield Path(folder) / name


@pytest.mark.parametrize(("format", "name", "write"), WHOLE, ids=[row[0] for row in WHOLE])
@given(written=corpora())
def test_formats_that_hold_everything(
    written: list[AnnotatedText], format: Any, name: str, write: Writer
) -> None:
    with new_path(name) as path:
        write(written, path)

        assert [(doc.id, doc.text, spans(doc)) for doc in read_texts(path, format=format)] == [
            (doc.id, doc.text, spans(doc)) for doc in written
        ]
        assert detect_format(path) == format


@pytest.mark.parametrize("write", [write_brat, write_jsonl])
def test_mentions_keep_their_ids(tmp_path: Path, write: Writer) -> None:
    written = documents(0, number=20)

    write(written, tmp_path / "out")

    back = {document.id: document for document in read_texts(tmp_path / "out")}
    for before in written:
        after = back[before.id]
        assert [m.id for m in before.mentions] == [m.id for m in after.mentions]


@given(written=corpora())
def test_conll_holds_flat_entities(nlp: Language, written: list[AnnotatedText]) -> None:
    docs = [to_flat_doc(doc.text, doc.mentions, nlp, document=doc.id)[0] for doc in written]

    with new_path("notes.conll") as path:
        write_conll(docs, path)
        back = list(read_texts(path, format="conll", scheme="IOB2"))
        assert list(map(spans, read_texts(path, format="conll"))) == list(map(spans, back))
        assert detect_format(path) == "conll"

    assert [doc.text for doc in back] == [doc.text for doc in docs]
    assert [spans(doc) for doc in back] == [
        [(ent.label_, ((ent.start_char, ent.end_char),)) for ent in doc.ents] for doc in docs
    ]
    assert [doc.id for doc in back] == [doc.id for doc in written]


@pytest.mark.parametrize("name", ["notes.spacy", "notes.jsonl", "notes.conll"])
@pytest.mark.parametrize(
    "content", ["Pain B-X\n\nthen O\n", "😷 O\nPain B-X\n\nfever O\n", "a B-X\n"]
)
def test_sentences_are_kept(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / "a.conll").write_text(content, encoding="utf-8")
    [before] = read_texts(tmp_path / "a.conll")

    convert(tmp_path / "a.conll", tmp_path / name)
    convert(tmp_path / name, tmp_path / "back.jsonl")

    for path in (tmp_path / name, tmp_path / "back.jsonl"):
        [after] = read_texts(path)
        assert (after.text, spans(after), after.sentences) == (
            before.text,
            spans(before),
            before.sentences,
        )


def test_sentences_are_those_of_tokens(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("Denies O\npain B-X\n\nFever B-X\nsince O\n")

    convert(tmp_path / "a.conll", tmp_path / "a.spacy")

    [doc] = read_docbin(tmp_path / "a.spacy", Vocab())
    assert [sentence.text.strip() for sentence in doc.sents] == ["Denies pain", "Fever since"]
    assert all(token.is_sent_start is not None for token in doc)


@given(written=corpora())
def test_docbin_holds_all_mentions_with_text(nlp: Language, written: list[AnnotatedText]) -> None:
    docs = [to_flat_doc(doc.text, doc.mentions, nlp, document=doc.id)[0] for doc in written]

    with new_path("notes.spacy") as path:
        write_docbin(docs, path)
        back = list(read_texts(path, format="docbin"))
        assert detect_format(path) == "docbin"

    assert [(doc.id, doc.text) for doc in back] == [(doc.id, doc.text) for doc in written]
    for before, after in zip(written, back, strict=True):
        assert [(m.id, m.label, m.fragments) for m in after.mentions] == [
            (m.id, m.label, m.fragments)
            for m in before.mentions
            if any(before.text[start:end].strip() for start, end in m.fragments)
        ]
