"""Unmistakable strings are planted in notes, and looked for in everything that is written.

Every command runs at debug level, also on faulty input. The search is another one than that of
``audit``: what it does not find in a model of ours, it finds in one that stock spaCy saved.
"""

from __future__ import annotations

import contextlib
import io
import json
import logging
import shutil
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pytest
import spacy
import srsly
from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span
from spacy.training import Example
from spacy.vocab import Vocab

from clinical_ner.cli import main
from clinical_ner.data.formats.docbin import read_docbin
from clinical_ner.data.formats.reading import read_texts
from clinical_ner.packaging.audit import search

from .conftest import ROOT, write_tiny_recipe
from .model.tiny_encoder import write_encoder

#: A name and a record number for each note.
CANARIES = [(f"Qvyxander{letter}zz Wrzlbrax", f"90773155{n}41") for n, letter in enumerate("abcde")]
IDS = [f"zqdoc-{n}x{n}" for n in range(12)]
#: What is searched for, in lower case.
WORDS = sorted({part.lower() for canary in CANARIES for part in " ".join(canary).split()})


def decoded(data: bytes) -> Iterator[bytes]:
    """The bytes, and all that is packed in them in any way that a file here is."""
    yield data
    yield data.replace(b"\0", b"")
    with contextlib.suppress(zipfile.BadZipFile), zipfile.ZipFile(io.BytesIO(data)) as archive:
        for name in archive.namelist():
            yield name.encode()
            yield from decoded(archive.read(name))
    with contextlib.suppress(zlib.error):
        if unpacked := zlib.decompressobj(wbits=47).decompress(data):
            yield from decoded(unpacked)
    for read in (srsly.msgpack_loads, json.loads):
        with contextlib.suppress(Exception):
            pending = [read(data)]
            while pending:
                value = pending.pop()
                if isinstance(value, dict):
                    pending += [*value.keys(), *value.values()]
                elif isinstance(value, list | tuple):
                    pending += value
                elif isinstance(value, bytes):
                    yield from decoded(value)
                else:
                    yield str(value).encode()


def holding(paths: Iterable[Path], words: Iterable[str]) -> dict[str, set[str]]:
    """The words that the files hold, by the name of the file."""
    found: dict[str, set[str]] = {}
    for path in (file for file in paths if file.is_file()):
        for part in decoded(path.read_bytes()):
            lower = part.lower()
            if hits := {word for word in words if word.encode() in lower}:
                found[path.name] = found.get(path.name, set()) | hits
    return found


def write_notes(folder: Path) -> Path:
    folder.mkdir(parents=True)
    for n, name in enumerate(IDS):
        person, record = CANARIES[n % 5]
        text = f"{person}, record {record}, had fever and took aspirin for {'abcd'[n % 4]} days."
        marks = [("Person", person), ("Sign", "fever"), ("Drug", "aspirin")]
        lines = [
            f"T{i}\t{label} {text.index(part)} {text.index(part) + len(part)}\t{part}\n"
            for i, (label, part) in enumerate(marks, 1)
        ]
        (folder / f"{name}.txt").write_text(text, encoding="utf-8")
        (folder / f"{name}.ann").write_text("".join(lines), encoding="utf-8")
    return folder


