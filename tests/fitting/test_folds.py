"""Cross-validation of a tiny recipe: what is scored, what is chosen, and going on after a stop."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
from confection import Config
from spacy.language import Language

import clinical_ner.fitting.folds as module
from clinical_ner.cli import main
from clinical_ner.data.formats.docbin import LANGUAGE, write_docbin
from clinical_ner.errors import ClinicalNerError, ClinicalNerWarning
from clinical_ner.evaluation.evaluate import predict
from clinical_ner.fitting.folds import folds
from clinical_ner.fitting.out_of_fold import read_out_of_fold, write_manifest
from clinical_ner.scoring.bootstrap import percentile_interval, resample_weights

from ..conftest import ROOT, write_tiny_recipe
from .stores import make_document

pytestmark = pytest.mark.slow

#: Epochs enough for the tiny recipe to find entities.
SETTINGS: dict[str, Any] = {"folds": 2, "dev": 0.4, "epochs": 8}
WORDS = ("fever", "aspirin", "folic", "knee", "cough")


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def write_corpus(path: Path, documents: int = 20, language: str = "en") -> Path:
    nlp = spacy.blank("en")
    docs = [make_document(nlp, number) for number in range(documents)]
    # The only Age.
    for doc in docs:
        doc.user_data[LANGUAGE] = language
    docs[0].set_ents([spacy.tokens.Span(docs[0], 1, 2, "Age"), *docs[0].ents])
    write_docbin(docs, path)
    return path


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus") / "all.spacy")


@pytest.fixture(scope="module")
def recipe(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_recipe(tmp_path_factory.mktemp("configs") / "tiny.cfg")


@pytest.fixture(scope="module")
def finished(corpus: Path, recipe: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two folds with two seeds, not to be changed."""
    output = tmp_path_factory.mktemp("finished") / "out"
    with pytest.warns(
        ClinicalNerWarning, match=r"Labels with all their documents in one fold: Age \(note-0\)"
    ):
        folds(corpus, output, config=recipe, seeds=[3, 4], **SETTINGS)
    return output


