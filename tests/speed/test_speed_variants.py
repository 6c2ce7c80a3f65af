"""What the benchmark of speed compares."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import spacy
import torch

from clinical_ner.errors import ClinicalNerError
from clinical_ner.research.speed.speed_rivals import TOKENIZER_THREADS, HuggingFaceNer
from clinical_ner.research.speed.speed_variants import Sources, Variant, Variants

from ..model.windows.windowed_examples import LISTENER, SHORT, examples, make_nlp, write_bert
from .speed_examples import TEXTS, write_model

KEYS = ["bare", "bare_side_by_side", "bare_no_context", "ours", "spacy_ner"]
KEYS += [f"hugging_face_{length}x{size}" for length in (32, 12) for size in (1, 8)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("speed"))


@pytest.fixture(scope="module")
def variants(model: Path) -> Variants:
    return Variants(Sources(str(model), optimized=str(model)))


def test_all_variants_are_there(variants: Variants) -> None:
    assert variants.available() == [*KEYS, "optimized"]


def test_without_another_pipeline_there_is_no_optimized_one(model: Path) -> None:
    assert Variants(Sources(str(model))).available() == KEYS


def test_windows_as_long_as_the_encoder_need_no_second_length(tmp_path: Path) -> None:
    nlp = make_nlp(write_bert(tmp_path / "encoder"), max_wordpieces=32)
    nlp.initialize(lambda: [_example(nlp)])
    found = Variants(Sources("model"), load=lambda model: nlp).available()
    assert [key for key in found if key.startswith("hugging")] == KEYS[5:7]


@pytest.mark.parametrize("key", [*KEYS[3:], "optimized"])
def test_a_pipeline_reads_every_note_empty_ones_too(key: str, variants: Variants) -> None:
    variant = variants.build(key)
    assert variant.entities is not None
    assert len(variant.prepare(TEXTS)()) == len(TEXTS)
    assert len(list(variant.entities(text for text in TEXTS))) == len(TEXTS)


@pytest.mark.parametrize("key", KEYS[:3])
def test_the_encoder_alone_reads_no_stream(key: str, variants: Variants) -> None:
    variant = variants.build(key)
    assert variant.entities is None
    assert variant.prepare(TEXTS)() is None


def test_ours_is_the_pipeline_as_it_is(variants: Variants) -> None:
    variant = variants.build("ours")
    expected = [doc.to_json() for doc in variants.nlp.pipe(TEXTS)]
    assert [doc.to_json() for doc in variant.prepare(TEXTS)()] == expected
    assert list(_entities(variant)) == [len(found["ents"]) for found in expected]
    assert sum(_entities(variant)) > 0


def test_spacy_has_default_spans_the_same_encoder_and_the_labels(variants: Variants) -> None:
    docs = variants.build("spacy_ner").prepare(["aspirin " * 200])()
    data = docs[0]._.trf_data
    # Tokens 0 to 128, 96 to 200; special tokens around each, cut to the places of the encoder.
    assert len(data.wordpieces.input_ids) == 2
    assert data.wordpieces.input_ids.shape[1] == 32
    assert {ent.label_ for ent in docs[0].ents} <= {"Drug", "Sign"}


def test_the_untrained_head_follows_from_the_seed(model: Path) -> None:
    def found(seed: int) -> list[Any]:
        docs = Variants(Sources(str(model), seed=seed)).build("spacy_ner").prepare(TEXTS)()
        return [[(ent.start, ent.end, ent.label_) for ent in doc.ents] for doc in docs]

    assert found(1) == found(1)


def test_building_rivals_leaves_ours_as_it_is(model: Path) -> None:
    variants = Variants(Sources(str(model)))
    before = [doc.to_json() for doc in variants.nlp.pipe(TEXTS)]
    for key in KEYS:
        variants.build(key).prepare(TEXTS)()
    assert [doc.to_json() for doc in variants.nlp.pipe(TEXTS)] == before


def test_a_trained_ner_gets_default_spans(model: Path, tmp_path: Path) -> None:
    nlp = make_nlp(write_bert(tmp_path / "encoder"))
    nlp.remove_pipe("ner")
    nlp.add_pipe("ner", config={"model": {"tok2vec": LISTENER}})
    nlp.initialize(lambda: [_example(nlp)])
    nlp.to_disk(tmp_path / "trained")
    variants = Variants(Sources(str(model), spacy_ner=str(tmp_path / "trained")))
    docs = variants.build("spacy_ner").prepare(["fever " * 200])()
    assert len(docs[0]._.trf_data.wordpieces.input_ids) == 2


def test_hugging_face_has_encoder_head_and_chunks(variants: Variants) -> None:
    rival = HuggingFaceNer(
        variants.transformer, variants.recognizer, length=12, stride=4, batch_size=2
    )
    seen: list[tuple[int, ...]] = []
    hook = variants.transformer.transformer.register_forward_pre_hook(
        lambda module, args: seen.append(tuple(args[0].shape))
    )
    try:
        list(rival.pipe(["fever " * 20]))
    finally:
        hook.remove()
    # 20 wordpieces, 10 in a chunk, of which 4 are those of the last one.
    assert seen == [(2, 12), (1, 12)]


def test_hugging_face_finds_what_the_head_says(variants: Variants) -> None:
    rival = HuggingFaceNer(
        variants.transformer, variants.recognizer, length=32, stride=4, batch_size=1
    )
    (found,) = rival.pipe([SHORT])
    expected = [(ent.start_char, ent.end_char, ent.label_) for ent in variants.nlp(SHORT).ents]
    assert expected
    assert [(e["start"], e["end"], e["entity_group"]) for e in found] == expected


def test_hugging_face_copies_no_weight_of_the_encoder(variants: Variants) -> None:
    rival = HuggingFaceNer(
        variants.transformer, variants.recognizer, length=32, stride=4, batch_size=1
    )
    own = {id(weight) for weight in variants.transformer.transformer.parameters()}
    other = {id(weight) for weight in rival._pipeline.model.parameters()}
    assert len(other - own) == 2


def test_threads_of_other_tokenizers_stay_on(
    variants: Variants, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(TOKENIZER_THREADS, raising=False)
    variants.build(KEYS[4]).prepare(TEXTS)()
    assert TOKENIZER_THREADS not in os.environ


def test_no_gradient_is_kept(variants: Variants) -> None:
    for key in KEYS:
        variants.build(key).prepare(TEXTS)()
    grads = [weight.grad for weight in variants.transformer.transformer.parameters()]
    assert not any(isinstance(grad, torch.Tensor) for grad in grads)


def test_a_pipeline_without_a_transformer_is_an_error() -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("clinical_ner", name="ner")
    with pytest.raises(
        ClinicalNerError,
        match=r"model: .*components: ner.*has no transformer component, whose speed",
    ):
        _ = Variants(Sources("model"), load=lambda model: nlp).transformer


def test_another_transformer_is_an_error() -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("transformer")
    with pytest.raises(ClinicalNerError, match="v1, over whose windows the encoder is"):
        _ = Variants(Sources("model"), load=lambda model: nlp).transformer


def test_a_pipeline_without_a_trained_recognizer_is_an_error(tmp_path: Path) -> None:
    nlp = make_nlp(write_bert(tmp_path / "encoder"))
    with pytest.raises(
        ClinicalNerError, match=r"transformer, ner.*ner component, whose labels the others get"
    ):
        _ = Variants(Sources("model"), load=lambda model: nlp).recognizer


def test_a_trained_ner_that_is_none_is_an_error(model: Path) -> None:
    variants = Variants(Sources(str(model), spacy_ner=str(model)))
    with pytest.raises(ClinicalNerError, match="has no transformer component with spaCy's"):
        variants.build("spacy_ner")


def _entities(variant: Variant) -> list[int]:
    assert variant.entities is not None
    return list(variant.entities(TEXTS))


def _example(nlp: Any) -> Any:
    return examples(nlp)[1]