def write_faults(folder: Path, notes: Path, good: Path, model: Path) -> dict[str, list[object]]:
    """Commands that must fail, or do their work, without a word of the notes."""
    person, record = CANARIES[0]
    moved = shutil.copytree(notes, folder / "moved")
    (moved / f"{IDS[0]}.ann").write_text(f"T1\tPerson 3 9\t{person}\nT2\tPerson 7 9999\t{record}\n")
    files = {
        "broken.jsonl": f'{{"text": "{person}", "entities": [[0, 3, "A"]], \n',
        "beyond.jsonl": json.dumps({"text": person, "entities": [[0, 999, record]]}) + "\n",
        "ragged.conll": f"{person.split()[0]} B-Person\n{record}\n",
        "bare.txt": f"{person} {record}\n",
        "map.csv": f"{person},{record},x\n",
        "keys.jsonl": json.dumps({person: record}) + "\n",
        "bad.jsonl": f'{{"id": 1, "text": "{person} had fever."}}\n{{"id": 2, "text": {record}}}\n'
        f'{{"id": 3, "text": "{person}\n["{record}"]\n{{"id": [4], "text": "{person}"}}\n',
        "config.cfg": f"[nlp]\nlang = {person}\n{record}\n",
    }
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")
    cut, edged = folder / "cut.spacy", folder / "edged.spacy"
    cut.write_bytes(good.read_bytes()[:-40])
    doc = spacy.blank("en")(f"{person}\n had fever")
    doc.set_ents([Span(doc, 0, 3, "Person")], default="outside")
    DocBin(docs=[doc]).to_disk(edged)
    split, out = ["--train", good, "--dev", good], folder / "out"
    return {
        **{f"convert {name}": ["convert", folder / name, folder / "o.spacy"] for name in files},
        "moved": ["convert", moved, folder / "o.spacy"],
        "recorded": ["convert", moved, folder / "o.spacy", "--errors", "record"],
        "label map": ["convert", notes, folder / "o.spacy", "--label-map", folder / "map.csv"],
        "cut": ["check", cut],
        "no config": ["train", folder / "bare.txt", out, *split],
        "config": ["train", folder / "config.cfg", out, *split],
        "no tokens": ["train", ROOT / "configs" / "tok2vec.cfg", out, "--train", cut, "--dev", cut],
        "no model": ["evaluate", folder, good],
        "metrics": ["package", folder, out, "--metrics", folder / "map.csv", "--corpus", notes],
        "predict map.csv": ["predict", model, folder / "map.csv", "-o", out / "o.jsonl"],
        "predict keys.jsonl": ["predict", model, folder / "keys.jsonl", "-o", out / "o.jsonl"],
        # Stopped at its third record, which leaves its parts and their manifest.
        "predict stops": ["predict", model, folder / "bad.jsonl", "-o", folder / "run" / "s.jsonl"]
        + ["--errors", "stop"],
        "review map.csv": ["review", model, folder / "map.csv", "-o", out / "q.jsonl"],
        "predict records": ["predict", model, folder / "bad.jsonl", "-o", folder / "run" / "r.csv"],
    }


def misaligned(*args: Any, **settings: Any) -> None:
    """What spaCy does with gold that does not fit: a warning and an error, which quote the note."""
    person = CANARIES[0][0]
    Example.from_dict(Doc(Vocab(), words=person.split()), {"entities": [(1, 3, "Person")]})
    raise ValueError(f"[E949] Unable to align tokens: {person}")


def unlearnable(*args: Any, **settings: Any) -> None:
    """As spaCy's ner may say of entities with whitespace at their edges."""
    raise ValueError(f"[E024] Could not find an optimal move: {CANARIES[0][0]}")


