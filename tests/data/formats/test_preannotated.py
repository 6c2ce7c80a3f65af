"""Notes for annotation tools, and what the tools export of them after somebody edited it."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from clinical_ner.data.formats.preannotated import Found, PreAnnotated, write_preannotated
from clinical_ner.data.formats.reading import read_texts
from clinical_ner.errors import ClinicalNerError

#: The last one, of no entity here, has a letter that XML escapes.
LABELS = ["Drug", "Sign", "Dose & form"]
#: Emojis before and in entities, line ends of Windows, and a note without an entity.
TEXTS = {
    "n1": "🙂 Had fever\r\nand chest 🤒 pain. Took aspirin.",
    "n2": "No complaint.",
    "7": "Müde, took aspirin 🙂 twice.",
}
ENTITIES = {
    "n1": [("fever", "Sign"), ("chest 🤒 pain", "Sign"), ("aspirin", "Drug")],
    "n2": [],
    "7": [("aspirin", "Drug")],
}
#: What an annotator adds to each note, and removes from the first.
ADDED = {"n1": ("Took", "Drug"), "n2": ("complaint", "Sign"), "7": ("twice", "Drug")}
Spans = dict[str, list[tuple[int, int, str]]]


def place(text: str, words: str) -> tuple[int, int]:
    start = text.index(words)
    return start, start + len(words)


def notes() -> list[PreAnnotated]:
    found = []
    for id, text in TEXTS.items():
        tokens, start = [], 0
        for words in text.split():
            start = text.index(words, start)
            word = words.rstrip(".,")
            tokens += [(start, start + len(word))]
            tokens += [(start + len(word), start + len(words))] if word != words else []
            start += len(words)
        spans = [Found(*place(text, of), label, 0.75) for of, label in ENTITIES[id]]
        found.append(PreAnnotated(id, text, spans, tokens, {"rank": len(found) + 1, "score": 0.5}))
    return found


def before() -> Spans:
    return {
        id: [(*place(text, of), label) for of, label in ENTITIES[id]] for id, text in TEXTS.items()
    }


def after() -> Spans:
    """Edited: the first entity of the first note is gone, and each note has another one."""
    spans = before()
    del spans["n1"][0]
    for id, (words, label) in ADDED.items():
        spans[id].append((*place(TEXTS[id], words), label))
    return spans


def utf16(text: str, offset: int) -> int:
    return len(text[:offset].encode("utf-16-le")) // 2


def added_utf16(id: str) -> list[Any]:
    words, label = ADDED[id]
    start, end = place(TEXTS[id], words)
    return [utf16(TEXTS[id], start), utf16(TEXTS[id], end), label]


def edit_doccano(path: Path) -> None:
    """As doccano exports: its own id, under what was imported beside text and labels."""
    records = []
    for number, line in enumerate(path.read_text("utf-8").split("\n")[:-1], start=100):
        imported = json.loads(line)
        text, labels = imported.pop("text"), imported.pop("label")
        labels = labels[1:] if imported["id"] == "n1" else labels
        labels = [*labels, added_utf16(imported["id"])]
        records.append({"id": number, "text": text, "label": labels, "Comments": [], **imported})
    path.write_text("".join(json.dumps(of) + "\n" for of in records), "utf-8")


def edit_prodigy(path: Path) -> None:
    """As db-out writes: hashes, and the answer."""
    tasks = [json.loads(line) for line in path.read_text("utf-8").split("\n")[:-1]]
    for number, task in enumerate(tasks):
        id = task["meta"]["id"]
        if id == "n1":
            del task["spans"][0]
        words, label = ADDED[id]
        start, end = place(TEXTS[id], words)
        task["spans"].append({"start": start, "end": end, "label": label})
        task |= {"_input_hash": -number, "_task_hash": number, "answer": "accept"}
        task |= {"_view_id": "ner_manual", "_annotator_id": "a", "_session_id": "a"}
    path.write_text("".join(json.dumps(of) + "\n" for of in tasks), "utf-8")


def edit_label_studio(path: Path) -> None:
    """As the export JSON has it: an annotation made of the prediction, ids of the database."""
    tasks = json.loads(path.read_text("utf-8"))
    for number, task in enumerate(tasks, start=500):
        id = task["meta"]["id"]
        result = task["predictions"][0]["result"][id == "n1" :]
        for of in result:
            # As the browser shows them.
            of["value"]["text"] = of["value"]["text"].replace("\r\n", "\\n")
        start, end, label = added_utf16(id)
        value = {"start": start, "end": end, "text": ADDED[id][0], "labels": [label]}
        of_new = {"from_name": "label", "to_name": "text", "type": "labels", "origin": "manual"}
        result.append({"id": "xY3", **of_new, "value": value})
        task["annotations"] = [{"id": 1, "completed_by": 1, "result": result}]
        task |= {"id": number, "inner_id": number, "predictions": [number], "drafts": []}
    path.write_text(json.dumps(tasks), "utf-8")


def edit_brat(folder: Path) -> None:
    for id, (words, label) in ADDED.items():
        path = folder / f"{id}.ann"
        lines = path.read_text("utf-8").splitlines()
        kept = [line for line in lines if not line.startswith("T1\t") or id != "n1"]
        start, end = place(TEXTS[id], words)
        kept.append(f"T9\t{label} {start} {end}\t{words}")
        path.write_text("".join(f"{line}\n" for line in kept), "utf-8")


FILES: dict[str, tuple[str, Callable[[Path], None]]] = {
    "doccano": ("notes.jsonl", edit_doccano),
    "prodigy": ("notes.jsonl", edit_prodigy),
    "label-studio": ("notes.json", edit_label_studio),
    "brat": ("notes", edit_brat),
}


def write(folder: Path, tool: str) -> Path:
    output = folder / FILES[tool][0]
    labels = LABELS[:2] if tool == "brat" else LABELS
    write_preannotated(notes(), output, tool, labels=labels, model="en_small 1.2.3")
    return output


def read(path: Path) -> Spans:
    documents = list(read_texts(path))
    assert {of.id: of.text for of in documents} == TEXTS
    assert not any(of.faults for of in documents)
    return {of.id: [(m.start, m.end, m.label) for m in of.mentions] for of in documents}


@pytest.mark.parametrize("tool", FILES)
def test_what_was_edited_is_read_back(tool: str, tmp_path: Path) -> None:
    output = write(tmp_path, tool)
    FILES[tool][1](output)
    assert read(output) == after()


@pytest.mark.parametrize("tool", ["doccano", "prodigy", "brat"])
def test_what_nobody_edited_is_read_too(tool: str, tmp_path: Path) -> None:
    assert read(write(tmp_path, tool)) == before()


def test_doccano_has_labels_in_utf16_and_keeps_the_rest(tmp_path: Path) -> None:
    # As its importer parses them: a list of two numbers and a string each, others of the record.
    lines = write(tmp_path, "doccano").read_text("utf-8").split("\n")[:-1]
    records = [json.loads(line) for line in lines]
    assert [of["id"] for of in records] == list(TEXTS)
    text = TEXTS["n1"].encode("utf-16-le")
    quotes = [text[2 * s : 2 * e].decode("utf-16-le") for s, e, _ in records[0]["label"]]
    assert quotes == ["fever", "chest 🤒 pain", "aspirin"]
    assert records[0]["probability"] == [0.75] * 3
    assert records[0]["review"] == {"rank": 1, "score": 0.5}


def test_prodigy_has_tokens_that_spans_fit(tmp_path: Path) -> None:
    lines = write(tmp_path, "prodigy").read_text("utf-8").split("\n")[:-1]
    for task in map(json.loads, lines):
        for number, token in enumerate(task["tokens"]):
            assert token["id"] == number
            assert task["text"][token["start"] : token["end"]] == token["text"]
            assert token["ws"] == (task["text"][token["end"] :][:1] == " ")
        for span in task["spans"]:
            first, last = (task["tokens"][span[f"token_{of}"]] for of in ("start", "end"))
            assert (first["start"], last["end"]) == (span["start"], span["end"])
            assert span["score"] == 0.75
        assert task["meta"].keys() == {"id", "rank", "score"}


def test_label_studio_has_predictions_for_its_interface(tmp_path: Path) -> None:
    tasks = json.loads(write(tmp_path, "label-studio").read_text("utf-8"))
    view = ElementTree.fromstring((tmp_path / "notes.xml").read_text("utf-8"))
    control, shown = view
    assert [of.get("value") for of in control] == LABELS
    assert [control.tag, shown.tag, shown.get("value")] == ["Labels", "Text", "$text"]
    for task, text in zip(tasks, TEXTS.values(), strict=True):
        assert task["data"] == {"text": text}
        (prediction,) = task["predictions"]
        assert prediction["model_version"] == "en_small 1.2.3"
        ids = [of["id"] for of in prediction["result"]]
        assert len(set(ids)) == len(ids)
        for of in prediction["result"]:
            assert (of["from_name"], of["to_name"]) == (control.get("name"), shown.get("name"))
            assert of["type"] == "labels" and of["score"] == 0.75
            start, end = of["value"]["start"], of["value"]["end"]
            units = text.encode("utf-16-le")[2 * start : 2 * end]
            assert units.decode("utf-16-le") == of["value"]["text"]
    assert [of["predictions"][0]["score"] for of in tasks] == [0.75, None, 0.75]


def test_label_studio_takes_what_is_written(tmp_path: Path) -> None:
    reason = "label-studio-sdk is not installed: it wants an older numpy than is pinned here"
    sdk = pytest.importorskip("label_studio_sdk.label_interface", reason=reason)
    tasks = json.loads(write(tmp_path, "label-studio").read_text("utf-8"))
    interface = sdk.LabelInterface((tmp_path / "notes.xml").read_text("utf-8"))
    interface.validate()
    for task in tasks:
        assert interface.validate_task({"data": task["data"]})
        assert interface.validate_prediction(task["predictions"][0], return_errors=True) == []


def test_brat_has_its_types_and_a_probability_for_each_mention(tmp_path: Path) -> None:
    folder = write(tmp_path, "brat")
    assert (folder / "annotation.conf").read_text().startswith("[entities]\nDrug\nSign\n")
    lines = (folder / "7.ann").read_text("utf-8").splitlines()
    assert lines == ["T1\tDrug 11 18\taspirin", "#1\tAnnotatorNotes T1\tprobability 0.7500"]
    assert (folder / "n1.txt").read_bytes() == TEXTS["n1"].encode()


def test_an_entity_without_a_probability_has_none(tmp_path: Path) -> None:
    (note,) = (of._replace(entities=[Found(0, 2, "Drug", None)]) for of in notes()[1:2])
    for tool, (name, _) in FILES.items():
        write_preannotated([note], tmp_path / name, tool, labels=["Drug"], model="m")
        (tmp_path / name).rename(tmp_path / tool)
    assert json.loads((tmp_path / "doccano").read_text())["probability"] == [None]
    assert json.loads((tmp_path / "label-studio").read_text())[0]["predictions"][0]["score"] is None
    assert (tmp_path / "brat" / "n2.ann").read_text() == "T1\tDrug 0 2\tNo\n"


def test_what_brat_cannot_hold_leaves_nothing(tmp_path: Path) -> None:
    bad = [of._replace(entities=[Found(0, 2, "two words", 0.5)]) for of in notes()]
    with pytest.raises(ClinicalNerError, match="holds whitespace"):
        write_preannotated(bad, tmp_path / "brat", "brat", labels=["two words"], model="m")
    assert list(tmp_path.iterdir()) == []


def test_the_id_that_was_imported_goes_before_that_of_label_studio(tmp_path: Path) -> None:
    task = {"data": {"text": "fever"}, "annotations": [{"result": []}]}
    tasks = [{"id": 1, "meta": {"id": "a"}}, {"id": 2, "meta": {}}, {"id": 3, "meta": None}]
    (tmp_path / "a.json").write_text(json.dumps([task | of for of in tasks]))
    assert [of.id for of in read_texts(tmp_path / "a.json")] == ["a", "2", "3"]
