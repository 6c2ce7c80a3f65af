"""The final model: what each method makes of all documents, and what is said of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.training.loop import train as train_loop

from clinical_ner.cli import main
from clinical_ner.errors import ClinicalNerError
from clinical_ner.evaluation.evaluate import evaluate
from clinical_ner.evaluation.runner import unannotated
from clinical_ner.fitting.calibrate import calibrate
from clinical_ner.fitting.final import METHODS, RULE, add_soft_targets, final
from clinical_ner.fitting.out_of_fold import (
    METRICS,
    RECIPE,
    OutOfFold,
    read_manifest,
    read_out_of_fold,
    write_manifest,
)
from clinical_ner.packaging.card import card
from clinical_ner.tags.soft_targets import soft_targets
from clinical_ner.training.recipes import read_recipe
from clinical_ner.training.train import initialize, training_settings

from ..conftest import ROOT
from .stores import LABELS, write_store

CROSS_FITTED = {"token_ece": 0.01, "token_nll": 0.2, "ents_ece": 0.03, "ents_brier": 0.04}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> OutOfFold:
    """Folds of a recipe that can be trained, with scores."""
    found = write_store(tmp_path_factory.mktemp("store") / "folds")
    recipe = read_recipe(ROOT / "configs" / "tok2vec.cfg").config
    recipe["initialize"]["components"] = {"ner": {"labels": list(LABELS)}}
    recipe["variables"] |= {"words_per_batch": 40, "learn_rate": 0.01}
    recipe.to_disk(found.recipe, interpolate=False)
    metrics = evaluate(str(found.models()[0]), found.corpus, resamples=5)
    metrics["folds"] = {"number": 3, "reliability": {"cross_fitted": CROSS_FITTED}}
    (found.folder / METRICS).write_text(json.dumps(metrics))
    return found


@pytest.fixture(scope="module")
def made(store: OutOfFold) -> dict[str, tuple[Path, dict[str, Any]]]:
    """The output of every method, and its report."""
    folder = store.folder.parent
    outputs = {method: folder / method for method in METHODS}
    return {
        method: (output, final(store.folder, output, method=method))
        for method, output in outputs.items()
    }


def component(nlp: Language) -> Any:
    return nlp.get_pipe("ner")


def gold_counts(store: OutOfFold) -> np.ndarray:
    """Tokens of every tag in all documents, by their annotation alone."""
    tags = ["O", *(f"{part}-{label}" for label in LABELS for part in "BI")]
    found = [f"{t.ent_iob_}-{t.ent_type_}".rstrip("-") for doc in store.documents for t in doc]
    return np.array([found.count(tag) for tag in tags], dtype=float)


def test_all_is_spacys_training_on_all_documents_up_to_the_chosen_epoch(
    store: OutOfFold, made: dict[str, Any]
) -> None:
    settings = training_settings(store.corpus, store.corpus)
    nlp = initialize(read_recipe(store.recipe), settings | {"training.max_epochs": 8})
    train_loop(nlp)
    found = component(spacy.load(made["all"][0]))
    assert np.array_equal(found.statistics.counts, gold_counts(store))
    for name in ("W", "b"):
        wanted = component(nlp).model.get_ref("head").get_param(name)
        np.testing.assert_array_equal(found.model.get_ref("head").get_param(name), wanted)


def test_distilled_learns_gold_and_what_the_folds_predict(
    store: OutOfFold, made: dict[str, Any]
) -> None:
    counts = component(spacy.load(made["distilled"][0])).statistics.counts
    soft = np.exp(np.concatenate(store.log_probs()).astype(float)).sum(axis=0)
    np.testing.assert_allclose(counts, 0.5 * gold_counts(store) + 0.5 * soft, atol=1.0)
    assert made["distilled"][1]["soft_weight"] == 0.5
    config = spacy.load(made["distilled"][0]).config
    assert config["paths"]["train"] == spacy.load(made["all"][0]).config["paths"]["train"]
    heads = [
        component(spacy.load(made[of][0])).model.get_ref("head") for of in ("all", "distilled")
    ]
    assert not np.allclose(*(head.get_param("W") for head in heads), atol=1e-3)


def test_soft_targets_are_of_the_tokens_that_gold_and_pipeline_share(store: OutOfFold) -> None:
    """A gold document of other tokens learns its own tags alone where they differ."""
    found = read_out_of_fold(store.folder)
    first = found.documents[0]
    words = ["Pat", "ient", *(token.text for token in first[1:])]
    found.documents[0] = Doc(first.vocab, words=words, spaces=[False, *[True] * len(first)])
    add_soft_targets(found, 0.25)
    nlp = spacy.load(store.models()[0])
    for number, log_probs in enumerate(store.log_probs()):
        reference = found.documents[number]
        of_example = soft_targets(Example(unannotated(nlp, reference), reference), LABELS)
        assert of_example is not None
        expected, shares = np.exp(log_probs), np.full(len(log_probs), 0.25)
        if number == 0:
            expected[0] = shares[0] = 0
        np.testing.assert_allclose(of_example[0], expected, atol=1e-6)
        np.testing.assert_allclose(of_example[1], shares)


def test_average_and_ensemble_are_of_the_models_of_the_folds(
    store: OutOfFold, made: dict[str, Any]
) -> None:
    """By the head's weights, and by the probabilities before the calibration."""
    members = [spacy.load(path) for path in store.models()]
    average, ensemble = (spacy.load(made[of][0]) for of in ("average", "ensemble"))
    heads = [component(nlp).model.get_ref("head").get_param("W")[0] for nlp in members]
    found = component(average).model.get_ref("head").get_param("W")[0]
    np.testing.assert_allclose(found, np.mean(heads, axis=0), atol=1e-6)
    text = store.documents[0].text
    of_members = [np.exp(component(nlp).predict([nlp(text)])[0]) for nlp in members]
    component(ensemble).calibration = None
    (log_probs,) = component(ensemble).predict([ensemble.make_doc(text)])
    np.testing.assert_allclose(np.exp(log_probs), np.mean(of_members, axis=0), atol=1e-6)
    for nlp in (average, ensemble):
        assert np.array_equal(component(nlp).statistics.counts, gold_counts(store))


