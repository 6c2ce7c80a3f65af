"""The page as a file: what it holds, and what it is not written over."""

from __future__ import annotations

import importlib.util
import json
from html.parser import HTMLParser
from pathlib import Path

import pytest
import spacy

from clinical_ner.cli import main
from clinical_ner.data.formats.docbin import write_docbin

from ..evaluation.report.examples import HOSTILE, ID, NOTE, make_gold, write_example

for package in ("altair", "vl_convert"):
    pytest.importorskip(package, reason="the extra report is missing")


class Elements(HTMLParser):
    """The elements of a page, its text, and the content of its data."""

    def __init__(self, page: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = self.data = ""
        self._open = ""
        self.feed(page.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self._open = "data" if dict(attrs).get("type") == "application/json" else tag

    def handle_endtag(self, tag: str) -> None:
        self._open = ""

    def handle_data(self, data: str) -> None:
        if self._open == "data":
            self.data += data
        elif self._open not in ("script", "style"):
            self.text += data


@pytest.fixture(scope="module")
def example(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return write_example(tmp_path_factory.mktemp("example"))


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["report", *map(str, args)])
    return int(ended.value.code or 0)


def failed(capsys: pytest.CaptureFixture[str], *args: object) -> str:
    """The one line of a failure."""
    assert run(*args) == 1
    out, err = capsys.readouterr()
    assert out == "" and err.count("\n") == 1
    return err


@pytest.fixture(scope="module")
def pages(example: tuple[Path, Path]) -> dict[str, Path]:
    """Without the notes, the same again over the first, and with them and a card."""
    folder = example[0].parent
    card = folder / "card.md"
    card.write_text("# The model\n\n<script>alert(1)</script>\n\n| label |\n|---|\n| Drug |\n")
    added: list[object] = ["--show-text", "--card", card]
    for name, flags in (("without", []), ("again", []), ("with", added)):
        output = folder / f"{name}.html"
        if name == "again":
            output.write_bytes((folder / "without.html").read_bytes())
        assert run(*example, "--output", output, "--resamples", 5, *flags) == 0
    return {name: folder / f"{name}.html" for name in ("without", "again", "with")}


def test_names_and_texts_are_no_elements(pages: dict[str, Path]) -> None:
    for name in ("without", "with"):
        page = Elements(pages[name])
        assert page.tags.count("script") == 3 and "img" not in page.tags and "b" not in page.tags
        assert HOSTILE in page.text and HOSTILE in json.dumps(
            json.loads(page.data)["labels"], ensure_ascii=False
        ).replace('\\"', '"')


def test_notes_are_in_it_if_they_are_asked_for(pages: dict[str, Path]) -> None:
    page = Elements(pages["with"])
    notes = json.loads(page.data)["notes"]
    assert notes[4]["text"] == NOTE and notes[4]["id"] == f"{ID}4"
    without = Elements(pages["without"])
    held = without.text + json.dumps(json.loads(without.data), ensure_ascii=False)
    assert set(json.loads(without.data)) & {"notes", "orders"} == set()
    for word in (*NOTE.split(), ID, "aspirin", "knee"):
        assert word == "and" or word not in held


def test_a_card_is_in_it_and_runs_nothing(pages: dict[str, Path]) -> None:
    text = Elements(pages["with"]).text
    assert "The model" in text and "<script>alert(1)</script>" in text and "| Drug" not in text


def test_the_same_input_gives_the_same_page(pages: dict[str, Path]) -> None:
    assert pages["without"].read_bytes() == pages["again"].read_bytes()


def test_it_says_what_wrote_it_and_how_large_it_is(
    example: tuple[Path, Path], pages: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert b"written by clinical-ner report" in pages["with"].read_bytes()[:200]
    assert run(*example, "-o", pages["again"], "--resamples", 5) == 0
    out, err = capsys.readouterr()
    assert out == "" and err == f"{pages['again']}: 0.9 MB\n"


def test_nothing_of_others_is_replaced(
    example: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.html"
    other.write_text("mine")
    assert "this command did not write it" in failed(capsys, *example, "-o", other)
    assert other.read_text() == "mine"
    data = example[1].with_suffix(".html")
    data.write_bytes(example[1].read_bytes())
    assert "which is read" in failed(capsys, example[0], data, "-o", data)
    card = tmp_path / "card.html"
    card.write_text("# Card")
    assert "which is read" in failed(capsys, *example, "-o", card, "--card", card)
    assert "none.md" in failed(capsys, *example, "-o", card, "--card", tmp_path / "none.md")
    assert "ends in .html" in failed(capsys, *example, "-o", tmp_path / "report.pdf")
    assert run(*example, "-o", other, "--overwrite", "--resamples", 5) == 0


def test_faults_are_one_line_and_no_file(
    example: tuple[Path, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = tmp_path / "report.html"
    assert "none.spacy" in failed(capsys, example[0], tmp_path / "none.spacy", "-o", output)
    assert "Check the path" in failed(capsys, tmp_path / "none", example[1], "-o", output)
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.to_disk(tmp_path / "blank")
    error = failed(capsys, tmp_path / "blank", example[1], "-o", output)
    assert "has no entity recognizer" in error
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "vl_convert" else found(name)
    )
    error = failed(capsys, *example, "-o", output)
    assert "needs vl-convert-python: pip install 'clinical-ner[report]'" in error
    assert not output.exists()


def test_usage(example: tuple[Path, Path], tmp_path: Path) -> None:
    assert run(*example) == 2
    assert run(*example, "-o", tmp_path / "a.html", "--resamples", 0) == 2


def test_a_model_that_finds_nothing_has_a_page(example: tuple[Path, Path], tmp_path: Path) -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler")
    nlp.to_disk(tmp_path / "model")
    docs = make_gold(nlp)[:1]
    write_docbin(docs, tmp_path / "gold.spacy")
    output = tmp_path / "report.html"
    assert run(tmp_path / "model", tmp_path / "gold.spacy", "-o", output, "--resamples", 5) == 0
    assert set(json.loads(Elements(output).data)["charts"]) == {"types", "confusion"}
