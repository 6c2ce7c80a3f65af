from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import Config

from clinical_ner.cli import main
from clinical_ner.data.formats.docbin import write_docbin
from clinical_ner.losses.cross_entropy import WeightedCrossEntropy
from clinical_ner.pipeline.loading import load_pipeline
from clinical_ner.pipeline.manifest import verify
from clinical_ner.pipeline.recognizer import ClinicalNer
from clinical_ner.training.train import train

from ..conftest import ROOT
from ..model.tiny_encoder import write_encoder

TOK2VEC = ROOT / "configs" / "tok2vec.cfg"
MINILM = ROOT / "configs" / "minilm.cfg"


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["train", *map(str, args)])
    return int(ended.value.code or 0)


def recipe(path: Path, changes: dict[str, Any], *, base: Path = TOK2VEC) -> Path:
    """A recipe in which sections are replaced: {"section.subsection": new value}."""
    config = Config().from_disk(base, interpolate=False)
    for key, value in changes.items():
        *sections, name = key.split(".")
        place = config
        for section in sections:
            place = place[section]
        place[name] = value
    config.to_disk(path, interpolate=False)
    return path


@pytest.fixture
def data(corpus_file: Path) -> list[object]:
    return ["--train", corpus_file, "--dev", corpus_file]


def assert_one_line(
    capsys: pytest.CaptureFixture[str], message: str, *parts: str, output: Path | None = None
) -> None:
    printed = capsys.readouterr()
    assert printed.err.startswith("clinical-ner: ") and message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    for part in parts:
        assert part in printed.err
    assert output is None or not output.exists()


