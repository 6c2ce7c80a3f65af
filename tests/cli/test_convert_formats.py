"""clinical-ner convert from every format to every other, and what a stranger runs into."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from spacy.vocab import Vocab

from clinical_ner.cli import main
from clinical_ner.data.formats.brat import write_brat
from clinical_ner.data.formats.docbin import read_docbin
from clinical_ner.data.formats.jsonl import write_jsonl
from clinical_ner.data.formats.reading import read_texts
from clinical_ner.data.mentions import AnnotatedText, Mention
from clinical_ner.errors import shown_label

from ..data.formats.test_faults import CASES, WORDS, Case

Documents = list[AnnotatedText]
#: Nested, in fragments, cutting a token, and an emoji before them all.
TEXT = "😷 Severe chest pain, left\nand right arm; 5mg daily."
NOTES = [
    AnnotatedText(
        "note-1",
        TEXT,
        (
            Mention("T1", "Sign", ((2, 19),)),
            Mention("T2", "Body", ((9, 14),)),
            Mention("T3", "Body", ((21, 25), (36, 39))),
            Mention("T4", "Sign", ((2, 8), (15, 19))),
        ),
    ),
    AnnotatedText("note-2", "No fever.", (Mention("T1", "Sign", ((3, 8),)),)),
]
#: Names of outputs that tell their format, and what of the mentions it can hold.
OUTPUTS: dict[str, str] = {
    "all.spacy": "all",
    "brat": "all",
    "all.jsonl": "all",
    "all.conll": "flat",
}


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


def _spans(documents: Documents) -> dict[str, list[tuple[str, tuple[tuple[int, int], ...]]]]:
    return {
        document.id: [(mention.label, mention.fragments) for mention in document.mentions]
        for document in documents
    }


@pytest.mark.parametrize("name", OUTPUTS)
def test_mentions_come_back_from_every_format(tmp_path: Path, name: str) -> None:
    write_brat(NOTES, tmp_path / "source")
    expected = _spans(NOTES)
    if OUTPUTS[name] == "flat":
        expected["note-1"] = [("Sign", ((2, 19),)), ("Body", ((21, 25),))]

    assert _run(tmp_path / "source", tmp_path / "out" / name) == 0
    assert _run(tmp_path / "out" / name, tmp_path / "back") == 0

    assert _spans(list(read_texts(tmp_path / "out" / name))) == expected
    assert _spans(list(read_texts(tmp_path / "back"))) == expected


@pytest.mark.parametrize(("source", "output"), zip(OUTPUTS, [*OUTPUTS][2:], strict=False))
def test_from_one_format_to_another(tmp_path: Path, source: str, output: str) -> None:
    write_brat(NOTES[1:], tmp_path / "notes")
    assert _run(tmp_path / "notes", tmp_path / "from" / source) == 0

    assert _run(tmp_path / "from" / source, tmp_path / "to" / output) == 0

    [document] = read_texts(tmp_path / "to" / output)
    assert document.text == "No fever."
    assert _spans([document]) == _spans(NOTES[1:])


def test_all_mentions_stand_beside_the_entities(tmp_path: Path) -> None:
    write_jsonl(NOTES, tmp_path / "notes.jsonl")

    assert _run(tmp_path / "notes.jsonl", tmp_path / "all.spacy") == 0

    doc, _ = read_docbin(tmp_path / "all.spacy", Vocab())
    assert [ent.text for ent in doc.ents] == ["Severe chest pain", "left"]
    assert [span.label_ for span in doc.spans["gold_all"]] == ["Sign", "Body", "Body", "Sign"]


def test_columns_are_told_of_what_they_cannot_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_brat(NOTES, tmp_path / "notes")
    report = tmp_path / "report.jsonl"

    assert _run(tmp_path / "notes", tmp_path / "all.conll", "--report", report) == 0

    rows = [json.loads(line) for line in report.read_text("utf-8").splitlines()]
    actions = {
        (row["document"], row["annotation"]): (row["action"], row["codes"])
        for row in rows
        if row["kind"] == "mention"
    }
    assert actions == {
        ("note-1", "T1"): ("kept", []),
        ("note-1", "T2"): ("dropped", ["overlap"]),
        ("note-1", "T3"): ("changed", ["discontinuous"]),
        ("note-1", "T4"): ("dropped", ["same_label"]),
        ("note-2", "T1"): ("kept", []),
    }
    assert "chest" not in report.read_text("utf-8") + capsys.readouterr().out


@pytest.mark.parametrize("to", ["pubtator", "bioc"])
def test_formats_that_are_only_read_are_a_usage_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], to: str
) -> None:
    write_brat(NOTES, tmp_path / "notes")

    assert _run(tmp_path / "notes", tmp_path / "out", "--to", to) == 2

    assert f"'{to}' is not one of auto, brat, conll, jsonl, docbin" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_formats_for_annotating_take_what_nobody_has_annotated(tmp_path: Path) -> None:
    bare = [AnnotatedText("a", "No fever.", ()), AnnotatedText("b", " \n", ())]
    write_brat(bare, tmp_path / "notes")

    assert _run(tmp_path / "notes", tmp_path / "all.jsonl") == 0

    assert [document.text for document in read_texts(tmp_path / "all.jsonl")] == [
        "No fever.",
        " \n",
    ]


def test_settings_reach_the_reader(tmp_path: Path) -> None:
    (tmp_path / "a.conll").write_text("B-Sign fever NN\nO . .\n")
    options = ["--label-column", "0", "--word-column", "1", "--scheme", "IOB2"]

    assert _run(tmp_path / "a.conll", tmp_path / "a.jsonl", "--format", "conll", *options) == 0

    [document] = read_texts(tmp_path / "a.jsonl")
    assert (document.text, _spans([document])) == ("fever .", {"a": [("Sign", ((0, 5),))]})


def test_the_annotator_reaches_the_reader(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    write_brat(NOTES[1:], notes)
    (notes / "note-2.ann").rename(notes / "note-2_jo.ann")

    assert _run(notes, tmp_path / "a.jsonl", "--annotator", "jo") == 0

    assert _spans(list(read_texts(tmp_path / "a.jsonl"))) == _spans(NOTES[1:])


def test_the_annotator_of_json_reaches_the_reader(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    for name, label in (("admin", "Sign"), ("bert", "Drug")):
        record = {"id": 1, "text": "fever", "label": [[0, 5, label]]}
        (notes / f"{name}.jsonl").write_text(json.dumps(record))

    assert _run(notes, tmp_path / "a.jsonl", "--annotator", "*") == 0

    assert _spans(list(read_texts(tmp_path / "a.jsonl"))) == {
        "1_admin": [("Sign", ((0, 5),))],
        "1_bert": [("Drug", ((0, 5),))],
    }


def test_offsets_reach_the_reader(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "😷 fever", "label": [[3, 8, "Sign"]]}', "utf-8")

    assert _run(tmp_path / "a.jsonl", tmp_path / "a", "--offsets", "utf-16") == 0

    assert _spans(list(read_texts(tmp_path / "a"))) == {"a-1": [("Sign", ((2, 7),))]}


def test_a_setting_that_the_format_lacks(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_brat(NOTES, tmp_path / "notes")

    message = _error(capsys, tmp_path / "notes", tmp_path / "a.spacy", "--scheme", "IOB2")

    assert "is brat, for which the setting 'scheme' has no meaning" in message


TASKS = [
    {"text": "fever", "spans": [{"start": 0, "end": 5, "label": "Sign"}], "answer": "accept"},
    {"text": "cough", "spans": [{"start": 0, "end": 5, "label": "Sign"}], "answer": "reject"},
    {"text": "pain", "spans": [{"start": 0, "end": 4, "label": "Pain"}], "answer": "ignore"},
]


@pytest.mark.parametrize("name", ["all.spacy", "all.jsonl"])
def test_rejected_documents_are_dropped_with_their_mentions(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    lines = "".join(json.dumps(task) + "\n" for task in TASKS)
    (tmp_path / "a.jsonl").write_text(lines, "utf-8")
    report = tmp_path / "report.jsonl"

    options = ["--report", report, "--max-dropped", "0"]
    assert _run(tmp_path / "a.jsonl", tmp_path / "out" / name, *options) == 0

    [document] = read_texts(tmp_path / "out" / name)
    assert document.text == "fever"
    rows = [json.loads(line) for line in report.read_text("utf-8").splitlines()]
    assert [(row["kind"], row["document"], row["action"], row["codes"]) for row in rows] == [
        ("document", "a-1", "kept", []),
        ("mention", "a-1", "kept", []),
        ("document", "a-2", "dropped", ["rejected"]),
        ("mention", "a-2", "dropped", ["rejected"]),
        ("document", "a-3", "dropped", ["ignored"]),
        ("mention", "a-3", "dropped", ["ignored"]),
    ]
    out = capsys.readouterr().out
    assert "Documents: 3 read, 1 kept, 2 dropped (rejected 1, ignored 1)." in out
    assert re.search(r"rejected .* 1 │", out)


def test_tasks_that_nobody_has_annotated(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = {"id": 1, "data": {"text": "fever"}, "annotations": []}
    (tmp_path / "a.json").write_text(json.dumps([task]), "utf-8")

    assert _run(tmp_path / "a.json", tmp_path / "b.jsonl") == 0

    assert "1 dropped (unannotated 1)." in capsys.readouterr().out
    assert (tmp_path / "b.jsonl").read_text() == ""


def _written(case: Case, folder: Path) -> Path:
    if isinstance(case.content, bytes):
        path = folder / ("a.spacy" if case.format == "docbin" else f"a.{case.format}")
        path.write_bytes(case.content)
        return path
    for name, content in case.content.items():
        (folder / name).write_bytes(content)
    return folder


FAULTS = [
    case
    for format in ("brat", "conll", "jsonl", "pubtator", "bioc", "docbin")
    for case in [case for case in CASES if case.format == format and isinstance(case.gives, str)][
        :3
    ]
]


@pytest.mark.parametrize("case", FAULTS, ids=lambda case: case.name)
@pytest.mark.parametrize("name", ["all.spacy", "all.jsonl"])
def test_a_faulty_source_ends_in_one_line_and_no_output(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], case: Case, name: str
) -> None:
    (tmp_path / "notes").mkdir()
    source = _written(case, tmp_path / "notes")
    out = tmp_path / "out"

    options = ["--format", case.format, "--report", out / "r" / "report.jsonl"]
    message = _error(capsys, source, out / name, *options)

    assert isinstance(case.gives, str) and case.gives in message
    assert not any(word in message for word in WORDS)
    assert not out.exists()


@pytest.mark.parametrize(
    ("write", "name"),
    [
        (write_jsonl, "notes.jsonl"),
        (lambda notes, path: _run_quietly(notes, path), "notes.spacy"),
    ],
)
def test_the_source_is_not_written_over(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    write: Callable[[Documents, Path], object],
    name: str,
) -> None:
    path = tmp_path / name
    write(NOTES, path)
    capsys.readouterr()
    before = path.read_bytes()

    assert "which is read" in _error(capsys, path, tmp_path / "." / name)
    assert path.read_bytes() == before


def _run_quietly(notes: Documents, path: Path) -> None:
    write_brat(notes, path.with_suffix(""))
    assert _run(path.with_suffix(""), path) == 0


def test_the_report_does_not_write_over_the_source(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "notes.jsonl"
    write_jsonl(NOTES, path)

    assert "which is read" in _error(capsys, path, tmp_path / "a.spacy", "--report", path)
    assert _spans(list(read_texts(path))) == _spans(NOTES)


@pytest.mark.parametrize("args", [["all.jsonl"], ["../all.spacy", "--report", "all.jsonl"]])
def test_nothing_is_added_to_the_folder_that_is_read(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    args: list[str],
) -> None:
    source = tmp_path / "notes"
    source.mkdir()
    write_jsonl(NOTES, source / "a.jsonl")
    monkeypatch.chdir(source)

    assert "the next run would read it too" in _error(capsys, source, *args)
    assert [path.name for path in source.iterdir()] == ["a.jsonl"]


def test_a_file_of_another_kind_may_stand_beside_the_notes(tmp_path: Path) -> None:
    write_brat(NOTES, tmp_path / "notes")

    for _ in range(2):
        assert _run(tmp_path / "notes", tmp_path / "notes" / "all.spacy") == 0


def test_a_folder_that_holds_something_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_jsonl(NOTES, tmp_path / "notes.jsonl")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "README.md").write_text("")

    assert "is not empty" in _error(capsys, tmp_path / "notes.jsonl", tmp_path / "out")
    assert "is not empty" in _error(
        capsys, tmp_path / "notes.jsonl", tmp_path / "out", "--docs-per-file", "1"
    )
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["README.md"]


def test_a_source_in_no_known_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "notes.txt").write_text("Severe chest pain.\n")

    message = _error(capsys, tmp_path / "notes.txt", tmp_path / "all.spacy")

    assert "in no format known here" in message and "--format" in message
    assert "chest" not in message


def test_an_output_that_cannot_hold_a_label(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    notes = [AnnotatedText("a", "fever", (Mention("T1", "My sign", ((0, 5),)),))]
    write_jsonl(notes, tmp_path / "a.jsonl")

    message = _error(capsys, tmp_path / "a.jsonl", tmp_path / "new" / "brat")

    assert "cannot hold document a: the label 'My sign' of T1 is empty or holds" in message
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize("output", ["brat_folder", "a.conll"])
def test_a_label_that_a_format_cannot_hold(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], output: str
) -> None:
    label = "Sign or symptom" if output == "brat_folder" else " Sign "
    record = {"id": 1, "text": "fever", "label": [[0, 5, label]]}
    (tmp_path / "a.jsonl").write_text(json.dumps(record), "utf-8")
    (tmp_path / "labels.yml").write_text(f"'{label}': Sign\n", "utf-8")

    message = _error(capsys, tmp_path / "a.jsonl", tmp_path / output)
    assert (
        f"the label '{shown_label(label)}'" in message and "Rename it with --label-map" in message
    )
    options = ["--label-map", tmp_path / "labels.yml"]
    assert _run(tmp_path / "a.jsonl", tmp_path / output, *options) == 0

    assert _spans(list(read_texts(tmp_path / output))) == {"1": [("Sign", ((0, 5),))]}


@pytest.mark.parametrize("content", ["[]", '{"documents": []}', "# nothing but a comment O\n"])
def test_a_corpus_without_documents(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], content: str
) -> None:  # H2
    source = tmp_path / "notes.json"
    source.write_text(content)
    format = "conll" if content.startswith("#") else "auto"

    assert _run(source, tmp_path / "out.jsonl", "--format", format) == 0
    captured = capsys.readouterr()
    assert captured.err == f"clinical-ner: {source}: holds no documents.\n"
    assert "Documents: 0 read" in captured.out and (tmp_path / "out.jsonl").read_text() == ""

    assert _run(source, tmp_path / "out.spacy", "--format", format) == 1
    captured = capsys.readouterr()
    assert captured.err.startswith(f"clinical-ner: {source}: holds no documents, and ")
    assert captured.err.count("\n") == 1 and not (tmp_path / "out.spacy").exists()


TAGGED = '{"tokens": ["Chest", "pain", "."], "ner_tags": [1, 2, 0]}\n'
LAYERS = (
    "#FORMAT=WebAnno TSV 3.3\n#T_SP=webanno.custom.Finding|value|grade\n\n\n#Text=Chest pain .\n"
    "1-1\t0-5\tChest\tSIGN[1]\tmild[1]\t\n1-2\t6-10\tpain\tSIGN[1]\tmild[1]\t\n1-3\t11-12\t.\t_\t_\t\n"
)


@pytest.mark.parametrize(
    ("name", "content", "options"),
    [
        ("a.jsonl", TAGGED, ["--tag-names", "names"]),
        ("a.tsv", LAYERS, ["--layer", "Finding.value"]),
        ("a.tsv", "Chest\tB\npain\tI\n.\tO\n", ["--label", "SIGN"]),
        ("a.tsv", "Chest\tB-SIGN\npain\tI-SIGN\n.\tS-SIGN\n", ["--scheme", "lenient"]),
    ],
    ids=["Hugging Face", "WebAnno", "no type", "tags with a fault"],
)
def test_options_that_a_format_needs(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    name: str,
    content: str,
    options: list[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("names").write_text("O\nB-SIGN\nI-SIGN\n")
    Path(name).write_text(content)

    assert options[0] in _error(capsys, name, "all.spacy")

    assert _run(name, "all.spacy", *options) == 0
    [doc] = read_docbin(Path("all.spacy"), Vocab())
    assert [(ent.text, ent.label_) for ent in doc.ents][0] == ("Chest pain", "SIGN")
