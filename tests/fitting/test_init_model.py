"""Going on with a trained model: what starts a training, what is kept, and what is refused."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.vocab import Vocab

from clinical_ner.cli import main
from clinical_ner.data.formats.docbin import read_docbin, write_docbin
from clinical_ner.errors import ClinicalNerError
from clinical_ner.fitting.init_model import train_from
from clinical_ner.fitting.weight_average import count_tags
from clinical_ner.pipeline.ensemble import make_ensemble
from clinical_ner.training.train import train

from ..conftest import ROOT
from ..model.tiny_encoder import write_encoder

WORDS = {"A": ["fever", "cough", "pain"], "B": ["aspirin", "ibuprofen"], "C": ["lung", "liver"]}
TOK2VEC = ROOT / "configs" / "tok2vec.cfg"
ADJUSTED = {"components.ner.loss": {"@losses": "clinical_ner.LogitAdjusted.v1", "tau": 1.0}}
#: The tiny encoder has 64 places.
WINDOW = {"max_wordpieces": 64, "context": 8}
TEXT = "the patient had fever and took aspirin for the lung ."


def write_corpus(path: Path, labels: str, seed: int) -> Path:
    """Notes with words of all labels, of which gold has these."""
    generator = random.Random(seed)
    docs = []
    for _ in range(20):
        words, ents = ["the", "patient"], []
        for label in generator.choices("ABC", k=5):
            words += generator.choices(["had", "and", "took", "with"], k=2)
            ents += [(len(words), label)] * (label in labels)
            words.append(generator.choice(WORDS[label]))
        doc = Doc(Vocab(), words=words)
        doc.set_ents([Span(doc, i, i + 1, label) for i, label in ents], default="outside")
        docs.append(doc)
    write_docbin(docs, path)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """ab.spacy and bc.spacy, and a model of the former."""
    folder = tmp_path_factory.mktemp("going-on")
    corpus = write_corpus(folder / "ab.spacy", "AB", 0)
    write_corpus(folder / "bc.spacy", "BC", 1)
    train(TOK2VEC, folder / "old", train_path=corpus, dev_path=None, epochs=25)
    assert found(spacy.load(folder / "old" / "model-last")) == {("fever", "A"), ("aspirin", "B")}
    return folder


def go_on(folder: Path, output: Path, *, epochs: int = 15, **settings: Any) -> dict[str, Any]:
    settings = {"dev_path": folder / "bc.spacy", "train_path": folder / "bc.spacy", **settings}
    return train_from(folder / "old" / "model-last", TOK2VEC, output, epochs=epochs, **settings)


def found(nlp: Language) -> set[tuple[str, str]]:
    return {(ent.text, ent.label_) for ent in nlp(TEXT).ents}


def of_tags(nlp: Language) -> dict[str, np.ndarray]:
    """Probability of each tag of the tokens of the text."""
    component = nlp.get_pipe("ner")
    (doc,) = nlp.pipe([TEXT], disable=["ner"])
    rows = np.exp(component.predict([doc])[0].astype("float64"))
    return dict(zip(component.statistics.tags, rows.T, strict=True))


@pytest.mark.slow
def test_labels_are_kept_if_asked_for_and_else_named(folder: Path, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="bc.spacy: lacks the labels A, which are kept"):
        record = go_on(folder, tmp_path / "kept", keep_labels=True)
    kept = spacy.load(tmp_path / "kept" / "model-best")
    assert found(kept) == {("fever", "A"), ("aspirin", "B"), ("lung", "C")}
    # Entities of A, of which dev says nothing, are not errors there.
    assert kept.meta["performance"]["ents_p"] > 0.9
    assert set(kept.meta["performance"]["ents_per_type"]) == {"B", "C"}
    # Expected tokens of A, beside those that gold has.
    statistics = kept.get_pipe("ner").statistics
    counts = dict(zip(statistics.tags, statistics.counts, strict=True))
    n_words = sum(
        doc.text.count(w) for doc in read_docbin(folder / "bc.spacy", Vocab()) for w in WORDS["A"]
    )
    assert counts["B-A"] == pytest.approx(n_words, rel=0.25)
    # The notes of the soft targets are gone, and nobody names their file.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["kept"]
    assert kept.config["paths"]["train"] == str(folder / "bc.spacy")
    assert record["overrides"]["paths.train"] == str(folder / "bc.spacy")
    written = json.loads((tmp_path / "kept" / "training.json").read_text())
    assert written["init_model"] == {
        "name": "model-last",
        "version": "0.0.0",
        "kept": ["A"],
        "lost": [],
    }

    with pytest.warns(UserWarning, match="training documents lack its labels A, which"):
        record = go_on(folder, tmp_path / "lost")
    assert found(spacy.load(tmp_path / "lost" / "model-best")) == {("aspirin", "B"), ("lung", "C")}
    assert record["init_model"]["lost"] == ["A"] and record["init_model"]["kept"] == []


def assert_starts_as(old_path: Path, new_path: Path) -> None:
    """What the old one gave O is divided between O and the new label, by their shares."""
    nlp = spacy.load(new_path)
    old, new, statistics = (
        of_tags(spacy.load(old_path)),
        of_tags(nlp),
        nlp.get_pipe("ner").statistics,
    )
    for tag in ("B-A", "B-B"):
        np.testing.assert_allclose(new[tag], old[tag], rtol=1e-3)
    np.testing.assert_allclose(new["O"] + new["B-C"], old["O"], rtol=1e-3)
    ratio = statistics.prior[statistics.tags.index("B-C")] / statistics.prior[0]
    np.testing.assert_allclose(new["B-C"] / new["O"], ratio, rtol=1e-3)


#: A training that changes nothing.
AT_REST = {"epochs": 1, "keep_labels": True}
NO_RATE = {"training.optimizer.learn_rate": 1e-12}


@pytest.mark.slow
@pytest.mark.parametrize("loss", [{}, ADJUSTED])
def test_training_starts_with_the_old_probabilities(
    folder: Path, tmp_path: Path, loss: dict[str, Any]
) -> None:
    go_on(folder, tmp_path / "new", **AT_REST, overrides={**loss, **NO_RATE})
    assert_starts_as(folder / "old" / "model-last", tmp_path / "new" / "model-last")


@pytest.mark.slow
def test_so_it_does_with_a_transformer(folder: Path, tmp_path: Path) -> None:
    data: dict[str, Any] = {"dev_path": None, "encoder": str(write_encoder(tmp_path / "encoder"))}
    window = {f"components.transformer.model.{k}": v for k, v in WINDOW.items()}
    minilm, old = ROOT / "configs" / "minilm.cfg", tmp_path / "old" / "model-last"
    corpora = [folder / "ab.spacy", folder / "bc.spacy"]
    rate = {**window, "training.optimizer.learn_rate": 0.01}
    train(minilm, tmp_path / "old", train_path=corpora[0], epochs=3, overrides=rate, **data)
    data.update(AT_REST, train_path=corpora[1], overrides={**window, **NO_RATE})
    train_from(old, minilm, tmp_path / "new", **data)
    assert_starts_as(old, tmp_path / "new" / "model-last")
    for encoder, message in (
        (write_encoder(tmp_path / "other"), "its encoder is encoder, that of the recipe is other"),
        (write_encoder(tmp_path / "b" / "encoder", places=70), "other layers, or another width"),
    ):
        with pytest.raises(ClinicalNerError, match=message):
            train_from(old, minilm, tmp_path / "refused", **{**data, "encoder": str(encoder)})
        assert not (tmp_path / "refused").exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"components.tok2vec.model.encode.width": 64}, "other layers, or another width"),
        (
            {"components.tok2vec.model.embed.attrs": ["NORM", "SUFFIX", "PREFIX", "SHAPE"]},
            "other l",
        ),
        ({"corpora.train.max_length": 1000}, "corpora.train.max_length of the recipe makes other"),
        ({"components.ner.loss.reduction": "classes"}, "given soft targets, which its loss"),
    ],
)
def test_a_recipe_that_does_not_fit_is_refused(
    folder: Path, tmp_path: Path, overrides: dict[str, Any], message: str
) -> None:
    with pytest.raises(ClinicalNerError, match=message) as caught:
        go_on(folder, tmp_path / "deep" / "new", keep_labels=True, overrides=overrides)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_usage_and_models_of_others(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    spacy.blank("en").to_disk(tmp_path / "other")
    data = ["--train", folder / "bc.spacy", "--dev", folder / "bc.spacy"]
    for code, more, message in (
        (2, ["--keep-labels"], "needs --init-model"),
        (1, ["--init-model", tmp_path / "other"], "other: has not one trained component"),
        (1, ["--init-model", tmp_path / "no"], "neither a folder with a config.cfg"),
    ):
        with pytest.raises(SystemExit) as ended:
            main(["train", *map(str, [TOK2VEC, tmp_path / "out", *data, *more])])
        assert ended.value.code == code
        assert message in " ".join(capsys.readouterr().err.split())
        assert not (tmp_path / "out").exists()


def test_an_ensemble_does_not_start_a_training(folder: Path, tmp_path: Path) -> None:
    nlp, _, component = make_ensemble([folder / "old" / "model-last"] * 2)
    count_tags(nlp, component, read_docbin(folder / "ab.spacy", nlp.vocab))
    nlp.to_disk(tmp_path / "both")
    data = dict.fromkeys(("train_path", "dev_path"), folder / "bc.spacy")
    with pytest.raises(ClinicalNerError, match="both: it is an ensemble"):
        train_from(tmp_path / "both", TOK2VEC, tmp_path / "new", epochs=1, **data)


def test_a_model_is_not_replaced_by_what_goes_on_with_it(folder: Path) -> None:
    with pytest.raises(ClinicalNerError, match="which the training would replace"):
        go_on(folder, folder / "old")
    assert (folder / "old" / "model-last").is_dir()