def test_scores_are_those_of_every_model_on_the_documents_that_it_did_not_see(
    finished: Path,
) -> None:
    store, metrics = read_out_of_fold(finished), read(finished / "metrics.json")
    counts = np.zeros((2, 20, 3))
    fold_scores = []
    ids = read(finished / "folds.json")["documents"]
    for number, model in enumerate(store.models()):
        divided = finished / f"fold-{number % 2 + 1}"
        split = read(divided / "split.json")["documents"]
        rows = [ids.index(id_) for id_ in split["test"]]
        assert not {*split["test"]} & {*split["train"], *split["dev"]}
        assert (store.fold_of[rows] == number % 2).all() and len(rows) == 10
        found = predict(model, divided / "test.spacy").counts.entities.spans
        counts[number // 2, rows] = found.counts.sum(axis=1)
    tp, fp, fn = counts.sum(axis=(0, 1))
    assert tp > 0
    assert metrics["ents_f"] == pytest.approx(2 * tp / (2 * tp + fp + fn))
    assert metrics["documents"] == 20 and metrics["ents_macro_types"] == 4
    # A document is drawn with its predictions of both seeds.
    order = np.concatenate([np.flatnonzero(store.fold_of == fold) for fold in (0, 1)])
    drawn = resample_weights(20) @ counts.sum(axis=0)[order]
    f = 2 * drawn[:, 0] / (2 * drawn[:, 0] + drawn[:, 1] + drawn[:, 2])
    assert metrics["intervals"]["ents_f"] == pytest.approx(percentile_interval(f))
    for fold in (0, 1):
        tp, fp, fn = counts[:, store.fold_of == fold].sum(axis=(0, 1))
        fold_scores.append(2 * tp / (2 * tp + fp + fn))
    spread = metrics["folds"]["spread"]["ents_f"]
    assert spread["sd"] == pytest.approx(np.std(fold_scores, ddof=1))
    assert [spread["min"], spread["max"]] == pytest.approx(sorted(fold_scores))
    # In the gold of one fold, and of no training that it is predicted by.
    assert metrics["ents_per_type"]["Age"]["f"] == 0.0
    assert {*metrics["folds"]["reliability"]} == {"raw", "cross_fitted"}


def test_one_epoch_is_chosen_on_the_inner_dev_documents_of_all_trainings(finished: Path) -> None:
    manifest = read(finished / "folds.json")
    runs = sorted(finished.glob("seed-*/fold-*"))
    assert len(runs) == 4
    scores = []
    for epoch in range(1, 9):
        found = [read(run / f"dev-{epoch}.json") for run in runs]
        for run, of in zip(runs, found, strict=True):
            assert of["documents"] == read(finished / run.name / "split.json")["documents"]["dev"]
        tp, fp, fn = sum(np.sum(of["spans"]["counts"], axis=(0, 1)) for of in found)
        assert manifest["dev_curve"][epoch - 1]["ents_f"] == pytest.approx(
            2 * tp / (2 * tp + fp + fn) if tp + fp + fn else 0.0
        )
        curve = manifest["dev_curve"][epoch - 1]
        scores.append((curve["ents_f"] + curve["ents_macro_f"]) / 2)
    assert scores[int(manifest["epochs"]) - 1] == pytest.approx(max(scores))
    assert max(scores) > min(scores)
    left = {"model", "log_probs.npz", "training.json", "training.log"}
    for run in runs:
        assert {path.name for path in run.iterdir() if not path.name.startswith("dev-")} == left


def test_beside_the_documents_nothing_holds_text(finished: Path) -> None:
    written = [*finished.glob("*.*"), *finished.glob("fold-*/*.json"), *finished.glob("*/*/*.*")]
    assert len(written) > 40
    for path in written:
        assert not any(word.encode() in path.read_bytes() for word in WORDS), path


class _Killed(BaseException):
    pass


def test_an_interrupted_call_goes_on_and_gives_the_same(
    finished: Path,
    corpus: Path,
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def call() -> dict[str, Any]:
        return folds(corpus, tmp_path / "out", config=recipe, seeds=[3, 4], **SETTINGS)

    trainings: list[Path] = []
    train = module.train

    def counted(config: Path, folder: Path, **settings: Any) -> None:
        trainings.append(folder.relative_to(tmp_path / "out"))
        train(config, folder, **settings)

    def killing(nlp: Language, dev: Any, folder: Path, epoch: int) -> None:
        if len(trainings) == 2 and epoch == 5:
            raise _Killed
        keep(nlp, dev, folder, epoch)

    keep, write = module._keep, module.write_log_probs
    monkeypatch.setattr(module, "train", counted)
    monkeypatch.setattr(module, "_keep", killing)
    with pytest.raises(_Killed):
        call()
    monkeypatch.setattr(module, "_keep", keep)
    # Then while the models are predicting.
    monkeypatch.setattr(module, "write_log_probs", lambda *args: (_ for _ in ()).throw(_Killed))
    with pytest.raises(_Killed):
        call()
    monkeypatch.setattr(module, "write_log_probs", write)
    metrics = call()
    second = Path("seed-3", "fold-2")
    assert trainings == [
        *(Path("seed-3", "fold-1"), second, second),
        *(Path("seed-4", "fold-1"), Path("seed-4", "fold-2")),
    ]
    of_this_call = {"words_per_second", "model"}
    expected = read(finished / "metrics.json")
    assert {name for name in expected if expected[name] != read_back(metrics)[name]} <= of_this_call
    whole, resumed = read_out_of_fold(finished), read_out_of_fold(tmp_path / "out")
    for one, other in zip(whole.log_probs(), resumed.log_probs(), strict=True):
        np.testing.assert_array_equal(one, other)
    # And what is finished is not made again.
    monkeypatch.setattr(module, "load_pipeline", None)
    assert call() == read_back(metrics)


def read_back(metrics: dict[str, Any]) -> Any:
    """As JSON, which knows no tuples."""
    return json.loads(json.dumps(metrics))


def test_without_dev_all_epochs_are_made_and_without_posterior_nothing_is_probable(
    corpus: Path, recipe: Path, tmp_path: Path
) -> None:
    with pytest.warns(ClinicalNerWarning, match="The models give no probabilities"):
        metrics = folds(
            *(corpus, tmp_path / "out"),
            config=ROOT / "configs" / "recipes" / "soft_dice.cfg",
            base=recipe,
            **SETTINGS | {"dev": 0.0, "epochs": 2},
        )
    store = read_out_of_fold(tmp_path / "out")
    assert (store.epochs, store.planned_epochs) == (2.0, 2)
    assert all(spacy.load(model).pipe_names == ["tok2vec", "ner"] for model in store.models())
    assert metrics["folds"]["reliability"] is None and metrics["token_ece"] is None
    with pytest.raises(ClinicalNerError, match="give no probabilities"):
        store.log_probs()


def test_what_cannot_be_done_is_one_line_and_leaves_no_folder(
    corpus: Path, recipe: Path, tmp_path: Path
) -> None:
    def refused(
        match: str,
        *,
        changes: dict[str, Any] | None = None,
        corpus: Path = corpus,
        **settings: Any,
    ) -> None:
        config = Config().from_disk(recipe, interpolate=False).merge(changes or {})
        config.to_disk(tmp_path / "changed.cfg", interpolate=False)
        with pytest.raises(ClinicalNerError, match=match):
            folds(
                *(corpus, tmp_path / "out"),
                **{**SETTINGS, "config": tmp_path / "changed.cfg", **settings},
            )
        assert [path.name for path in tmp_path.iterdir()] == ["changed.cfg"]

    sparse = corpus.with_name("sparse.spacy")
    write_docbin(
        [make_document(spacy.blank("en"), number) for number in (0, 5, *range(9, 99, 5))], sparse
    )
    refused("fold 1 on which the epoch is to be chosen hold no entity", corpus=sparse, dev=0.1)
    german = write_corpus(corpus.with_name("german.spacy"), language="de")
    refused(f"{german}: was converted for language de", corpus=german)
    refused("20 documents are too few for 21 folds", folds=21)
    refused("10 groups are too few for 11 folds", folds=11, group_by=r"\d$")
    refused("asks for neighbours", changes={"neighbours": {"add": True}})
    refused("no number of epochs", changes={"training": {"max_epochs": 0}})
    averages = {"training": {"optimizer": {"use_averages": True}}}
    refused("changed.cfg: sets training.optimizer.use_averages", changes=averages)


def test_another_corpus_recipe_or_folder_is_named(
    finished: Path, corpus: Path, recipe: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    shutil.copytree(finished, output)
    changed = write_corpus(tmp_path / "all.spacy", documents=19)
    with pytest.raises(ClinicalNerError, match=r"out: holds a cross-valid.* differs in: corpus\."):
        folds(changed, output, config=recipe, seeds=[3, 4], **SETTINGS)
    with pytest.raises(ClinicalNerError, match="differs in: folds, seeds"):
        folds(corpus, output, config=recipe, seeds=[3], **SETTINGS | {"folds": 3})
    (output / "folds.json").unlink()
    with pytest.raises(ClinicalNerError, match=r"is not the folder of a cross-validation, since"):
        folds(corpus, output, config=recipe, seeds=[3, 4], **SETTINGS)
    assert (output / "metrics.json").read_bytes() == (finished / "metrics.json").read_bytes()


def test_a_corpus_may_be_moved_and_scores_lost_but_not_the_corpus_changed_in_training(
    finished: Path,
    corpus: Path,
    recipe: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    output = Path(shutil.copytree(finished, tmp_path / "out"))
    moved = Path(shutil.copy(corpus, tmp_path / "moved.spacy"))

    def call() -> None:
        folds(moved, output, config=recipe, seeds=[3, 4], **SETTINGS)

    (output / "metrics.json").write_text("{")
    call()
    assert read(output / "metrics.json")["ents_f"] == read(finished / "metrics.json")["ents_f"]
    assert read_out_of_fold(output).corpus == moved
    write_manifest(output, read(output / "folds.json") | {"finished": False})
    monkeypatch.setattr(module._Work, "train", lambda self: write_corpus(moved, documents=19))
    with pytest.raises(ClinicalNerError, match=r"moved\.spacy: has changed since"):
        call()
    assert not read(output / "folds.json")["finished"]


def test_the_command_prints_the_spread_between_folds_or_json(
    finished: Path, corpus: Path, recipe: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def command(*args: object) -> int:
        with pytest.raises(SystemExit) as ended:
            main(["folds", *map(str, (corpus, finished, "--config", recipe, *args))])
        return int(ended.value.code or 0)

    same = ["--folds", 2, "--seeds", "3,4", "--dev", 0.4, "--epochs", 8]
    assert command(*same) == 0
    printed = capsys.readouterr()
    assert "SD of F1" in printed.out and "20 documents" in printed.out
    assert printed.err.startswith(
        "clinical-ner: Labels with all their documents in one fold: Age (note-0)"
    )
    assert command(*same, "--json") == 0
    assert json.loads(capsys.readouterr().out) == read(finished / "metrics.json")
    assert command("--folds", 1) == command("--seeds", "a") == 2
