"""A pipeline moved to ONNX Runtime: what is written and recorded, and what is refused."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
import spacy
from spacy.training import Example
from thinc.api import fix_random_seed

from clinical_ner.data.formats.docbin import write_docbin
from clinical_ner.data.gold import set_gold
from clinical_ner.data.mentions import Mention
from clinical_ner.errors import ClinicalNerError
from clinical_ner.onnx.optimize import META, optimize

from ..model.windows.windowed_examples import (
    LISTENER,
    SHORT,
    examples,
    make_nlp,
    train,
    write_bert,
)

BOUNDS = {"max_f_loss": 0.5, "max_macro_f_loss": 1.0, "max_ece_loss": 0.005}
#: So wide that a tiny encoder in 8 bits keeps to them.
WIDE = {"max_f_loss": 100.0, "max_macro_f_loss": 100.0, "max_ece_loss": 1.0}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model and dev.spacy, not to be changed."""
    folder = tmp_path_factory.mktemp("optimize")
    nlp = train(make_nlp(write_bert(folder / "bert")))
    nlp.meta["performance"] = {"ents_f": 0.987, "ner_loss": 4.5}
    nlp.to_disk(folder / "model")
    write_docbin([example.reference for example in examples(nlp)[:2]], folder / "dev.spacy")
    return folder


def optimized(model: Path, dev: Path, output: Path, **settings: Any) -> dict[str, Any]:
    settings = {"precision": "int8", "rounds": 2, **WIDE, **settings}
    return optimize(model, dev, output, **settings)


