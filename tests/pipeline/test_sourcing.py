"""A component that is taken from one pipeline into another."""

from __future__ import annotations

from pathlib import Path

import pytest
import spacy
from spacy.language import Language
from thinc.api import fix_random_seed

from clinical_ner.errors import ClinicalNerError

from .examples import TRAIN, make_examples, train

TEXT = TRAIN[0][0]
MODEL = {
    "@architectures": "spacy.HashEmbedCNN.v2",
    "pretrained_vectors": None,
    "width": 32,
    "depth": 2,
    "embed_size": 200,
    "window_size": 1,
    "maxout_pieces": 2,
    "subword_features": True,
}


def listening() -> Language:
    """A pipeline whose component listens to a tok2vec of its own."""
    nlp = spacy.blank("en")
    nlp.add_pipe("tok2vec", config={"model": MODEL})
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": 32, "upstream": "*"}
    model = {"@architectures": "clinical_ner.TokenClassifier.v1", "tok2vec": listener}
    nlp.add_pipe("clinical_ner", name="ner", config={"model": model})
    return nlp


@pytest.fixture
def source() -> Language:
    return train(listening(), steps=20)


def other_vectors() -> Language:
    """A pipeline with a tok2vec of other weights, and nothing that listens."""
    nlp = spacy.blank("en")
    nlp.add_pipe("tok2vec", config={"model": MODEL})
    fix_random_seed(7)
    nlp.initialize(lambda: make_examples(nlp))
    return nlp


def test_it_asks_the_pipeline_that_it_is_in(source: Language) -> None:
    own = source.get_pipe("ner").candidates(source.make_doc(TEXT), 0.01)
    nlp = other_vectors()
    component = nlp.add_pipe("ner", source=source)
    expected = component.candidates(nlp(TEXT), 0.01)
    assert component.candidates(nlp.make_doc(TEXT), 0.01) == expected != own


def test_it_asks_again_the_pipeline_that_was_changed_last(source: Language) -> None:
    expected = source.get_pipe("ner").candidates(source.make_doc(TEXT), 0.01)
    other_vectors().add_pipe("ner", source=source)
    source.add_pipe("sentencizer")
    assert source.get_pipe("ner").candidates(source.make_doc(TEXT), 0.01) == expected


def test_from_a_pipeline_that_is_gone(source: Language) -> None:
    expected = source.get_pipe("ner").candidates(source(TEXT), 0.01)
    nlp = spacy.blank("en")
    for name in ("tok2vec", "ner"):
        nlp.add_pipe(name, source=source)
    del source
    assert nlp.get_pipe("ner").candidates(nlp.make_doc(TEXT), 0.01) == expected


def test_without_what_it_listens_to_it_says_so_at_the_first_document(
    source: Language, tmp_path: Path
) -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("ner", source=source)
    with pytest.raises(ClinicalNerError, match="take that component too"):
        nlp(TEXT)


def test_a_pipeline_whose_config_sources_it(source: Language, tmp_path: Path) -> None:
    expected = source.get_pipe("ner").candidates(source(TEXT), 0.01)
    source.to_disk(tmp_path / "source")
    config = {
        "nlp": {"lang": "en", "pipeline": ["tok2vec", "ner"]},
        "components": {
            name: {"source": str(tmp_path / "source"), "component": name}
            for name in ("tok2vec", "ner")
        },
    }
    nlp = spacy.util.load_model_from_config(config, auto_fill=True)
    assert nlp.get_pipe("ner").candidates(nlp.make_doc(TEXT), 0.01) == expected
