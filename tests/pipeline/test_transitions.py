"""The component with transitions: where their weight comes from, and what it reaches."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Example

from clinical_ner.calibration.calibration import Calibration
from clinical_ner.calibration.token_step import TokenCalibration
from clinical_ner.decoding.lattice import Lattice, best_sequence, entities_of
from clinical_ner.errors import ClinicalNerError
from clinical_ner.pipeline.recognizer import ClinicalNer

from .examples import LABELS, TRAIN

Saved = Callable[[str], tuple[Language, Path]]
FIXTURE = Path(__file__).parents[1] / "fixtures" / "model-0.1" / "model"
TEXT = TRAIN[0][0]


@pytest.fixture
def nlp(saved: Saved) -> Language:
    return spacy.load(saved("tok2vec")[1])


def recognizer(nlp: Language) -> ClinicalNer:
    component = nlp.get_pipe("ner")
    assert isinstance(component, ClinicalNer)
    return component


def found(nlp: Language) -> list[tuple[int, int, str, float]]:
    doc = nlp(TEXT)
    return [(e.start, e.end, e.label_, e._.probability) for e in doc.ents]


def test_pairs_of_training_skip_whitespace_and_stop_at_what_is_unknown() -> None:
    nlp = spacy.blank("en")
    words = ["left", "\n", "knee", "had", "no", "gold", "rash"]
    doc = Doc(nlp.vocab, words=words)
    sign = [Span(doc, 0, 3, "Sign"), Span(doc, 6, 7, "Sign")]
    doc.set_ents(sign, missing=[doc[4:5]], default="outside")
    ner = nlp.add_pipe("clinical_ner", name="ner")
    with pytest.warns(UserWarning, match="1 tokens of 1 documents"):
        ner.initialize(lambda: [Example(Doc(nlp.vocab, words=words), doc)], nlp=nlp)
    assert ner.statistics.to_dict()["bigrams"] == [[0, 1, 1], [1, 2, 1], [2, 0, 1]]


def test_the_weight_is_in_entities_candidates_and_every_span_probability(nlp: Language) -> None:
    ner = recognizer(nlp)
    doc = nlp(TEXT)
    (log_probs,) = ner.predict([doc])
    before = ner.candidates(doc, 0.01)
    # Without weight, to the last bit, what it was.
    ner.transitions = 0.0
    assert ner.candidates(doc, 0.01) == before and ner.decision.transitions is None
    ner.transitions = 3.0
    transitions = 3.0 * ner.statistics.pair_information()
    exact = Lattice.of(log_probs, transitions)
    path = best_sequence(log_probs, transitions)
    entities = entities_of(path, LABELS, np.ones(len(doc), dtype=bool))
    assert [of[:3] for of in found(nlp)] == entities
    for start, end, label, probability in found(nlp):
        assert probability == exact.probability(start, end, LABELS.index(label))
        assert ner.span_probability(doc, start, end, label) == probability
    candidates = ner.candidates(doc, 0.01)
    assert candidates != before
    assert [(c.start, c.end, c.probability) for c in candidates] == [
        (start, end, p)
        for start, _, end, p in sorted((s, t, e, p) for s, e, t, p in exact.candidates(0.01))
    ]
    np.testing.assert_array_equal(ner.predict([doc])[0], log_probs)


def test_the_setting_goes_before_what_was_fitted(nlp: Language, tmp_path: Path) -> None:
    ner = recognizer(nlp)
    without = found(nlp)
    fitted = Calibration(TokenCalibration(1.0, (0.0,) * 7), None, 3.0)
    ner.calibration = fitted
    assert found(nlp) != without
    nlp.to_disk(tmp_path / "model")
    loaded = spacy.load(tmp_path / "model")
    assert recognizer(loaded).calibration == fitted and found(loaded) == found(nlp)
    off = spacy.load(tmp_path / "model", config={"components.ner.transitions": 0.0})
    ner.calibration = replace(fitted, transitions=0.0)
    assert found(off) == found(nlp) != found(loaded)
    ner.transitions = 3.0
    assert found(nlp) == found(loaded)
    ner.calibration = None
    assert recognizer(nlp).decision.transitions is not None


def test_what_cannot_have_them_refuses_a_weight() -> None:
    old = spacy.load(FIXTURE)
    with pytest.raises(ClinicalNerError, match="null, or train again"):
        recognizer(old).transitions = 0.2
    with pytest.raises(ClinicalNerError, match="null, or train again"):
        spacy.load(FIXTURE, config={"components.ner.transitions": 0.2})
    calibration = recognizer(old).calibration
    assert calibration is not None
    with pytest.raises(ClinicalNerError, match="null, or train again"):
        recognizer(old).calibration = replace(calibration, transitions=0.2)
    recognizer(old).transitions = 0.0
    blank = spacy.blank("en")
    loss = {"@losses": "clinical_ner.BinaryTokenLabels.v2"}
    for settings, message in (
        ({"overlaps": True, "loss": loss}, "set its transitions to null or 0"),
        ({"loss": {"@losses": "clinical_ner.SoftDice.v1"}}, "SoftDice"),
        ({"transitions": -0.1}, "transitions must be a number"),
    ):
        with pytest.raises(ClinicalNerError, match=message):
            blank.add_pipe("clinical_ner", config={"transitions": 0.2} | settings)