@pytest.mark.parametrize("method", METHODS)
def test_it_is_calibrated_on_the_folds_and_tells_how_it_was_made(
    method: str, store: OutOfFold, made: dict[str, Any], tmp_path: Path
) -> None:
    output, report = made[method]
    calibrate(output, store.folder, tmp_path / "again")
    again, found = (component(spacy.load(path)) for path in (tmp_path / "again", output))
    assert found.calibration == again.calibration is not None
    meta = json.loads((output / "meta.json").read_text())
    told = meta["final"]
    assert (told["method"], told["documents"], told["folds"]) == (method, 15, 3)
    assert (told["epochs"], told["planned_epochs"], told["seeds"]) == (8, 10, [0])
    assert ("seed" in told) == (method in ("all", "distilled"))
    assert "none was left to test it on" in meta["notes"]
    metrics = json.loads((store.folder / METRICS).read_text())
    assert meta["performance"]["ents_f"] == pytest.approx(metrics["ents_f"])
    assert meta["performance"]["ents_ece"] == CROSS_FITTED["ents_ece"]
    assert report["performance"]["ents_ece"] == CROSS_FITTED["ents_ece"]
    assert meta["calibration"]["ner"]["documents"] == 15
    less_sure = [of for of in report["calibration"]["warnings"] if "is less sure than" in of]
    assert len(less_sure) == (method in ("distilled", "ensemble"))
    assert str(store.folder.parent) not in json.dumps(meta)


