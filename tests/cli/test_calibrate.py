from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example
from spacy.vocab import Vocab
from thinc.api import fix_random_seed

from clinical_ner.cli import main
from clinical_ner.data.formats.docbin import read_docbin, write_docbin
from clinical_ner.fitting.calibrate import _warnings, calibrate
from clinical_ner.fitting.fit_tokens import fit_tokens
from clinical_ner.fitting.held_out import STRENGTHS, annotated_documents
from clinical_ner.scoring.reliability import token_calibration_error

from ..conftest import own

WORDS = {
    "Drug": ["aspirin", "heparin", "insulin", "codeine"],
    "Sign": ["fever", "cough", "rash", "nausea"],
}
#: Words that are either, so that no model can be sure.
EITHER = ["saline", "glucose", "pallor", "itch"]


def make_docs(seed: int, n: int, *, label: str | None = None) -> list[Doc]:
    nlp = spacy.blank("en")
    rng = np.random.default_rng(seed)
    docs = []
    for number in range(n):
        words, spans = ["note", str(number)], []
        for _ in range(8):
            kind = str(rng.choice(["Drug", "Sign"], p=[0.3, 0.7]))
            word = str(rng.choice(EITHER if rng.random() < 0.6 else WORDS[kind]))
            words += [str(rng.choice(["had", "got", "no"])), word]
            if rng.random() < 0.8:
                spans.append((len(words) - 1, kind))
        doc = Doc(nlp.vocab, words=words)
        ents = [Span(doc, i, i + 1, label=label or kind) for i, kind in spans]
        doc.set_ents(ents, default="outside")
        docs.append(doc)
    return docs


def train_model(folder: Path, *, steps: int = 25, **settings: Any) -> Path:
    """A pipeline that has learned its few documents by heart."""
    nlp = spacy.blank("en")
    nlp.add_pipe("clinical_ner", name="finder", config=settings)
    fix_random_seed(0)
    examples = [Example(nlp.make_doc(doc.text), doc) for doc in make_docs(1, 6)]
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(steps):
        nlp.update(examples, sgd=optimizer)
    nlp.meta["performance"] = {"ents_f": 0.123, "finder_loss": 4.5}
    nlp.to_disk(folder)
    return folder


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model and dev.spacy, not to be changed."""
    folder = tmp_path_factory.mktemp("inputs")
    train_model(folder / "model")
    write_docbin(make_docs(2, 20), folder / "dev.spacy")
    return folder


@pytest.fixture(scope="module")
def done(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The pipeline written, and the report."""
    output = tmp_path_factory.mktemp("output") / "deep" / "model"
    return output, calibrate(str(inputs / "model"), inputs / "dev.spacy", output, min_support=20)


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Path]:
    """An output that an error must not write, nor anything beside it."""
    yield tmp_path / "out"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert not (tmp_path / "out").exists()


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(arg) for arg in args])
    return int(ended.value.code or 0)


def tokens_of(path: Path, dev: Path) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """log p and gold tag ids of DEV under a pipeline, by way of spaCy alone."""
    nlp = spacy.load(path)
    ner = nlp.get_pipe("finder")
    tags = ner.statistics.tags
    log_probs, gold = [], []
    for doc in read_docbin(dev, nlp.vocab):
        log_probs += ner.predict([nlp.make_doc(doc.text)])
        names = [f"{t.ent_iob_}-{t.ent_type_}" if t.ent_type else "O" for t in doc]
        gold.append(np.array([tags.index(name) for name in names]))
    return log_probs, gold


# What is written


def test_an_overconfident_model_gets_better(done: tuple[Path, dict[str, Any]]) -> None:
    report = done[1]
    assert report["warnings"] == []
    assert report["temperature"] > 1
    assert report["entity_step"] is not None
    for key in ("token_ece", "token_nll", "ents_ece", "ents_brier"):
        assert report["after"][key] < report["before"][key]


def test_the_pipeline_holds_the_fit_on_its_own_probabilities(
    done: tuple[Path, dict[str, Any]], inputs: Path
) -> None:
    log_probs, gold = tokens_of(inputs / "model", inputs / "dev.spacy")
    component = spacy.load(done[0]).get_pipe("finder")
    counts = component.statistics.counts
    fit = fit_tokens(log_probs, gold, counts, min_support=20)
    found = component.calibration.tokens
    assert found.temperature == pytest.approx(fit.calibration.temperature, rel=1e-3)
    np.testing.assert_allclose(found.bias, fit.calibration.bias, atol=1e-3)
    report = done[1]
    assert (report["own_biases"], report["shared_biases"]) == (fit.own_biases, fit.shared_biases)
    assert report["tokens"] == sum(map(len, gold)) == fit.tokens
    assert report["before"]["token_nll"] == pytest.approx(fit.nll_before, rel=1e-4)
    ece = token_calibration_error(np.exp(np.concatenate(log_probs)), np.concatenate(gold))
    assert report["before"]["token_ece"] == pytest.approx(ece, abs=1e-4)


