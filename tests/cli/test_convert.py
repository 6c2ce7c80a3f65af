from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from spacy.vocab import Vocab

from clinical_ner.cli import main
from clinical_ner.data.formats.docbin import DOCUMENT_ID, read_docbin
from clinical_ner.data.gold import overlapping_gold


def _write(folder: Path, name: str, text: str, *lines: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.txt").write_bytes(text.encode())
    (folder / f"{name}.ann").write_bytes("".join(f"{line}\n" for line in lines).encode())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "notes"
    _write(
        folder,
        "b",
        "Severe chest pain and fever.",
        "T1\tSign_symptom 7 17\tchest pain",
        "T2\tSign_symptom 13 17\tpain",
        "E1\tSign_symptom:T1 ",
        "T3\tSign_symptom 21 27\t fever",
        "T4\t[bold]Severity 0 6\tSevere",
    )
    _write(folder, "a", "\n", "#1\tAnnotatorNotes\tempty")
    return folder


def _run(*args: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["convert", *map(str, args)])
    return int(caught.value.code or 0)


def _error(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    """The one line that a failing run prints."""
    assert _run(*args) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.count("\n") == 1
    return captured.err


def test_writes_docs_with_entities_and_ids(folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "new" / "all.spacy"

    assert _run(folder, output) == 0

    [doc] = read_docbin(output, Vocab())
    assert doc.user_data[DOCUMENT_ID] == "b"
    assert [(ent.text, ent.label_) for ent in doc.ents] == [
        ("Severe", "[bold]Severity"),
        ("chest pain", "Sign_symptom"),
        ("fever", "Sign_symptom"),
    ]
    assert list(output.parent.iterdir()) == [output]


def test_prints_the_table(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert _run(folder, tmp_path / "all.spacy") == 0

    captured = capsys.readouterr()
    rows = {
        cells[0]: cells[1:]
        for line in captured.out.splitlines()
        if len(cells := re.split(r"\s*[│┃|]\s*", line.strip(" │┃|"))) > 3
    }
    assert rows["label"] == ["read", "kept", "merged", "moved", "dropped"]
    assert rows["Sign_symptom"] == ["3", "1", "0", "1", "1"]
    assert rows["[bold]Severity"] == ["1", "1", "0", "0", "0"]
    assert rows["total"] == ["4", "2", "0", "1", "1"]
    reasons = re.findall(r"(?:changed|dropped) [│|] (\w+) .* (\d+) \W*\n", captured.out)
    assert dict(reasons) == {"trimmed": "1", "same_label": "1"}
    assert "Documents: 2 read, 1 kept, 1 dropped (empty_document 1)." in captured.out
    assert "Omitted, not mentions: 2 (# 1, E 1)." in captured.out
    assert captured.err == ""


def test_without_a_reason_there_is_no_table_of_reasons(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "fever", "label": [[0, 5, "Sign"]]}')

    assert _run(tmp_path / "a.jsonl", tmp_path / "a.spacy") == 0

    out = capsys.readouterr().out
    assert "Mentions" in out and "Reasons" not in out and "trimmed" not in out


def test_what_overlaps_cost_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "a 71-year-old white woman with fever"
    labels = [[0, 25, "Subject"], [2, 13, "Age"], [14, 19, "Race"], [20, 25, "Gender"]]
    # Of one label, the shorter is lost to overlapping mentions too.
    records = [
        {"id": "a", "text": text, "label": [*labels, [31, 36, "Sign"], [14, 25, "Subject"]]},
        {"id": "b", "text": "a woman", "label": [[2, 7, "Gender"]]},
        {"id": "c", "text": "fever", "label": [[0, 5, "Sign"], [0, 5, "[b]Effect"]]},
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, records)), encoding="utf-8")

    assert _run(tmp_path / "a.jsonl", tmp_path / "a.spacy") == 0

    out = capsys.readouterr().out
    assert [line for line in out.splitlines() if "recipe overlaps" in line] == [
        "4 of 9 mentions overlap others, and cannot be flat entities (Age 1 of 1, Race 1 of 1, "
        "[b]Effect 1 of 1, Gender 1 of 2). .spacy files keep them beside the entities: train with "
        "the recipe overlaps to find them."
    ]
    docs = read_docbin(tmp_path / "a.spacy", Vocab())
    gained = sum(len(overlapping_gold(doc)) - len(doc.ents) for doc in docs)
    assert gained == 4
    # Without one there is no such line.
    (tmp_path / "a.jsonl").write_text(json.dumps(records[1]), encoding="utf-8")
    assert _run(tmp_path / "a.jsonl", tmp_path / "a.spacy") == 0
    assert "overlap" not in capsys.readouterr().out


def test_a_refused_conversion_prints_its_reasons(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    records = '{"text": "fever", "label": [[0, 5, "Sign"], [0, 5, "Sign"], [0, 5, "Drug"]]}'
    (tmp_path / "a.jsonl").write_text(records)

    assert _run(tmp_path / "a.jsonl", tmp_path / "a.spacy", "--max-dropped", "0") == 1

    out = capsys.readouterr().out
    assert re.findall(r"dropped [│|] (\w+)", out) == ["duplicate", "conflict"]


def test_report_accounts_for_every_document_and_mention(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "new" / "all.jsonl"

    assert _run(folder, tmp_path / "all.spacy", "--report", report) == 0

    content = report.read_text(encoding="utf8")
    rows = [json.loads(line) for line in content.splitlines()]
    assert [(row["kind"], row["document"], row["action"], row["codes"]) for row in rows] == [
        ("document", "a", "dropped", ["empty_document"]),
        ("document", "b", "kept", []),
        ("mention", "b", "kept", []),
        ("mention", "b", "dropped", ["same_label"]),
        ("mention", "b", "changed", ["trimmed"]),
        ("mention", "b", "kept", []),
    ]
    assert rows[1]["mentions"] == 4 and rows[1]["entities"] == 3
    assert rows[4] == {
        "kind": "mention",
        "document": "b",
        "annotation": "T3",
        "label": "Sign_symptom",
        "start": 21,
        "end": 27,
        "action": "changed",
        "codes": ["trimmed"],
        "new_start": 22,
        "new_end": 27,
        "new_label": "Sign_symptom",
    }
    for word in ("chest", "pain", "fever", "Severe"):
        assert not re.search(rf"\b{word}\b", content + capsys.readouterr().out)


def test_files_without_marks_are_said_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes").mkdir()
    for name in ("a", "b"):
        (tmp_path / "notes" / f"{name}.tsv").write_text("Pain\tB-Sign\n\n" * 11)

    assert _run(tmp_path / "notes", tmp_path / "all.spacy") == 0
    captured = capsys.readouterr()
    assert "Documents: 4 read, 4 kept" in captured.out
    assert captured.err == (
        "clinical-ner: no document markers: every 10 sentences of a file are one document. "
        "--n-sents N sets the number, 0 keeps a file as one.\n"
    )

    assert _run(tmp_path / "notes", tmp_path / "all.spacy", "--n-sents", "0") == 0
    captured = capsys.readouterr()
    assert "Documents: 2 read, 2 kept" in captured.out and captured.err == ""


def test_language_chooses_the_tokenizer(tmp_path: Path) -> None:
    _write(tmp_path / "notes", "a", "don't", "T1\tX 0 2\tdo")

    texts = []
    for lang in ("en", "xx"):
        options = ["--lang", lang, "--tokenizer", "language"]
        assert _run(tmp_path / "notes", tmp_path / "all.spacy", *options) == 0
        [doc] = read_docbin(tmp_path / "all.spacy", Vocab())
        texts.append(doc.ents[0].text)
    assert texts == ["do", "don't"]


def test_faulty_annotation_leaves_no_output(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _write(folder, "c", "fever", "T1\tX 0 5\tfever", "T2\tX 0 4\tfever")

    message = _error(
        capsys, folder, tmp_path / "out" / "a.spacy", "--report", tmp_path / "out" / "a.jsonl"
    )

    assert f"{folder / 'c.ann'}, line 2" in message
    assert "fever" not in message
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "lines",
    [(), ("T1\tX 5 6\t",), ("#1\tAnnotatorNotes T1\tnone",)],
    ids=["no mention", "all dropped", "no T line"],
)
def test_corpus_without_entities(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: tuple[str, ...]
) -> None:
    _write(tmp_path / "notes", "a", "fever \n", *lines)

    assert _run(tmp_path / "notes", tmp_path / "all.spacy") == 1

    captured = capsys.readouterr()
    assert "Documents: 1 read" in captured.out
    assert str(tmp_path / "notes") in captured.err and "without entities" in captured.err
    assert captured.err.count("\n") == 1
    assert not (tmp_path / "all.spacy").exists()


def test_missing_source(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "no such file or folder" in _error(capsys, tmp_path / "absent", tmp_path / "all.spacy")


def test_report_that_cannot_be_written_leaves_no_output(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.jsonl").mkdir()

    message = _error(capsys, folder, tmp_path / "a.spacy", "--report", tmp_path / "a.jsonl")

    assert f"{tmp_path / 'a.jsonl'}: cannot be written" in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.jsonl", "notes"]


def test_output_that_cannot_be_written_leaves_no_report(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.spacy").mkdir()

    message = _error(capsys, folder, tmp_path / "a.spacy", "--report", tmp_path / "a.jsonl")

    assert f"{tmp_path / 'a.spacy'}: cannot be written" in message
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.spacy", "notes"]


@pytest.mark.parametrize(
    ("args", "named"),
    [
        (["all.bin"], "OUTPUT"),
        (["all.json"], "--to"),
        (["all.tsv"], "--to"),
        (["all.jsonl", "--to", "docbin"], "OUTPUT"),
        (["all.spacy", "--to", "jsonl"], "OUTPUT"),
        (["all.spacy", "--to", "xml"], "--to"),
        (["all.spacy", "--format", "xml"], "--format"),
        (["all.spacy", "--scheme", "IOB"], "--scheme"),
        (["all.spacy", "--offsets", "utf-8"], "--offsets"),
        (["all.spacy", "--report", "all.json"], "--report"),
        (["all.spacy", "--lang", "qq"], "--lang"),
        (["all.spacy", "--tokenizer", "nltk"], "--tokenizer"),
        (["all.spacy", "--overlap", "shortest"], "--overlap"),
        (["all.spacy", "--overlap", "priority"], "--priority"),
        (["all.spacy", "--priority", "A,B"], "--priority"),
        (["all.spacy", "--overlap", "priority", "--priority", "A,A"], "--priority"),
        (["all.spacy", "--overlap", "priority", "--priority", "A,,B"], "--priority"),
        (["all.spacy", "--discontinuous", "join"], "--discontinuous"),
        (["all.spacy", "--misaligned", "move"], "--misaligned"),
        (["all.spacy", "--max-dropped", "0.01"], "--max-dropped"),
        (["all.spacy", "--max-dropped", "101%"], "--max-dropped"),
        (["all.spacy", "--max-dropped", "-1"], "--max-dropped"),
        (["all.spacy", "--overlaps"], "--overlaps"),
        (["all.jsonl", "--overlaps", "--max-dropped", "1"], "--overlaps"),
        (["all", "--docs-per-file", "0"], "--docs-per-file"),
        (["all.spacy", "--docs-per-file", "5"], "OUTPUT"),
        (["all.jsonl", "--to", "jsonl", "--docs-per-file", "5"], "--docs-per-file"),
        (["all.jsonl", "--overlap", "first"], "--overlap"),
        (["all.jsonl", "--priority", "A"], "--priority"),
        (["brat", "--discontinuous", "span"], "--discontinuous"),
        (["all.jsonl", "--misaligned", "drop"], "--misaligned"),
        (["all.jsonl", "--lang", "en"], "--lang"),
        (["all.ndjson", "--tokenizer", "clinical"], "--tokenizer"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_usage_errors(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    args: list[str],
    named: str,
) -> None:
    monkeypatch.chdir(tmp_path)

    assert _run(folder, *args) == 2

    assert named in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == [folder]


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert _run("--help") == 0
    examples = re.findall(r"^ +clinical-ner convert \S+ \S+", capsys.readouterr().out, re.MULTILINE)
    assert len(examples) >= 3
    assert examples[0].split() == [
        "clinical-ner", "convert", "corpus/case_reports", "corpus/all.spacy"
    ]  # fmt: skip
