"""Neighbours in the component: prediction, what drops them, and how they are kept."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc

from clinical_ner.errors import ClinicalNerError
from clinical_ner.fitting.labelled_tokens import LabelledTokens, labelled_tokens
from clinical_ner.neighbours.datastore import Datastore
from clinical_ner.neighbours.mixing import Neighbours

from .examples import KINDS, TRAIN, make_examples, make_nlp, offsets, predicted
from .test_recognizer import PARALLEL
from .test_settings import WithoutPosterior, make_directly

Saved = Callable[[str], tuple[Language, Path]]
TEXTS = [*(text for text, _ in TRAIN), "", " fever and pain \n", "\n", "left knee"]


def references(nlp: Language) -> list[Doc]:
    return [example.reference for example in make_examples(nlp)]


def tokens_of(nlp: Language) -> LabelledTokens:
    found = list(labelled_tokens(nlp, "ner", references(nlp)))
    return LabelledTokens(*(np.concatenate(arrays) for arrays in zip(*found, strict=True)))


def make_neighbours(nlp: Language, *, swap: bool = False, **settings: Any) -> Neighbours:
    """Of the tokens of TRAIN; swapped, every B-Sign and B-Drug has the tag of the other."""
    tokens = tokens_of(nlp)
    gold = np.choose(tokens.gold, [0, 1, 2, 5, 4, 3, 6]) if swap else tokens.gold
    datastore = Datastore.build(tokens.vectors, gold, n_tags=7)
    return Neighbours(datastore, **{"k": 3, "mixing": 0.9, "temperature": 1.0, **settings})


@pytest.fixture(params=KINDS)
def nlp(saved: Saved, request: pytest.FixtureRequest) -> Language:
    """A trained pipeline without neighbours."""
    return spacy.load(saved(request.param)[1])


def annotated(nlp: Language, texts: list[str]) -> list[Doc]:
    """Documents as the recognizer gets them."""
    docs = [nlp.make_doc(text) for text in texts]
    for name, pipe in nlp.pipeline:
        if name != "ner":
            docs = list(pipe.pipe(docs))
    return docs


def probabilities(nlp: Language) -> np.ndarray:
    return np.exp(np.concatenate(nlp.get_pipe("ner").predict(annotated(nlp, TEXTS))))


# Prediction


def test_vectors_and_head_apart_give_the_logits_of_the_model(nlp: Language) -> None:
    ner = nlp.get_pipe("ner")
    docs = annotated(nlp, TEXTS)
    whole = ner.model.predict(docs)
    for logits, expected in zip(
        ner.model.layers[-1].predict(ner.token_vectors(docs)), whole, strict=True
    ):
        np.testing.assert_array_equal(logits, expected)


def test_vectors_are_the_same_after_the_listener_is_replaced(saved: Saved) -> None:
    nlp = spacy.load(saved("transformer")[1])
    ner = nlp.get_pipe("ner")
    ner.neighbours = make_neighbours(nlp, swap=True)
    expected = probabilities(nlp)
    nlp.replace_listeners("transformer", "ner", ["model.tok2vec"])
    nlp.remove_pipe("transformer")
    assert ner.neighbours is not None
    np.testing.assert_allclose(probabilities(nlp), expected, rtol=1e-4, atol=1e-5)


def test_probabilities_are_mixed_and_entities_follow(nlp: Language) -> None:
    ner = nlp.get_pipe("ner")
    docs = annotated(nlp, TEXTS)
    plain, vectors = ner.predict(docs), ner.token_vectors(docs)
    ner.neighbours = make_neighbours(nlp, swap=True)
    mixed = ner.predict(docs)
    assert [len(rows) for rows in mixed] == [len(doc) for doc in docs]
    for rows, own, of_doc in zip(mixed, plain, vectors, strict=True):
        expected = 0.9 * np.exp(ner.neighbours.log_probs(of_doc)) + 0.1 * np.exp(own)
        np.testing.assert_allclose(np.exp(rows), expected, rtol=1e-4, atol=1e-6)
        assert rows.dtype == own.dtype
    swapped = {"Sign": "Drug", "Drug": "Sign"}
    (drug,) = [ent.label_ for ent in nlp("patient took aspirin").ents]
    assert drug == swapped["Drug"]
    assert {ent.label_ for ent in nlp("cough and fever").ents} == {swapped["Sign"]}


def test_a_tag_without_training_token_stays_impossible(nlp: Language) -> None:
    ner = nlp.get_pipe("ner")
    ner.neighbours = make_neighbours(nlp)
    # I-Drug.
    assert (probabilities(nlp)[:, 4] == 0).all()


def test_pipe_agrees_with_single_calls(nlp: Language) -> None:
    nlp.get_pipe("ner").neighbours = make_neighbours(nlp, swap=True, mixing=0.5)
    single = [offsets(nlp(text)) for text in TEXTS]
    assert any(single)
    for batch_size in (1, 3, 64):
        assert [offsets(doc) for doc in nlp.pipe(TEXTS, batch_size=batch_size)] == single


# Labelled tokens


def test_labelled_tokens_are_those_with_a_gold_tag(nlp: Language) -> None:
    documents = references(nlp)
    unknown = nlp.make_doc("no gold")
    gapped = nlp.make_doc("cough \n fever")
    gapped.set_ents([gapped.char_span(0, 5, "Sign")], default="outside")
    found = list(labelled_tokens(nlp, "ner", [*documents, unknown, gapped, nlp.make_doc("")]))
    assert [len(tokens.gold) for tokens in found] == [*map(len, documents), 0, 2]
    assert found[-1].gold.tolist() == [5, 0]
    (log_probs,) = nlp.get_pipe("ner").predict(annotated(nlp, ["cough \n fever"]))
    np.testing.assert_allclose(found[-1].log_probs, log_probs[[0, 2]], rtol=1e-5, atol=1e-6)
    assert nlp.pipe_names[-1] == "ner"


# What drops them


def test_initializing_drops_them(nlp: Language) -> None:
    ner = nlp.get_pipe("ner")
    ner.neighbours = make_neighbours(nlp)
    nlp.initialize(lambda: make_examples(nlp))
    assert ner.neighbours is None


def test_an_update_drops_them_with_one_warning(nlp: Language) -> None:
    ner = nlp.get_pipe("ner")
    ner.neighbours = make_neighbours(nlp)
    optimizer = nlp.resume_training()
    with pytest.warns(UserWarning, match="'ner'.*its datastore of neighbours is of the old"):
        nlp.update(make_examples(nlp), sgd=optimizer)
    assert ner.neighbours is None
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*its datastore of neighbours is of the old")
        nlp.update(make_examples(nlp), sgd=optimizer)


def test_gradients_alone_drop_nothing(saved: Saved) -> None:
    nlp = spacy.load(saved("tok2vec")[1])
    ner = nlp.get_pipe("ner")
    ner.neighbours = make_neighbours(nlp)
    ner.update(make_examples(nlp), sgd=None)
    assert ner.neighbours is not None


def test_a_loss_without_posterior_is_an_error_that_names_it() -> None:
    ner = make_directly(WithoutPosterior)
    ner.initialize(lambda: make_examples(spacy.blank("en")))
    datastore = Datastore(np.zeros((3, 96)), np.zeros(3, int), n_tags=7)
    with pytest.raises(
        ClinicalNerError, match="WithoutPosterior.*' does not lead back to the empirical.*'ner'"
    ):
        ner.neighbours = Neighbours(datastore, k=1, mixing=0.5, temperature=1.0)
    assert ner.neighbours is None


@pytest.mark.parametrize(("width", "n_tags"), [(95, 7), (96, 9)])
def test_a_datastore_of_another_model_is_an_error(saved: Saved, width: int, n_tags: int) -> None:
    ner = spacy.load(saved("tok2vec")[1]).get_pipe("ner")
    datastore = Datastore(np.zeros((3, width)), np.zeros(3, int), n_tags=n_tags)
    found = f"{n_tags} tags, vectors of {width}, expected 7 tags, vectors of 96"
    with pytest.raises(
        ClinicalNerError, match=f"'ner'.*{found}.*build it again with clinical-ner neighbours"
    ):
        ner.neighbours = Neighbours(datastore, k=1, mixing=0.5, temperature=1.0)


# Stored


def test_folder_and_bytes_keep_them(nlp: Language, transformer: Path, tmp_path: Path) -> None:
    ner = nlp.get_pipe("ner")
    ner.neighbours = make_neighbours(nlp, swap=True)
    nlp.to_disk(tmp_path / "model")
    kind = "transformer" if "transformer" in nlp.pipe_names else "tok2vec"
    for loaded in (
        spacy.load(tmp_path / "model"),
        make_nlp(kind, transformer).from_bytes(nlp.to_bytes()),
    ):
        kept = loaded.get_pipe("ner").neighbours
        assert replace(kept, datastore=ner.neighbours.datastore) == ner.neighbours
        np.testing.assert_allclose(probabilities(loaded), probabilities(nlp), rtol=1e-5, atol=1e-6)
        assert predicted(loaded) == predicted(nlp)


def test_a_pipeline_without_them_has_no_file_and_removes_that_of_another(
    saved: Saved, tmp_path: Path
) -> None:
    nlp, path = saved("tok2vec")
    file = path / "ner" / "neighbours.npz"
    assert not file.exists()
    assert b"neighbours" not in nlp.get_pipe("ner").to_bytes(exclude=["model", "vocab"])
    loaded = spacy.load(path)
    assert loaded.get_pipe("ner").neighbours is None
    loaded.get_pipe("ner").neighbours = make_neighbours(loaded)
    loaded.to_disk(tmp_path / "model")
    assert (tmp_path / "model" / "ner" / "neighbours.npz").exists()
    nlp.to_disk(tmp_path / "model")
    assert spacy.load(tmp_path / "model").get_pipe("ner").neighbours is None


def test_they_can_be_excluded(saved: Saved, tmp_path: Path) -> None:
    nlp = spacy.load(saved("tok2vec")[1])
    ner = nlp.get_pipe("ner")
    ner.neighbours = make_neighbours(nlp)
    ner.to_disk(tmp_path / "without", exclude=["neighbours", "vocab"])
    assert not (tmp_path / "without" / "neighbours.npz").exists()
    ner.to_disk(tmp_path / "with", exclude=["vocab"])
    whole = ner.to_bytes(exclude=["vocab"])
    assert len(ner.to_bytes(exclude=["vocab", "neighbours"])) < len(whole)
    for load in (
        lambda: ner.from_bytes(whole, exclude=["vocab", "neighbours"]),
        lambda: ner.from_disk(tmp_path / "with", exclude=["vocab", "neighbours"]),
    ):
        ner.from_bytes(whole, exclude=["vocab"])
        assert ner.neighbours is not None
        # Left as they were, they would be those of other weights.
        load()
        assert ner.neighbours is None


def test_a_damaged_file_is_an_error_that_names_it(saved: Saved, tmp_path: Path) -> None:
    nlp = spacy.load(saved("tok2vec")[1])
    nlp.get_pipe("ner").neighbours = make_neighbours(nlp)
    nlp.to_disk(tmp_path / "model")
    file = tmp_path / "model" / "ner" / "neighbours.npz"
    file.write_bytes(file.read_bytes()[:-100])
    with pytest.raises(
        ClinicalNerError, match=r"build it again with clinical-ner neighbours.*/neighbours\.npz"
    ):
        spacy.load(tmp_path / "model")


@pytest.mark.slow
def test_two_spawned_processes_give_the_same_entities(saved: Saved, tmp_path: Path) -> None:
    nlp = spacy.load(saved("tok2vec")[1])
    nlp.get_pipe("ner").neighbours = make_neighbours(nlp, swap=True)
    nlp.to_disk(tmp_path / "model")
    script = tmp_path / "parallel.py"
    script.write_text(PARALLEL, encoding="utf8")
    texts = [text for text, _ in TRAIN] * 2 + ["", " "]
    command = [sys.executable, str(script), str(tmp_path / "model"), json.dumps(texts)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    serial, parallel = json.loads(done.stdout.splitlines()[-1])
    assert parallel == serial
    assert [text for text, _ in parallel] == texts
    assert any(ents for _, ents in parallel)
    nlp.get_pipe("ner").prior_strength = 0.5
    assert [[list(ent) for ent in offsets(nlp(text))] for text in texts] == [e for _, e in serial]
