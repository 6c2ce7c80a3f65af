"""The queue of notes to annotate, and whether they are other ones than training's."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
from spacy.tokens import Span

from clinical_ner import convert, review
from clinical_ner.annotate.reviewer import Reviewer
from clinical_ner.cli import main
from clinical_ner.data.formats.docbin import write_docbin
from clinical_ner.data.formats.reading import read_texts
from clinical_ner.errors import ClinicalNerError
from clinical_ner.scoring.queue import expected_gain, queue

from ..fitting.stores import LABELS, make_document, train_pipeline

COUNT = 12


@pytest.fixture(scope="module")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("notes") / "notes.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows()))
    return path


def rows() -> list[dict[str, str]]:
    nlp = spacy.blank("en")
    return [{"id": f"n{i}", "text": make_document(nlp, i).text} for i in range(COUNT)]


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(["review", *map(str, args)])
    return int(stopped.value.code or 0)


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def docs_file(path: Path, numbers: range) -> Path:
    nlp = spacy.blank("en")
    write_docbin([make_document(nlp, number) for number in numbers], path)
    return path


def test_the_queue_is_that_of_its_numbers_and_holds_no_text(
    model: Path, notes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "queue.jsonl"
    assert run(model, notes, "-o", output) == 0
    shown, found = capsys.readouterr(), lines(output)
    assert f"First 10 of {COUNT} notes" in shown.out and f"{COUNT} notes ({COUNT} ok)" in shown.out
    for text in (shown.out, shown.err, output.read_text()):
        assert not any(word in text for word in ("fever", "aspirin", "Patient"))
    assert [of["rank"] for of in found] == list(range(1, COUNT + 1))
    # The same by hand.
    reviewer = Reviewer(model, keeps_classes=False)
    assert reviewer.rare and set(reviewer.rare) < set(LABELS)
    measured = reviewer.annotate([of["text"] for of in rows()])
    assert measured[0].measured.classes.shape == (0, 1 + len(LABELS))
    rare = [sum(reviewer.expected_rare(of.measured).values()) for of in measured]
    uncertainty = [of.measured.uncertainty for of in measured]
    words = np.array([float(of.words) for of in measured])
    gain = expected_gain(np.array(uncertainty), np.array(rare), words)
    places = queue(gain, np.array([of.measured.vector for of in measured]))
    assert [of["id"] for of in found] == [f"n{place.note}" for place in places]
    assert [of["score"] for of in found] == pytest.approx([place.score for place in places])
    assert [of["uncertainty"] for of in found] == pytest.approx(
        [uncertainty[place.note] for place in places]
    )
    # Three notes of twelve are alike but for a number: not one after the other.
    assert len({int(of["id"][1:]) % 5 for of in found[:4]}) == 4
    report = review(model, notes, tmp_path / "again.jsonl", limit=3)
    assert report["queue"] == lines(tmp_path / "again.jsonl") == found[:3]


def test_what_is_measured_is_what_the_component_says(model: Path) -> None:
    nlp, text = spacy.load(model), rows()[0]["text"]
    component: Any = nlp.get_pipe("ner")
    doc = nlp(text)
    (found,) = Reviewer(model, keeps_classes=True).annotate([text])
    assert [of[:3] for of in found.entities] == [
        (of.start_char, of.end_char, of.label_) for of in doc.ents
    ]
    probabilities = np.exp(component.predict([doc])[0])
    by_class = [probabilities[:, 0], *(probabilities[:, [i, i + 1]].sum(1) for i in (1, 3, 5))]
    assert found.measured.classes == pytest.approx(np.stack(by_class, axis=1), abs=1e-6)
    assert found.measured.classes.sum(axis=1) == pytest.approx(1.0)
    sums = dict.fromkeys(component.labels, 0.0)
    for candidate in component.candidates(doc, 1e-9):
        sums[candidate.label] += candidate.probability
    assert found.measured.expected == pytest.approx(list(sums.values()), abs=1e-4)
    assert found.measured.vector == pytest.approx(component.token_vectors([doc])[0].mean(axis=0))
    assert found.measured.tokens.tolist() == [[of.idx, of.idx + len(of)] for of in doc]


@pytest.mark.parametrize(
    ("tool", "name"), [("doccano", "a.jsonl"), ("prodigy", "a.jsonl"), ("brat", "a")]
)
def test_notes_for_a_tool_are_converted_back(
    model: Path, tool: str, name: str, tmp_path: Path
) -> None:
    text = "🙂 Patient had fever\r\nand took aspirin ."
    given = [*rows(), {"id": "emoji", "text": text}]
    source, output = tmp_path / "notes.jsonl", tmp_path / name
    source.write_text("".join(json.dumps(of) + "\n" for of in given))
    report = review(model, source, output, to=tool, limit=COUNT + 1)
    found = {of.id: of for of in read_texts(output)}
    assert {id: of.text for id, of in found.items()} == {of["id"]: of["text"] for of in given}
    for id, of in found.items():
        doc = spacy.load(model)(of.text) if id == "emoji" else None
        ents = [(e.start_char, e.end_char, e.label_) for e in doc.ents] if doc else None
        spans = [(m.start, m.end, m.label) for m in of.mentions]
        assert ents is None or spans == ents != []
    convert(output, tmp_path / "back.spacy")
    assert report["written"] == [str(output), str(tmp_path / "a.queue.jsonl")]
    assert lines(tmp_path / "a.queue.jsonl") == report["queue"]


def test_label_studio_gets_tasks_in_the_order_of_the_queue(
    model: Path, notes: Path, tmp_path: Path
) -> None:
    report = review(model, notes, tmp_path / "a.json", to="label-studio", limit=5)
    tasks = json.loads((tmp_path / "a.json").read_text())
    assert [of["meta"]["id"] for of in tasks] == [of["id"] for of in report["queue"]]
    assert [of["meta"]["review"]["rank"] for of in tasks] == [1, 2, 3, 4, 5]
    assert (tmp_path / "a.xml").read_text().count("<Label value=") == len(LABELS)


def test_notes_that_fail_are_named_and_the_others_are_in_the_queue(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "notes.jsonl"
    given = [{"id": "a", "text": "had fever ."}, {"id": "a", "text": "had cough ."}]
    given += [{"id": None, "text": "had cough ."}, {"id": "b", "text": 7}, {"id": "c", "text": " "}]
    source.write_text("".join(json.dumps(of) + "\n" for of in given) + "not json\n")
    assert run(model, source, "-o", tmp_path / "q.jsonl", "--json") == 3
    report = json.loads(capsys.readouterr().out)
    assert report["status"] == {"ok": 1, "error": 4, "empty": 1}
    assert report["failed"] == [
        {"row": 1, "id": "a", "error": "DuplicateIdError"},
        {"row": 2, "id": None, "error": "MissingIdError"},
        {"row": 3, "id": "b", "error": "TypeError"},
        {"row": 5, "id": None, "error": "JSONDecodeError"},
    ]
    assert [of["id"] for of in lines(tmp_path / "q.jsonl")] == ["a"]
    assert run(model, source, "-o", tmp_path / "r.jsonl") == 3
    assert "note 2 (a): DuplicateIdError" in capsys.readouterr().out
    source.write_text(json.dumps(given[4]))
    with pytest.raises(ClinicalNerError, match="no note that can be annotated"):
        review(model, source, tmp_path / "s.jsonl")
    assert not (tmp_path / "s.jsonl").exists()


def test_ids_that_an_export_cannot_hold_fail_for_it_only(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = tmp_path / "n.jsonl"
    given = [{"id": of, "text": "had fever ."} for of in ("ok", "../up", "a\nb", " ")]
    source.write_text("\n".join(map(json.dumps, given)))
    report = review(model, source, tmp_path / "brat", to="brat")
    assert [of["error"] for of in report["failed"]] == ["FileNameError"] * 2
    report = review(model, source, tmp_path / "d.jsonl", to="doccano")
    assert [of["error"] for of in report["failed"]] == ["NoteIdError"] * 2
    assert [of.id for of in read_texts(tmp_path / "d.jsonl")]
    assert run(model, source, "-o", tmp_path / "q.jsonl") == 0
    assert "../up" in (out := capsys.readouterr().out) and "#" in out and "a\nb" not in out


def test_outputs_that_would_destroy_something_are_refused(
    model: Path, notes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, to in (("q.csv", None), ("q.json", "doccano"), ("q.jsonl", "label-studio")):
        with pytest.raises(ClinicalNerError, match="ends in"):
            review(model, notes, tmp_path / name, to=to)
    with pytest.raises(ClinicalNerError, match="is a folder, without"):
        review(model, notes, tmp_path / "q.brat", to="brat")
    with pytest.raises(ClinicalNerError, match="which is read"):
        review(model, notes, notes, overwrite=True)
    (tmp_path / "a.queue.jsonl").write_text("mine")
    with pytest.raises(ClinicalNerError, match="exists"):
        review(model, notes, tmp_path / "a.jsonl", to="doccano")
    assert os.listdir(tmp_path) == ["a.queue.jsonl"]
    review(model, notes, tmp_path / "a.jsonl", to="doccano", limit=1, overwrite=True)
    assert len(lines(tmp_path / "a.queue.jsonl")) == 1
    assert run(model, notes, "-o", tmp_path / "q.jsonl", "--to", "excel") == 2
    assert run(model, notes, "-o", tmp_path / "q.jsonl", "--held-out", notes) == 2
    assert "only with --against" in capsys.readouterr().err


def test_a_model_without_probabilities_is_refused(notes: Path, tmp_path: Path) -> None:
    documents = [make_document(spacy.blank("en"), number) for number in range(5)]
    loss = {"@losses": "clinical_ner.SoftDice.v1"}
    train_pipeline(documents, steps=1, loss=loss).to_disk(tmp_path / "model")
    with pytest.raises(ClinicalNerError, match="SoftDice"):
        review(tmp_path / "model", notes, tmp_path / "q.jsonl")


def test_notes_like_those_of_training_raise_no_alarm(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    training = docs_file(tmp_path / "train.spacy", range(15))
    held_out = docs_file(tmp_path / "dev.spacy", range(20, 35))
    (tmp_path / "n.jsonl").write_text("".join(json.dumps(of) + "\n" for of in rows()))
    output = tmp_path / "q.jsonl"
    args = (model, tmp_path / "n.jsonl", "-o", output, "--against", training)
    assert run(*args, "--held-out", held_out, "--json") == 0
    found = json.loads(capsys.readouterr().out)["shift"]
    assert found["alarm"] is False and found["reference"] == "held out"
    assert found["documents"] == {"reference": 15, "notes": COUNT}
    assert set(found["tests"]) == {"unseen_words", "token_uncertainty", "type_shares"}
    for key in ("training", "counted", "estimated"):
        assert sum(of[key] for of in found["types"].values()) == pytest.approx(1.0, abs=1e-5)
    assert set(found["types"]) == {"O", *LABELS}
    # Words only, of training documents against the others.
    assert run(*args, "--overwrite") == 0
    shown = capsys.readouterr().out
    assert "No alarm" in shown and "against 15 training" in shown
    assert "mean of 1 - max p" not in shown


def test_telegraphic_notes_raise_the_alarm(model: Path, tmp_path: Path) -> None:
    training = docs_file(tmp_path / "train.spacy", range(15))
    held_out = docs_file(tmp_path / "dev.spacy", range(20, 35))
    notes = [f"pt c/o sob x{i}d, hx cabg, r/o mi ; tx asa" for i in range(10)]
    source = tmp_path / "n.jsonl"
    source.write_text(
        "".join(json.dumps({"id": i, "text": of}) + "\n" for i, of in enumerate(notes))
    )
    for name, documents in (("a", None), ("b", held_out)):
        report = review(
            *(model, source, tmp_path / f"{name}.jsonl"), against=training, held_out=documents
        )
        words = report["shift"]["tests"]["unseen_words"]
        assert words["notes"] == 1.0 and words["reference"] < 0.1
        assert words["p"] < 0.01 and report["shift"]["alarm"] is True


def test_words_of_one_training_document_are_unseen_by_the_others(
    model: Path, tmp_path: Path
) -> None:
    nlp = spacy.blank("en")
    texts = ["fever and cough", "fever and zoster"]
    docs = [nlp.make_doc(text) for text in texts]
    for doc in docs:
        doc.set_ents([], default="outside")
    write_docbin(docs, tmp_path / "train.spacy")
    (tmp_path / "n.jsonl").write_text(json.dumps({"id": 1, "text": "Fever and Cough 12 stent ."}))
    report = review(
        model, tmp_path / "n.jsonl", tmp_path / "q.jsonl", against=tmp_path / "train.spacy"
    )
    words = report["shift"]["tests"]["unseen_words"]
    assert words["reference"] == pytest.approx(1 / 3)
    assert words["notes"] == pytest.approx(1 / 4)


def test_entities_that_overlap_are_measured_and_exported(tmp_path: Path) -> None:
    blank = spacy.blank("en")
    documents = [make_document(blank, number) for number in range(15)]
    for doc in documents:
        # Inside of "severe fever" there is another one.
        inner = [doc[ent.end - 1 : ent.end] for ent in doc.ents if ent.text == "severe fever"]
        drugs = [Span(doc, of.start, of.end, label="Drug") for of in inner]
        doc.spans["gold_all"] = [*doc.ents, *drugs]
    loss = {"@losses": "clinical_ner.BinaryTokenLabels.v2", "problems": "all"}
    nlp = train_pipeline(documents, steps=150, loss=loss, overlaps=True)
    nlp.to_disk(tmp_path / "model")
    (found,) = Reviewer(tmp_path / "model", keeps_classes=True).annotate([documents[0].text])
    assert found.measured.classes.sum(axis=1) == pytest.approx(1.0)
    spans = {(documents[0].text[of.start : of.end], of.label) for of in found.entities}
    assert {("severe fever", "Sign"), ("fever", "Drug")} <= spans
    source = tmp_path / "n.jsonl"
    source.write_text(json.dumps({"id": "a", "text": documents[0].text}))
    for tool, name in (("prodigy", "p.jsonl"), ("brat", "b")):
        review(tmp_path / "model", source, tmp_path / name, to=tool)
        (document,) = read_texts(tmp_path / name)
        read = {(documents[0].text[of.start : of.end], of.label) for of in document.mentions}
        assert read == spans
