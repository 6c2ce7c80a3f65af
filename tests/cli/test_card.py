from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spacy

from clinical_ner.cli import main
from clinical_ner.data.formats.docbin import write_docbin
from clinical_ner.evaluation.evaluate import evaluate
from clinical_ner.packaging.card import card
from clinical_ner.pipeline.loading import load_pipeline, write_pipeline

from ..conftest import Trained
from .test_calibrate import make_docs, train_model

GUIDELINE = "| Type | What |\n|---|---|\n| Drug | What is taken. |\n| Sign | What is felt. |\n"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model, its scores and its corpus, not to be changed."""
    folder = tmp_path_factory.mktemp("card")
    train_model(folder / "model")
    docs = make_docs(3, 8)
    for number, doc in enumerate(docs):
        doc.user_data["clinical_ner.id"] = f"zqpatient-{number}"
    write_docbin(docs, folder / "test.spacy")
    evaluate(folder / "model", folder / "test.spacy", output=folder / "test.json", resamples=20)
    (folder / "notes").mkdir()
    (folder / "notes" / "README.md").write_text(
        "---\npretty_name: Our notes\nlicense: CC0-1.0\nguideline: ../guideline.md\n---\n"
    )
    (folder / "guideline.md").write_text(GUIDELINE)
    return folder


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["card", *map(str, args)])
    return int(ended.value.code or 0)


def given(folder: Path) -> list[object]:
    return [folder / "model", "--metrics", folder / "test.json", "--corpus", folder / "notes"]


def test_the_card_holds_what_the_files_say_and_nothing_of_the_notes(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*given(made), "--output", tmp_path / "card.md") == 0
    assert capsys.readouterr().out == ""
    text = (tmp_path / "card.md").read_text(encoding="utf-8")
    scores = json.loads((made / "test.json").read_text())
    low, high = (f"{100 * end:.1f}" for end in scores["intervals"]["ents_f"])
    assert f"| micro-F1 | {100 * scores['ents_f']:.1f} | {low} to {high} |" in text
    mentions = load_pipeline(made / "model").get_pipe("finder").statistics.mentions
    assert f"| Drug | What is taken. | {mentions['Drug']} |" in text
    assert "- Our notes: CC0-1.0\n" in text and "Trained on 6 documents" in text
    assert "Scored on Our notes: 8 documents that took no part in training." in text
    assert "`LogitAdjusted`" in text and "is not calibrated" in text
    assert 'spacy.load("model")' in text and str(made) not in text
    words = {token.text for doc in make_docs(1, 6) + make_docs(3, 8) for token in doc}
    # "note" and "had" are English; the others are in the notes alone.
    assert {word for word in words if len(word) > 4 and word in text} == set()
    assert "zqpatient" not in text
    # A second card takes its place, and is the same.
    assert run(*given(made), "--output", tmp_path / "card.md") == 0
    assert run(*given(made)) == 0
    assert capsys.readouterr().out == (tmp_path / "card.md").read_text(encoding="utf-8") == text


def edited(path: Path, change: Callable[[dict[str, Any]], object], target: Path) -> Path:
    scores = json.loads(path.read_text())
    change(scores)
    target.write_text(json.dumps(scores))
    return target


@pytest.mark.parametrize(
    "change, message",
    [
        (lambda of: of["ents_per_type"].update(Else=of["ents_per_type"]["Drug"]), "type Else was"),
        (lambda of: of.update(calibrated=True), "either is calibrated, and not the other"),
        (lambda of: of.update(prior_strength=0.5), "prior_strength is 0.5 and 1. Run"),
        (lambda of: of.update(ents_f="She had fever"), "not a metrics file"),
        (lambda of: of.update(ents_per_type=[]), "not a metrics file"),
        (lambda of: of.pop("ents_ece"), "not a metrics file"),
    ],
)
def test_scores_of_another_model_are_refused(
    made: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: Callable[[dict[str, Any]], object],
    message: str,
) -> None:
    metrics = edited(made / "test.json", change, tmp_path / "other.json")
    arguments = [made / "model", "--metrics", metrics, "--corpus", made / "notes"]
    assert run(*arguments, "--output", tmp_path / "card.md") == 1
    printed = capsys.readouterr().err
    assert message in printed and printed.count("\n") == 1 and "fever" not in printed
    assert not (tmp_path / "card.md").exists()


@pytest.mark.parametrize("membership", [5, {"members": 3}, "text", {"auc": None}])
def test_an_audit_that_is_damaged_is_named(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], membership: object
) -> None:
    (tmp_path / "audit.json").write_text(json.dumps({"membership": membership}))
    assert run(*given(made), "--audit", tmp_path / "audit.json") == 1
    assert "audit.json: not an audit" in capsys.readouterr().err


@pytest.mark.parametrize("interval", [[0.4, 0.6], [0.4, "Mrs. Smith"]])
def test_an_audit_is_shown_if_it_holds_numbers(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], interval: list[object]
) -> None:
    score = {"auc": 0.52, "interval": interval}
    both = {"most_probable_tag": score, "gold_tag": score}
    membership = {"members": 6, "others": 8, **both, "before_calibration": None}
    (tmp_path / "audit.json").write_text(json.dumps({"membership": membership}))
    code = run(*given(made), "--audit", tmp_path / "audit.json")
    printed = capsys.readouterr()
    assert ("95 % interval 40 to 60" in printed.out) is (code == 0) is (interval[1] == 0.6)
    assert "Smith" not in printed.out + printed.err


def test_what_a_model_that_is_not_packaged_needs(
    made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(made / "model", "--metrics", made / "test.json") == 1
    assert "Give --metrics and --corpus" in capsys.readouterr().err
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "README.md").write_text("---\nguideline: gone.md\n---\n")
    options = ["--metrics", made / "test.json", "--corpus", tmp_path / "notes"]
    assert run(made / "model", *options) == 1
    assert "gone.md as guideline, and there is no such file" in capsys.readouterr().err
    assert run(made / "model", *options, "--definitions", made / "guideline.md") == 0
    assert "| Sign | What is felt. |" in capsys.readouterr().out


@pytest.mark.parametrize("other", ["test.json", "guideline.md", "foreign"])
def test_no_file_is_overwritten_that_is_read_or_of_somebody_else(
    made: Path, tmp_path: Path, other: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "foreign" if other == "foreign" else made / other
    if other == "foreign":
        path.write_text("mine")
    before = path.read_text()
    arguments = [*given(made), "--definitions", made / "guideline.md", "--output", path]
    assert run(*arguments, *([] if other == "foreign" else ["--overwrite"])) == 1
    assert path.read_text() == before
    printed = capsys.readouterr().err
    assert ("did not write it" if other == "foreign" else "which is read") in printed


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    assert "clinical-ner card training/model-final --metrics" in capsys.readouterr().out


@pytest.mark.slow
def test_a_packaged_model_holds_its_card_and_refuses_other_figures(
    tok2vec_model: Trained, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with zipfile.ZipFile(tok2vec_model.wheels[1]) as archive:
        archive.extractall(tmp_path)
    model = next(tmp_path.glob("en_clinical_ner/*/config.cfg")).parent
    readme = (model / "README.md").read_text(encoding="utf-8")
    text = card(model)
    assert text.replace(model.name, "en_clinical_ner") == readme
    assert "| Weight | What the body weighs. | " in text and "not defined" not in text
    notes = tok2vec_model.folder / "notes"
    assert card(model, metrics=tok2vec_model.metrics, corpus=notes) == text
    other = edited(tok2vec_model.metrics, lambda of: of.update(ents_f=0.9), tmp_path / "other.json")
    assert run(model, "--metrics", other) == 1
    printed = capsys.readouterr().err
    assert "its figures are not those of the model, ents_f (0.9 and " in printed
    assert printed.count("\n") == 1
    (tmp_path / "mine").mkdir()
    assert run(model, "--corpus", tmp_path / "mine") == 1
    assert "is not what the model says of its corpus" in capsys.readouterr().err
    # What is changed has no card any more.
    write_pipeline(spacy.load(model), tmp_path / "changed", "tune", scores={})
    assert run(tmp_path / "changed") == 1
    assert "is not packaged" in capsys.readouterr().err
