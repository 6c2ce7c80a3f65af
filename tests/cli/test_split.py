from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from spacy.tokens import Doc, Span
from spacy.vocab import Vocab

from clinical_ner.cli import main
from clinical_ner.data.convert import convert
from clinical_ner.data.formats.docbin import DOCUMENT_ID, read_docbin, write_docbin
from clinical_ner.data.gold import GOLD_ALL
from clinical_ner.data.split.split import split, split_folds
from clinical_ner.data.split.stratify import PARTS
from clinical_ner.errors import ClinicalNerError, ConfigError

from ..conftest import ROOT

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


def rows_of(output: str) -> list[list[str]]:
    """The cells of the tables printed."""
    return [line.replace("│", " ").split() for line in output.splitlines()]


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
    report = json.loads((tmp_path / "out" / "split.json").read_text())
    rows = rows_of(out)
    for label in ("Sign", "Rare"):
        counts = [report[kind][label] for kind in ("documents_with", "entities")]
        parts = ("train", "dev", "test")
        assert [label, *(str(of[part]) for of in counts for part in parts)] in rows
    totals = [sum(of[part] for of in report["entities"].values()) for part in parts]
    assert ["all", "14", "2", "4", *map(str, totals)] in rows
    assert err == ""
    assert all(len(line) <= 80 for line in out.splitlines())


