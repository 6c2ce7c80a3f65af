"""Rules, label maps, limits, reports and parts of clinical-ner convert."""

from __future__ import annotations

import json
import re
import sys
from collections import Counter
from pathlib import Path

import pytest
from spacy.vocab import Vocab

from clinical_ner.cli import main
from clinical_ner.data.conversion import DROPPED
from clinical_ner.data.formats.brat import write_brat
from clinical_ner.data.formats.docbin import read_docbin
from clinical_ner.data.formats.jsonl import write_jsonl
from clinical_ner.data.formats.reading import read_texts
from clinical_ner.data.mentions import AnnotatedText, Mention

MACCROBAT = Path(__file__).parents[3] / "shared" / "maccrobat"
TEXT = "Severe chest pain and a rash on both legs."
NOTE = AnnotatedText(
    "note",
    TEXT,
    (
        Mention("T1", "Sign", ((0, 17),)),
        Mention("T2", "Severity", ((0, 6),)),
        Mention("T3", "Body", ((7, 12),)),
        Mention("T4", "Sign", ((24, 28), (37, 41))),
        Mention("T5", "Part", ((24, 27),)),
    ),
)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    write_brat([NOTE], tmp_path / "notes")
    return tmp_path / "notes"


def _run(*args: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["convert", *map(str, args)])
    return int(caught.value.code or 0)


def _entities(path: Path) -> list[tuple[str, str]]:
    [doc] = read_docbin(path, Vocab())
    return [(ent.text, ent.label_) for ent in doc.ents]


def _mentions(report: Path) -> dict[str, dict[str, object]]:
    rows = [json.loads(line) for line in report.read_text("utf-8").splitlines()]
    return {row["annotation"]: row for row in rows if row["kind"] == "mention"}


def _table(out: str) -> dict[str, list[str]]:
    return {
        cells[0]: cells[1:]
        for line in out.splitlines()
        if len(cells := re.split(r"\s*[│┃|]\s*", line.strip(" │┃|"))) > 4
    }


@pytest.mark.parametrize(
    ("options", "entities"),
    [
        ([], [("Severe chest pain", "Sign"), ("rash", "Sign")]),
        (
            ["--overlap", "priority", "--priority", "Body, Severity"],
            [("Severe", "Severity"), ("chest", "Body"), ("rash", "Sign")],
        ),
        (["--discontinuous", "drop"], [("Severe chest pain", "Sign"), ("rash", "Part")]),
        (
            ["--discontinuous", "span"],
            [("Severe chest pain", "Sign"), ("rash on both legs", "Sign")],
        ),
        (["--discontinuous", "drop", "--misaligned", "drop"], [("Severe chest pain", "Sign")]),
        (["--discontinuous", "drop", "--misaligned", "contract"], [("Severe chest pain", "Sign")]),
    ],
)
def test_rules(
    source: Path, tmp_path: Path, options: list[str], entities: list[tuple[str, str]]
) -> None:
    assert _run(source, tmp_path / "a.spacy", *options) == 0

    assert _entities(tmp_path / "a.spacy") == entities


