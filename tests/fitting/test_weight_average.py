"""The weight average of models, held against numpy on the models' own parameters."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
from spacy.language import Language

from clinical_ner.data.formats.docbin import read_docbin
from clinical_ner.errors import ConfigError
from clinical_ner.evaluation.runner import unannotated
from clinical_ner.fitting.out_of_fold import OutOfFold
from clinical_ner.fitting.weight_average import average_weights, weights
from clinical_ner.training.train import train

from ..conftest import ROOT
from ..model.tiny_encoder import write_encoder
from .stores import train_pipeline, write_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> OutOfFold:
    """Documents of one type in each of five folds, so that no fold's prior is another's."""
    return write_store(tmp_path_factory.mktemp("store") / "folds", folds=5, documents=14)


@pytest.fixture(scope="module")
def models(store: OutOfFold) -> list[Language]:
    return [spacy.load(path) for path in store.models()]


@pytest.fixture(scope="module")
def average(store: OutOfFold) -> Language:
    return average_weights(store.models(), store.documents, same_seed=True)[0]


def head(nlp: Language, name: str) -> np.ndarray:
    model: Any = nlp.get_pipe("ner").model.get_ref("head")
    return np.array(model.get_param(name))


def seen(nlp: Language) -> np.ndarray:
    return np.array(nlp.get_pipe("ner").statistics.seen)


def test_every_parameter_below_the_head_is_the_mean(
    models: list[Language], average: Language
) -> None:
    found, of_models = weights(average), [weights(nlp) for nlp in models]
    below = [key for key, value in found.items() if value.shape[0] != 7]
    assert len(below) > 5
    for key in below:
        expected = sum(of[key].astype(float) for of in of_models) / 5
        np.testing.assert_allclose(found[key], expected, rtol=1e-5, atol=1e-7)
        assert not np.array_equal(found[key], of_models[0][key])


def test_a_row_of_the_head_is_the_mean_over_the_models_that_learned_its_tag(
    models: list[Language], average: Language
) -> None:
    learned = np.array([seen(nlp) for nlp in models])
    # Dose is in few documents, so that some fold leaves none of them for training.
    assert 0 < learned[:, 1].sum() < 5
    rows = np.array([head(nlp, "W") for nlp in models])
    for tag in np.flatnonzero(learned.any(axis=0)):
        expected = rows[learned[:, tag], tag].mean(axis=0)
        np.testing.assert_allclose(head(average, "W")[tag], expected, rtol=1e-5, atol=1e-7)


def test_the_bias_makes_the_log_posterior_that_of_the_models_on_average(
    models: list[Language], average: Language
) -> None:
    """By hand, for the loss LogitAdjusted: log p = W v + b + log pi, and all statistics differ."""
    everywhere = np.logical_and.reduce([seen(nlp) for nlp in models])
    assert everywhere.sum() >= 4
    wanted = []
    for nlp in models:
        logits = head(nlp, "b") + np.log(np.maximum(nlp.get_pipe("ner").statistics.prior, 1e-300))
        wanted.append(logits - np.logaddexp.reduce(logits[seen(nlp)]))
    found = head(average, "b") + np.log(
        np.maximum(average.get_pipe("ner").statistics.prior, 1e-300)
    )
    difference = (found - np.mean(wanted, axis=0))[everywhere]
    np.testing.assert_allclose(difference, difference[0], atol=1e-5)
    priors = [nlp.get_pipe("ner").statistics.prior for nlp in models]
    assert np.ptp(priors, axis=0)[everywhere].max() > 0.01


def test_statistics_are_those_of_training_on_all_documents(
    store: OutOfFold, average: Language
) -> None:
    trained = train_pipeline(store.documents, steps=0).get_pipe("ner").statistics.to_dict()
    assert average.get_pipe("ner").statistics.to_dict() == trained


def test_a_tag_that_no_model_learned_stays_impossible(store: OutOfFold, tmp_path: Path) -> None:
    """Dose is in every third note of five only, and those are held out by both models."""
    paths = []
    for number, notes in enumerate(((0, 1, 3, 4), (5, 6, 8, 9))):
        nlp = train_pipeline([store.documents[note] for note in notes])
        nlp.to_disk(tmp_path / str(number))
        paths.append(tmp_path / str(number))
    nlp, name = average_weights(paths, store.documents, same_seed=True)
    (log_probs,) = nlp.get_pipe(name).predict([unannotated(nlp, store.documents[2])])
    assert np.isneginf(log_probs[:, 1:3]).all()
    assert np.isfinite(log_probs[:, [0, 3, 5]]).all()


def test_parameters_of_torch_are_averaged_and_need_no_common_seed(
    corpus_file: Path, tmp_path: Path
) -> None:
    encoder = write_encoder(tmp_path / "encoder", places=128)
    for seed in (0, 1):
        train(
            *(ROOT / "configs" / "minilm.cfg", tmp_path / str(seed)),
            **{"train_path": corpus_file, "dev_path": None, "encoder": str(encoder)},
            **{"epochs": 4, "seed": seed},
        )
    paths = [tmp_path / str(seed) / "model-last" for seed in (0, 1)]
    references = list(read_docbin(corpus_file, spacy.blank("en").vocab))
    nlp, _ = average_weights(paths, references, same_seed=False)
    found, first, second = (weights(of) for of in (nlp, *map(spacy.load, paths)))
    torch = [key for key in found if key[0] == "transformer"]
    assert len(torch) > 20
    for key in torch:
        np.testing.assert_allclose(found[key], (first[key] + second[key]) / 2, atol=1e-7)
    assert any(not np.array_equal(first[key], second[key]) for key in torch)


def test_what_cannot_be_averaged(store: OutOfFold, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="'ner' begins with random weights.*one seed"):
        average_weights(store.models(), store.documents, same_seed=False)
    loss = {"@losses": "clinical_ner.Focal.v1"}
    train_pipeline(store.documents, steps=0, loss=loss).to_disk(tmp_path / "focal")
    with pytest.raises(ConfigError, match="'Focal'.*choose another method"):
        average_weights([tmp_path / "focal"], store.documents, same_seed=True)
