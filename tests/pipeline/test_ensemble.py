"""An ensemble: the mean of its members' probabilities, by themselves, wherever it was stored."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.training import Example

from clinical_ner.data.formats.docbin import read_docbin
from clinical_ner.errors import ConfigError
from clinical_ner.fitting.add_neighbours import add_neighbours
from clinical_ner.fitting.weight_average import count_tags
from clinical_ner.model.encoder import encoder_names
from clinical_ner.pipeline.ensemble import make_ensemble
from clinical_ner.training.train import train

from ..conftest import ROOT
from ..model.tiny_encoder import write_encoder

TEXTS = ["Patient 7 had fever and took aspirin", "", "fever  and aspirin"]


@pytest.fixture(scope="module", params=["tok2vec", "minilm"])
def models(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, corpus: Path
) -> list[Path]:
    """Two models of a recipe, one of them in a folder whose name is not to be told."""
    folder = tmp_path_factory.mktemp(request.param)
    encoder = str(write_encoder(folder / "encoder", places=128))
    for seed in (0, 1):
        train(
            *(ROOT / "configs" / f"{request.param}.cfg", folder / str(seed)),
            **{"train_path": corpus, "dev_path": None, "epochs": 5, "seed": seed},
            encoder=encoder if request.param == "minilm" else "",
        )
    return [folder / str(seed) / "model-last" for seed in (0, 1)]


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from ..fitting.stores import write_store

    return write_store(tmp_path_factory.mktemp("store") / "folds", folds=2, steps=0).corpus


@pytest.fixture(scope="module")
def ensemble(models: list[Path], corpus: Path) -> Language:
    nlp, _, component = make_ensemble(models)
    count_tags(nlp, component, list(read_docbin(corpus, nlp.vocab)))
    return nlp


def log_probs(nlp: Language) -> list[np.ndarray]:
    component: Any = nlp.get_pipe("ner")
    before = [name for name in nlp.pipe_names if name != "ner"]
    docs = [nlp.make_doc(text) for text in TEXTS]
    for name in before:
        docs = list(nlp.get_pipe(name).pipe(docs))
    return list(component.predict(docs))


def test_it_is_the_mean_of_the_probabilities(models: list[Path], ensemble: Language) -> None:
    of_models = [log_probs(spacy.load(path)) for path in models]
    for found, *members in zip(log_probs(ensemble), *of_models, strict=True):
        mean = sum(np.exp(rows.astype(float)) for rows in members) / 2
        np.testing.assert_allclose(np.exp(found), mean, atol=1e-6)
    assert not np.allclose(*(rows[0] for rows in of_models), atol=1e-3)
    assert [pipe for pipe, _ in ensemble.pipeline] == ["ner"]


def test_it_is_the_same_from_disk_and_from_bytes_and_tells_no_path(
    models: list[Path], ensemble: Language, tmp_path: Path
) -> None:
    ensemble.to_disk(tmp_path / "ensemble")
    from_bytes = spacy.util.load_model_from_config(ensemble.config)
    from_bytes.from_bytes(ensemble.to_bytes())
    for nlp in (spacy.load(tmp_path / "ensemble"), from_bytes):
        for found, expected in zip(log_probs(nlp), log_probs(ensemble), strict=True):
            np.testing.assert_array_equal(found, expected)
        spans = [[(e.text, e.label_, e._.probability) for e in doc.ents] for doc in nlp.pipe(TEXTS)]
        assert spans == [
            [(e.text, e.label_, e._.probability) for e in doc.ents] for doc in ensemble.pipe(TEXTS)
        ]
        assert encoder_names(nlp) == [Path(name).name for name in encoder_names(ensemble)]
    files = [path for path in (tmp_path / "ensemble").rglob("*") if path.is_file()]
    private = str(models[0].parents[1]).encode()
    assert [path.name for path in files if private in path.read_bytes()] == []


def test_it_is_not_trained(ensemble: Language, corpus: Path) -> None:
    references = list(read_docbin(corpus, ensemble.vocab))
    examples = [Example(ensemble.make_doc(doc.text), doc) for doc in references]
    counts = ensemble.get_pipe("ner").statistics.to_dict()
    with pytest.raises(ConfigError, match="is not trained itself"):
        ensemble.update(examples, sgd=None)
    fresh = spacy.util.load_model_from_config(ensemble.config)
    with pytest.raises(ConfigError, match="is not trained itself"):
        fresh.initialize(lambda: examples)
    assert ensemble.get_pipe("ner").statistics.to_dict() == counts


def test_it_gets_no_neighbours(ensemble: Language, corpus: Path, tmp_path: Path) -> None:
    ensemble.to_disk(tmp_path / "ensemble")
    gold = tmp_path / "other.spacy"
    gold.write_bytes(corpus.read_bytes())
    with pytest.raises(ConfigError, match="an ensemble, whose models share no token vectors"):
        add_neighbours(tmp_path / "ensemble", corpus, gold, tmp_path / "out")


def test_other_components_have_no_place(models: list[Path], tmp_path: Path) -> None:
    nlp = spacy.load(models[0])
    nlp.add_pipe("sentencizer")
    nlp.to_disk(tmp_path / "more")
    with pytest.raises(ConfigError, match="'sentencizer', which an ensemble would not run"):
        make_ensemble([tmp_path / "more"])