def test_transitions_are_fitted_unless_the_model_sets_them(
    done: tuple[Path, dict[str, Any]], inputs: Path, tmp_path: Path
) -> None:
    fitted = spacy.load(done[0]).get_pipe("finder").calibration
    assert fitted.transitions == done[1]["transitions"] > 0
    assert "transitions" in done[1]["method"]
    gain = done[1]["transitions_gain"]
    of_all = gain["token"] * done[1]["tokens"]
    assert gain["document"] * 20 == pytest.approx(of_all, rel=1e-2)
    nlp = spacy.load(inputs / "model", config={"components.finder.transitions": 0.4})
    nlp.to_disk(tmp_path / "set")
    report = calibrate(tmp_path / "set", inputs / "dev.spacy", tmp_path / "out", min_support=20)
    assert (report["transitions"], report["transitions_gain"]["document"]) == (0.0, 0.0)
    finder = spacy.load(tmp_path / "out").get_pipe("finder")
    assert finder.transitions == 0.4 and finder.calibration.tokens == fitted.tokens
    assert finder.calibration.entities != fitted.entities


def test_a_loaded_pipeline_gives_calibrated_probabilities(
    done: tuple[Path, dict[str, Any]], inputs: Path
) -> None:
    raw, _ = tokens_of(inputs / "model", inputs / "dev.spacy")
    calibrated, _ = tokens_of(done[0], inputs / "dev.spacy")
    nlp = spacy.load(done[0])
    calibration = nlp.get_pipe("finder").calibration
    for before, after in zip(raw, calibrated, strict=True):
        np.testing.assert_allclose(calibration.tokens.apply(before), after, atol=1e-5)
    doc = nlp("note 1 had fever got saline")
    assert doc.ents and doc.spans["ner"].attrs["calibrated"]
    finder = nlp.get_pipe("finder")
    for ent in doc.ents:
        lattice = finder.span_probability(doc, ent.start, ent.end, ent.label_)
        expected = calibration.entities.apply(np.array([lattice]))[0]
        assert ent._.probability == pytest.approx(expected, rel=1e-5)


def test_meta_tells_of_it(done: tuple[Path, dict[str, Any]]) -> None:
    output, report = done
    meta = json.loads((output / "meta.json").read_text(encoding="utf8"))
    told = meta["calibration"]["finder"]
    for when in ("before", "after"):
        # spaCy writes ten digits.
        assert told.pop(when) == pytest.approx(report[when], rel=1e-8)
    assert told.pop("entity_step") == pytest.approx(report["entity_step"], rel=1e-8)
    assert told.pop("temperature") == pytest.approx(report["temperature"], rel=1e-8)
    assert told == {key: report[key] for key in told}
    assert told["documents"] == 20
    assert told["entities"] == sum(len(doc.ents) for doc in make_docs(2, 20))
    assert "chose the checkpoint" in told["note"] and "cross-fitted" in told["note"]
    assert meta["performance"]["ents_f"] != 0.123
    assert meta["performance"]["finder_loss"] == 4.5


def test_a_calibration_is_replaced_not_stacked(
    done: tuple[Path, dict[str, Any]], inputs: Path, tmp_path: Path
) -> None:
    again = calibrate(str(done[0]), inputs / "dev.spacy", tmp_path / "again", min_support=20)
    for key in ("temperature", "before", "after", "entity_step"):
        assert again[key] == done[1][key]


def test_with_neighbours_it_comes_after_the_mixing(inputs: Path, tmp_path: Path) -> None:
    # So little learned that neighbours help.
    weak = train_model(tmp_path / "weak", steps=2)
    write_docbin(make_docs(1, 6), tmp_path / "train.spacy")
    args = [weak, tmp_path / "train.spacy", inputs / "dev.spacy", tmp_path / "knn"]
    assert run("neighbours", *args, "--max-k", 4) == 0
    log_probs, gold = tokens_of(tmp_path / "knn", inputs / "dev.spacy")
    nlp = spacy.load(tmp_path / "knn")
    assert nlp.get_pipe("finder").neighbours is not None
    calibrate(str(tmp_path / "knn"), inputs / "dev.spacy", tmp_path / "out")
    component = spacy.load(tmp_path / "out").get_pipe("finder")
    assert component.neighbours is not None
    expected = fit_tokens(log_probs, gold, component.statistics.counts).calibration.temperature
    assert component.calibration.tokens.temperature == pytest.approx(expected, rel=1e-3)