@pytest.mark.slow
def test_a_run_leaves_two_models_and_its_record(
    tmp_path: Path, data: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    override = ["--components.ner.prior_strength", "0.25", "--training.dropout=0.0"]
    assert run(TOK2VEC, out, *data, "--epochs", 3, "--seed", 5, *override) == 0
    assert sorted(path.name for path in out.iterdir()) == [
        "model-best",
        "model-last",
        "training.json",
    ]
    record = json.loads((out / "training.json").read_text())
    assert record["config"] == "tok2vec.cfg"
    assert record["seed"] == 5
    assert record["epochs"] == 3
    assert record["corpus_words"] == 42
    assert record["words_per_second"] == pytest.approx(
        42 * 3 / record["seconds"], rel=0.1 / record["seconds"]
    )
    assert record["overrides"] == {
        "components.ner.prior_strength": 0.25,
        "paths.dev": str(data[3]),
        "paths.train": str(data[1]),
        "system.seed": 5,
        "training.dropout": 0.0,
        "variables.epochs": 3,
    }
    nlp = spacy.load(out / "model-best")
    assert nlp.get_pipe("ner").prior_strength == 0.25
    assert nlp.get_pipe("ner").labels == ("Drug", "Sign")
    assert nlp.config.interpolate()["training"]["seed"] == 5
    assert "Trained 3 epochs of 42 words" in capsys.readouterr().out


@pytest.mark.slow
def test_the_record_counts_the_epochs_that_were_made(tmp_path: Path, corpus_file: Path) -> None:
    record = train(
        TOK2VEC,
        tmp_path / "out",
        train_path=corpus_file,
        dev_path=corpus_file,
        epochs=9,
        overrides={"training.max_steps": 2},
    )
    assert 0 < record["epochs"] <= 3


@pytest.mark.slow
def test_the_seed_decides_the_weights(tmp_path: Path, corpus_file: Path) -> None:
    def weights(name: str, seed: int) -> np.ndarray:
        out = tmp_path / name
        train(TOK2VEC, out, train_path=corpus_file, dev_path=corpus_file, epochs=1, seed=seed)
        head = spacy.load(out / "model-last").get_pipe("tok2vec").model.layers[0]
        return np.concatenate(
            [node.get_param(key).ravel() for node in head.walk() for key in node.param_names]
        )

    first = weights("first", 0)
    np.testing.assert_array_equal(weights("same", 0), first)
    assert not np.array_equal(weights("other", 1), first)


@pytest.mark.slow
def test_folders_of_files_are_corpora_too(tmp_path: Path, corpus_file: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("a", "b"):
        (folder / f"{name}.spacy").write_bytes(corpus_file.read_bytes())
    paths = {"train_path": str(folder), "dev_path": str(folder)}
    record = train(str(TOK2VEC), str(tmp_path / "out"), **paths, epochs=1)
    assert record["corpus_words"] == 84


@pytest.mark.slow
def test_the_encoder_replaces_the_recipes(tmp_path: Path, data: list[object]) -> None:
    folder = write_encoder(tmp_path / "encoder")
    # The encoder has 64 places.
    window = [
        *("--components.transformer.model.max_wordpieces", 64),
        *("--components.transformer.model.context", 8),
    ]
    assert run(MINILM, tmp_path / "out", *data, "--epochs", 1, "--encoder", folder, *window) == 0
    model = spacy.load(tmp_path / "out" / "model-best").get_pipe("transformer").model
    assert model.transformer.config.hidden_size == 8


def test_a_missing_recipe(
    tmp_path: Path, data: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path / "no.cfg", tmp_path / "out", *data) == 1
    assert_one_line(capsys, "no such file", "no.cfg", output=tmp_path / "out")


@pytest.mark.parametrize(
    "content", [b"no config\n", b"\xff\xfe\x00", b"[nlp]\nlang = ${no.where}\n"]
)
def test_a_recipe_that_is_no_config(
    tmp_path: Path, data: list[object], capsys: pytest.CaptureFixture[str], content: bytes
) -> None:
    (tmp_path / "bad.cfg").write_bytes(content)
    assert run(tmp_path / "bad.cfg", tmp_path / "out", *data) == 1
    # Without the sections that the options stand for, they would do nothing.
    err = capsys.readouterr().err
    assert re.match(r"clinical-ner: .*bad\.cfg: ", err)
    assert err.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("option", ["--train", "--dev"])
@pytest.mark.parametrize(
    "content, code",
    [
        (None, "Run clinical-ner convert and clinical-ner"),
        (b"junk", "Write it again with clinical-ner convert"),
        ("empty", "holds no document with tokens, so there is"),
        ("truncated", "Write it again with clinical-ner convert"),
    ],
)
def test_a_corpus_that_cannot_be_read(
    tmp_path: Path,
    corpus_file: Path,
    capsys: pytest.CaptureFixture[str],
    option: str,
    content: bytes | str | None,
    code: str,
) -> None:
    bad = tmp_path / "bad.spacy"
    if content == "empty":
        write_docbin([Doc(Vocab(), words=[])], bad)
    elif content is not None:
        good = corpus_file.read_bytes()
        bad.write_bytes(good[: len(good) // 2] if content == "truncated" else bytes(content))
    files = {"--train": corpus_file, "--dev": corpus_file, option: bad}
    args = [value for pair in files.items() for value in pair]
    assert run(TOK2VEC, tmp_path / "out", *args) == 1
    assert_one_line(capsys, code, "bad.spacy", output=tmp_path / "out")


@pytest.mark.parametrize("option", ["--train", "--dev"])
def test_a_corpus_without_entities(
    tmp_path: Path, corpus_file: Path, capsys: pytest.CaptureFixture[str], option: str
) -> None:
    plain = tmp_path / "plain.spacy"
    doc = Doc(Vocab(), words=["Nothing", "annotated"])
    doc.set_ents([], default="outside")
    write_docbin([doc], plain)
    files = {"--train": corpus_file, "--dev": corpus_file, option: plain}
    args = [value for pair in files.items() for value in pair]
    assert run(TOK2VEC, tmp_path / "out", *args) == 1
    assert_one_line(
        capsys, "ents, so there is nothing to learn or to", "plain.spacy", output=tmp_path / "out"
    )


@pytest.mark.parametrize(
    "weights, code, part",
    [
        ("papr", "Unknown weight scheme '", "paper"),
        ({"Sing": 2.0}, "', which the corpus lacks", "Sign"),
        ({"Sign": -1.0}, "' must be a positive finite number, got", "Sign"),
    ],
)
def test_weights_that_do_not_fit(
    tmp_path: Path,
    data: list[object],
    capsys: pytest.CaptureFixture[str],
    weights: object,
    code: str,
    part: str,
) -> None:
    loss = {"@losses": "clinical_ner.WeightedCrossEntropy.v1", "weights": weights}
    weighted = recipe(tmp_path / "weighted.cfg", {"components.ner.loss": loss})
    assert run(weighted, tmp_path / "out", *data) == 1
    assert_one_line(capsys, code, part, "weighted.cfg", output=tmp_path / "out")


@pytest.mark.parametrize(
    "changes, part",
    [
        ({"components.ner.loss": {"@losses": "no.Such.v1"}}, "no.Such.v1"),
        ({"training.optimizer": {"@optimizers": "no.Such.v1"}}, "no.Such.v1"),
        ({"components.ner.factory": "no_such"}, "no_such"),
        ({"nlp.pipeline": ["tok2vec", "ner", "no_such"]}, "no_such"),
        ({"nlp.lang": "qq"}, "qq"),
        ({"components.ner.prior_strength": "much"}, "prior_strength"),
        ({"components.ner.no_such": 1}, "no_such"),
        ({"components.ner.loss.weights": None}, "weights"),
        ({"variables.words_per_batch": "many"}, "words_per_batch"),
        ({"variables.learn_rate": "high"}, "initial_rate"),
        ({"training.dropout": "much"}, "dropout"),
        ({"training.train_corpus": "corpora.no_such"}, "no_such"),
        ({"initialize.vectors": "no_such"}, "no_such"),
    ],
    ids=lambda value: value if isinstance(value, str) else next(iter(value)),
)
def test_a_recipe_that_does_not_hold_together(
    tmp_path: Path,
    data: list[object],
    capsys: pytest.CaptureFixture[str],
    changes: dict[str, Any],
    part: str,
) -> None:
    assert run(recipe(tmp_path / "bad.cfg", changes), tmp_path / "out", *data) == 1
    assert_one_line(
        capsys, "the config does not hold together", "bad.cfg", part, output=tmp_path / "out"
    )


def test_a_number_out_of_its_range(
    tmp_path: Path, data: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(TOK2VEC, tmp_path / "out", *data, "--components.ner.prior_strength", "2") == 1
    assert_one_line(capsys, "must be a number", "prior_strength", output=tmp_path / "out")


@pytest.mark.parametrize(
    "setting",
    [
        "variables.no_such",
        "paths.vectors",
        "training.no_such",
        "components.no_such.x",
        "no_such.x",
        "initialize.no_such",
    ],
)
def test_a_setting_that_would_do_nothing(
    tmp_path: Path, data: list[object], capsys: pytest.CaptureFixture[str], setting: str
) -> None:
    assert run(TOK2VEC, tmp_path / "out", *data, f"--{setting}", "1") == 1
    assert_one_line(
        capsys, "', so giving it would do nothing", f"'{setting}'", output=tmp_path / "out"
    )


@pytest.mark.slow
def test_other_epochs_for_a_rate_whose_steps_are_counted_already(
    tmp_path: Path, data: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    counted = {
        "@schedules": "clinical_ner.warmup_linear.v1",
        "initial_rate": 0.002,
        "warmup_steps": 9,
        "total_steps": 94,
    }
    own = recipe(tmp_path / "own.cfg", {"training.optimizer.learn_rate": counted})
    assert run(own, tmp_path / "out", *data, "--epochs", 4) == 1
    assert_one_line(capsys, "does not follow variables.epochs", "own.cfg", output=tmp_path / "out")
    steps = ["--training.optimizer.learn_rate.total_steps", 8]
    assert run(own, tmp_path / "out", *data, "--epochs", 1, *steps) == 0


def test_an_encoder_for_a_recipe_without_one(
    tmp_path: Path, data: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(TOK2VEC, tmp_path / "out", *data, "--encoder", "owner/encoder") == 1
    assert_one_line(
        capsys, "', so giving it would do nothing", "'variables.encoder'", output=tmp_path / "out"
    )


def test_a_recipe_with_its_own_paths_would_ignore_the_option(
    tmp_path: Path, data: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    own = recipe(
        tmp_path / "own.cfg",
        {
            "corpora.train.path": "elsewhere.spacy",
            "training.eval_frequency": 10,
            "training.patience": 0,
            "training.optimizer.learn_rate": 0.001,
        },
    )
    assert run(own, tmp_path / "out", *data) == 1
    assert_one_line(
        capsys, "', so giving it would do nothing", "'paths.train'", output=tmp_path / "out"
    )


def test_an_encoder_that_is_not_there(
    tmp_path: Path, data: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(MINILM, tmp_path / "out", *data, "--encoder", tmp_path / "nowhere") == 1
    assert_one_line(
        capsys,
        "' is neither installed nor reachable",
        "nowhere",
        "minilm.cfg",
        output=tmp_path / "out",
    )


def test_an_output_that_is_a_file(
    tmp_path: Path, data: list[object], capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "out").write_text("mine")
    assert run(TOK2VEC, tmp_path / "out", *data) == 1
    assert_one_line(capsys, "Choose another output folder")
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.parametrize("name", ["model-best", "model-last"])
def test_no_input_is_replaced_by_a_model(
    tmp_path: Path, corpus_file: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    """A corpus, or the source of a component, in a model that the training would replace."""
    (tmp_path / "out").mkdir()
    folder = tmp_path / "out" / name
    spacy.blank("en").to_disk(folder)
    kept = corpus_file.rename(folder / "train.spacy")
    sourced = recipe(tmp_path / "sourced.cfg", {"components.tok2vec": {"source": str(folder)}})

    assert run(TOK2VEC, tmp_path / "out", "--train", kept, "--dev", kept) == 1
    assert_one_line(capsys, f"holds {kept}, which is read, and which the training would replace")
    moved = kept.rename(corpus_file)
    assert run(sourced, tmp_path / "out", "--train", moved, "--dev", moved) == 1
    assert_one_line(capsys, f"holds {folder}, which is read, and which the training would replace")
    assert (folder / "meta.json").is_file()


def test_a_gpu_that_cannot_be_used(
    tmp_path: Path,
    data: list[object],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_gpu(gpu_id: int) -> None:
        raise ValueError("No GPU devices detected")

    monkeypatch.setattr("spacy.require_gpu", no_gpu)
    assert run(TOK2VEC, tmp_path / "out", *data, "--gpu-id", 3) == 1
    assert_one_line(
        capsys, "Use --gpu-id -1 for the CPU, or install", "GPU 3", output=tmp_path / "out"
    )


@pytest.mark.parametrize(
    "args, part",
    [
        (["--epoch", "3"], "--epoch"),
        (["surplus"], "surplus"),
        (["--training.dropout", "0.1", "surplus"], "surplus"),
        (["--epochs", "-1"], "--epochs"),
        (["--gpu-id", "-2"], "--gpu-id"),
        (["--paths.train", "x.spacy"], "--train"),
        (["--system.seed", "1"], "--seed"),
        (["--variables.epochs", "1"], "--epochs"),
    ],
)
def test_a_wrong_call_is_a_usage_error(
    tmp_path: Path,
    data: list[object],
    capsys: pytest.CaptureFixture[str],
    args: list[str],
    part: str,
) -> None:
    assert run(TOK2VEC, tmp_path / "out", *data, *args) == 2
    assert part in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_an_error_that_is_no_fault_of_the_config_is_not_passed_off_as_one(
    tmp_path: Path, corpus_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise ValueError("shapes (3,) and (4,) do not align")

    monkeypatch.setattr("clinical_ner.training.train.init_nlp", broken)
    with pytest.raises(ValueError, match="^shapes"):
        train(TOK2VEC, tmp_path / "out", train_path=corpus_file, dev_path=corpus_file)


def fail_at(monkeypatch: pytest.MonkeyPatch, update: int) -> None:
    """Let the loss of the update with this number, from 1 on, be none."""
    calls = []
    loss_of = WeightedCrossEntropy.__call__

    def failing(self: Any, *args: Any) -> tuple[np.ndarray, float]:
        calls.append(len(calls))
        gradient, loss = loss_of(self, *args)
        return gradient, float("nan") if len(calls) == update else loss

    monkeypatch.setattr(WeightedCrossEntropy, "__call__", failing)


@pytest.fixture
def weighted(tmp_path: Path) -> Path:
    loss = {"@losses": "clinical_ner.WeightedCrossEntropy.v1", "weights": "none"}
    return recipe(tmp_path / "weighted.cfg", {"components.ner.loss": loss})


@pytest.mark.slow
def test_a_loss_that_is_none_leaves_the_best_model(
    tmp_path: Path,
    data: list[object],
    weighted: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fail_at(monkeypatch, 3)
    out = tmp_path / "out"
    assert run(weighted, out, *data, "--epochs", 9) == 1
    printed = capsys.readouterr()
    assert printed.err.startswith("clinical-ner: Update 3 of component 'ner': the loss is ")
    assert printed.err.count("\n") == 1
    assert printed.err.endswith(f"Kept: {out / 'model-best'}, the best model until then.\n")
    # What was evaluated, and no word of another model that was saved.
    assert "ENTS_F" in printed.out
    assert "model-last" not in printed.out
    assert "Aborting" not in printed.out
    assert [path.name for path in out.iterdir()] == ["model-best"]
    best = spacy.load(out / "model-best")
    assert best.get_pipe("ner").labels == ("Drug", "Sign")
    assert "ents_f" in best.meta["performance"]
    assert verify(out / "model-best") == []


@pytest.mark.slow
def test_a_training_that_was_killed_leaves_a_model_that_is_refused(
    tmp_path: Path,
    data: list[object],
    weighted: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def killed(_: object) -> None:
        raise SystemExit(9)

    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        # Where the training has ended, and does not come to say so.
        patch.setattr("clinical_ner.training.training_run.finish", killed)
        assert run(weighted, out, *data, "--epochs", 1) == 9
    capsys.readouterr()
    for command, *more in (["calibrate", str(tmp_path / "calibrated")], ["evaluate"]):
        with pytest.raises(SystemExit):
            main([command, str(out / "model-best"), str(data[1]), *more])
        assert "its training goes on, or was killed" in capsys.readouterr().err
    assert run(weighted, out, *data, "--epochs", 1) == 0
    for name in ("model-best", "model-last"):
        assert verify(out / name) == []
        load_pipeline(out / name)


def test_a_loss_that_is_none_at_once_leaves_nothing(
    tmp_path: Path,
    data: list[object],
    weighted: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fail_at(monkeypatch, 1)
    assert run(weighted, tmp_path / "out", *data) == 1
    err = capsys.readouterr().err
    assert "Update 1 " in err
    assert err.endswith("No evaluation was made before, so no model is kept.\n")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_failed_training_leaves_nothing_of_an_earlier_one(
    tmp_path: Path, data: list[object], weighted: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert run(weighted, out, *data, "--epochs", 1) == 0
    (out / "notes.txt").write_text("mine")
    fail_at(monkeypatch, 1)
    assert run(weighted, out, *data) == 1
    # Neither models nor their record, which would pass for those of this run.
    assert [path.name for path in out.iterdir()] == ["notes.txt"]


@pytest.mark.slow
def test_weights_that_are_none_are_not_saved_as_the_best(
    tmp_path: Path,
    data: list[object],
    weighted: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # As a gradient that overflows on its way back does, after all that could be checked.
    finish = ClinicalNer.finish_update
    steps = []

    def overflowing(self: ClinicalNer, sgd: Any) -> None:
        finish(self, sgd)
        steps.append(len(steps))
        if len(steps) == 2:
            head = self.model.get_ref("head")
            head.set_param("W", np.full_like(head.get_param("W"), np.nan))

    monkeypatch.setattr(ClinicalNer, "finish_update", overflowing)
    out = tmp_path / "out"
    assert run(weighted, out, *data, "--epochs", 9, "--training.eval_frequency", 1) == 1
    err = capsys.readouterr().err
    assert err.startswith("clinical-ner: ")
    assert err.count("\n") == 1
    head = spacy.load(out / "model-best").get_pipe("ner").model.get_ref("head")
    assert np.isfinite(head.get_param("W")).all()


def test_an_error_that_is_no_users_fault_is_told_as_spacy_does(
    tmp_path: Path, corpus_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError("a fault of the code")

    monkeypatch.setattr(ClinicalNer, "update", broken)
    with pytest.raises(RuntimeError, match="^a fault"):
        train(TOK2VEC, tmp_path / "out", train_path=corpus_file, dev_path=corpus_file)
    assert not (tmp_path / "out" / "training.json").exists()


@pytest.mark.slow
def test_patience_ends_a_training_that_learns_nothing(tmp_path: Path, corpus_file: Path) -> None:
    record = train(
        TOK2VEC,
        tmp_path / "out",
        train_path=corpus_file,
        dev_path=corpus_file,
        epochs=9,
        overrides={
            "variables.patience": 2,
            "variables.words_per_batch": 14,
            # The score stays where it is after the first step.
            "variables.learn_rate": 1e-9,
        },
    )
    # Of batches of two documents of six: the first step, then six without a better score.
    assert record["epochs"] == round(7 / 3, 2)


def test_help_has_an_example(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    assert "clinical-ner train minilm" in capsys.readouterr().out