def run(log: io.StringIO, *args: object) -> int:
    """Run a command with all that it prints and logs in one place."""
    handler = logging.StreamHandler(log)
    loggers = [logging.getLogger(), logging.getLogger("spacy")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.addHandler(handler)
        logger.setLevel(logging.DEBUG)
    try:
        with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
            main([*map(str, args)])
    except SystemExit as ended:
        return int(ended.code or 0)
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.removeHandler(handler)
            logger.setLevel(level)
    raise AssertionError("main() always exits")


@pytest.fixture(scope="module", params=["tok2vec", "minilm"])
def work(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All commands from notes to a wheel, whose output is in the file log."""
    folder = tmp_path_factory.mktemp(request.param)
    notes, all_ = write_notes(folder / "notes"), folder / "corpus" / "all.spacy"
    library = folder / "library" / "clinical_ner"
    library.mkdir(parents=True)
    (library / "__init__.py").touch()
    stub = "[metadata]\nname = clinical-ner\nversion = 0.1.0\n[options]\npackages = clinical_ner\n"
    (library.parent / "setup.cfg").write_text(stub)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, library.parent)
    recipe, encoder = write_tiny_recipe(folder / "tiny.cfg"), ""
    if request.param == "minilm":
        recipe = ROOT / "configs" / "minilm.cfg"
        encoder = str(write_encoder(folder / "encoder", places=128))
    train, dev, test = (folder / "corpus" / f"{part}.spacy" for part in ("train", "dev", "test"))
    training, metrics = folder / "training", folder / "metrics"
    models = [training / name for name in ("model-best", "near", "calibrated", "tuned")]
    log = io.StringIO()
    steps: list[list[object]] = [
        ["convert", notes, all_, "--report", folder / "corpus" / "report.jsonl"],
        ["split", all_, folder / "corpus", "--dev", 0.2, "--test", 0.2],
        ["check", train, dev, test, "--output", metrics / "check.json"],
        ["train", recipe, training, "--train", train, "--dev", dev, "--epochs", 20]
        + ["--encoder", encoder],
        ["neighbours", models[0], train, dev, models[1]],
        ["calibrate", models[1], dev, models[2]],
        ["tune", models[2], dev, models[3], "--prior-strengths", "0,1"],
        ["evaluate", models[3], test, "--output", metrics / "test.json"],
        ["report", models[3], test, "--output", metrics / "report.html"],
        ["audit", models[3], "--corpus", train, "--membership", test]
        + ["--output", metrics / "audit.json"],
        ["card", models[3], "--metrics", metrics / "test.json", "--corpus", notes]
        + ["--audit", metrics / "audit.json", "--output", metrics / "card.md"],
        ["package", models[3], folder / "packages", "--metrics", metrics / "test.json"]
        + ["--corpus", notes, "--library", library.parent, "--audit", metrics / "audit.json"],
        ["predict", models[3], notes, "--output", folder / "predicted" / "entities.jsonl"],
        ["predict", models[3], notes, "--output", folder / "predicted" / "entities.parquet"],
        ["review", models[3], notes, "--output", folder / "predicted" / "queue.jsonl"]
        + ["--against", train, "--held-out", dev],
    ]
    for step in steps:
        assert run(log, *step) == 0, f"{step[0]}: {log.getvalue()}"
    (folder / "faults").mkdir()
    codes = {
        name: run(log, *command)
        for name, command in write_faults(folder / "faults", notes, train, models[3]).items()
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("clinical_ner.checks.check.read_texts", misaligned)
        codes["misaligned"] = run(log, "check", train, "--encoder", "none")
        patch.setattr(Language, "update", unlearnable)
        edged = folder / "faults" / "edged.spacy"
        command = ["train", write_tiny_recipe(folder / "faults" / "tiny.cfg"), folder / "faulty"]
        codes["edges"] = run(log, *command, "--train", edged, "--dev", edged)
    done = {name: code for name, code in codes.items() if code != 1}
    assert done == {"recorded": 0, "predict records": 3}
    (folder / "log").write_text(log.getvalue(), encoding="utf-8")
    return folder


@pytest.mark.slow
def test_the_strings_are_in_five_training_notes_or_more(work: Path) -> None:
    docs = read_docbin(work / "corpus" / "train.spacy", spacy.blank("en").vocab)
    assert sum(any(word in doc.text.lower() for word in WORDS) for doc in docs) >= 5


@pytest.mark.slow
def test_nothing_that_is_written_holds_them(work: Path) -> None:
    written = [*(work / "training").rglob("*"), *(work / "metrics").rglob("*"), work / "log"]
    written += [*(work / "packages").rglob("*"), work / "corpus" / "report.jsonl"]
    written += [work / "corpus" / "split.json", *(work / "predicted").rglob("*")]
    runs = [*(work / "faults" / "run").rglob("*")]
    assert {of.name for of in runs} >= {"manifest.json", "r.csv", "r.status.csv"}
    written += runs
    assert len([path for path in written if path.is_file()]) > 20
    assert holding(written, WORDS) == {}


@pytest.mark.slow
def test_what_spacy_says_of_a_note_is_told_by_codes_and_places(work: Path) -> None:
    log = (work / "log").read_text(encoding="utf-8")
    for told in ("[W030] Of a text whose entities are [(1, 3", "ValueError [E949] in", "(E024)"):
        assert told in log


@pytest.mark.slow
def test_no_model_no_wheel_and_no_score_holds_the_id_of_a_document(work: Path) -> None:
    models = [*(work / "training").glob("*/**/*"), *(work / "packages").rglob("*")]
    assert holding(models, IDS) == {}
    reports = [
        work / "metrics" / name for name in ("test.json", "audit.json", "card.md", "report.html")
    ]
    assert holding([*reports, work / "training" / "training.json"], IDS) == {}
    assert holding([work / "corpus" / "split.json"], IDS) != {}


@pytest.mark.slow
def test_a_person_is_found_in_a_new_note_by_the_model_without_names(work: Path) -> None:
    nlp = spacy.load(work / "training" / "tuned")
    log = io.StringIO()
    with contextlib.redirect_stdout(log), contextlib.redirect_stderr(log):
        doc = nlp(f"{CANARIES[1][0]}, record 1, had fever and took aspirin.")
    assert {ent.label_ for ent in doc.ents} and not any(w in log.getvalue().lower() for w in WORDS)


@pytest.mark.slow
def test_the_same_searches_find_them_in_a_model_of_stock_spacy(work: Path, tmp_path: Path) -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("ner")
    train = work / "corpus" / "train.spacy"
    examples = [Example(nlp.make_doc(doc.text), doc) for doc in read_docbin(train, nlp.vocab)]
    optimizer: Any = nlp.initialize(lambda: examples)
    nlp.update(examples, sgd=optimizer)
    nlp.to_disk(tmp_path / "stock")
    found = holding((tmp_path / "stock").rglob("*"), WORDS)
    assert len(found["strings.json"]) > len(WORDS) / 2
    audited = search(tmp_path / "stock", read_texts(train), show_text=True)["text"]
    assert set(audited) == {"vocab/strings.json"}
    assert found["strings.json"] <= set(audited["vocab/strings.json"])
