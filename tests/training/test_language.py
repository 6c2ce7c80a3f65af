"""Documents whose tokens are those of one language train no pipeline of another."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.vocab import Vocab

from clinical_ner.cli import main
from clinical_ner.data.convert import blank, convert
from clinical_ner.data.formats.docbin import DOCUMENT_ID, LANGUAGE, read_docbin, write_docbin
from clinical_ner.data.split.split import split
from clinical_ner.errors import ClinicalNerError, ClinicalNerWarning
from clinical_ner.research.compare.compare import compare
from clinical_ner.training.recipes import BASE, read_recipe
from clinical_ner.training.train import initialize, training_settings

from ..conftest import ROOT

CONFIGS = ROOT / "configs"


def converted(folder: Path, lang: str, *, documents: int = 4) -> Path:
    notes = folder / f"notes_{lang}"
    notes.mkdir()
    for number in range(documents):
        (notes / f"n{number}.txt").write_text(f"Fieber seit {number} Tagen.\n", encoding="utf-8")
        (notes / f"n{number}.ann").write_text("T1\tSign 0 6\tFieber\n", encoding="utf-8")
    convert(notes, folder / f"{lang}.spacy", nlp=blank(lang))
    return folder / f"{lang}.spacy"


def made(train: Path, dev: Path, *, recipe: str | Path = "tok2vec", lang: str = "") -> Language:
    settings = training_settings(train, dev) | ({"nlp.lang": lang} if lang else {})
    return initialize(read_recipe(recipe, CONFIGS / BASE.name), settings)


def test_conversion_and_division_keep_the_language(tmp_path: Path) -> None:
    split(converted(tmp_path, "de", documents=12), tmp_path / "parts", dev=0.2, test=0.2, seed=0)
    for part in ("train", "dev", "test"):
        docs = read_docbin(tmp_path / "parts" / f"{part}.spacy", Vocab())
        assert {doc.user_data[LANGUAGE] for doc in docs} == {"de"}
    # From .spacy to .spacy, the tokens are made again.
    convert(tmp_path / "de.spacy", tmp_path / "again.spacy", nlp=blank("xx"))
    docs = read_docbin(tmp_path / "again.spacy", Vocab())
    assert {doc.user_data[LANGUAGE] for doc in docs} == {"xx"}


@pytest.mark.parametrize(
    ("train", "dev", "recipes"),
    [("de", "de", "en"), ("en", "de", "en"), ("en", "en", "de"), ("xx", "xx", "en")],
)
def test_documents_of_another_language_are_refused(
    train: str, dev: str, recipes: str, tmp_path: Path
) -> None:
    files = {lang: converted(tmp_path, lang) for lang in {train, dev}}
    wrong = train if train != recipes else dev
    message = (
        rf"{wrong}\.spacy: was converted for language {wrong}, .* --nlp.lang {wrong} .*tok2vec"
    )
    with pytest.raises(ClinicalNerError, match=message):
        made(files[train], files[dev], lang=recipes)


def test_one_document_of_another_language_suffices(tmp_path: Path) -> None:
    folder = tmp_path / "both"
    folder.mkdir()
    for lang in ("de", "en"):
        converted(tmp_path, lang).rename(folder / f"{lang}.spacy")
    with pytest.raises(ClinicalNerError, match="both: was converted for language de,"):
        made(folder, folder)


def test_the_command_says_it_in_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = converted(tmp_path, "de")
    arguments = ["train", CONFIGS / "tok2vec.cfg", tmp_path / "out", "--train", data, "--dev", data]
    with pytest.raises(SystemExit, match="1"):
        main([str(argument) for argument in arguments])
    error = capsys.readouterr().err
    assert "converted for language de" in error and error.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_same_language_trains(tmp_path: Path) -> None:
    data = converted(tmp_path, "de")
    overlay = tmp_path / "german.cfg"
    overlay.write_text('[nlp]\nlang = "de"\n', encoding="utf-8")
    with warnings.catch_warnings():
        warnings.simplefilter("error", ClinicalNerWarning)
        assert made(data, data, lang="de").lang == "de"
        recipe = read_recipe(overlay, CONFIGS / "tok2vec.cfg")
        assert initialize(recipe, training_settings(data, data)).lang == "de"


@pytest.mark.parametrize(("key", "warned"), [(DOCUMENT_ID, 2), ("other", 0)])
def test_a_language_that_is_not_known_is_a_warning_for_what_was_converted(
    key: str, warned: int, tmp_path: Path
) -> None:
    doc = Doc(Vocab(), words=["Patient", "had", "fever"], user_data={key: "a"})
    doc.set_ents([Span(doc, 2, 3, "Sign")])
    path = tmp_path / "old.spacy"
    write_docbin([doc], path)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always", ClinicalNerWarning)
        made(path, path)
    messages = [str(w.message) for w in told if w.category is ClinicalNerWarning]
    # One of train and one of dev.
    assert len(messages) == warned
    assert all("does not say for which language" in message for message in messages)


def test_compare_converts_for_the_language_of_its_recipes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    converted(tmp_path, "xx", documents=12)
    found = {}

    def train(recipe: Path, output: Path, **settings: Path) -> None:
        docs = read_docbin(settings["train_path"], Vocab())
        found["documents"] = {doc.user_data[LANGUAGE] for doc in docs}
        found["recipe"] = read_recipe(recipe).config["nlp"]["lang"]
        raise InterruptedError

    monkeypatch.setattr("clinical_ner.research.compare.work.train", train)
    with pytest.raises(InterruptedError):
        compare(
            ["tok2vec", "plain"],
            tmp_path / "notes_xx",
            tmp_path / "out",
            base=CONFIGS / "tok2vec.cfg",
            lang="de",
        )
    assert found == {"documents": {"de"}, "recipe": "de"}
