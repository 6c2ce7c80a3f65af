"""When the output of a transformer leaves the document, and that nothing is lost with it."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pytest
from spacy.language import Language

from clinical_ner.errors import ClinicalNerError
from clinical_ner.pipeline.document_access import DocumentAccess

from .examples import TRAIN, make_nlp, train

TEXT = TRAIN[0][0]


@pytest.fixture(scope="module")
def released(transformer: Path) -> Language:
    """Not to be changed."""
    return train(make_nlp("transformer", transformer), steps=10)


def add_listener(nlp: Language) -> None:
    listener = nlp.config["components"]["ner"]["model"]["tok2vec"]
    nlp.add_pipe("clinical_ner", name="second", config={"model": {"tok2vec": listener}})


def test_the_output_leaves_with_the_last_listener(released: Language) -> None:
    assert [doc._.trf_data for doc in released.pipe([TEXT, "", TEXT])] == [None] * 3
    with released.select_pipes(enable=["transformer"]):
        assert released(TEXT)._.trf_data is not None


def test_the_output_can_be_kept(transformer: Path) -> None:
    nlp = train(make_nlp("transformer", transformer, keep_transformer_output=True), steps=0)
    assert nlp(TEXT)._.trf_data is not None


@pytest.mark.parametrize("disabled", [(), ("second",)])
def test_the_output_stays_for_other_listeners(disabled: tuple[str, ...], transformer: Path) -> None:
    nlp = make_nlp("transformer", transformer)
    add_listener(nlp)
    train(nlp, steps=0)
    with nlp.select_pipes(disable=list(disabled)):
        assert nlp(TEXT)._.trf_data is not None


def test_a_component_that_listens_to_no_transformer_takes_nothing(transformer: Path) -> None:
    nlp = make_nlp("transformer", transformer)
    nlp.add_pipe("clinical_ner", name="last")
    train(nlp, steps=0)
    access = {name: nlp.get_pipe(name)._access for name in ("ner", "last")}
    assert access["ner"].listens_alone(nlp.get_pipe("ner"))
    assert not access["last"].listens_alone(nlp.get_pipe("last"))


def test_what_is_asked_later_is_made_again(released: Language) -> None:
    ner, doc = released.get_pipe("ner"), released.get_pipe("transformer")(released.make_doc(TEXT))
    (expected,) = ner.predict([doc])
    found = ner.predict([released(TEXT), released.make_doc(TEXT)])
    for rows in found:
        np.testing.assert_allclose(rows, expected, rtol=1e-5, atol=1e-6)
    assert np.ptp(expected[:, 0]) > 0.1


def test_a_second_pass_of_the_component_alone_finds_the_same(released: Language) -> None:
    doc = released(TEXT)
    before = [(ent.start, ent.end, ent.label_) for ent in doc.ents]
    released.get_pipe("ner")(doc)
    assert [(ent.start, ent.end, ent.label_) for ent in doc.ents] == before
    assert before


def test_without_the_transformer_there_is_an_error_and_no_zeros(released: Language) -> None:
    with (
        released.select_pipes(disable=["transformer"]),
        pytest.raises(ClinicalNerError, match="ask with a Doc that went through"),
    ):
        released(TEXT)


def test_another_process_knows_it_too(released: Language) -> None:
    ner = released.get_pipe("ner")
    sent = pickle.loads(pickle.dumps(ner._access))
    assert isinstance(sent, DocumentAccess)
    assert sent.listens_alone(ner)
    again = pickle.loads(pickle.dumps(sent))
    assert again.listens_alone(ner)
    assert not pickle.loads(pickle.dumps(DocumentAccess())).listens_alone(ner)
