from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import pytest
import spacy
from spacy.tokens import Doc, DocBin
from spacy.training import Corpus
from spacy.vocab import Vocab

from clinical_ner.data.conversion import to_flat_doc
from clinical_ner.data.formats.docbin import (
    DOCUMENT_ID,
    EntityDocBin,
    read_docbin,
    write_docbin,
    write_entities,
    write_entities_in_parts,
)
from clinical_ner.errors import ClinicalNerError

from .examples import document

NLP = spacy.blank("en")


def _docs(number: int, seed: int = 0) -> Iterator[Doc]:
    rng = random.Random(seed)
    for index in range(number):
        text = document(rng, f"note-{index}")
        yield to_flat_doc(text.text, text.mentions, NLP, document=text.id)[0]


def _content(doc: Doc) -> tuple[object, ...]:
    return (
        doc.text,
        [(token.text, token.whitespace_, token.norm_, token.ent_iob_) for token in doc],
        [(ent.start, ent.end, ent.label_) for ent in doc.ents],
        {
            key: ([(s.start, s.end, s.label_) for s in group], group.attrs)
            for key, group in doc.spans.items()
        },
        doc.user_data,
    )


def test_holds_what_a_docbin_of_everything_does(tmp_path: Path) -> None:
    write_docbin(_docs(100, 0), tmp_path / "all.spacy")
    write_entities(_docs(100, 0), tmp_path / "entities.spacy")

    expected = read_docbin(tmp_path / "all.spacy", Vocab())
    found = read_docbin(tmp_path / "entities.spacy", Vocab())
    assert list(map(_content, found)) == list(map(_content, expected))


def test_packs_as_spacy_does() -> None:
    docs = list(_docs(100, 0))
    ours, spacys = EntityDocBin(), DocBin(store_user_data=True, docs=docs)
    for doc in docs:
        ours.add(doc)

    assert ours.span_groups == spacys.span_groups
    assert ours.user_data == spacys.user_data
    assert ours.strings <= spacys.strings


def test_a_doc_without_span_groups_and_one_without_tokens(tmp_path: Path) -> None:
    docs = [Doc(Vocab(), words=["fever"]), Doc(Vocab())]

    write_entities(docs, tmp_path / "a.spacy")

    read = read_docbin(tmp_path / "a.spacy", Vocab())
    assert [(len(doc), len(doc.spans)) for doc in read] == [(1, 0), (0, 0)]


def test_too_much_for_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def to_bytes(self: DocBin) -> bytes:
        raise ValueError("[E870]")

    monkeypatch.setattr(DocBin, "to_bytes", to_bytes)

    with pytest.raises(ClinicalNerError, match=r"a\.spacy: 3 documents are too much"):
        write_entities(_docs(3), tmp_path / "a.spacy")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(("number", "sizes"), [(4, [2, 2]), (5, [2, 2, 1]), (1, [1])])
def test_parts(tmp_path: Path, number: int, sizes: list[int]) -> None:
    folder = tmp_path / "new" / "train"

    write_entities_in_parts(_docs(number), folder, docs_per_file=2)

    files = sorted(folder.iterdir())
    assert [file.name for file in files] == [
        f"train-{index:05}.spacy" for index in range(1, len(sizes) + 1)
    ]
    read = [read_docbin(file, Vocab()) for file in files]
    assert [len(docs) for docs in read] == sizes
    ids = [doc.user_data[DOCUMENT_ID] for docs in read for doc in docs]
    assert ids == [f"note-{index}" for index in range(number)]


def test_spacy_trains_on_parts(tmp_path: Path) -> None:
    write_entities_in_parts(_docs(9), tmp_path / "train", docs_per_file=4)

    examples = list(Corpus(tmp_path / "train")(NLP))

    texts = {doc.text for doc in _docs(9) if len(doc)}
    assert {example.reference.text for example in examples} == texts


def test_no_part_is_left_after_an_error(tmp_path: Path) -> None:
    def docs() -> Iterator[Doc]:
        yield from _docs(3)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        write_entities_in_parts(docs(), tmp_path / "train", docs_per_file=1)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "train-00007.spacy").write_bytes(b"")

    with pytest.raises(ClinicalNerError, match="is not empty"):
        write_entities_in_parts(_docs(3), tmp_path, docs_per_file=1)
    assert [path.name for path in tmp_path.iterdir()] == ["train-00007.spacy"]