def test_rules_that_make_a_mention_an_error(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(source, tmp_path / "a.spacy", "--misaligned", "error") == 1

    assert "Document note: the edges of T5 (24 27) lie inside tokens" in capsys.readouterr().err
    assert not (tmp_path / "a.spacy").exists()


def test_a_label_that_a_priority_names_and_no_mention_has(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--overlap", "priority", "--priority", "Bodi,Sign"]
    assert _run(source, tmp_path / "a.spacy", *options) == 0

    assert re.fullmatch(
        r"clinical-ner: --priority: no mention read has label Bodi. Did you mean Body.*\n",
        capsys.readouterr().err,
    )


@pytest.fixture
def label_map(tmp_path: Path) -> Path:
    path = tmp_path / "labels.yml"
    path.write_text("Sign: Finding\nPart: Finding\nSeverity: null\n")
    return path


def test_label_map(
    source: Path, tmp_path: Path, label_map: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--label-map", label_map, "--report", tmp_path / "r.jsonl"]
    assert _run(source, tmp_path / "a.spacy", *options) == 0

    [doc] = read_docbin(tmp_path / "a.spacy", Vocab())
    assert [(ent.text, ent.label_) for ent in doc.ents] == [
        ("Severe chest pain", "Finding"),
        ("rash", "Finding"),
    ]
    # What the map drops is no gold any more; what the rules drop still is.
    assert [(span.label_, span.start_char) for span in doc.spans["gold_all"]] == [
        ("Finding", 0),
        ("Body", 7),
        ("Finding", 24),
        ("Finding", 24),
    ]
    rows = _mentions(tmp_path / "r.jsonl")
    assert {
        id: (row["label"], row["new_label"], row["action"], row["codes"])
        for id, row in rows.items()
    } == {
        "T1": ("Sign", "Finding", "changed", ["relabelled"]),
        "T2": ("Severity", None, "dropped", ["label_dropped"]),
        "T3": ("Body", "Body", "dropped", ["overlap"]),
        "T4": ("Sign", "Finding", "changed", ["relabelled", "discontinuous"]),
        "T5": ("Part", "Finding", "dropped", ["duplicate"]),
    }
    captured = capsys.readouterr()
    table = _table(captured.out)
    assert table["label"] == ["becomes", "read", "kept", "renamed", "merged", "moved", "dropped"]
    assert table["Sign"] == ["Finding", "2", "0", "1", "1", "0", "0"]
    assert table["Severity"] == ["(dropped)", "1", "0", "0", "0", "0", "1"]
    assert table["Body"] == ["Body", "1", "0", "0", "0", "0", "1"]
    assert table["total"][1:] == ["5", "0", "1", "1", "0", "3"]
    assert captured.err == ""


def test_label_map_for_a_format_that_holds_all(
    source: Path, tmp_path: Path, label_map: Path
) -> None:
    assert _run(source, tmp_path / "a.jsonl", "--label-map", label_map) == 0

    [document] = read_texts(tmp_path / "a.jsonl")
    assert [(mention.id, mention.label) for mention in document.mentions] == [
        ("T1", "Finding"),
        ("T3", "Body"),
        ("T4", "Finding"),
        ("T5", "Finding"),
    ]


def test_labels_of_the_map_that_no_mention_has(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "map.yml").write_text("Sing: A\nDrug: B\nBody: C\n")

    assert _run(source, tmp_path / "a.spacy", "--label-map", tmp_path / "map.yml") == 0

    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert (
        "map.yml: no mention read has label Sing, Drug. Known: Body, Part, Severity, Sign." in err
    )


def test_a_faulty_label_map_leaves_no_output(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "map.yml").write_text("Sign: Finding\nSign: Other\n")

    assert _run(source, tmp_path / "a.spacy", "--label-map", tmp_path / "map.yml") == 1

    err = capsys.readouterr().err
    assert f"{tmp_path / 'map.yml'}, line 2: Sign is on line 1 already" in err
    assert err.count("\n") == 1
    assert not (tmp_path / "a.spacy").exists()


def test_a_map_that_drops_all_labels(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "map.yml").write_text("{Sign: null, Body: null, Part: null, Severity: null}")

    assert _run(source, tmp_path / "a.spacy", "--label-map", tmp_path / "map.yml") == 1

    captured = capsys.readouterr()
    assert "none of its 5 mentions can be used" in captured.err
    assert _table(captured.out)["total"][1:] == ["5", "0", "0", "0", "0", "5"]


@pytest.mark.parametrize("limit", ["1", "39%", "0"])
def test_too_many_dropped(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], limit: str
) -> None:
    report = tmp_path / "new" / "r.jsonl"
    options = ["--max-dropped", limit, "--report", report, "--discontinuous", "drop"]
    assert _run(source, tmp_path / "out" / "a.spacy", *options) == 1

    captured = capsys.readouterr()
    assert _table(captured.out)["total"] == ["5", "1", "0", "1", "3"]
    assert captured.err.count("\n") == 1
    assert f"3 of 5 mentions are dropped (60%), more than {limit}: " in captured.err
    assert "overlap 2, fragments 1." in captured.err
    assert not (tmp_path / "out").exists()
    assert len(_mentions(report)) == 5


@pytest.mark.parametrize("name", ["out", "a.jsonl", "a.conll"])
def test_too_many_dropped_leaves_no_output_of_any_format(tmp_path: Path, name: str) -> None:
    write_jsonl([NOTE], tmp_path / "notes.jsonl")
    (tmp_path / "map.yml").write_text("Part: Sign\n")
    (tmp_path / "new").mkdir()
    expected = 1 if name == "a.conll" else 0

    options = ["--max-dropped", "0", "--label-map", tmp_path / "map.yml"]
    assert _run(tmp_path / "notes.jsonl", tmp_path / "new" / name, *options) == expected
    assert len(list((tmp_path / "new").iterdir())) == 1 - expected


@pytest.mark.parametrize("limit", ["3", "60%", "60.0%", "100%"])
def test_as_many_dropped_as_allowed(source: Path, tmp_path: Path, limit: str) -> None:
    options = ["--max-dropped", limit, "--discontinuous", "drop"]
    assert _run(source, tmp_path / "a.spacy", *options) == 0


def test_mentions_that_overlap_count_unless_they_are_learned(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--max-dropped", "1", "--discontinuous", "drop"]
    assert _run(source, tmp_path / "a.spacy", *options) == 1
    assert "3 of 5 mentions are dropped (60%), more than 1: overlap 2" in capsys.readouterr().err
    assert _run(source, tmp_path / "a.spacy", *options, "--overlaps") == 0
    options[1] = "0"
    assert _run(source, tmp_path / "b.spacy", *options, "--overlaps") == 1
    assert "1 of 5 mentions are dropped (20%), more than 0: frag" in capsys.readouterr().err


def test_labels_that_the_map_drops_do_not_count(
    source: Path, tmp_path: Path, label_map: Path
) -> None:
    options = ["--max-dropped", "2", "--label-map", label_map]
    assert _run(source, tmp_path / "a.spacy", *options) == 0


def test_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    notes = [AnnotatedText(f"n{i}", TEXT, NOTE.mentions) for i in range(5)]
    write_jsonl(notes, tmp_path / "notes.jsonl")

    assert _run(tmp_path / "notes.jsonl", tmp_path / "train", "--docs-per-file", "2") == 0

    files = sorted((tmp_path / "train").iterdir())
    assert [file.name for file in files] == [f"train-0000{part}.spacy" for part in (1, 2, 3)]
    assert [document.id for document in read_texts(tmp_path / "train")] == [
        note.id for note in notes
    ]
    assert "Documents: 5 read, 5 kept" in capsys.readouterr().out


def test_progress_is_quiet_in_a_pipe(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(source, tmp_path / "a.spacy") == 0
    assert capsys.readouterr().err == ""


def test_progress_on_a_terminal(
    source: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("TERM", "xterm")

    assert _run(source, tmp_path / "a.spacy") == 0

    captured = capsys.readouterr()
    assert "1 documents" in captured.err and "documents" not in captured.out.split("Documents")[0]


@pytest.mark.slow
@pytest.mark.skipif(not MACCROBAT.is_dir(), reason="the case reports (shared/maccrobat) are absent")
def test_every_mention_of_the_case_reports_is_accounted_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Counted from the files, without the readers.
    read: dict[str, int] = {}
    for path in MACCROBAT.glob("*.ann"):
        for line in path.read_text("utf-8").splitlines():
            if line.startswith("T"):
                label = line.split("\t")[1].split(" ")[0]
                read[label] = read.get(label, 0) + 1

    assert _run(MACCROBAT, tmp_path / "all.spacy", "--report", tmp_path / "r.jsonl") == 0

    lines = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text("utf-8").splitlines()]
    rows = [row for row in lines if row["kind"] == "mention"]
    assert len(lines) - len(rows) == 160
    by_label = {label: [row for row in rows if row["label"] == label] for label in read}
    out = capsys.readouterr().out
    table = _table(out)
    for label, number in read.items():
        cells = list(map(int, table[label]))
        assert cells[0] == number == len(by_label[label]) == sum(cells[1:])
        assert cells[4] == sum(row["action"] == "dropped" for row in by_label[label])
    total = list(map(int, table["total"]))
    assert total[0] == sum(read.values()) == sum(total[1:]) == 20167
    # Reasons that did not occur are not printed.
    reasons = Counter({code: int(n) for code, n in re.findall(r"│ (\w+) +│[^│\n]+│ +(\d+) │", out)})
    assert sum(reasons[code] for code in DROPPED) == total[4]
    docs = read_docbin(tmp_path / "all.spacy", Vocab())
    assert sum(len(doc.ents) for doc in docs) == total[0] - total[4]
    assert sum(len(doc.spans["gold_all"]) for doc in docs) == total[0] - reasons["empty"]
    assert _run(tmp_path / "all.spacy", tmp_path / "back") == 0
    back = {document.id: document for document in read_texts(tmp_path / "back")}
    for document in read_texts(MACCROBAT):
        assert back[document.id].text == document.text
        assert [(m.id, m.label, m.fragments) for m in back[document.id].mentions] == [
            (m.id, m.label, m.fragments) for m in document.mentions
        ]


def test_faults_are_left_out_said_and_counted(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = tmp_path / "notes.jsonl"
    record = {"id": 1, "text": "No fever.", "label": [[3, 8, "Sign"], [3, 8, None]]}
    notes.write_text(f'{json.dumps(record)}\n{{"id": 2, "text": null, "label": []}}\n')

    assert _run(notes, tmp_path / "all.spacy") == 1
    assert _run(notes, tmp_path / "all.spacy", "--errors", "record") == 0

    captured = capsys.readouterr()
    no_label = f"{notes}, line 1: annotation T2 of document 1 has no label. Fix or remove it."
    assert captured.err.splitlines() == [
        f"clinical-ner: {no_label}",
        f"clinical-ner: left out: {no_label}",
        f"clinical-ner: left out: {notes}, line 2: the text is null. Fix or remove the record.",
    ]
    assert "Documents: 2 read, 1 kept, 1 dropped (faulty 1)." in captured.out
    assert "Left out, at fault: 1 annotations, 1 documents." in captured.out
    assert _entities(tmp_path / "all.spacy") == [("fever", "Sign")]
