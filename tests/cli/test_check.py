from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest
from spacy.vocab import Vocab

from clinical_ner.cli import main
from clinical_ner.data.convert import convert
from clinical_ner.data.formats.docbin import DOCUMENT_ID, read_docbin, write_docbin
from clinical_ner.data.gold import GOLD_ALL

NOTE = "Fever and chest pain for three days, then a cough."


def write(folder: Path, name: str, text: str, *lines: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.txt").write_text(text, encoding="utf-8")
    annotation = "".join(f"{line}\n" for line in lines)
    (folder / f"{name}.ann").write_text(annotation, encoding="utf-8")


@pytest.fixture
def train(tmp_path: Path) -> Path:
    folder = tmp_path / "train"
    write(folder, "a", NOTE, "T1\tSign 0 5\tFever", "T2\tSign 10 20\tchest pain")
    write(folder, "b", "No cough.", "T1\tSign 3 8\tcough")
    write(folder, "c", "Fevers.", "T1\tSign 0 5\tFever")
    return folder


@pytest.fixture
def leaking(tmp_path: Path) -> Path:
    folder = tmp_path / "test"
    write(folder, "z", NOTE.upper(), "T1\tSign 0 5\tFEVER")
    return folder


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["check", *map(str, args)])
    return int(caught.value.code or 0)


