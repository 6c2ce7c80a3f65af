"""A model that version 0.1 saved before its modules moved still loads, and gives what it gave.

The folder ``tests/fixtures/model-0.1`` holds such a model, with a datastore of neighbours, a
calibration of tokens and entities, a prior strength and a threshold that differ from its config.
It was trained on ten documents of the embedded corpus (CC0). ``outputs.json`` holds what the code
that saved it found in two others.
"""

import json
from pathlib import Path

import pytest
import spacy
from spacy.language import Language

FIXTURE = Path(__file__).parents[1] / "fixtures" / "model-0.1"
TEXTS = json.loads((FIXTURE / "outputs.json").read_text(encoding="utf8"))


@pytest.fixture(scope="module")
def nlp() -> Language:
    return spacy.load(FIXTURE / "model")


def test_the_saved_settings_are_those_of_the_loaded_component(nlp: Language) -> None:
    component = nlp.get_pipe("ner")
    assert component.prior_strength == 0.5
    assert component.prior_smoothing == 5.0
    assert dict(component.thresholds) == {"Sign_symptom": 0.4}
    assert component.calibration is not None
    assert component.calibration.entities is not None
    assert component.neighbours is not None


@pytest.mark.parametrize("saved", TEXTS, ids=["first", "second"])
def test_entities_and_their_probabilities_are_those_of_before(nlp: Language, saved: dict) -> None:
    doc = nlp(saved["text"])
    assert [(e.start_char, e.end_char, e.label_) for e in doc.ents] == [
        (start, end, label) for start, end, label, _ in saved["entities"]
    ]
    # Another processor may sum in another order.
    assert [e._.probability for e in doc.ents] == pytest.approx(
        [float(probability) for *_, probability in saved["entities"]], rel=1e-6
    )


@pytest.mark.parametrize("saved", TEXTS, ids=["first", "second"])
def test_candidates_are_those_of_before(nlp: Language, saved: dict) -> None:
    found = nlp.get_pipe("ner").candidates(nlp(saved["text"]), 0.2)
    assert [(c.start, c.end, c.label) for c in found] == [
        (start, end, label) for start, end, label, _ in saved["candidates"]
    ]
    assert [c.probability for c in found] == pytest.approx(
        [float(probability) for *_, probability in saved["candidates"]], rel=1e-6
    )
