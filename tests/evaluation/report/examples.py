"""A small pipeline and its gold, with names and texts that a page must not run or misplace."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import spacy
from spacy.language import Language
from spacy.tokens import Doc
from thinc.api import fix_random_seed

from clinical_ner.calibration.calibration import Calibration
from clinical_ner.calibration.entity_step import EntityCalibration
from clinical_ner.calibration.token_step import TokenCalibration
from clinical_ner.data.formats.docbin import DOCUMENT_ID, write_docbin

from ...pipeline.examples import TRAIN, Offsets, make_examples

#: A label, and an id, that would end an element of the page.
HOSTILE = "</script><b>&'\""
ID = "</title><script>alert(1)</script>"
#: Behind a character of two UTF-16 units, and what a parser would take for a picture.
NOTE = "\U0001f912 <img src=x onerror=alert(1)> cough and fever"
DATA: list[tuple[str, Offsets]] = [
    (text, [(start, end, HOSTILE if label == "Dose" else label) for start, end, label in ents])
    for text, ents in TRAIN
]


def make_pipeline() -> Language:
    """Trained a little, so that some of what it finds is wrong, with a decision of its own."""
    nlp = spacy.blank("en")
    component: Any = nlp.add_pipe("clinical_ner", name="ner")
    fix_random_seed(0)
    examples = make_examples(nlp, DATA)
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(6):
        nlp.update(examples, sgd=optimizer)
    tokens = TokenCalibration(1.5, (0.0,) * 7)
    component.calibration = Calibration(tokens, EntityCalibration(0.9, -0.1))
    component.prior_strength = 0.4321
    component.thresholds = {"Sign": 0.2}
    return nlp


def make_gold(nlp: Language) -> list[Doc]:
    docs = []
    fever = NOTE.index("fever")
    for number, (text, ents) in enumerate([*DATA, (NOTE, [(fever, fever + 5, "Sign")])]):
        doc = nlp.make_doc(text)
        spans = [doc.char_span(start, end, label=label) for start, end, label in ents]
        doc.set_ents([span for span in spans if span], default="outside")
        doc.user_data[DOCUMENT_ID] = f"{ID}{number}"
        docs.append(doc)
    return docs


def write_example(folder: Path) -> tuple[Path, Path]:
    """Save the pipeline and its gold."""
    nlp = make_pipeline()
    nlp.to_disk(folder / "model")
    write_docbin(make_gold(nlp), folder / "gold.spacy")
    return folder / "model", folder / "gold.spacy"
