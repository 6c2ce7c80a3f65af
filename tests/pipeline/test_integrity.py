"""A model that was damaged or changed is refused in one line, with checksums and without."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spacy
import srsly

from clinical_ner.errors import ClinicalNerError
from clinical_ner.pipeline.loading import load_pipeline
from clinical_ner.pipeline.manifest import MANIFEST, verify, write_manifest

from .examples import make_examples, predicted, train
from .test_neighbours import make_neighbours


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of a tok2vec, a listener to it and neighbours, saved by spaCy. Not to be changed."""
    nlp = spacy.blank("en")
    nlp.add_pipe("tok2vec", config={"model": {"width": 16, "embed_size": 200}})
    listener = {"@architectures": "spacy.Tok2VecListener.v1", "width": 16}
    nlp.add_pipe("clinical_ner", name="ner", config={"model": {"tok2vec": listener}})
    ner = train(nlp, steps=4).get_pipe("ner")
    ner.neighbours = make_neighbours(nlp)
    folder = tmp_path_factory.mktemp("integrity") / "model"
    nlp.to_disk(folder)
    return folder


@pytest.fixture
def model(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "model"))


def delete(name: str) -> Callable[[Path], None]:
    return lambda model: (model / name).unlink()


def empty(name: str) -> Callable[[Path], None]:
    return lambda model: (model / name).write_bytes(b"") and None


def halve(name: str) -> Callable[[Path], None]:
    def change(model: Path) -> None:
        data = (model / name).read_bytes()
        (model / name).write_bytes(data[: len(data) // 2])

    return change


def flip(name: str) -> Callable[[Path], None]:
    """Change eight bytes in the middle, which are of weights."""

    def change(model: Path) -> None:
        data = bytearray((model / name).read_bytes())
        middle = len(data) // 2
        data[middle : middle + 8] = bytes(255 - byte for byte in data[middle : middle + 8])
        (model / name).write_bytes(data)

    return change


def edit(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def edited(model: Path) -> None:
        cfg = srsly.read_json(model / "ner" / "cfg")
        change(cfg)
        srsly.write_json(model / "ner" / "cfg", cfg)

    return edited


#: Changes of a model, and what is said of them where there are no checksums.
CHANGES = [
    (delete("ner/neighbours.npz"), r"loaded with \(neighbours\)"),
    (flip("ner/neighbours.npz"), "neighbours"),
    (flip("ner/model"), r"loaded with \(model\)"),
    (flip("tok2vec/model"), r"loaded with \(tok2vec/model\)"),
    (edit(lambda cfg: cfg["labels"].reverse()), r"loaded with \(cfg\)"),
    (edit(lambda cfg: cfg["statistics"].update(documents=5)), r"loaded with \(cfg\)"),
    (edit(lambda cfg: cfg.update(calibration="{}")), r"loaded with \(cfg\)"),
    # As models of earlier versions, which hold no digests.
    (edit(lambda cfg: cfg["labels"].reverse() or cfg.pop("sha256")), "The labels of component"),
    (
        edit(lambda cfg: cfg["labels"].append("More") or cfg.pop("sha256")),
        "The labels of comp|tags",
    ),
    (edit(lambda cfg: cfg.update(statistics=[1]) or cfg.pop("sha256")), "cannot be read"),
    (edit(lambda cfg: cfg.update(calibration="{}") or cfg.pop("sha256")), "cannot be read"),
    (edit(lambda cfg: cfg.update(sha256=["a"])), "cannot be read"),
    (halve("ner/model"), "Component 'ner' cannot be read"),
    (empty("ner/cfg"), "Component 'ner' cannot be read"),
    (delete("ner/model"), "Component 'ner' cannot be read"),
    (empty("tok2vec/model"), "cannot be loaded as a spaCy pipeline"),
    (empty("vocab/vectors"), "cannot be loaded as a spaCy pipeline"),
    (empty("vocab/strings.json"), "cannot be loaded as a spaCy pipeline"),
]


@pytest.mark.parametrize(("change", "reason"), CHANGES)
def test_a_changed_model_is_refused_in_one_line(
    model: Path, change: Callable[[Path], None], reason: str
) -> None:
    change(model)
    with pytest.raises(ClinicalNerError, match=reason) as told:
        load_pipeline(model)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("change", [change for change, _ in CHANGES[:5]])
def test_checksums_find_whatever_was_changed(model: Path, change: Callable[[Path], None]) -> None:
    write_manifest(model)
    assert verify(model) == []
    assert predicted(load_pipeline(model))
    change(model)
    (line,) = verify(model) or ()
    with pytest.raises(ClinicalNerError, match=rf"not as it was written \({line}\)"):
        load_pipeline(model)


def test_checksums_are_those_of_sha256sum(model: Path) -> None:
    write_manifest(model)
    done = subprocess.run(
        ["sha256sum", "--check", "--strict", MANIFEST], cwd=model, capture_output=True, check=False
    )
    assert done.returncode == 0
    listed = (model / MANIFEST).read_text(encoding="utf-8").splitlines()
    assert len(listed) == sum(path.is_file() for path in model.rglob("*")) - 1


def test_a_file_that_is_not_listed_is_told_and_does_no_harm(model: Path) -> None:
    write_manifest(model)
    (model / "READ\x1b[2JME").touch()
    (line,) = verify(model) or ()
    assert line.endswith(f": not in {MANIFEST}")
    assert line.isprintable()
    load_pipeline(model)


def test_spacy_saves_a_model_that_was_trained_further(model: Path) -> None:
    write_manifest(model)
    nlp = spacy.load(model)
    nlp.get_pipe("ner").neighbours = None
    nlp.update(make_examples(nlp), sgd=nlp.resume_training())
    nlp.to_disk(model)
    assert verify(model) is None
    assert predicted(spacy.load(model)) == predicted(nlp)


def test_a_component_alone_leaves_checksums_of_something_else(whole: Path, tmp_path: Path) -> None:
    (tmp_path / MANIFEST).write_text(f"{'0' * 64}  notes.txt\n", encoding="utf-8")
    nlp = spacy.load(whole)
    nlp.get_pipe("ner").to_disk(tmp_path / "ner")
    assert (tmp_path / MANIFEST).exists()


def test_parts_that_are_left_out_are_not_asked_for(whole: Path) -> None:
    assert spacy.load(whole, exclude=["tok2vec"]).pipe_names == ["ner"]
    ner = spacy.load(whole).get_pipe("ner")
    ner.from_disk(whole / "ner", exclude=["vocab", "neighbours", "model"])
    assert ner.neighbours is None
