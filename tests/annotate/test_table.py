"""Table in, table out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import spacy

from clinical_ner import annotate_table
from clinical_ner.annotate.annotator import Settings, TextAnnotator
from clinical_ner.annotate.table import ENTITIES, STATUS, TEXT
from clinical_ner.errors import ClinicalNerError

NOTE = "Patient 3 had severe fever and took folic acid 40 mg ."


def expected(model: Path, text: str) -> list[tuple[Any, ...]]:
    doc = spacy.load(model)(text)
    return [(e.start_char, e.end_char, e.label_, e._.probability) for e in doc.ents]


def test_every_kind_of_table_gives_what_the_pipeline_gives(model: Path) -> None:
    found = expected(model, NOTE)
    assert len(found) > 1
    frame = pd.DataFrame({"key": ["a", "b"], "note": [NOTE, "  "]}, index=[7, 7])
    before = frame.copy()
    entities, status = annotate_table(frame, model, id="key", text="note", include_text=True)
    pd.testing.assert_frame_equal(frame, before)
    assert list(entities.columns) == [*ENTITIES.names, "text"]
    columns = ["start", "end", "label", "probability"]
    assert list(entities[columns].itertuples(index=False, name=None)) == found
    assert list(entities["text"]) == [NOTE[start:end] for start, end, *_ in found]
    assert set(entities["id"]) == {"a"}
    assert set(entities["model"]) == {"en_small"} and set(entities["model_version"]) == {"1.2.3"}
    assert list(status["status"]) == ["ok", "empty"] and list(status["row"]) == [0, 1]
    assert list(status["entities"]) == [len(found), 0]
    table = pa.Table.from_pandas(frame, preserve_index=False)
    for notes in (table, table.to_batches()[0]):
        as_arrow = annotate_table(notes, model, id="key", text="note", include_text=True)
        assert type(as_arrow.entities) is type(notes) is type(as_arrow.status)
        assert as_arrow.entities.schema == ENTITIES.append(TEXT)
        assert as_arrow.status.schema == STATUS
        assert as_arrow.entities.to_pandas().equals(entities)
    empty = annotate_table(table.to_batches()[0].slice(0, 0), model, id="key", text="note")
    assert empty.entities.schema == ENTITIES and empty.status.num_rows == 0


def test_a_record_that_is_no_note_is_named_and_the_others_stay_theirs(model: Path) -> None:
    texts = [NOTE, None, float("nan"), 12, "", "\n\t", "a \ud800 b", NOTE, NOTE, NOTE, NOTE]
    ids: list[Any] = ["a", "b", "c", "d", "e", "f", "g", None, np.int64(8), "a", ["list"]]
    entities, status = annotate_table(pd.DataFrame({"id": ids, "text": texts}), model)
    assert list(status["status"]) == [
        *("ok", "empty", "empty", "error", "empty", "empty", "error", "error", "ok", "ok", "error")
    ]
    assert [of for of in status["error"] if isinstance(of, str)] == [
        *("TypeError", "UnicodeEncodeError", "MissingIdError", "TypeError")
    ]
    count = len(expected(model, NOTE))
    assert list(entities["id"]) == ["a"] * count + ["8"] * count + ["a"] * count
    # Whole numbers of which one is missing are floats in pandas.
    _, status = annotate_table(pd.DataFrame({"id": [1, np.nan], "text": [NOTE] * 2}), model)
    assert list(status["id"].astype(object).where(status["id"].notna(), None)) == ["1", None]
    # A column of numbers.
    _, status = annotate_table(pd.DataFrame({"id": ["a", "b"], "text": [1.5, 2.5]}), model)
    assert list(status["error"]) == ["TypeError"] * 2


def test_a_note_that_breaks_a_component_fails_alone(model: Path) -> None:
    annotator = TextAnnotator(model, Settings(batch_size=4))

    @spacy.Language.component("breaks_on_bad")
    def breaks_on_bad(doc: Any) -> Any:
        if "bad" in doc.text:
            raise RuntimeError(doc.text)
        return doc

    annotator.nlp.add_pipe("breaks_on_bad", last=True)
    found = annotator.annotate([NOTE, "bad", NOTE, NOTE, NOTE])
    assert [of.status for of in found] == ["ok", "error", "ok", "ok", "ok"]
    assert found[1].error == "RuntimeError" and found[1].entities == ()
    assert len({of.entities for of in found if of.status == "ok"}) == 1


def test_the_vocabulary_does_not_grow(model: Path) -> None:
    annotator = TextAnnotator(model, Settings())
    annotator.annotate(["first one"])
    vocab = annotator.nlp.vocab
    # The length that a vocabulary gives counts what was forgotten, too.
    before = len(vocab.strings), sum(1 for _ in vocab)
    annotator.annotate([f"unheard{i} of{i}" for i in range(50)])
    assert (len(vocab.strings), sum(1 for _ in vocab)) == before


def test_settings_decide_as_on_the_component(model: Path) -> None:
    notes = pd.DataFrame({"id": [1], "text": [NOTE]})

    def found(**settings: Any) -> list[tuple[Any, ...]]:
        entities, _ = annotate_table(notes, model, **settings)
        rows = entities[["start", "end", "label", "probability"]]
        return list(rows.itertuples(index=False, name=None))

    everything = found()
    labels = sorted({of[2] for of in everything})
    assert found(labels=labels[:1]) == [of for of in everything if of[2] == labels[0]]
    middle = sorted(of[3] for of in everything)[len(everything) // 2]
    assert found(min_probability=middle) == [of for of in everything if of[3] >= middle]
    nlp = spacy.load(model)
    nlp.get_pipe("ner").prior_strength = 0.2
    nlp.get_pipe("ner").thresholds = {labels[0]: 1.0}
    by_hand = [(e.start_char, e.end_char, e.label_, e._.probability) for e in nlp(NOTE).ents]
    assert found(prior_strength=0.2, thresholds={labels[0]: 1.0}) == by_hand != everything
    # The settings of one call are not those of the next.
    assert found() == everything


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"labels": ["Drugs"]}, "has no label 'Drugs'. Did you mean Drug?"),
        ({"text": "note"}, "has no column 'note'"),
        ({"min_probability": 1.5}, "min_probability must be a number in"),
        ({"prior_strength": 2.0}, "prior_strength must be a number in"),
        ({"thresholds": {"Drugs": 0.5}}, "Drugs"),
    ],
)
def test_what_cannot_be_asked_for_is_one_line(
    model: Path, settings: dict[str, Any], message: str
) -> None:
    with pytest.raises(ClinicalNerError, match=message):
        annotate_table(pd.DataFrame({"id": [1], "text": [NOTE]}), model, **settings)