@pytest.fixture(scope="module")
def done(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The pipeline written, and the report."""
    output = tmp_path_factory.mktemp("output") / "deep" / "model"
    return output, optimized(inputs / "model", inputs / "dev.spacy", output)


def test_the_folder_loads_and_the_report_is_of_it(done: tuple[Path, dict[str, Any]]) -> None:
    output, report = done
    nlp = spacy.load(output)
    assert nlp.config["components"]["transformer"]["model"]["@architectures"] == (
        "clinical_ner.OnnxEncoder.v1"
    )
    assert [doc.text for doc in nlp.pipe(["fever and cough", ""])] == ["fever and cough", ""]
    assert (report["precision"], report["documents"]) == ("int8", 2)
    for key in ("before", "after"):
        assert report[key]["words_per_second"] > 0
        assert 0 <= report[key]["token_ece"] <= 1
    assert report["speed_ratio"] > 0


def test_meta_json_holds_the_report(done: tuple[Path, dict[str, Any]]) -> None:
    output, report = done
    meta = json.loads((output / "meta.json").read_text())
    assert meta[META]["component"] == "transformer"
    assert meta[META]["speed_ratio"] == pytest.approx(report["speed_ratio"])
    for column in ("before", "after"):
        for key in ("token_ece", "words_per_second"):
            assert meta[META][column][key] == pytest.approx(report[column][key])
    # Scores that training wrote become those after; what is not a score stays.
    assert meta["performance"] == {"ents_f": report["after"]["ents_f"], "ner_loss": 4.5}


def spoil(monkeypatch: pytest.MonkeyPatch, **after: float | None) -> None:
    """Let the pipeline before and the one after have made-up scores."""
    before = {"ents_f": 0.8, "ents_macro_f": 0.448, "token_ece": 0.02}
    scores = iter([before, {**before, **after}])
    monkeypatch.setattr("clinical_ner.onnx.optimize.evaluation_scores", lambda _: next(scores))


@pytest.mark.parametrize(
    ("after", "bounds", "words"),
    [
        (
            {"ents_f": 0.794, "token_ece": 0.026},
            {},
            [
                "micro-F1 80.00 -> 79.40 (at most 0.5 less)",
                "token ECE 0.0200 -> 0.0260 (at most 0.005 more)",
            ],
        ),
        ({"ents_macro_f": 0.424}, {}, ["macro-F1 44.80 -> 42.40 (at most 1 less)"]),
        ({"ents_f": 0.799}, {"max_f_loss": 0.05}, ["at most 0.05 less"]),
        ({"token_ece": 0.021}, {"max_ece_loss": 0.0}, ["at most 0 more"]),
    ],
)
def test_beyond_a_bound_nothing_is_written(
    after: dict[str, float],
    bounds: dict[str, float],
    words: list[str],
    inputs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoil(monkeypatch, **after)
    with pytest.raises(ClinicalNerError) as raised:
        optimized(inputs / "model", inputs / "dev.spacy", tmp_path / "out", **{**BOUNDS, **bounds})
    assert all(word in str(raised.value) for word in words)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("after", "bounds"),
    [
        ({"ents_f": 0.796, "ents_macro_f": 0.44, "token_ece": 0.024}, {}),
        ({"ents_f": 0.9, "token_ece": None}, {}),
        ({"ents_f": 0.77, "ents_macro_f": 0.424}, {"max_f_loss": 4.0, "max_macro_f_loss": 3.0}),
    ],
)
def test_within_the_bounds_it_is_written(
    after: dict[str, float | None],
    bounds: dict[str, float],
    inputs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    spoil(monkeypatch, **after)
    settings = {**BOUNDS, **bounds, "precision": "fp32", "rounds": 1}
    optimized(inputs / "model", inputs / "dev.spacy", tmp_path / "out", **settings)
    assert (tmp_path / "out" / "config.cfg").is_file()


@pytest.fixture(scope="module")
def with_overlaps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same of a component with overlaps."""
    folder = tmp_path_factory.mktemp("overlaps")
    nlp = make_nlp(write_bert(folder / "bert"))
    nlp.remove_pipe("ner")
    loss = {"@losses": "clinical_ner.BinaryTokenLabels.v2"}
    config = {"model": {"tok2vec": LISTENER}, "loss": loss, "overlaps": True}
    nlp.add_pipe("clinical_ner", name="ner", config={**config, "learn_rate_factor": 30.0})
    gold = []
    for text, mentions in (
        (SHORT, [("Sign", 0, 5), ("Sign", 10, 15), ("Pair", 0, 15)]),
        ("aspirin . cough", [("Drug", 0, 7), ("Sign", 10, 15)]),
    ):
        doc = nlp.make_doc(text)
        of_doc = [Mention(f"T{at}", label, ((at, end),)) for label, at, end in mentions]
        doc.set_ents([doc.char_span(*mentions[0][1:], label=mentions[0][0])], default="outside")
        set_gold(doc, of_doc)
        gold.append(doc)
    fix_random_seed(0)
    batch = [Example(nlp.make_doc(doc.text), doc) for doc in gold]
    optimizer = nlp.initialize(lambda: batch)
    for _ in range(20):
        nlp.update(batch, sgd=optimizer)
    nlp.to_disk(folder / "model")
    write_docbin(gold, folder / "dev.spacy")
    return folder


def test_overlaps_are_kept_and_scored(with_overlaps: Path, tmp_path: Path) -> None:
    model, dev = with_overlaps / "model", with_overlaps / "dev.spacy"
    report = optimized(model, dev, tmp_path / "out", precision="fp32", rounds=1)
    assert report["before"]["spans_f"] > 0
    before, after = spacy.load(model), spacy.load(tmp_path / "out")
    for text in (SHORT, "aspirin . cough"):
        docs = before(text), after(text)
        expected, found = (
            {(of.start, of.end, of.label_): of._.probability for of in doc.spans["ner"]}
            for doc in docs
        )
        assert found == pytest.approx(expected, abs=1e-3)
    for key in ("spans_f", "spans_macro_f"):
        assert report["after"][key] == report["before"][key]


def test_scores_over_all_mentions_have_the_same_bounds(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {"ents_f": 0.8, "ents_macro_f": 0.4, "token_ece": 0.02, "spans_f": 0.7}
    scores = iter([{**before, "spans_macro_f": 0.5}, {**before, "spans_macro_f": 0.4}])
    monkeypatch.setattr("clinical_ner.onnx.optimize.evaluation_scores", lambda _: next(scores))
    with pytest.raises(ClinicalNerError, match=r"macro-F1 over all mentions 50.00 -> 40.00 \(at"):
        optimized(inputs / "model", inputs / "dev.spacy", tmp_path / "out", **BOUNDS)


def test_temporary_files_lie_beside_the_output_and_do_not_stay(
    inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[Path] = []

    def stopped(file: bytes) -> bytes:
        # As when the process is asked to end.
        seen.append(Path(tempfile.mkdtemp()))
        raise SystemExit(143)

    monkeypatch.setattr("clinical_ner.onnx.optimize.quantize", stopped)
    before = tempfile.gettempdir()
    with pytest.raises(SystemExit):
        optimized(inputs / "model", inputs / "dev.spacy", tmp_path / "deep" / "model")
    assert seen[0].parents[1] == tmp_path / "deep"
    assert tempfile.gettempdir() == before
    assert list(tmp_path.iterdir()) == []


def test_what_is_optimized_already(
    inputs: Path, done: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    with pytest.raises(ClinicalNerError, match="Name the pipeline that it was made from"):
        optimized(done[0], inputs / "dev.spacy", tmp_path / "out")


def test_a_model_without_a_transformer(inputs: Path, tmp_path: Path) -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler")
    nlp.to_disk(tmp_path / "model")
    with pytest.raises(
        ClinicalNerError,
        match=r"has no components.*entity_ruler.*Name a pipeline that was trained with an",
    ):
        optimized(tmp_path / "model", inputs / "dev.spacy", tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", ["model", "model/inside", "."])
def test_the_output_may_not_destroy_the_input(place: str, inputs: Path) -> None:
    with pytest.raises(ClinicalNerError, match=", holds it or lies in it, which writing"):
        optimized(inputs / "model", inputs / "dev.spacy", inputs / place)


def test_the_output_may_not_be_something_else(inputs: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").touch()
    with pytest.raises(ClinicalNerError, match="exists and is not a pipeline's folder"):
        optimized(inputs / "model", inputs / "dev.spacy", tmp_path)