@pytest.mark.parametrize("shares", [("--dev", "1.0"), ("--test", "-0.1"), ("--dev", "0.8")])
def test_bad_shares_are_a_usage_error(
    source: Path, tmp_path: Path, shares: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("split", source, tmp_path / "out", *shares) == 2
    assert "the rest is the share of train" in capsys.readouterr().err
    assert names_in(tmp_path / "out") == []


def test_too_few_documents_are_one_line_and_no_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_docbin(make_docs(2), tmp_path / "all.spacy")
    assert run("split", tmp_path / "all.spacy", tmp_path / "out") == 1
    err = capsys.readouterr().err
    assert (
        "Give more documents, or set --dev or --test" in err
        and "all.spacy" in err
        and err.count("\n") == 1
    )
    assert names_in(tmp_path / "out") == []


def test_duplicate_ids_are_an_error(tmp_path: Path) -> None:
    docs = make_docs(5)
    docs[3].user_data[DOCUMENT_ID] = docs[0].user_data[DOCUMENT_ID]
    write_docbin(docs, tmp_path / "all.spacy")
    message = r"all\.spacy, document 4: .*case-5 is used at .*all\.spacy, document 1.*Give every"
    with pytest.raises(ClinicalNerError, match=message):
        split(tmp_path / "all.spacy", tmp_path / "out", dev=0.2, test=0.2, seed=0)
    assert names_in(tmp_path / "out") == []


def test_the_input_is_not_overwritten(tmp_path: Path) -> None:
    source = tmp_path / "train.spacy"
    write_docbin(make_docs(10), source)
    before = source.read_bytes()
    with pytest.raises(ClinicalNerError, match="is the input and would be overwritten"):
        split(source, tmp_path, dev=0.1, test=0.2, seed=0)
    assert source.read_bytes() == before
    assert names_in(tmp_path) == ["train.spacy"]


def test_the_input_is_not_overwritten_by_the_report(tmp_path: Path) -> None:
    source = tmp_path / "split.json"
    write_docbin(make_docs(10), source)
    with pytest.raises(ClinicalNerError, match="is the input and would be overwritten"):
        split(source, tmp_path, dev=0.1, test=0.2, seed=0)


def test_a_file_as_output_folder_is_an_error(source: Path) -> None:
    with pytest.raises(ClinicalNerError, match="Choose another output folder"):
        split(source, source, dev=0.1, test=0.2, seed=0)


def test_a_part_that_cannot_be_written_leaves_no_file(source: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "out" / "test.spacy"
    blocked.mkdir(parents=True)
    with pytest.raises(ClinicalNerError, match="Name another output file"):
        split(source, tmp_path / "out", dev=0.1, test=0.2, seed=0)
    assert names_in(tmp_path / "out") == ["test.spacy"]


def labelled(id_: str, *labels: str) -> Doc:
    doc = Doc(Vocab(), words=["x"] * (len(labels) + 1))
    ents = [Span(doc, i, i + 1, label) for i, label in enumerate(labels)]
    doc.set_ents(ents, default="outside")
    doc.user_data[DOCUMENT_ID] = id_
    return doc


def write(path: Path, docs: list[Doc]) -> Path:
    write_docbin(docs, path)
    return path


def test_types_that_are_not_in_every_part_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    docs = [labelled("a", "Two", "All"), labelled("b", "Two", "Two", "All"), labelled("c", "All")]
    source = write(tmp_path / "all.spacy", docs)
    assert run("split", source, tmp_path / "out", "--dev", 0.33, "--test", 0.33) == 0
    out = capsys.readouterr().out.splitlines()
    assert out[-1] == "Not in every part, too few documents: Two (2 documents)."
    report = json.loads((tmp_path / "out" / "split.json").read_text())
    (record,) = report["not_in_every_part"]
    (missing,) = record.pop("missing")
    assert record == {"label": "Two", "documents": 2, "reason": "too few documents"}
    assert report["documents_with"]["Two"][missing] == 0
    assert report["documents"][missing] == ["c"]


def test_a_type_that_exchanges_cannot_bring_everywhere_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Train and test of two documents each: A and B, and C and D, share a part in any division that
    # has X and Y in both; Z would need A and D, or B and C, apart.
    types = {"a": "XY", "b": "XZ", "c": "YZ", "d": ""}
    docs = [labelled(id_, *labels) for id_, labels in types.items()]
    source = write(tmp_path / "all.spacy", docs)
    assert run("split", source, tmp_path / "out", "--dev", 0, "--test", 0.5) == 0
    line = capsys.readouterr().out.splitlines()[-1]
    assert re.fullmatch(
        r"Not in every part, no exchange found: [XYZ] \(2 documents, not in (train|test)\)\.", line
    )


def test_a_folder_of_files_is_one_corpus(tmp_path: Path) -> None:
    docs = make_docs(8)
    (tmp_path / "in").mkdir()
    write_docbin(docs[:3], tmp_path / "in" / "a.spacy")
    write_docbin(docs[3:], tmp_path / "in" / "b.spacy")
    write_docbin(docs, tmp_path / "all.spacy")
    settings = {"dev": 0.2, "test": 0.2, "seed": 0}
    report = split(tmp_path / "in", tmp_path / "out", **settings)
    whole = split(tmp_path / "all.spacy", tmp_path / "whole", **settings)
    assert (report.pop("source"), whole.pop("source")) == ("../in", "../all.spacy")
    assert report == whole
    parts = [(tmp_path / name / "train.spacy").read_bytes() for name in ("out", "whole")]
    assert parts[0] == parts[1]


def test_ids_are_unique_over_the_files_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a", "b"):
        write_docbin(make_docs(4), tmp_path / "in" / f"{name}.spacy")
    with pytest.raises(
        ClinicalNerError, match=r"b\.spacy, document 1.*a\.spacy.*Give every document its own id"
    ):
        split(tmp_path / "in", tmp_path / "out", dev=0.2, test=0.2, seed=0)


def test_the_folder_of_the_input_is_not_written_to(source: Path) -> None:
    with pytest.raises(ClinicalNerError, match="is the folder of the input, so that the"):
        split(source.parent, source.parent, dev=0.1, test=0.2, seed=0)
    assert names_in(source.parent) == ["all.spacy"]


@pytest.fixture
def patients(tmp_path: Path) -> Path:
    """Six patients with one to three notes each, twelve in all."""
    ids = [f"p{p}_{n}" for p, notes in enumerate((3, 2, 1, 1, 2, 3)) for n in range(notes)]
    return write(tmp_path / "patients.spacy", [labelled(id_, "Sign") for id_ in ids])


@pytest.mark.parametrize("regex", [r"^(p\d)_", r"p\d"])
def test_a_group_is_not_divided(
    patients: Path, tmp_path: Path, regex: str, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ("--dev", 0.25, "--test", 0.25, "--group-by", regex)
    assert run("split", patients, tmp_path / "out", *args) == 0
    report = json.loads((tmp_path / "out" / "split.json").read_text())
    groups = {part: {id_[:2] for id_ in ids} for part, ids in report["documents"].items()}
    assert sorted(name for names in groups.values() for name in names) == [
        f"p{i}" for i in range(6)
    ]
    numbers = {part: len(names) for part, names in groups.items()}
    assert report["group_by"] == {"regex": regex, "groups": numbers}
    assert {part: len(ids) for part, ids in report["documents"].items()} == {
        "train": 6,
        "dev": 3,
        "test": 3,
    }
    assert ["groups", *map(str, numbers.values())] in rows_of(capsys.readouterr().out)


def test_ids_without_a_group_are_one_line_and_no_output(
    patients: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("split", patients, tmp_path / "out", "--group-by", "^p[0-3]_") == 1
    err = capsys.readouterr().err
    assert (
        "Give one that names the group of every" in err
        and "5 documents" in err
        and "'p4_0'" in err
        and err.count("\n") == 1
    )
    assert names_in(tmp_path / "out") == []


def test_a_regex_that_is_none_is_a_usage_error(
    patients: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("split", patients, tmp_path / "out", "--group-by", "(p") == 2
    assert "--group-by" in capsys.readouterr().err


def test_fewer_groups_than_parts_are_an_error(patients: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ClinicalNerError, match="1 groups.*Give more documents, set --dev or --test to"
    ):
        split(patients, tmp_path / "out", dev=0.1, test=0.2, seed=0, group_by=re.compile("p"))


def test_each_document_is_in_the_test_of_one_fold(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    reports = split_folds(source, out, folds=3, dev=0.25, seed=0)
    assert names_in(out) == ["fold-1", "fold-2", "fold-3"]
    tests = []
    for fold, report in enumerate(reports, start=1):
        assert names_in(out / f"fold-{fold}") == FILES
        assert json.loads((out / f"fold-{fold}" / "split.json").read_text()) == report
        assert (report["fold"], report["folds"], report["dev"]) == (fold, 3, 0.25)
        parts = {part: ids_of(out / f"fold-{fold}" / f"{part}.spacy") for part in PARTS}
        assert parts == report["documents"]
        assert sorted(sum(parts.values(), [])) == sorted(ids_of(source))
        tests.append(parts["test"])
        assert len(parts["dev"]) == round((20 - len(parts["test"])) / 4)
    assert sorted(map(len, tests)) == [6, 7, 7]
    assert sorted(sum(tests, [])) == sorted(ids_of(source))


def test_command_prints_types_by_fold(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    docs = [labelled(f"n{i}", *["Sign"] * 2, *["Rare"] * (i < 3)) for i in range(14)]
    source = write(tmp_path / "all.spacy", docs)
    assert run("split", source, tmp_path / "out", "--folds", 7, "--dev", 0) == 0
    out = capsys.readouterr().out
    lines = out.splitlines()
    assert all(len(line) <= 80 for line in lines)
    rows = rows_of(out)
    # Five folds to a table.
    assert rows.count(["Sign", "14", "28", "2", "2", "2", "2", "2"]) == 1
    assert rows.count(["Sign", "14", "28", "2", "2"]) == 1
    assert ["documents", "of", "test", "14", "31", "2", "2"] in rows
    assert ["documents", "of", "train", "12", "12"] in rows
    assert lines[-1] == "Not in every test, too few documents: Rare (3 documents)."
    report = json.loads((tmp_path / "out" / "fold-1" / "split.json").read_text())
    rare = [gap for gap in report["not_in_every_part"] if gap["label"] == "Rare"]
    lacks = report["documents_with"]["Rare"]["test"] == 0
    expected = {"label": "Rare", "documents": 3, "reason": "too few documents"}
    assert rare == ([{**expected, "missing": ["test"]}] if lacks else [])


def test_a_group_is_in_the_test_of_one_fold(patients: Path, tmp_path: Path) -> None:
    reports = split_folds(
        patients, tmp_path / "out", folds=3, dev=0.3, seed=0, group_by=re.compile("p.")
    )
    tests = [{id_[:2] for id_ in report["documents"]["test"]} for report in reports]
    assert sum(map(len, tests)) == 6 == len(set.union(*tests))
    assert [len(report["documents"]["test"]) for report in reports] == [4, 4, 4]
    for report in reports:
        train, dev = ({id_[:2] for id_ in report["documents"][part]} for part in ("train", "dev"))
        assert not train & dev


def test_a_share_of_test_with_folds_is_a_usage_error(source: Path, tmp_path: Path) -> None:
    assert run("split", source, tmp_path / "out", "--folds", 3, "--test", 0.2) == 2
    assert run("split", source, tmp_path / "out", "--folds", 1) == 2
    assert names_in(tmp_path / "out") == []


def test_more_folds_than_documents_are_an_error(source: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ClinicalNerError, match=r"20 documents.*21 folds.*Lower --folds, or give more documents"
    ):
        split_folds(source, tmp_path / "out", folds=21, dev=0.1, seed=0)
    assert names_in(tmp_path / "out") == []


def test_folds_of_an_earlier_division_are_not_mixed_in(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    split_folds(source, out, folds=3, dev=0.1, seed=0)
    with pytest.raises(
        ClinicalNerError, match="fold-3.*is of another division, since there are to"
    ):
        split_folds(source, out, folds=2, dev=0.1, seed=0)
    split_folds(source, out, folds=3, dev=0.1, seed=1)
    assert json.loads((out / "fold-3" / "split.json").read_text())["seed"] == 1


def nested(id_: str, *, race: bool) -> Doc:
    """A document whose Age, and Race if it has one, lie in a longer mention."""
    doc = Doc(Vocab(), words=["old", "white", "woman"])
    doc.set_ents([Span(doc, 0, 3, "Subject")], default="outside")
    labels = ["Subject", "Age"] + ["Race"] * race
    places = [(0, 3), (0, 1), (1, 2)]
    doc.spans[GOLD_ALL] = [Span(doc, *at, of) for of, at in zip(labels, places, strict=False)]
    doc.user_data[DOCUMENT_ID] = id_
    return doc


@pytest.mark.parametrize("seed", range(3))
def test_with_overlaps_types_that_are_only_nested_have_their_share(
    tmp_path: Path, seed: int
) -> None:
    docs = [nested(f"n{i}", race=i % 10 == 0) for i in range(100)]
    source, out = write(tmp_path / "all.spacy", docs), tmp_path / "out"
    assert run("split", source, out, "--overlaps", "--seed", seed) == 0
    report = json.loads((out / "split.json").read_text())
    assert report["overlaps"] is True
    assert report["entities"]["Race"] == {"train": 7, "dev": 1, "test": 2}
    assert report["entities"]["Age"] == {"train": 70, "dev": 10, "test": 20}
    assert report["not_in_every_part"] == []
    for fold in split_folds(source, tmp_path / "folds", folds=5, seed=seed, overlaps=True):
        assert fold["overlaps"] and fold["entities"]["Race"]["test"] == 2
    # Otherwise only entities count.
    report = split(source, tmp_path / "flat", seed=seed)
    assert list(report["entities"]) == ["Subject"] and "overlaps" not in report


@pytest.mark.parametrize("recipe", ["overlaps", "tok2vec"])
def test_a_recipe_says_whether_all_mentions_are_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recipe: str
) -> None:
    source = write(tmp_path / "all.spacy", [nested(f"n{i}", race=True) for i in range(10)])
    monkeypatch.chdir(ROOT)
    assert run("split", source, tmp_path / "out", "--config", recipe) == 0
    report = json.loads((tmp_path / "out" / "split.json").read_text())
    assert report.get("overlaps", False) is (recipe == "overlaps")
    assert ("Race" in report["entities"]) is (recipe == "overlaps")


def test_with_overlaps_a_corpus_without_is_divided_alike(tmp_path: Path) -> None:
    records = [
        {"id": f"n{i}", "text": "fever cough", "label": [[0, 5, f"S{i % 7}"], [6, 11, f"T{i % 3}"]]}
        for i in range(40)
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")
    convert(tmp_path / "a.jsonl", tmp_path / "all.spacy")
    plain = split(tmp_path / "all.spacy", tmp_path / "plain")
    assert split(tmp_path / "all.spacy", tmp_path / "with", overlaps=True) == {
        **plain,
        "overlaps": True,
    }


def test_with_overlaps_flat_documents_are_an_error(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("split", source, tmp_path / "out", "--overlaps") == 1
    err = capsys.readouterr().err
    assert "case-20 has no doc.spans['gold_all']" in err and err.count("\n") == 1
    assert names_in(tmp_path / "out") == []


def test_a_fold_that_cannot_be_written_leaves_none(source: Path, tmp_path: Path) -> None:
    blocked = tmp_path / "out" / "fold-2" / "test.spacy"
    blocked.mkdir(parents=True)
    with pytest.raises(ClinicalNerError, match="Name another output file"):
        split_folds(source, tmp_path / "out", folds=3, dev=0.1, seed=0)
    assert names_in(tmp_path / "out") == ["fold-2"]
    assert names_in(blocked.parent) == ["test.spacy"]


@pytest.mark.parametrize("setting", [{"seed": -1}, {"dev": 1.0}, {"group_by": "(p"}])
def test_settings_of_the_function_that_are_out_of_range(
    source: Path, tmp_path: Path, setting: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError):
        split(str(source), str(tmp_path / "out"), **setting)
    with pytest.raises(ConfigError, match="folds"):
        split_folds(source, tmp_path / "out", folds=1)
    assert not (tmp_path / "out").exists()


def test_source_and_folder_are_enough(source: Path, tmp_path: Path) -> None:
    report = split(str(source), str(tmp_path / "out"))
    assert (report["seed"], report["shares"]["dev"], report["shares"]["test"]) == (0, 0.1, 0.2)