def test_neighbours_drop_a_calibration(
    done: tuple[Path, dict[str, Any]],
    inputs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    write_docbin(make_docs(1, 6), tmp_path / "train.spacy")
    args = [done[0], tmp_path / "train.spacy", inputs / "dev.spacy", tmp_path / "knn"]
    assert run("neighbours", *args, "--max-k", 4) == 0
    assert "calibration of MODEL was dropped" in capsys.readouterr().out
    nlp = spacy.load(tmp_path / "knn")
    assert nlp.get_pipe("finder").calibration is None
    assert "calibration" not in nlp.meta


def test_the_table(inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    args = [inputs / "model", inputs / "dev.spacy", tmp_path / "out", "--min-support", 20]
    assert run("calibrate", *args) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for words in ("cross-fitted", "Temperature:", "Biases:", "Entity step: slope", "checkpoint"):
        assert words in out
    assert str(tmp_path / "out") in out


def test_json_is_the_report(
    done: tuple[Path, dict[str, Any]],
    inputs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    args = [inputs / "model", inputs / "dev.spacy", tmp_path / "out", "--min-support", 20]
    assert run("calibrate", *args, "--json") == 0
    found = json.loads(capsys.readouterr().out)
    assert found == {**done[1], "output": str(tmp_path / "out")}


# Little to fit on


@pytest.mark.parametrize("n", [1, 4])
def test_few_documents_give_a_temperature_and_a_warning(
    inputs: Path, tmp_path: Path, n: int, capsys: pytest.CaptureFixture[str]
) -> None:
    write_docbin(make_docs(3, n), tmp_path / "few.spacy")
    args = [inputs / "model", tmp_path / "few.spacy", tmp_path / "out"]
    assert run("calibrate", *args, "--json") == 0
    out, err = capsys.readouterr()
    assert err.count("\n") == 1 and f"{n} documents" in err
    report = json.loads(out)
    assert (report["own_biases"], report["shared_biases"]) == (0, 0)
    assert len(report["warnings"]) == 1
    assert (report["after"] is None) == (n == 1)
    calibration = spacy.load(tmp_path / "out").get_pipe("finder").calibration
    assert set(calibration.tokens.bias) == {0.0}
    assert calibration.entities is None


def test_an_error_that_grows_on_other_documents_is_warned_of() -> None:
    fit: Any = SimpleNamespace(
        documents=[None] * 16,
        calibration=SimpleNamespace(entities=True),
        tokens=SimpleNamespace(left_out=0),
    )
    meta = {
        "before": {"token_ece": 0.03, "ents_ece": 0.02},
        "after": {"token_ece": 0.01, "ents_ece": 0.05},
    }
    (warning,) = _warnings(fit, meta, has_thresholds=False)
    assert "entities larger (ECE 2.0 to 5.0 %)" in warning
    assert _warnings(fit, {**meta, "after": None}, has_thresholds=False) == []


def test_thresholds_of_the_old_probabilities_are_warned_of(inputs: Path, tmp_path: Path) -> None:
    nlp = spacy.load(inputs / "model")
    nlp.get_pipe("finder").thresholds = {"Drug": 0.6}
    nlp.to_disk(tmp_path / "tuned")
    report = calibrate(
        str(tmp_path / "tuned"), inputs / "dev.spacy", tmp_path / "out", min_support=20
    )
    (warning,) = report["warnings"]
    assert "clinical-ner tune" in warning
    thresholds = spacy.load(tmp_path / "out").get_pipe("finder").thresholds
    assert thresholds == pytest.approx({"Drug": 0.6})


# Spans of a document


def test_spans_are_those_of_every_prior_strength_without_thresholds(inputs: Path) -> None:
    nlp = spacy.load(inputs / "model")
    finder = nlp.get_pipe("finder")
    finder.thresholds = {"Drug": 1.0}
    other = spacy.load(inputs / "model")
    docs = make_docs(2, 3)
    for document, gold in zip(annotated_documents(nlp, "finder", docs), docs, strict=True):
        expected = []
        for strength in STRENGTHS:
            other.get_pipe("finder").prior_strength = strength
            doc = other(gold.text)
            right = {(e.start, e.end, e.label_) for e in gold.ents}
            expected += [(e._.probability, (e.start, e.end, e.label_) in right) for e in doc.ents]
        probabilities, right_spans = document.spans(document.log_probs)
        found = zip(probabilities.tolist(), right_spans.tolist(), strict=True)
        for one, two in zip(sorted(found), sorted(expected), strict=True):
            assert one[0] == pytest.approx(two[0], rel=1e-5) and one[1] == two[1]
    assert finder.thresholds == {"Drug": 1.0} and finder.prior_strength == 1.0


def test_spans_on_gold_of_unknown_status_are_left_out(inputs: Path) -> None:
    nlp = spacy.load(inputs / "model")
    (known,) = make_docs(2, 1)
    half = Doc(known.vocab, words=[t.text for t in known])
    entity = known.ents[0]
    half.set_ents([Span(half, entity.start, entity.end, label=entity.label_)], default="missing")
    whole, partial = (next(annotated_documents(nlp, "finder", [d])) for d in (known, half))
    strengths = [1.0]
    assert len(partial.spans(partial.log_probs, strengths=strengths)[0]) <= 1
    assert len(whole.spans(whole.log_probs, strengths=strengths)[0]) > 1
    assert (partial.gold >= 0).sum() == len(entity)


# Errors


def refused(code: str, *args: object, capsys: pytest.CaptureFixture[str], status: int = 1) -> str:
    assert run("calibrate", *args) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert code in err
    assert err.count("\n") == 1
    return err


def test_a_loss_without_posterior(
    inputs: Path, tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loss = {
        "@losses": "clinical_ner.WeightedCrossEntropy.v1",
        "weights": "paper",
        "reduction": "classes",
    }
    model = train_model(tmp_path / "classes", steps=1, loss=loss)
    err = refused(
        "' does not lead back to the empirical", model, inputs / "dev.spacy", output, capsys=capsys
    )
    assert "WeightedCrossEntropy" in err


def test_dev_without_an_entity(
    inputs: Path, tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_docbin([Doc(Vocab(), words=["fever"])], tmp_path / "none.spacy")
    args = [inputs / "model", tmp_path / "none.spacy", output]
    assert "none.spacy" in refused("ents, so there is nothing to learn or to", *args, capsys=capsys)


def test_a_label_that_the_model_lacks(
    inputs: Path, tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    docs = make_docs(4, 3, label="Finding")
    docs[0].user_data["clinical_ner.id"] = "case-4"
    write_docbin(docs, tmp_path / "other.spacy")
    err = refused(
        "Initialize the component with data, or a",
        inputs / "model",
        tmp_path / "other.spacy",
        output,
        capsys=capsys,
    )
    assert "Finding" in err and "case-4" in err and "other.spacy" in err


def test_missing_inputs(inputs: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(
        "Check the path, or install the pipeline's",
        inputs / "nothing",
        inputs / "dev.spacy",
        output,
        capsys=capsys,
    )
    refused(
        "Run clinical-ner convert and clinical-ner",
        inputs / "model",
        inputs / "nothing",
        output,
        capsys=capsys,
    )


def test_an_output_that_would_destroy_something(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(inputs / "model", tmp_path / "model")
    args = [tmp_path / "model", inputs / "dev.spacy"]
    refused(", holds it or lies in it, which writing", *args, tmp_path / "model", capsys=capsys)
    other = tmp_path / "other"
    other.mkdir()
    refused("exists and is not a pipeline's folder", *args, other, capsys=capsys)
    assert spacy.load(tmp_path / "model").get_pipe("finder").calibration is None


def test_a_pipeline_without_a_recognizer(
    inputs: Path, tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.to_disk(tmp_path / "without")
    refused(
        "Name a pipeline that clinical-ner train",
        tmp_path / "without",
        inputs / "dev.spacy",
        output,
        capsys=capsys,
    )


def test_a_failed_write_leaves_the_old_pipeline(
    inputs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own(shutil.copytree(inputs / "model", tmp_path / "out"), "calibrate")

    def fail(self: Language, path: Path, **kwargs: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Language, "to_disk", fail)
    args = [inputs / "model", inputs / "dev.spacy", tmp_path / "out"]
    assert "No space left" in refused("Name another output folder", *args, capsys=capsys)
    assert spacy.load(tmp_path / "out").get_pipe("finder").calibration is None


def test_a_support_out_of_range_is_a_usage_error(inputs: Path, output: Path) -> None:
    args = [inputs / "model", inputs / "dev.spacy", output]
    assert run("calibrate", *args, "--min-support", 0) == 2
