"""What every trainable component must do: overfit, save, load, train on, take odd documents."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import spacy
import srsly
from spacy.language import Language
from spacy.training import Example
from thinc.api import Model, Optimizer, fix_random_seed

from clinical_ner.data.convert import convert
from clinical_ner.data.formats.docbin import read_docbin
from clinical_ner.errors import ClinicalNerError
from clinical_ner.pipeline.recognizer import ClinicalNer, make_clinical_ner

from .examples import GOLD, KINDS, LABELS, TRAIN, make_examples, make_nlp, offsets, predicted, train

Saved = Callable[[str], tuple[Language, Path]]

#: Texts that have no token, or none that carries a tag, or one.
ODD_TEXTS = [[""], ["", ""], [" "], ["\n\n", " "], ["fever"], ["", " ", "\t"]]
MIXED_TEXTS = [["fever", "", " \n ", "cough and fever"], ["", "cough and fever"], [" ", "fever"]]


def parameters(nlp: Language) -> list[np.ndarray]:
    """Parameters of all models, those in PyTorch included, in the order of the layers."""
    found = []
    for _, pipe in nlp.pipeline:
        for node in pipe.model.walk():
            found.extend(np.array(node.get_param(name)) for name in node.param_names)
            for shim in node.shims:
                found.extend(tensor.numpy(force=True) for tensor in shim._model.parameters())
    return found


def probabilities(nlp: Language) -> np.ndarray:
    """p(tag | text) of the tokens of TRAIN."""
    docs = [nlp.make_doc(text) for text, _ in TRAIN]
    for name, pipe in nlp.pipeline:
        if name == "ner":
            return np.exp(np.concatenate(pipe.predict(docs)))
        docs = list(pipe.pipe(docs))
    raise AssertionError("no component ner")


@pytest.mark.parametrize("kind", KINDS)
def test_four_documents_are_learned_to_perfection(saved: Saved, kind: str) -> None:
    nlp, _ = saved(kind)
    assert predicted(nlp) == GOLD
    scores = nlp.evaluate(make_examples(nlp))
    assert scores["ents_f"] == scores["ents_macro_f"] == 1.0


def test_labels_of_several_words_are_learned_saved_and_scored(tmp_path: Path) -> None:
    # Case A10 of the reports: from an export of doccano to entities.
    texts = [f"Denies {sign} {n}, takes aspirin." for n in range(6) for sign in ("fever", "cough")]
    records = [
        {"id": number, "text": text, "label": [[7, 12, "Sign or symptom"], [22, 29, "DRUG"]]}
        for number, text in enumerate(texts)
    ]
    source, output = tmp_path / "export.jsonl", tmp_path / "all.spacy"
    source.write_text("".join(f"{json.dumps(record)}\n" for record in records))
    convert(source, output)
    nlp = make_nlp("tok2vec", Path())
    docs = read_docbin(output, nlp.vocab)
    examples = [Example(nlp.make_doc(doc.text), doc) for doc in docs]
    fix_random_seed(0)
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(20):
        nlp.update(examples, sgd=optimizer)
    nlp.get_pipe("ner").thresholds = {"Sign or symptom": 0.5}
    nlp.to_disk(tmp_path / "model")

    loaded = spacy.load(tmp_path / "model")

    expected = [(7, 12, "Sign or symptom"), (22, 29, "DRUG")]
    assert [offsets(loaded(text)) for text in texts] == [expected] * len(texts)
    assert loaded.get_pipe("ner").labels == ("DRUG", "Sign or symptom")
    assert loaded.evaluate(examples)["ents_per_type"]["Sign or symptom"]["f"] == 1.0


@pytest.mark.parametrize("kind", KINDS)
def test_pipe_agrees_with_single_calls(saved: Saved, kind: str) -> None:
    nlp, _ = saved(kind)
    for batch_size in (1, 3, 64):
        docs = nlp.pipe([text for text, _ in TRAIN], batch_size=batch_size)
        assert [offsets(doc) for doc in docs] == GOLD


@pytest.mark.parametrize("kind", KINDS)
def test_a_pipeline_loaded_from_a_folder_predicts_the_same(saved: Saved, kind: str) -> None:
    nlp, path = saved(kind)
    loaded = spacy.load(path)
    assert predicted(loaded) == GOLD
    np.testing.assert_allclose(probabilities(loaded), probabilities(nlp), rtol=1e-5, atol=1e-6)
    assert loaded.get_pipe("ner").labels == LABELS


@pytest.mark.parametrize("kind", KINDS)
def test_a_pipeline_loaded_from_bytes_predicts_the_same(
    saved: Saved, kind: str, transformer: Path
) -> None:
    nlp, _ = saved(kind)
    loaded = make_nlp(kind, transformer).from_bytes(nlp.to_bytes())
    assert predicted(loaded) == GOLD
    np.testing.assert_allclose(probabilities(loaded), probabilities(nlp), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_pipeline_can_be_trained_further(saved: Saved, kind: str) -> None:
    loaded = spacy.load(saved(kind)[1])
    new = [*TRAIN, ("the left ear has pain", [(4, 12, "Sign"), (17, 21, "Sign")])]
    examples = make_examples(loaded, new)
    optimizer = loaded.resume_training()
    for _ in range(40):
        loaded.update(examples, sgd=optimizer)
    assert [offsets(loaded(text)) for text, _ in new] == [ents for _, ents in new]


@pytest.mark.parametrize("kind", KINDS)
def test_a_loaded_pipeline_can_be_initialized_and_trained_again(saved: Saved, kind: str) -> None:
    loaded = spacy.load(saved(kind)[1])
    before = probabilities(loaded)
    train(loaded, steps=0)
    assert np.abs(probabilities(loaded) - before).max() > 0.1
    assert predicted(train(loaded)) == GOLD


@pytest.mark.parametrize("kind", KINDS)
def test_an_untrained_pipeline_can_be_saved_and_loaded(
    kind: str, transformer: Path, tmp_path: Path
) -> None:
    nlp = make_nlp(kind, transformer)
    nlp.get_pipe("ner").add_label("Dose")
    nlp.to_disk(tmp_path / "model")
    loaded = spacy.load(tmp_path / "model")
    assert loaded.get_pipe("ner").labels == ("Dose",)
    assert predicted(train(loaded)) == GOLD


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("texts", ODD_TEXTS + MIXED_TEXTS)
def test_odd_documents_are_predicted_in_order(saved: Saved, kind: str, texts: list[str]) -> None:
    nlp, _ = saved(kind)
    docs = list(nlp.pipe(texts))
    assert [doc.text for doc in docs] == texts
    assert [offsets(doc) for doc in docs] == [offsets(nlp(text)) for text in texts]
    for doc in docs:
        if not doc.text.strip():
            assert not doc.ents
        if doc.text == "cough and fever":
            assert offsets(doc) == GOLD[2]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("texts", ODD_TEXTS + MIXED_TEXTS)
def test_odd_documents_do_no_harm_in_training(saved: Saved, kind: str, texts: list[str]) -> None:
    nlp = spacy.load(saved(kind)[1])
    gold = dict(TRAIN)
    batch = make_examples(nlp, [(text, gold.get(text, [])) for text in texts])
    before = probabilities(nlp)
    losses = nlp.update(batch, sgd=nlp.resume_training(), losses={})
    assert np.isfinite(losses["ner"])
    assert all(np.isfinite(values).all() for values in parameters(nlp))
    learned = any(text.strip() for text in texts)
    assert (losses["ner"] > 0) == learned
    assert (np.abs(probabilities(nlp) - before).max() > 1e-4) == learned


@pytest.mark.parametrize("kind", KINDS)
def test_empty_documents_change_no_gradient(saved: Saved, kind: str) -> None:
    plain, padded = (spacy.load(saved(kind)[1]) for _ in range(2))
    data = [(text, []) for text, _ in TRAIN]
    for nlp, texts in ((plain, data), (padded, [("", []), *data[:2], ("", []), *data[2:]])):
        fix_random_seed(0)
        sgd = Optimizer(0.1, beta1=0.0, beta2=0.0, grad_clip=0.0, use_averages=False)
        nlp.update(make_examples(nlp, texts), sgd=sgd)
    for one, other in zip(parameters(plain), parameters(padded), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_the_first_documents_of_a_corpus_may_be_empty(transformer: Path) -> None:
    nlp = make_nlp("tok2vec", transformer)
    examples = make_examples(nlp, [("", [])] * 12 + TRAIN)
    nlp.initialize(lambda: examples)
    assert nlp.get_pipe("ner").labels == LABELS
    assert nlp("cough and fever").text == "cough and fever"


def count_calls(model: Model, log: list[str], name: str) -> None:
    """Make a model write what it is called for into the log."""
    forward = model._func

    def counting(model: Model, inputs: object, is_train: bool) -> object:
        log.append(f"{name} forward")
        outputs, backprop = forward(model, inputs, is_train)

        def counting_backprop(gradient: object) -> object:
            log.append(f"{name} backward")
            return backprop(gradient)

        return outputs, counting_backprop

    model._func = counting


@pytest.mark.parametrize("kind", KINDS)
def test_a_batch_takes_one_forward_and_one_backward_pass(saved: Saved, kind: str) -> None:
    nlp = spacy.load(saved(kind)[1])
    log: list[str] = []
    ner = nlp.get_pipe("ner")
    count_calls(ner.model.get_ref("head"), log, "head")
    encoder = nlp.get_pipe(kind).model if kind in nlp.pipe_names else ner.model.get_ref("tok2vec")
    count_calls(encoder, log, "encoder")
    nlp.update(make_examples(nlp), sgd=nlp.resume_training())
    assert log == ["encoder forward", "head forward", "head backward", "encoder backward"]


@pytest.mark.parametrize("kind", KINDS)
def test_no_entity_has_whitespace_at_an_edge(saved: Saved, kind: str) -> None:
    nlp = spacy.load(saved(kind)[1])
    text = "\n fever \n\n left   knee \n pain \t cough\n\n and aspirin \n 40 \n mg  \n "
    head = nlp.get_pipe("ner").model.get_ref("head")
    generator = np.random.default_rng(0)
    found = []
    for _ in range(20):
        head.set_param("W", generator.normal(size=head.get_param("W").shape).astype("float32"))
        found.extend(nlp(text).ents)
    assert any(token.is_space for ent in found for token in ent)
    assert all(not ent[0].is_space and not ent[-1].is_space for ent in found)


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_seed_gives_the_same_pipeline(transformer: Path, kind: str) -> None:
    first, second, other = (
        train(make_nlp(kind, transformer), steps=5, seed=seed) for seed in (3, 3, 4)
    )
    for one, same in zip(parameters(first), parameters(second), strict=True):
        np.testing.assert_array_equal(one, same)
    np.testing.assert_array_equal(probabilities(first), probabilities(second))
    assert np.abs(probabilities(first) - probabilities(other)).max() > 0


def test_the_tag_counts_are_saved_with_the_component(saved: Saved) -> None:
    statistics = srsly.read_json(saved("tok2vec")[1] / "ner" / "cfg")["statistics"]
    assert statistics["labels"] == list(LABELS)
    # The tags: O, B-Dose, I-Dose, B-Drug, I-Drug, B-Sign, I-Sign.
    assert statistics["counts"] == [12, 1, 1, 1, 0, 4, 2]
    assert statistics["documents"] == 4


def test_the_pipeline_works_without_its_other_components(saved: Saved, tmp_path: Path) -> None:
    nlp = spacy.load(saved("tok2vec")[1])
    nlp.add_pipe("sentencizer", first=True)
    nlp.to_disk(tmp_path / "model")
    alone = spacy.load(tmp_path / "model", enable=["ner"])
    assert alone.pipe_names == ["ner"]
    assert predicted(alone) == GOLD
    with nlp.select_pipes(enable="ner"):
        assert predicted(nlp) == GOLD
    with nlp.select_pipes(disable="ner"):
        assert predicted(nlp) == [[] for _ in TRAIN]
    pair = spacy.load(saved("transformer")[1], enable=["transformer", "ner"])
    assert predicted(pair) == GOLD


def test_a_listener_can_be_replaced_by_a_copy_of_the_encoder(saved: Saved) -> None:
    nlp = spacy.load(saved("transformer")[1])
    before = probabilities(nlp)
    nlp.replace_listeners("transformer", "ner", ["model.tok2vec"])
    nlp.remove_pipe("transformer")
    np.testing.assert_allclose(probabilities(nlp), before, rtol=1e-5, atol=1e-6)


PARALLEL = """
import json, multiprocessing, sys
import spacy

