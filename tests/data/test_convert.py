from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from spacy.vocab import Vocab

from clinical_ner.data.convert import blank, convert, keeps_to, parse_limit
from clinical_ner.data.formats.docbin import read_docbin
from clinical_ner.data.formats.jsonl import write_jsonl
from clinical_ner.data.mentions import AnnotatedText, Mention
from clinical_ner.errors import ConfigError

NOTE = AnnotatedText("a", "Pain 5mg.", (Mention("T1", "Sign", ((0, 4),)),))


def test_source_and_output_are_enough(tmp_path: Path) -> None:
    write_jsonl([NOTE], tmp_path / "notes.jsonl")

    counts = convert(str(tmp_path / "notes.jsonl"), str(tmp_path / "all.spacy"))

    assert (counts.documents["kept"], counts.total.kept) == (1, 1)
    [doc] = read_docbin(tmp_path / "all.spacy", Vocab())
    # Words of the clinical tokenizer.
    assert [token.text for token in doc] == [token.text for token in blank()(NOTE.text)]
    assert [(ent.text, ent.label_) for ent in doc.ents] == [("Pain", "Sign")]


def test_labels_are_mapped(tmp_path: Path) -> None:
    write_jsonl([NOTE], tmp_path / "notes.jsonl")
    counts = convert(
        tmp_path / "notes.jsonl", tmp_path / "out.jsonl", label_map={"Sign": "Finding"}
    )
    assert counts.new_labels == {"Finding": 1}


@pytest.mark.parametrize("name", ["all.json", "all.txt", "all.pubtator", "all.bioc.json"])
def test_a_name_that_determines_no_format(tmp_path: Path, name: str) -> None:
    write_jsonl([NOTE], tmp_path / "notes.jsonl")
    with pytest.raises(ConfigError, match="does not determine the format"):
        convert(tmp_path / "notes.jsonl", tmp_path / name)
    assert not (tmp_path / name).exists()


def test_output_and_report_are_two_files(tmp_path: Path) -> None:
    write_jsonl([NOTE], tmp_path / "notes.jsonl")
    with pytest.raises(ConfigError, match="is the output and the report"):
        convert(tmp_path / "notes.jsonl", tmp_path / "a.jsonl", report=tmp_path / "." / "a.jsonl")
    assert not (tmp_path / "a.jsonl").exists()


def test_documents_per_file_are_for_docbin_only(tmp_path: Path) -> None:
    write_jsonl([NOTE], tmp_path / "notes.jsonl")
    with pytest.raises(ConfigError, match="docs_per_file has no meaning for jsonl"):
        convert(tmp_path / "notes.jsonl", tmp_path / "out", to="jsonl", docs_per_file=2)


@pytest.mark.parametrize("setting", [{"to": "bioc"}, {"docs_per_file": 0}, {"max_dropped": "x"}])
def test_settings_out_of_range(tmp_path: Path, setting: dict[str, Any]) -> None:
    write_jsonl([NOTE], tmp_path / "notes.jsonl")
    with pytest.raises(ConfigError):
        convert(tmp_path / "notes.jsonl", tmp_path / "out", **setting)
    assert [path.name for path in tmp_path.iterdir()] == ["notes.jsonl"]


def test_a_language_that_spacy_does_not_have() -> None:
    with pytest.raises(ConfigError, match="qq"):
        blank("qq")


def test_documents_are_read_as_they_are_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No document but the one that is written is held."""
    alive: list[int] = []

    def read(*args: object, **settings: object) -> object:
        for number in range(20):
            alive.append(number)
            yield AnnotatedText(f"n{number}", NOTE.text, NOTE.mentions)

    monkeypatch.setattr("clinical_ner.data.convert.read_texts", read)
    (tmp_path / "source.jsonl").write_text("{}")
    seen: list[int] = []

    convert(
        tmp_path / "source.jsonl",
        tmp_path / "a.jsonl",
        format="jsonl",
        to="jsonl",
        advance=lambda: seen.append(len(alive)),
    )

    assert seen == list(range(1, 21))


def test_a_share_is_exact() -> None:
    assert [keeps_to(limit, 3, 10_000) for limit in ("0.03%", "0.029999%", "3", "2")] == [
        True,
        False,
        True,
        False,
    ]


def test_no_mention_is_no_share() -> None:
    assert keeps_to("0%", 0, 0)


@pytest.mark.parametrize(
    "text", ["", "%", "1.%", "0.01", "-1", "-1%", "1 %", "١%", "100.1%", "1e2"]
)
def test_no_limits(text: str) -> None:
    with pytest.raises(ConfigError, match="neither a percentage"):
        parse_limit(text)
