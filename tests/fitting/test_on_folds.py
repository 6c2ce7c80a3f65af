"""Calibration and thresholds fitted on the predictions of folds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import spacy
from spacy.language import Language

from clinical_ner.data.formats.docbin import read_docbin, write_docbin
from clinical_ner.decoding.decode import decode
from clinical_ner.errors import ClinicalNerError
from clinical_ner.files import sha256
from clinical_ner.fitting.calibrate import calibrate
from clinical_ner.fitting.decisions import own_decision
from clinical_ner.fitting.fit_tokens import fit_tokens
from clinical_ner.fitting.held_out import cross_fitted, out_of_fold_documents
from clinical_ner.fitting.out_of_fold import MANIFEST, OutOfFold, read_out_of_fold
from clinical_ner.fitting.tune import tune

from .stores import train_pipeline, write_store

FOLDS = 3
PIECES = [{"ORTH": "fe"}, {"ORTH": "ver"}]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> OutOfFold:
    return write_store(
        tmp_path_factory.mktemp("store") / "folds", documents=30, folds=FOLDS, steps=60
    )


@pytest.fixture(scope="module")
def model(store: OutOfFold) -> Path:
    """A pipeline trained on all the documents, far longer than those of the folds."""
    nlp = train_pipeline(store.documents, seed=3, steps=100)
    nlp.to_disk(store.folder.with_name("model"))
    return store.folder.with_name("model")


@pytest.fixture(scope="module")
def calibrated(store: OutOfFold, model: Path) -> Path:
    output = store.folder.with_name("calibrated")
    report = calibrate(model, store.folder, output)
    meta = json.loads((output / "meta.json").read_text())["calibration"]["ner"]
    assert meta["after"] == pytest.approx(report["after"]) and report["documents"] == 30
    assert "each of 3 folds" in meta["note"] and "models of the folds" in meta["note"]
    return output


def gold_ids(nlp: Language, store: OutOfFold) -> list[np.ndarray]:
    tags = nlp.get_pipe("ner").statistics.tags
    names = ([f"{t.ent_iob_}-{t.ent_type_}".rstrip("-") for t in doc] for doc in store.documents)
    return [np.array([tags.index(name) for name in of]) for of in names]


def test_a_calibration_is_fitted_on_the_predictions_of_the_folds(
    store: OutOfFold, calibrated: Path, tmp_path: Path
) -> None:
    nlp = spacy.load(calibrated)
    ner, rows, gold = nlp.get_pipe("ner"), store.log_probs(), gold_ids(nlp, store)
    counts = ner.statistics.counts
    assert ner.calibration.tokens.bias == pytest.approx(
        fit_tokens(rows, gold, counts).calibration.bias
    )
    # What is reported as "after" is of calibrations fitted without the fold.
    total, tokens = 0.0, 0
    for fold in range(FOLDS):
        inside = np.flatnonzero(store.fold_of == fold)
        others = np.flatnonzero(store.fold_of != fold)
        step = fit_tokens([rows[i] for i in others], [gold[i] for i in others], counts).calibration
        for i in inside:
            total -= step.apply(rows[i])[np.arange(len(gold[i])), gold[i]].sum()
            tokens += len(gold[i])
    told = json.loads((calibrated / "meta.json").read_text())["calibration"]["ner"]
    assert told["after"]["token_nll"] == pytest.approx(total / tokens, rel=1e-5)


def test_thresholds_are_chosen_by_probabilities_that_saw_no_gold_of_their_fold(
    store: OutOfFold, calibrated: Path, tmp_path: Path
) -> None:
    # The same predictions, and other gold in the first fold.
    shutil.copytree(store.folder, tmp_path / "folds")
    docs = read_docbin(store.corpus, spacy.blank("en").vocab)
    for doc, fold in zip(docs, store.fold_of, strict=True):
        if fold == 0:
            doc.set_ents([], default="outside")
    write_docbin(docs, tmp_path / "corpus.spacy")
    manifest = json.loads((tmp_path / "folds" / MANIFEST).read_text())
    manifest["parts"]["corpus"] = sha256((tmp_path / "corpus.spacy").read_bytes())
    (tmp_path / "folds" / MANIFEST).write_text(json.dumps(manifest))
    nlp = spacy.load(calibrated)
    found = [
        cross_fitted(out_of_fold_documents(nlp, "ner", of), of)
        for of in (store, read_out_of_fold(tmp_path / "folds"))
    ]
    same = [
        np.array_equal(first.log_probs, second.log_probs)
        for first, second in zip(*found, strict=True)
    ]
    assert same == (store.fold_of == 0).tolist()


def test_a_pipeline_is_tuned_on_the_predictions_of_the_folds(
    store: OutOfFold, model: Path, calibrated: Path, tmp_path: Path
) -> None:
    of_folds = tune(model, store.folder, tmp_path / "raw", objective="macro_f", min_support=5)
    of_model = tune(model, store.corpus, tmp_path / "model", objective="macro_f", min_support=5)
    # Its own predictions of what it was trained on are as good as they get.
    assert of_folds["before"]["ents_f"] < 0.95 < of_model["before"]["ents_f"]
    # Those of the folds, by way of spaCy: each model for its own documents.
    right = kept = support = 0
    for folder, fold in zip(store.models(), range(FOLDS), strict=True):
        nlp = spacy.load(folder)
        for doc in (
            doc for doc, of in zip(store.documents, store.fold_of, strict=True) if of == fold
        ):
            gold, made = (
                {(e.start, e.end, e.label_) for e in of.ents} for of in (doc, nlp(doc.text))
            )
            right, kept, support = right + len(gold & made), kept + len(made), support + len(gold)
    assert of_folds["before"]["ents_p"] == pytest.approx(right / kept)
    assert of_folds["before"]["ents_r"] == pytest.approx(right / support)
    report = tune(
        calibrated,
        store.folder,
        tmp_path / "out",
        objective="recall@precision=0.3",
        confidence=0.8,
    )
    assert report["documents"] == 30 and report["calibrated"]
    thresholds = spacy.load(tmp_path / "out").get_pipe("ner").thresholds
    promised = [of for of in report["promise"]["groups"] if of["threshold"] is not None]
    assert promised
    for label in (label for of in promised for label in of["labels"]):
        assert report["labels"][label]["source"] == "promised"
        assert thresholds.get(label, 0.0) == report["labels"][label]["threshold"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda nlp: nlp.add_pipe("entity_ruler", before="ner"), "lack what 'entity_ruler'"),
        (lambda nlp: nlp.tokenizer.add_special_case("fever", PIECES), "tokens there, and"),
    ],
)
def test_predictions_of_another_kind_are_refused(
    store: OutOfFold,
    model: Path,
    tmp_path: Path,
    change: Callable[[Language], object],
    message: str,
) -> None:
    nlp = spacy.load(model)
    change(nlp)
    nlp.to_disk(tmp_path / "changed")
    for command in (calibrate, tune):
        with pytest.raises(ClinicalNerError, match=message):
            command(tmp_path / "changed", store.folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_pipeline_with_other_labels_is_refused(store: OutOfFold, model: Path) -> None:
    other = replace(store, labels=("Dose", "Mass", "Sign"))
    with pytest.raises(ClinicalNerError, match=r"not those of the pipeline \(Drug, Mass\)"):
        out_of_fold_documents(spacy.load(model), "ner", other)


def test_pairs_of_tags_are_those_of_the_other_folds(store: OutOfFold, model: Path) -> None:
    nlp = spacy.load(model, config={"components": {"ner": {"transitions": 0.5}}})
    ner = nlp.get_pipe("ner")
    documents = out_of_fold_documents(nlp, "ner", store)
    found = own_decision(ner, [of.predicted(None) for of in documents])
    expected: dict[str, list[float]] = {label: [] for label in ner.labels}
    for document, predicted, fold in zip(
        documents, cross_fitted(documents, store), store.fold_of.tolist(), strict=True
    ):
        # The model of a fold was trained on the documents of the others, and counted them.
        other = spacy.load(store.models()[fold]).get_pipe("ner")
        pairs = other.statistics.pair_information()
        assert not np.array_equal(pairs, ner.statistics.pair_information())
        assert np.array_equal(document.information, pairs)
        assert np.array_equal(predicted.information, pairs)
        decision = other.decision_under(0.5).at(1.0)
        decoded = decode(document.log_probs, document.tokens, ner.labels, decision)
        for (_, _, label), score in zip(decoded.spans, decoded.scores or [], strict=True):
            expected[label].append(score)
        scores, _ = document.spans(document.log_probs, strengths=[1.0])
        assert sorted(scores) == sorted(decoded.scores or [])
    assert {label: sorted(of.scores) for label, of in found.entities.items()} == {
        label: sorted(scores) for label, scores in expected.items()
    }
