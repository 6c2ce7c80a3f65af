"""Notes from a file to a file."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
import spacy

from clinical_ner import annotate_table, predict
from clinical_ner.annotate.notes import Note, count_notes, digest, read_notes
from clinical_ner.cli import main
from clinical_ner.data.formats.docbin import DOCUMENT_ID, read_docbin
from clinical_ner.errors import ClinicalNerError, InputError

from .conftest import COUNT, lines, texts


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["predict", *map(str, args)])
    return int(stopped.value.code or 0)


def test_all_tables_hold_what_the_function_gives(
    model: Path, notes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    frame = pd.DataFrame({"id": [f"n{i}" for i in range(COUNT)], "text": texts()})
    entities, status = annotate_table(frame, model, include_text=True)
    assert run(model, notes, "-o", tmp_path / "out.jsonl", "--include-text") == 0
    assert f"{COUNT} notes ({COUNT} ok)" in capsys.readouterr().out
    found = lines(tmp_path / "out.jsonl")
    assert found == entities.to_dict("records")
    assert [(of["row"], of["id"]) for of in lines(tmp_path / "out.status.jsonl")] == list(
        zip(status["row"], status["id"], strict=True)
    )
    frame.to_csv(tmp_path / "notes.csv", index=False)
    frame.to_parquet(tmp_path / "notes.parquet", index=False)
    (tmp_path / "texts").mkdir()
    for id, text in zip(frame["id"], frame["text"], strict=True):
        (tmp_path / "texts" / f"{id}.txt").write_text(text)
    for source, output in (("notes.csv", "a.parquet"), ("notes.parquet", "b.csv")):
        report = predict(model, tmp_path / source, tmp_path / output, include_text=True, shard=10)
        assert report["entities"] == len(found)
    assert pq.read_table(tmp_path / "a.parquet").to_pylist() == found
    with (tmp_path / "b.csv").open() as file:
        as_text = [{key: str(value) for key, value in of.items()} for of in found]
        assert list(csv.DictReader(file)) == as_text
    report = predict(model, tmp_path / "texts", tmp_path / "c.jsonl", include_text=True)
    by_name = sorted(found, key=lambda of: (of["id"], of["start"]))
    assert lines(tmp_path / "c.jsonl") == by_name
    assert not list(tmp_path.glob("*.parts"))


def test_options_of_the_command_are_settings_of_the_function(
    model: Path, notes: Path, tmp_path: Path
) -> None:
    thresholds = {"Sign": 0.5, "Drug": 0.2}
    (tmp_path / "t.json").write_text(json.dumps(thresholds))
    frame = pd.DataFrame({"id": [f"n{i}" for i in range(COUNT)], "text": texts()})
    options: list[tuple[list[object], dict[str, Any]]] = [
        (["--labels", "Drug, Dose"], {"labels": ["Drug", "Dose"]}),
        (["--min-probability", 0.4], {"min_probability": 0.4}),
        (["--prior-strength", 0.1], {"prior_strength": 0.1}),
        (["--thresholds", tmp_path / "t.json"], {"thresholds": thresholds}),
        (["--batch-size", 7], {"batch_size": 7}),
    ]
    plain = annotate_table(frame, model)[0]
    for number, (words, settings) in enumerate(options):
        output = tmp_path / f"{number}.jsonl"
        assert run(model, notes, "-o", output, *words) == 0
        expected = annotate_table(frame, model, **settings)[0]
        assert lines(output) == expected.to_dict("records")
        assert len(expected) > 0 and (expected.equals(plain) == ("batch_size" in settings)), words


def test_two_processes_give_what_one_gives(model: Path, notes: Path, tmp_path: Path) -> None:
    predict(model, notes, tmp_path / "one.jsonl", shard=10)
    predict(model, notes, tmp_path / "two.jsonl", shard=10, n_process=2)
    assert (tmp_path / "one.jsonl").read_bytes() == (tmp_path / "two.jsonl").read_bytes()


def test_stdin_is_read_line_by_line(
    model: Path, notes: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(notes.read_bytes())))
    assert run(model, "-", "-o", tmp_path / "out.jsonl", "--json") == 0
    assert len(lines(tmp_path / "out.status.jsonl")) == COUNT


def test_notes_with_their_entities_are_written_for_other_tools(
    model: Path, notes: Path, tmp_path: Path
) -> None:
    nlp = spacy.load(model)
    predict(model, notes, tmp_path / "out.spacy", shard=7)
    predict(model, notes, tmp_path / "brat", shard=7)
    docs = read_docbin(tmp_path / "out.spacy", nlp.vocab)
    assert [doc.user_data[DOCUMENT_ID] for doc in docs] == [f"n{i}" for i in range(COUNT)]
    for doc, text in zip(docs, texts(), strict=True):
        expected = nlp(text)
        spans = [(e.start_char, e.end_char, e.label_) for e in expected.ents]
        assert doc.text == text
        assert [(e.start_char, e.end_char, e.label_) for e in doc.ents] == spans
        scores = doc.spans["ner"].attrs["scores"]
        assert scores == pytest.approx([e._.probability for e in expected.ents])
        name = doc.user_data[DOCUMENT_ID]
        assert (tmp_path / "brat" / f"{name}.txt").read_text() == text
        rows = (tmp_path / "brat" / f"{name}.ann").read_text().splitlines()
        assert [row.split("\t")[1] for row in rows] == [f"{la} {s} {e}" for s, e, la in spans]


def test_names_that_are_no_files_are_errors_of_their_notes(model: Path, tmp_path: Path) -> None:
    ids = ["a", "../up", "a", "b/c", ".hidden", "ok"]
    rows = [{"id": of, "text": "had severe fever ."} for of in ids]
    (tmp_path / "n.jsonl").write_text("\n".join(map(json.dumps, rows)))
    report = predict(model, tmp_path / "n.jsonl", tmp_path / "brat")
    assert report["errors"] == {"FileNameError": 3, "DuplicateIdError": 1}
    assert {of.name for of in (tmp_path / "brat").iterdir()} == {
        *("a.txt", "a.ann", "ok.txt", "ok.ann")
    }


def test_rows_of_omop_are_those_of_note_nlp(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "Patient 3 had severe fever ."
    (tmp_path / "n.jsonl").write_text(json.dumps({"id": 17, "text": text}))
    source, output = tmp_path / "n.jsonl", tmp_path / "o.csv"
    assert run(model, source, "-o", output, "--to", "omop") == 1
    assert "allow it with --include-text" in capsys.readouterr().err
    assert run(model, source, "-o", output, "--to", "omop", "--include-text") == 0
    with output.open() as file:
        (row,) = csv.DictReader(file)
    (entity,) = annotate_table(pd.DataFrame({"id": [17], "text": [text]}), model)[0].to_dict(
        "records"
    )
    # Columns and their order: OMOP common data model 5.4, table NOTE_NLP.
    assert list(row) == [
        *("note_nlp_id", "note_id", "section_concept_id", "snippet", "offset", "lexical_variant"),
        *("note_nlp_concept_id", "note_nlp_source_concept_id", "nlp_system", "nlp_date"),
        *("nlp_datetime", "term_exists", "term_temporal", "term_modifiers"),
    ]
    assert row["note_id"] == "17" and row["offset"] == str(entity["start"])
    assert row["lexical_variant"] == text[entity["start"] : entity["end"]]
    modifiers = f"label={entity['label']},probability={entity['probability']:.6f}"
    assert row["term_modifiers"] == modifiers and row["nlp_system"] == "en_small 1.2.3"
    ids = ["x-1", 18.0, str(2**63), "-3"]
    source.write_text("\n".join(json.dumps({"id": of, "text": text}) for of in ids))
    report = predict(model, source, tmp_path / "p.csv", to="omop", include_text=True)
    assert report["status"] == {"error": 3, "ok": 1} and report["errors"] == {"NoteIdError": 3}
    with (tmp_path / "p.csv").open() as file:
        assert [of["note_id"] for of in csv.DictReader(file)] == ["18"]


def test_records_that_cannot_be_read_are_accounted_for(model: Path, tmp_path: Path) -> None:
    good = "Patient 3 had severe fever ."
    rows = [
        json.dumps({"id": "a", "text": good}).encode(),
        b'{"id": "b", "text": "caf\xe9"}',
        b"{not json",
        b"[1, 2]",
        b'{"id": "e"}',
        json.dumps({"id": "f", "text": None}).encode(),
        json.dumps({"id": "g", "text": "half \ud800"}).encode(),
        json.dumps({"id": "a", "text": good}).encode(),
    ]
    (tmp_path / "n.jsonl").write_bytes(b"\n".join(rows) + b"\n")
    source, output = tmp_path / "n.jsonl", tmp_path / "out.jsonl"
    assert run(model, source, "-o", output) == 3
    states = [(of["status"], of["error"]) for of in lines(tmp_path / "out.status.jsonl")]
    assert states == [
        ("ok", None),
        ("error", "UnicodeDecodeError"),
        ("error", "JSONDecodeError"),
        ("error", "TypeError"),
        ("error", "KeyError"),
        ("empty", None),
        ("error", "UnicodeEncodeError"),
        ("ok", None),
    ]
    with pytest.raises(ClinicalNerError, match="Note 2 of the input: UnicodeDecodeError"):
        predict(model, source, tmp_path / "stop.jsonl", errors="stop")


def test_csv_and_parquet_with_bad_bytes_lose_one_note(tmp_path: Path) -> None:
    (tmp_path / "n.csv").write_bytes(b'id,text\na,"x, y"\nb,caf\xe9\nc\nd,e,f\n')
    assert list(read_notes(tmp_path / "n.csv")) == [
        Note("a", "x, y"),
        Note("b", None, "UnicodeDecodeError"),
        Note("c", None, "ValueError"),
        Note("d", "e", "ValueError"),
    ]
    import pyarrow as pa

    raw = pa.array([b"fine", b"caf\xe9"]).cast(pa.binary())
    bad = pa.Array.from_buffers(pa.string(), 2, raw.buffers())
    table = pa.table({"id": pa.array(["a", "b"]), "text": bad})
    pq.write_table(table, tmp_path / "n.parquet")
    assert list(read_notes(tmp_path / "n.parquet")) == [
        Note("a", "fine"),
        Note("b", None, "UnicodeDecodeError"),
    ]


def test_a_note_of_two_million_characters_is_one_note(model: Path, tmp_path: Path) -> None:
    text = "fever and cough . " * 111_112
    assert len(text) > 2_000_000
    rows = [json.dumps({"id": i, "text": t}) for i, t in enumerate((text, "no fever ."))]
    (tmp_path / "n.jsonl").write_text("\n".join(rows))
    report = predict(model, tmp_path / "n.jsonl", tmp_path / "o.jsonl")
    # The small pipeline has spaCy's limit of a million; ours set a higher one when they are loaded.
    assert report["status"] == {"error": 1, "ok": 1} and report["errors"] == {"ValueError": 1}


def test_files_of_a_folder_that_are_no_text_lose_one_note(tmp_path: Path) -> None:
    for name, data in (("b", "caf\xe9".encode()), ("a", b"caf\xe9"), ("c", b"")):
        (tmp_path / f"{name}.txt").write_bytes(data)
    assert list(read_notes(tmp_path)) == [
        Note("a", None, "UnicodeDecodeError"),
        Note("b", "caf\xe9"),
        Note("c", ""),
    ]


def test_notes_are_counted_before_they_are_read(notes: Path, tmp_path: Path) -> None:
    frame = pd.read_json(notes, lines=True)
    frame["text"] += '\n\nsecond, "third"'
    frame.to_csv(tmp_path / "n.csv", index=False)
    frame.to_parquet(tmp_path / "n.parquet")
    for path in (notes, tmp_path / "n.csv", tmp_path / "n.parquet"):
        assert count_notes(path) == COUNT == sum(1 for _ in read_notes(path))
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "n.parquet").read_bytes()[:99])
    assert count_notes(tmp_path / "cut.parquet") is None
    assert count_notes(tmp_path / "none.jsonl") is None


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_a_folder_with_something_that_is_no_note_is_one_line(tmp_path: Path, kind: str) -> None:
    (tmp_path / "a.txt").write_text("fever")
    if kind == "pipe":
        os.mkfifo(tmp_path / "b.txt")
        with pytest.raises(InputError, match="b.txt: cannot be read"):
            list(read_notes(tmp_path))
    else:
        (tmp_path / "b.txt").symlink_to("absent")
        assert [note.fault for note in read_notes(tmp_path)] == [None, "FileNotFoundError"]
    with pytest.raises(InputError, match="b.txt: cannot be read"):
        digest(tmp_path)


def _damaged_parquet(path: Path) -> Path:
    frame = pd.DataFrame({"id": range(5000), "text": [f"fever {i} " * 9 for i in range(5000)]})
    frame.to_parquet(path, row_group_size=500)
    data = bytearray(path.read_bytes())
    middle = len(data) // 2
    data[middle : middle + 4000] = bytes(4000)
    path.write_bytes(data)
    return path


def test_a_reader_that_fails_midway_keeps_what_is_done(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = _damaged_parquet(tmp_path / "n.parquet")
    assert run(model, source, "-o", tmp_path / "o.jsonl") == 1
    assert "n.parquet" in capsys.readouterr().err
    assert list((tmp_path / "o.jsonl.parts").glob("status-*"))
    assert not (tmp_path / "o.jsonl").exists()


def _cases(tmp_path: Path) -> Iterator[tuple[list[str], str, int]]:
    good = tmp_path / "good.jsonl"
    good.write_text(json.dumps({"id": 1, "text": "fever"}))
    (tmp_path / "other.jsonl").write_text(json.dumps({"key": 1, "text": "fever"}))
    (tmp_path / "notes.docx").write_text("x")
    (tmp_path / "there.jsonl").write_text("something of somebody")
    out = str(tmp_path / "out.jsonl")
    yield [str(tmp_path / "none.jsonl"), "-o", out], "No such file", 1
    yield [str(tmp_path / "notes.docx"), "-o", out], "not a folder of .txt files nor", 1
    yield [str(tmp_path / "other.jsonl"), "-o", out], "has no column 'id'", 1
    (tmp_path / "bare.csv").write_text("17,Smith had fever\n")
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe.jsonl")
    yield [str(tmp_path / "pipe.jsonl"), "-o", out], "it is a pipe or a device", 1
    for option in (["--resume"], ["--to", "omop"], ["--n-process", "2"], ["--errors", "stop"]):
        spark = ["--engine", "spark", *option]
        yield [str(good), "-o", out, *spark], "spark has no --to, --resume, --n-process", 2
    yield [str(good), "-o", out, "--master", "local[2]"], "go with --engine spark", 2
    yield [str(good), "-o", out, "--labels", "Drugs"], "Did you mean Drug", 1
    yield [str(good), "-o", out, "--n-process", "0"], "greater than or equal to 1", 2
    yield (
        [str(tmp_path / "bare.csv"), "-o", out],
        "does not look like names of columns, and is not shown. Name it",
        1,
    )
    yield [str(tmp_path / "empty.csv"), "-o", out], "has no column 'id'", 1
    yield [str(tmp_path / "folder"), "-o", out], "holds no .txt file", 1
    yield [str(good), "-o", str(tmp_path / "there.jsonl")], "exists", 1
    yield [str(good), "-o", str(tmp_path / "out.xlsx")], "ending does not tell a format", 1
    yield [str(good), "-o", str(good / "out.jsonl")], "cannot be written", 1
    yield [str(good), "-o", out, "--errors", "ignore"], "not one of record, stop", 2
    yield [str(good), "-o", out, "--resume", "--overwrite"], "not with --overwrite", 2
    yield [str(good), "-o", out, "--min-probability", "2"], "less than or equal to 1", 2
    yield [str(good), "-o", out, "--thresholds", str(good / "none")], "numbers", 1


def test_bad_input_is_one_line(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for args, message, code in _cases(tmp_path):
        assert run(model, *args) == code, args
        told = capsys.readouterr().err
        assert message in " ".join(told.split()), (args, told)
        assert "Traceback" not in told
    assert not (tmp_path / "out.jsonl").exists()


def test_an_empty_file_has_no_notes_and_overwrite_replaces(model: Path, tmp_path: Path) -> None:
    (tmp_path / "n.jsonl").write_text("")
    output = tmp_path / "o.jsonl"
    output.write_text("something of somebody")
    report = predict(model, tmp_path / "n.jsonl", output, overwrite=True)
    assert report["notes"] == 0 and output.read_text() == ""
    assert (tmp_path / "o.status.jsonl").read_text() == ""


def test_overwrite_spares_what_is_read_and_folders_of_others(
    model: Path, notes: Path, tmp_path: Path
) -> None:
    source = tmp_path / "n.jsonl"
    source.write_bytes(notes.read_bytes())
    with pytest.raises(ClinicalNerError, match="which is read"):
        predict(model, source, source, overwrite=True)
    assert source.read_bytes() == notes.read_bytes()
    (tmp_path / "o.jsonl.parts").mkdir()
    (tmp_path / "o.jsonl.parts" / "mine").write_text("kept")
    with pytest.raises(ClinicalNerError, match="is not of a run of this command"):
        predict(model, source, tmp_path / "o.jsonl", overwrite=True)
    assert (tmp_path / "o.jsonl.parts" / "mine").read_text() == "kept"
