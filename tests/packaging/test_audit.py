"""Words of notes are found wherever a file holds them, and nothing else is taken for one."""

from __future__ import annotations

import gzip
import io
import json
import pickle
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
import srsly
import torch
from safetensors.numpy import save as save_tensors
from sklearn.metrics import roc_auc_score
from spacy.language import Language
from spacy.tokens import Span

from clinical_ner.cli import main
from clinical_ner.data.formats.docbin import write_docbin
from clinical_ner.data.mentions import AnnotatedText, Mention
from clinical_ner.errors import InputError
from clinical_ner.evaluation.membership import auc
from clinical_ner.packaging.audit import search
from clinical_ner.pipeline.saving import save_pipeline

from ..pipeline.examples import TRAIN, make_examples

NAME = "Quixleybury"
NUMBER = "4711002233"
NOTE = AnnotatedText("note-7", f"Patient {NAME}, record {NUMBER}, Müllerström.", ())


def zipped(name: str, content: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return file.getvalue()


def saved(write: Callable[[io.BytesIO], Any]) -> bytes:
    write(file := io.BytesIO())
    return file.getvalue()


#: Some noise that is not text.
NOISE = bytes(range(128, 192)) * 4
HOLDERS: dict[str, bytes] = {
    "text": f"name = {NAME}".encode(),
    "lower case, escaped in JSON": json.dumps({"m\u00fcllerstr\u00f6m": 1}).encode(),
    "number in JSON": json.dumps([int(NUMBER)]).encode(),
    "JSON in msgpack in msgpack": srsly.msgpack_dumps(
        {"model": srsly.msgpack_dumps({"cfg": json.dumps({"labels": [NAME]})})}
    ),
    "between bytes": NOISE + NAME.encode() + NOISE,
    "between bytes, not ASCII": NOISE + "Müllerström".encode() + NOISE,
    "glued to letters": NOISE + b"xx" + NAME.encode() + b"yy" + NOISE,
    "UTF-16": NOISE + NAME.encode("utf-16-le") + NOISE,
    "NumPy's strings": saved(lambda file: np.savez_compressed(file, words=np.array([NAME]))),
    "pickle": pickle.dumps({"words": [NAME], "rows": np.ones(3)}),
    "torch": saved(lambda file: torch.save({"weights": torch.ones(3), "note": NAME}, file)),
    "safetensors": save_tensors({"rows": np.ones(99, np.float32)}, metadata={"by": NAME}),
    "gzip": gzip.compress(NAME.encode()),
    "zlib": zlib.compress(srsly.msgpack_dumps([NAME])),
    "zip in zip": zipped("outer.zip", zipped("inner.txt", NAME.encode())),
    "name of a member": zipped(f"{NAME}.txt", b""),
}


@pytest.mark.parametrize("holder", HOLDERS)
def test_a_word_is_found_in(holder: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(HOLDERS[holder])
    report = search(tmp_path, [NOTE], show_text=True)
    assert [len(words) for words in report["text"].values()] == [1]
    assert list(report["found"])[0].startswith("file")


def test_the_words_of_labels_tokenizers_and_languages_are_not_searched_for(tmp_path: Path) -> None:
    text = "Zorbology of the quaggas in zorbonotes thereupon an arrhythmia, components, 1234 or abc"
    mention = Mention("T1", "Zorbology_label", ((0, 9),))
    vocab = {"model": {"vocab": {"Ġarrhythmia": 1}}, "normalized": True}
    (tmp_path / "tokenizer.json").write_text(json.dumps(vocab), encoding="utf-8")
    meta = {"lang": "en", "spacy_version": ">=3", "name": "zorbonotes"}
    (tmp_path / "meta.json").write_text(json.dumps(meta), encoding="utf-8")
    (tmp_path / "strings.json").write_text(json.dumps(text.split()), encoding="utf-8")
    report = search(tmp_path, [AnnotatedText("1", text, (mention,))], show_text=True)
    assert report["text"] == {"strings.json": ["quaggas"]}
    assert report["words"] == 1


def test_a_definition_hides_a_word_only_where_definitions_are_quoted(tmp_path: Path) -> None:
    card = {"definitions": {"Sign": f"What {NAME} felt."}}
    meta = {"spacy_version": ">=3.8", "lang": "en", "model_card": card}
    (tmp_path / "meta.json").write_text(json.dumps(meta))
    (tmp_path / "README.md").write_text(f"| Sign | What {NAME} felt. |")
    assert search(tmp_path, [NOTE])["found"] == {}
    (tmp_path / "strings.json").write_text(json.dumps([NAME]))
    (tmp_path / "METADATA").write_text(f"What {NAME} felt. Record {NUMBER}.")
    assert search(tmp_path, [NOTE])["found"] == {"strings.json": 1, "METADATA": 1}


@pytest.mark.parametrize("kind", ["nested", "damaged"])
def test_what_cannot_be_searched_is_an_error(kind: str, tmp_path: Path) -> None:
    data = zipped("a.txt", b"ab" * 99)[:-40]
    for _ in range(1100 if kind == "nested" else 0):
        data = zlib.compress(data)
    (tmp_path / "file").write_bytes(data)
    with pytest.raises(InputError, match="nested too deeply|damaged archive"):
        search(tmp_path, [NOTE])


def test_weights_hold_no_word_by_chance(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    (tmp_path / "weights").write_bytes(random.normal(0, 0.05, 3_000_000).astype("f4").tobytes())
    letters = list("abcdefghijklmnopqrstuvwxyz")
    words = " ".join("".join(random.choice(letters, size)) for size in [4, 5, 6, 8, 12] * 400)
    report = search(tmp_path, [AnnotatedText("1", words, ())])
    assert report["found"] == {} and report["words"] > 1900


@pytest.fixture(scope="module")
def trained() -> Language:
    """A pipeline that knows its four notes by heart, each with a name in it."""
    nlp = spacy.blank("en")
    nlp.add_pipe("clinical_ner", name="ner")
    data = [(f"{text} {NAME}{'abcd'[n]}", ents) for n, (text, ents) in enumerate(TRAIN)]
    examples = make_examples(nlp, data)
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(60):
        nlp.update(examples, sgd=optimizer)
    return nlp


def notes(nlp: Language, suffix: str = "") -> list[Any]:
    data = [(f"{text} {NAME}{'abcd'[n]}{suffix}", ents) for n, (text, ents) in enumerate(TRAIN)]
    return [example.reference for example in make_examples(nlp, data)]


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["audit", *map(str, args)])
    return int(ended.value.code or 0)


def test_the_command_tells_a_stock_model_from_ours(
    trained: Language, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    corpus = tmp_path / "train.spacy"
    write_docbin(notes(trained), corpus)
    trained.to_disk(tmp_path / "stock")
    save_pipeline(trained, tmp_path / "ours")
    assert run(tmp_path / "ours", "--corpus", corpus) == 0
    assert "None of" in capsys.readouterr().out
    assert run(tmp_path / "stock", "--corpus", corpus) == 1
    printed = capsys.readouterr()
    assert "vocab/strings.json" in printed.out
    assert NAME.lower() not in (printed.out + printed.err).lower()
    assert run(tmp_path / "stock", "--corpus", corpus, "--show-text") == 1
    assert f"{NAME.lower()}a" in capsys.readouterr().out
    report = tmp_path / "audit.json"
    command = [tmp_path / "ours", "--corpus", corpus, "--output", report]
    assert run(*command) == run(*command) == 0
    written = report.read_bytes()
    report.write_bytes(b"mine")
    assert run(*command) == 1
    assert "this command did not write it" in capsys.readouterr().err
    assert report.read_bytes() == b"mine"
    assert run(*command, "--overwrite") == 0
    assert report.read_bytes() == written


def test_membership_is_told_where_notes_are_known_by_heart(
    trained: Language, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    # Gold of the others is wrong: the model cannot be right on them.
    others = notes(trained)
    for doc in others:
        doc.set_ents([Span(doc, 0, 1, label="Drug")])
    for name, docs in {"train": notes(trained), "test": others}.items():
        write_docbin(docs, tmp_path / f"{name}.spacy")
    save_pipeline(trained, tmp_path / "model")
    report = tmp_path / "audit.json"
    arguments = ["--corpus", tmp_path / "train.spacy", "--membership", tmp_path / "test.spacy"]
    assert run(tmp_path / "model", *arguments, "--output", report, "--json") == 0
    measured = json.loads(report.read_text(encoding="utf-8"))["membership"]
    assert json.loads(capsys.readouterr().out)["membership"] == measured
    assert measured["gold_tag"] == {"auc": 1.0, "interval": [1.0, 1.0]}
    # Without the annotation both are the same texts.
    assert measured["most_probable_tag"]["auc"] == 0.5
    assert measured["before_calibration"] is None


def test_the_auc_is_that_of_all_pairs() -> None:
    random = np.random.default_rng(1)
    members, others = (
        random.integers(0, 9, 13).astype(float),
        random.integers(-2, 7, 8).astype(float),
    )
    weights, other_weights = random.integers(0, 4, (5, 13)), random.integers(0, 4, (5, 8))
    expected = [
        roc_auc_score(
            np.r_[np.ones(13), np.zeros(8)],
            np.r_[members, others],
            sample_weight=np.r_[weights[n], other_weights[n]],
        )
        for n in range(5)
    ]
    np.testing.assert_allclose(auc(members, others, weights, other_weights), expected)
