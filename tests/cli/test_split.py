from __future__ import annotations

import json
from pathlib import Path

import pytest
from spacy.tokens import Doc, Span
from spacy.vocab import Vocab

from clinical_ner.cli import main
from clinical_ner.cli.split import split
from clinical_ner.errors import ClinicalNerError
from clinical_ner.formats.docbin import DOCUMENT_ID, read_docbin, write_docbin

FILES = ["dev.spacy", "split.json", "test.spacy", "train.spacy"]


def make_docs(number: int, *, ids: bool = True) -> list[Doc]:
    docs = []
    for i in range(number):
        words = ["Note", str(i), "fever", "cough"][: 0 if i == 1 else 4]
        doc = Doc(Vocab(), words=words)
        if words:
            ents = [Span(doc, 2, 3, "Sign")] + [Span(doc, 3, 4, "Rare")] * (i % 4 == 0)
            doc.set_ents(ents, default="outside")
        if ids:
            doc.user_data[DOCUMENT_ID] = f"case-{number - i}"
        docs.append(doc)
    return docs


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "all.spacy"
    write_docbin(make_docs(20), path)
    return path


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(arg) for arg in args])
    return int(ended.value.code or 0)


def ids_of(path: Path) -> list[str]:
    return [doc.user_data[DOCUMENT_ID] for doc in read_docbin(path, Vocab())]


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir()) if folder.exists() else []


def test_the_files_hold_what_the_report_says(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    report = split(source, out, dev=0.1, test=0.2, seed=0)
    assert names_in(out) == FILES
    assert json.loads((out / "split.json").read_text()) == report
    for part, size in {"train": 14, "dev": 2, "test": 4}.items():
        docs = read_docbin(out / f"{part}.spacy", Vocab())
        assert len(docs) == size
        assert [doc.user_data[DOCUMENT_ID] for doc in docs] == report["documents"][part]
        for label, counts in report["entities"].items():
            assert counts[part] == sum(ent.label_ == label for doc in docs for ent in doc.ents)
    assert report["seed"] == 0
    assert report["shares"] == {"train": 0.7, "dev": 0.1, "test": 0.2}


def test_every_document_is_kept_in_the_order_of_the_input(source: Path, tmp_path: Path) -> None:
    split(source, tmp_path / "out", dev=0.1, test=0.2, seed=0)
    order = ids_of(source)
    parts = [ids_of(tmp_path / "out" / f"{part}.spacy") for part in ("train", "dev", "test")]
    assert sorted(id_ for part in parts for id_ in part) == sorted(order)
    assert all(part == sorted(part, key=order.index) for part in parts)


def test_a_second_run_writes_the_same_files(source: Path, tmp_path: Path) -> None:
    for name in ("first", "second"):
        split(source, tmp_path / name, dev=0.1, test=0.2, seed=7)
    for name in FILES:
        first, second = (tmp_path / run / name for run in ("first", "second"))
        assert first.read_bytes() == second.read_bytes()


def test_a_share_of_zero_gives_an_empty_part(source: Path, tmp_path: Path) -> None:
    split(source, tmp_path / "out", dev=0.0, test=0.2, seed=0)
    assert names_in(tmp_path / "out") == FILES
    assert read_docbin(tmp_path / "out" / "dev.spacy", Vocab()) == []


def test_documents_without_id_are_named_by_their_index(tmp_path: Path) -> None:
    write_docbin(make_docs(4, ids=False), tmp_path / "all.spacy")
    report = split(tmp_path / "all.spacy", tmp_path / "out", dev=0.0, test=0.25, seed=0)
    assert sorted(sum(report["documents"].values(), [])) == ["0", "1", "2", "3"]


def test_command_prints_types_by_part(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("split", source, tmp_path / "out", "--dev", 0.1, "--test", 0.2) == 0
    out, err = capsys.readouterr()
    lines = [line.replace("│", " ").split() for line in out.splitlines()]
    entities = json.loads((tmp_path / "out" / "split.json").read_text())["entities"]
    for label in ("Sign", "Rare"):
        assert [label, *(str(entities[label][part]) for part in ("train", "dev", "test"))] in lines
    assert ["documents", "14", "2", "4"] in lines
    assert err == ""


@pytest.mark.parametrize("shares", [("--dev", "1.0"), ("--test", "-0.1"), ("--dev", "0.8")])
def test_bad_shares_are_a_usage_error(
    source: Path, tmp_path: Path, shares: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("split", source, tmp_path / "out", *shares) == 2
    assert "E200" in capsys.readouterr().err
    assert names_in(tmp_path / "out") == []


def test_too_few_documents_are_one_line_and_no_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_docbin(make_docs(2), tmp_path / "all.spacy")
    assert run("split", tmp_path / "all.spacy", tmp_path / "out") == 1
    err = capsys.readouterr().err
    assert "E201" in err and "all.spacy" in err and err.count("\n") == 1
    assert names_in(tmp_path / "out") == []


def test_duplicate_ids_are_an_error(tmp_path: Path) -> None:
    docs = make_docs(5)
    docs[3].user_data[DOCUMENT_ID] = docs[0].user_data[DOCUMENT_ID]
    write_docbin(docs, tmp_path / "all.spacy")
    with pytest.raises(ClinicalNerError, match=r"E203.*all\.spacy: documents 0 and 3 .*case-5"):
        split(tmp_path / "all.spacy", tmp_path / "out", dev=0.2, test=0.2, seed=0)
    assert names_in(tmp_path / "out") == []


def test_the_input_is_not_overwritten(tmp_path: Path) -> None:
    source = tmp_path / "train.spacy"
    write_docbin(make_docs(10), source)
    before = source.read_bytes()
    with pytest.raises(ClinicalNerError, match="E204"):
        split(source, tmp_path, dev=0.1, test=0.2, seed=0)
    assert source.read_bytes() == before
    assert names_in(tmp_path) == ["train.spacy"]


def test_a_file_as_output_folder_is_an_error(source: Path) -> None:
    with pytest.raises(ClinicalNerError, match="E205"):
        split(source, source, dev=0.1, test=0.2, seed=0)


def test_a_part_that_cannot_be_written_leaves_no_file(source: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "out" / "test.spacy"
    blocked.mkdir(parents=True)
    with pytest.raises(ClinicalNerError, match="E101"):
        split(source, tmp_path / "out", dev=0.1, test=0.2, seed=0)
    assert names_in(tmp_path / "out") == ["test.spacy"]
