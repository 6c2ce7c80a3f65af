from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from spacy.vocab import Vocab

from clinical_ner.cli import main
from clinical_ner.data.formats.docbin import DOCUMENT_ID, read_docbin, write_docbin

from .test_compare import base, no_training, write_notes

__all__ = ["base"]
WORK = "clinical_ner.research.compare.work"


def command(*args: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["learning-curve", *map(str, args)])
    return int(ended.value.code or 0)


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    write_notes(tmp_path / "all.spacy", range(25))
    return tmp_path / "all.spacy"


def ids(path: Path) -> set[str]:
    return {doc.user_data[DOCUMENT_ID] for doc in read_docbin(path, Vocab())}


@pytest.mark.slow
def test_a_curve_is_measured_once_and_goes_on_where_it_stopped(
    corpus: Path,
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = tmp_path / "out"
    args: list[Any] = [corpus, "--config", base, "--sizes", "4,8,all", "--epochs", 4]
    args += ["--resamples", 20, "--output", out]
    assert command(*args) == 0
    table = capsys.readouterr().out
    report = json.loads((out / "learning_curve.json").read_text(encoding="utf-8"))
    sizes = [(size["notes"], size["train"], size["dev"]) for size in report["sizes"]]
    assert sizes == [(4, 3, 1), (8, 7, 1), (20, 18, 2)]
    assert report["split"] == {"test": 0.2, "seed": 0} and report["documents"] == 5
    # Test apart; the notes of a size are among those of the next.
    notes = [
        ids(out / "corpus" / f"notes{n}-seed0" / "train.spacy")
        | ids(out / "corpus" / f"notes{n}-seed0" / "dev.spacy")
        for n, _, _ in sizes
    ]
    assert notes[0] < notes[1] < notes[2] == ids(corpus) - ids(out / "corpus" / "test.spacy")
    metrics = json.loads((out / "notes20-tiny-seed0" / "metrics.json").read_text(encoding="utf-8"))
    last = report["curves"]["micro_f"][-1]
    assert (last["value"], last["seeds"]) == (metrics["ents_f"], [metrics["ents_f"]])
    assert "Twice as many notes (40): micro-F" in table and "fever" not in table
    assert (out / "learning_curve.csv").read_text(encoding="utf-8").count("\n") == 1 + 3 * 6
    for picture in (out / "learning_curve.png", out / "learning_curve.svg"):
        assert picture.stat().st_size > 10_000

    # Killed in the last training.
    (out / "notes20-tiny-seed0" / "training.json").unlink()
    (out / "notes20-tiny-seed0" / "metrics.json").unlink()
    for path in out.glob("learning_curve.*"):
        path.unlink()
    with monkeypatch.context() as patched:
        patched.setattr(f"{WORK}.train", no_training)
        assert command(*args) == 1
        assert "unexpected AssertionError in test_compare.py" in capsys.readouterr().err
    assert command(*args, "--json") == 0
    assert json.loads(capsys.readouterr().out) == report
    monkeypatch.setattr(f"{WORK}.train", no_training)
    assert command(*args) == 0
    for changed in (["--epochs", 5], ["--split-seed", 1]):
        assert command(*args, *changed) == 1
        assert "holds a run that differs in: " in capsys.readouterr().err
    # What a refused call would have used has not replaced what the runs were trained on.
    assert notes[2] == ids(corpus) - ids(out / "corpus" / "test.spacy")


def test_sizes_must_be_those_of_a_curve_and_folders_its_own(
    corpus: Path,
    base: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(f"{WORK}.train", no_training)
    args = [corpus, "--config", base, "--output", tmp_path / "out", "--sizes"]
    for sizes in ("1,4", "8,4", "4,4", "4,x", "4,2.5", "-4,8", "", "all,8", "all,all", "8"):
        assert command(*args, sizes) == 2, sizes
    for sizes in ("4,21", "4,21,all", "4,20,all"):
        assert command(*args, sizes) == 1
        assert "20 documents are not in test, too few for the sizes 4, 2" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
    sparse = read_docbin(corpus, Vocab())
    for doc in sparse[3:]:
        doc.set_ents([])
    write_docbin(sparse, tmp_path / "sparse.spacy")
    assert command(tmp_path / "sparse.spacy", *args[1:], "2,20") == 1
    assert "sparse.spacy: 2 notes are too few" in capsys.readouterr().err
    # A folder of other documents is not replaced.
    mine = tmp_path / "out" / "corpus" / "all.spacy"
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    assert command(*args, "4,8") == 1
    assert "corpus: holds something else" in capsys.readouterr().err
    mine.rename(tmp_path / "mine")
    # The run that neighbours are added to is checked as well.
    (tmp_path / "out" / "notes4-tiny-seed0").mkdir(parents=True)
    (tmp_path / "out" / "notes4-tiny-seed0" / "thesis.txt").write_text("mine")
    args[2] = f"{base}+neighbours"
    assert command(*args, "4,8") == 1
    assert "notes4-tiny-seed0: is not the folder of a run" in capsys.readouterr().err


def test_the_test_part_of_a_divided_corpus_stays(tmp_path: Path, base: Path) -> None:
    from clinical_ner.errors import InputError
    from clinical_ner.research.learning_curve.subsets import hold_out

    for part, numbers in (("train", range(9)), ("dev", range(9, 15)), ("test", range(15, 24))):
        write_notes(tmp_path / f"{part}.spacy", numbers)
    pool, test, division = hold_out(tmp_path, test=None, seed=None)
    assert (len(pool), len(test), division) == (15, 9, None)
    with pytest.raises(InputError, match="--test and --split-seed would do nothing"):
        hold_out(tmp_path, test=0.2, seed=None)