def test_a_new_process_loads_an_ensemble(store: OutOfFold, made: dict[str, Any]) -> None:
    path, text = made["ensemble"][0], store.documents[0].text
    nlp = spacy.load(path)
    here = component(nlp).span_probability(nlp(text), 3, 5, "Sign")
    assert here > 0
    code = (
        f"import spacy; nlp = spacy.load({str(path)!r});"
        f"print(nlp.get_pipe('ner').span_probability(nlp({text!r}), 3, 5, 'Sign'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert float(done.stdout) == here


def test_a_model_card_says_what_the_scores_are_of(
    store: OutOfFold, made: dict[str, Any], tmp_path: Path
) -> None:
    metrics, model = store.folder / METRICS, made["all"][0]
    text = " ".join(card(model, metrics=metrics, corpus=tmp_path).split())
    assert "each predicted by a model of 3 folds that was trained without it" in text
    assert "none was left to test it on" in text and "took no part in training" not in text
    assert "`entity._.probability` is calibrated, on 15 documents." in text
    assert "error of the entities found | 3.0 | n/a | n/a |" in text
    # A model that was changed after the folds has other scores.
    calibrate(model, store.corpus, tmp_path / "changed")
    with pytest.raises(ClinicalNerError, match="its figures are not those of the model"):
        card(tmp_path / "changed", metrics=metrics, corpus=tmp_path)
    one_of_the_folds = card(store.models()[0], metrics=metrics, corpus=tmp_path)
    assert "none was left" not in one_of_the_folds


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["final", *(str(arg) for arg in args)])
    return int(ended.value.code or 0)


@pytest.fixture
def copied(store: OutOfFold, tmp_path: Path) -> Path:
    """Folds that a test may spoil."""
    manifest = read_manifest(store.folder) | {"corpus": str(store.corpus)}
    for name in (RECIPE, METRICS):
        (tmp_path / "folds" / name).parent.mkdir(exist_ok=True)
        (tmp_path / "folds" / name).write_bytes((store.folder / name).read_bytes())
    (tmp_path / "folds" / "seed-0").symlink_to(store.folder / "seed-0")
    write_manifest(tmp_path / "folds", manifest)
    return tmp_path / "folds"


@pytest.mark.parametrize(
    ("spoil", "options", "message"),
    [
        ({"finished": False}, [], "its folds are not finished"),
        ({"parts": {"corpus": "0", "folds": 3, "seeds": [0]}}, [], "has changed since"),
        ({"has_probabilities": False}, [], "its models give no probabilities"),
        ({"metrics": None}, [], "cannot be read as scores"),
        ({"seeds": [0, 1]}, ["--method", "average"], "begins with random weights"),
    ],
)
def test_bad_folds_are_one_line_and_write_nothing(
    spoil: dict[str, Any],
    options: list[str],
    message: str,
    copied: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    manifest = read_manifest(copied)
    if "seeds" in spoil:
        (copied / "seed-1").symlink_to(copied / "seed-0")
        spoil = {"parts": manifest["parts"] | spoil}
    if "metrics" in spoil:
        (copied / METRICS).unlink()
    write_manifest(copied, manifest | spoil)
    before = sorted(copied.parent.iterdir())
    assert run(copied, copied.parent / "out", *options) == 1
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
    assert sorted(copied.parent.iterdir()) == before


@pytest.mark.parametrize(
    "options",
    [
        ["--method", "best"],
        ["--method", "average", "--seed", "1"],
        ["--soft-weight", "0.5"],
        ["--method", "distilled", "--soft-weight", "0"],
    ],
)
def test_an_option_that_would_do_nothing_is_wrong_usage(options: list[str], copied: Path) -> None:
    assert run(copied, copied.parent / "out", *options) == 2


def test_the_command_takes_the_method_of_the_rule(
    copied: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(copied, copied.parent / "out", "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["method"] == RULE and f"by the rule '{RULE}'" in report["chosen"]
    assert run(copied, copied.parent / "folds", "--method", "average") == 1