if __name__ == "__main__":
    multiprocessing.set_start_method("spawn")
    nlp = spacy.load(sys.argv[1])
    nlp.get_pipe("ner").prior_strength = 0.5
    texts = json.loads(sys.argv[2])
    found = [
        [[doc.text, [[e.start_char, e.end_char, e.label_] for e in doc.ents]] for doc in docs]
        for docs in (nlp.pipe(texts), nlp.pipe(texts, n_process=2, batch_size=3))
    ]
    print(json.dumps(found))
"""


# The other kind runs so in test_neighbours.
@pytest.mark.slow
def test_two_spawned_processes_give_the_same_entities(saved: Saved, tmp_path: Path) -> None:
    script = tmp_path / "parallel.py"
    script.write_text(PARALLEL, encoding="utf8")
    texts = [text for text, _ in TRAIN] * 3 + ["", " "]
    command = [sys.executable, str(script), str(saved("transformer")[1]), json.dumps(texts)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    serial, parallel = json.loads(done.stdout.splitlines()[-1])
    assert parallel == serial
    assert [text for text, _ in parallel] == texts
    assert any(ents for _, ents in parallel)


def test_labels_can_be_read_from_a_file(transformer: Path, saved: Saved, tmp_path: Path) -> None:
    order = ["Sign", "Dose", "Unseen", "Drug"]
    srsly.write_json(tmp_path / "ner.json", order)
    nlp = make_nlp("tok2vec", transformer)
    reader = {"@readers": "spacy.read_labels.v1", "path": str(tmp_path / "ner.json")}
    nlp.config["initialize"]["components"] = {"ner": {"labels": reader}}
    assert predicted(train(nlp)) == GOLD
    assert nlp.get_pipe("ner").labels == tuple(order)
    assert saved("tok2vec")[0].get_pipe("ner").label_data == list(LABELS)


def test_a_gold_document_need_not_have_the_tokens_of_the_pipeline(transformer: Path) -> None:
    nlp = make_nlp("tok2vec", transformer)
    fix_random_seed(0)
    gold = spacy.blank("en")
    gold.tokenizer = spacy.tokenizer.Tokenizer(gold.vocab, infix_finditer=None)
    reference = gold.make_doc("fever/cough has aspirin")
    reference.set_ents([reference.char_span(16, 23, "Drug")], default="outside")
    predicted_doc = nlp.make_doc(reference.text)
    assert len(predicted_doc) != len(reference)
    examples = [Example(predicted_doc, reference)]
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(20):
        nlp.update(examples, sgd=optimizer)
    assert offsets(nlp(reference.text)) == [(16, 23, "Drug")]


def test_without_examples_it_says_that_they_are_needed() -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("clinical_ner", name="ner")
    unannotated = [Example.from_dict(nlp.make_doc(text), {}) for text in ("", "fever and cough")]
    tagged = Example.from_dict(nlp.make_doc("fever"), {"tags": ["NN"]})
    for get_examples in (None, lambda: unannotated, lambda: [tagged]):
        with pytest.raises(ClinicalNerError, match="'ner' needs training examples with entities"):
            nlp.initialize(get_examples)
        assert not nlp.get_pipe("ner").is_initialized


def test_the_factory_names_a_class_as_what_it_returns() -> None:
    # Not in quotes: edsnlp, for one, asks whether it is a class.
    returned = inspect.signature(make_clinical_ner).return_annotation
    assert isinstance(returned, type) and issubclass(ClinicalNer, returned)


def test_examples_in_which_nothing_was_annotated_hold_no_entity() -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("clinical_ner", name="ner")
    empty = Example.from_dict(nlp.make_doc("fever and cough"), {"entities": []})
    unannotated = Example.from_dict(nlp.make_doc("fever"), {})
    for examples in ([empty], [unannotated, empty]):
        with pytest.raises(ClinicalNerError, match="has no entity: annotate at least one"):
            nlp.initialize(lambda examples=examples: examples)