def test_warnings_leave_the_exit_code_0(train: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(train, "--encoder", "none") == 0
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[-1].startswith("0 errors, ") and not lines[-1].endswith(" 0 warnings")
    assert "  train c, 0 to 5, Sign" in lines
    assert captured.err == ""


def test_errors_make_the_exit_code_1(
    train: Path, leaking: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(train, leaking, "--encoder", "none") == 1
    captured = capsys.readouterr()
    lines = captured.out.splitlines()
    assert lines[-1].startswith("1 errors, ")
    assert "  test z, as a of train" in lines
    assert captured.err == ""


def test_what_flat_entities_lose_has_columns_where_they_lose_any(
    train: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run(train, "--encoder", "none")
    assert "overlaps" not in capsys.readouterr().out
    write(train, "d", "High fever.", "T1\tSign 0 10\tHigh fever", "T2\tDegree 0 4\tHigh")
    run(train, "--encoder", "none")
    out = capsys.readouterr().out
    rows = [line.replace("│", " ").split() for line in out.splitlines()]
    assert ["Degree", "1", "0", "1"] in rows
    assert "Sign" not in [row[0] for row in rows[-6:] if len(row) == 4]
    assert "flat entities hold 0, overlaps = true 1" in " ".join(out.replace("│", " ").split())


def test_documents_without_all_mentions_are_found(
    train: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    convert(train, train.parent / "train.spacy")
    docs = read_docbin(train.parent / "train.spacy", Vocab())
    del docs[1].spans[GOLD_ALL]
    write_docbin(docs, train.parent / "train.spacy")
    run(train.parent / "train.spacy", "--encoder", "none", "--json")
    findings = json.loads(capsys.readouterr().out)["findings"]
    [finding] = [of for of in findings if of["code"] == "C065"]
    assert [place["document"] for place in finding["places"]] == ["b"]


def test_no_text_is_shown_unless_asked_for(
    train: Path, leaking: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for arguments in ([], ["--json"]):
        run(train, leaking, "--encoder", "none", *arguments)
        shown = capsys.readouterr().out.lower()
        assert "fever" not in shown and "cough" not in shown
        run(train, leaking, "--encoder", "none", "--show-text", *arguments)
        assert "fever" in capsys.readouterr().out.lower()


def test_json_is_one_object_with_all_places(
    train: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(12):
        write(train, f"n{number}", f"Word {number} and no more.")
    assert run(train, "--encoder", "none", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    silent = next(of for of in report["findings"] if of["code"] == "C003")
    assert silent["count"] == len(silent["places"]) == 12
    assert report["parts"]["train"]["documents"] == 15
    assert report["labels"]["Sign"]["mentions"] == 4


def test_findings_are_written_to_a_file_too_errors_or_not(
    tmp_path: Path, train: Path, leaking: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "new" / "check.json"

    assert run(train, leaking, "--encoder", "none", "--json", "--output", output) == 1

    assert output.read_text(encoding="utf-8") == capsys.readouterr().out


def test_no_corpus_is_replaced_by_findings(tmp_path: Path) -> None:
    corpus = tmp_path / "notes.jsonl"
    corpus.write_text('{"text": "Cough.", "label": [[0, 5, "Sign"]]}\n', encoding="utf-8")
    before = corpus.read_bytes()

    assert run(corpus, "--encoder", "none", "--output", corpus) == 2

    assert corpus.read_bytes() == before


def test_findings_are_not_written_among_the_notes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.json").write_text('{"text": "Cough.", "label": [[0, 5, "Sign"]]}\n')

    assert run(tmp_path, "--encoder", "none", "--output", tmp_path / "check.json") == 1
    assert "the next run would read it too" in capsys.readouterr().err
    # Which are no notes of this format.
    assert run(tmp_path, "--encoder", "none", "--output", tmp_path / "check.txt") == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "check.txt"]


def test_places_are_cut_and_counted(train: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for number in range(12):
        write(train, f"n{number}", f"Word {number} and no more.")
    run(train, "--encoder", "none")
    assert capsys.readouterr().out.count("  and 2 more\n") == 1
    run(train, "--encoder", "none", "--places", 0)
    assert "train n1" not in capsys.readouterr().out


def test_thresholds_are_passed_on(train: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def codes(*arguments: object) -> set[str]:
        run(train, "--encoder", "none", "--json", *arguments)
        return {of["code"] for of in json.loads(capsys.readouterr().out)["findings"]}

    write(train, "d", NOTE.replace("three", "four"))
    assert "C023" not in codes("--near-duplicate", "0.9")
    assert "C023" in codes("--near-duplicate", "0.4")
    assert "C043" not in codes("--max-words", "2")
    assert "C043" in codes("--max-words", "1")


def test_an_encoder_that_is_not_installed_is_reported(
    train: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(train, "--encoder", "nobody/has-this-encoder", "--json") == 0
    findings = json.loads(capsys.readouterr().out)["findings"]
    [finding] = [of for of in findings if of["code"] == "C071"]
    assert "nobody/has-this-encoder is not installed" in finding["detail"]


def test_files_of_other_formats_are_parts_too(
    corpus_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = corpus_file.with_name("dev.jsonl")
    lines.write_text(
        '{"id": "x", "text": "A rash.", "spans": [{"start": 2, "end": 6, "label": "Sign"}]}\n'
    )
    run(corpus_file, lines, "--encoder", "none", "--json")
    report = json.loads(capsys.readouterr().out)
    assert {name: of["mentions"] for name, of in report["parts"].items()} == {
        "corpus": 12,
        "dev": 1,
    }
    assert report["labels"]["Sign"]["by_part"] == {"corpus": 6, "dev": 1}


def test_settings_of_a_format_are_passed_on(
    train: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(train, "--label-column", "2") == 1
    assert "is brat, for which the setting 'label_column'" in capsys.readouterr().err


def test_progress_is_drawn_on_a_terminal_only(
    train: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    run(train, "--encoder", "none", "--json")
    captured = capsys.readouterr()
    json.loads(captured.out)
    assert "documents that occur twice" in captured.err


def test_parts_of_one_name_are_refused(train: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(train, train) == 1
    captured = capsys.readouterr()
    assert "" in captured.err and captured.err.count("\n") == 1


def test_a_missing_file_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(tmp_path / "none.spacy") == 1
    captured = capsys.readouterr()
    assert "none.spacy" in captured.err and captured.err.count("\n") == 1
    assert captured.out == ""


def test_labels_are_whole_on_a_narrow_terminal(
    train: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    label = "Nonbiological_location_of_care"
    write(train.with_name("dev"), "e", "At home.", f"T1\t{label} 3 7\thome")
    write(train.with_name("test"), "f", "In a ward.", f"T1\t{label} 5 9\tward")
    monkeypatch.setenv("COLUMNS", "80")
    run(train, train.with_name("dev"), train.with_name("test"), "--encoder", "none", "--places", 0)
    assert f"│ {label} │" in capsys.readouterr().out


@pytest.mark.parametrize(
    "arguments",
    [
        ["--near-duplicate", "0"],
        ["--near-duplicate", "nan"],
        ["--max-words", "0"],
        ["--format", "word"],
        ["--json", "--places", "3"],
    ],
)
def test_wrong_calls_have_exit_code_2(train: Path, arguments: list[str]) -> None:
    assert run(train, *arguments) == 2


def test_a_masked_copy_is_reported_and_replaces_nothing(
    train: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus, copy = tmp_path / "all.spacy", tmp_path / "masked.spacy"
    write(train, "d", "A cough, a fever, a cough.", "T1\tSign 20 25\tcough")
    convert(train, corpus)
    before = corpus.read_bytes()
    capsys.readouterr()
    alone = [corpus, "--encoder", "none", "--write-masked"]
    for wrong in (
        [*alone, corpus],
        [*alone, tmp_path / "masked.txt"],
        [*alone, copy, "--output", copy],
        [train, *alone, copy],
        [train, "--write-masked", copy],
    ):
        assert run(*wrong) == 2
    assert corpus.read_bytes() == before and not copy.exists()
    capsys.readouterr()
    assert run(*alone, copy, "--json") == 0
    assert json.loads(capsys.readouterr().out)["masked"] == {"Sign": 3}
    assert run(*alone, copy) == 0
    assert f"Unknown in {copy}: 3 places (Sign 3)." in capsys.readouterr().out.replace("\n", "")
    assert run(copy, "--encoder", "none") == 0
    assert "C052" not in capsys.readouterr().out


def test_docs_without_ids_can_be_checked(tmp_path: Path, corpus_file: Path) -> None:
    from spacy.vocab import Vocab

    from clinical_ner.data.formats.docbin import read_docbin

    docs = read_docbin(corpus_file, Vocab())
    assert not any(DOCUMENT_ID in doc.user_data for doc in docs)
    write_docbin(docs, tmp_path / "train.spacy")
    assert run(tmp_path / "train.spacy", "--encoder", "none") == 0
