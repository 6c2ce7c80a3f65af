from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from spacy.tokens import Doc, Span
from spacy.vocab import Vocab

from clinical_ner.cli import main
from clinical_ner.data.formats.docbin import DOCUMENT_ID, write_docbin
from clinical_ner.data.gold import GOLD_ALL
from clinical_ner.errors import ClinicalNerError
from clinical_ner.evaluation.evaluate import evaluate
from clinical_ner.research.compare.compare import compare
from clinical_ner.training.recipes import read_recipe
from clinical_ner.training.train import initialize, training_settings

from ..conftest import CORPUS, ROOT, write_tiny_recipe
from ..model.tiny_encoder import write_encoder

RECIPES = ROOT / "configs" / "recipes"
#: Made-up notes: words, and entities by (start, end, label).
NOTES = [
    (["had", "fever", "and", "took", "aspirin", "."], [(1, 2, "Sign"), (4, 5, "Drug")]),
    (["severe", "knee", "pain", "since", "May", "."], [(0, 3, "Sign"), (4, 5, "Date")]),
    (["took", "folic", "acid", "and", "slept", "."], [(1, 3, "Drug")]),
]


def write_notes(path: Path, numbers: range) -> None:
    vocab = Vocab()
    docs = []
    for number in numbers:
        words, ents = NOTES[number % len(NOTES)]
        doc = Doc(vocab, words=["Patient", str(number), *words])
        spans = [Span(doc, start + 2, end + 2, label) for start, end, label in ents]
        doc.set_ents(spans, default="outside")
        doc.spans[GOLD_ALL] = spans
        doc.user_data[DOCUMENT_ID] = f"note-{number}"
        docs.append(doc)
    write_docbin(docs, path)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    for part, numbers in (("train", range(9)), ("dev", range(9, 15)), ("test", range(15, 24))):
        write_notes(folder / f"{part}.spacy", numbers)
    return folder


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The recipe without a transformer, small, beside the overlays of the project."""
    folder = tmp_path_factory.mktemp("configs")
    shutil.copytree(RECIPES, folder / "recipes")
    return write_tiny_recipe(folder / "tiny.cfg")


Compare = Callable[..., dict[str, Any]]


@pytest.fixture
def run(data: Path, base: Path, tmp_path: Path) -> Compare:
    def call(*recipes: str, **settings: Any) -> dict[str, Any]:
        settings = {"base": base, "epochs": 1, "resamples": 20, **settings}
        corpus = settings.pop("corpus", data)
        return compare(recipes, corpus, tmp_path / "out", **settings)

    return call


@pytest.fixture(scope="module")
def finished(data: Path, base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a comparison, not to be changed."""
    output = tmp_path_factory.mktemp("finished") / "out"
    compare(
        *(["plain", "soft_dice"], data, output),
        **{"base": base, "epochs": 2, "seeds": [0, 1], "prior_strengths": [1.0, 0.0]},
        resamples=20,
    )
    return output


def no_training(*args: Any, **kwargs: Any) -> None:
    raise AssertionError("trained again")


def command(*args: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main(["compare", *map(str, args)])
    return int(ended.value.code or 0)


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


@pytest.mark.slow
def test_a_comparison_leaves_its_results(finished: Path) -> None:
    assert sorted(path.name for path in finished.iterdir()) == [
        "comparison.csv",
        "comparison.json",
        "comparison.md",
        "plain-seed0",
        "plain-seed1",
        "soft_dice-seed0",
        "soft_dice-seed1",
        "types.png",
        "types.svg",
    ]
    assert sorted(path.name for path in (finished / "plain-seed1").iterdir()) == [
        "counts.json",
        "metrics.json",
        "model-best",
        "model-last",
        "recipe.cfg",
        "run.json",
        "training.json",
        "training.log",
    ]
    rows = read(finished / "comparison.json")["rows"]
    # Dice has no posterior, so no other decision.
    assert [row["name"] for row in rows] == ["plain", "plain, s = 0", "soft_dice"]
    assert [row["prior_strength"] for row in rows] == [1.0, 0.0, None]
    assert {tuple(row["seeds"]) for row in rows} == {(0, 1)}
    assert rows[2]["scores"]["token_ece"]["value"] is None


@pytest.mark.slow
def test_the_numbers_are_those_of_evaluate(finished: Path, data: Path) -> None:
    comparison = read(finished / "comparison.json")
    mentions = comparison["training_mentions"]
    assert mentions == {"Date": 3, "Drug": 6, "Sign": 6}
    for row in comparison["rows"]:
        if row["prior_strength"] == 0.0:
            continue
        for number, seed in enumerate(row["seeds"]):
            folder = finished / f"{row['recipe']}-seed{seed}"
            expected = evaluate(
                str(folder / "model-best"),
                data / "test.spacy",
                training_mentions=mentions,
            )
            kept = read(folder / "metrics.json")
            for name, score in row["scores"].items():
                assert kept[name] == expected[name]
                # Probabilities are kept with nine digits.
                if expected[name] is None:
                    assert score["seeds"][number] is None
                else:
                    assert score["seeds"][number] == pytest.approx(expected[name], rel=1e-7)


@pytest.mark.slow
def test_other_decisions_are_those_of_a_model_set_to_them(finished: Path, data: Path) -> None:
    import spacy

    nlp = spacy.load(finished / "plain-seed0" / "model-best")
    nlp.get_pipe("ner").prior_strength = 0.0
    nlp.to_disk(finished.parent / "at_zero")
    expected = evaluate(str(finished.parent / "at_zero"), data / "test.spacy")
    row = read(finished / "comparison.json")["rows"][1]
    for name in ("ents_f", "ents_macro_f", "token_unweighted_accuracy"):
        assert row["scores"][name]["seeds"][0] == expected[name]


@pytest.mark.slow
def test_results_hold_no_note_text(finished: Path) -> None:
    written = [*finished.glob("*.*"), *finished.glob("*/*.*")]
    texts = [path.read_text("utf-8") for path in written if path.suffix not in ("", ".png")]
    assert len(texts) > 20
    for word in ("fever", "aspirin", "folic", "knee"):
        assert not any(word in text for text in texts)


@pytest.mark.slow
def test_a_finished_run_is_kept(
    finished: Path, base: Path, data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path / "out")
    for name in ("train", "predict", "initialize"):
        monkeypatch.setattr(f"clinical_ner.research.compare.work.{name}", no_training)
    again = compare(
        *(["plain", "soft_dice"], data, tmp_path / "out"),
        **{"base": base, "epochs": 2, "seeds": [0, 1], "prior_strengths": [1.0, 0.0]},
        resamples=20,
    )
    # As JSON, which knows no tuples.
    assert json.loads(json.dumps(again)) == read(finished / "comparison.json")


@pytest.mark.slow
def test_a_trained_run_is_only_evaluated(
    finished: Path, base: Path, data: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shutil.copytree(finished, tmp_path / "out")
    before = (tmp_path / "out" / "plain-seed0" / "metrics.json").read_bytes()
    monkeypatch.setattr("clinical_ner.research.compare.work.train", no_training)
    settings: dict[str, Any] = {"base": base, "epochs": 2, "resamples": 20}
    on_dev = compare(["plain"], data, tmp_path / "out", score_on="dev", **settings)
    assert (on_dev["documents"], on_dev["scored_on"]) == (6, "dev")
    assert (tmp_path / "out" / "plain-seed0" / "metrics-dev.json").is_file()
    assert (tmp_path / "out" / "types-dev.svg").is_file()
    assert (tmp_path / "out" / "plain-seed0" / "metrics.json").read_bytes() == before
    more = compare(["plain"], data, tmp_path / "out", prior_strengths=[0.5], **settings)
    assert [row["name"] for row in more["rows"]] == ["plain", "plain, s = 0.5"]


@pytest.mark.slow
def test_an_interrupted_training_begins_again(run: Compare, tmp_path: Path) -> None:
    run("plain")
    (tmp_path / "out" / "plain-seed0" / "training.json").unlink()
    (tmp_path / "out" / "plain-seed0" / "metrics.json").unlink()
    run("plain")
    assert (tmp_path / "out" / "plain-seed0" / "training.json").is_file()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("change", "parts"),
    [({"epochs": 2}, "epochs"), ({"encoder": "x"}, "encoder")],
)
def test_a_run_of_other_settings_is_not_overwritten(
    run: Compare,
    tmp_path: Path,
    change: dict[str, Any],
    parts: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "out" / "plain-seed0"
    run("plain")
    identity = read(folder / "run.json")
    monkeypatch.setattr("clinical_ner.research.compare.work.train", no_training)
    with pytest.raises(
        ClinicalNerError,
        match=f"plain-seed0.*differs in: {parts}\\. .*Name another output folder, or remove this",
    ):
        run("plain", **change)
    assert read(folder / "run.json") == identity


def test_a_folder_that_is_no_run_is_not_overwritten(run: Compare, tmp_path: Path) -> None:
    (tmp_path / "out" / "plain-seed0").mkdir(parents=True)
    (tmp_path / "out" / "plain-seed0" / "thesis.txt").write_text("mine")
    with pytest.raises(
        ClinicalNerError,
        match=r"plain-seed0.*is not the folder of a run, since it has no.*run\.json",
    ):
        run("plain")


def test_all_recipes_are_checked_before_the_first_training(
    run: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bad = tmp_path / "bad.cfg"
    bad.write_text(
        '[components.ner.loss]\n@losses = "clinical_ner.WeightedCrossEntropy.v1"\n'
        'weights = {"Sing": 2.0}\n',
        encoding="utf-8",
    )
    monkeypatch.setattr("clinical_ner.research.compare.work.train", no_training)
    with pytest.raises(ClinicalNerError, match=r"Sing.*', which the corpus lacks.*bad\.cfg"):
        run("plain", str(bad))
    assert not (tmp_path / "out" / "plain-seed0").exists()


def test_neighbours_need_a_posterior(
    run: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("clinical_ner.research.compare.work.train", no_training)
    with pytest.raises(
        ClinicalNerError,
        match=r"dice\.cfg.*\+neighbours.*ner component whose loss leads back to the",
    ):
        run("plain", "soft_dice+neighbours")


@pytest.mark.slow
def test_neighbours_are_added_to_the_model_of_the_recipe(
    run: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[Any, ...]] = []

    def add(model: str, train: Path, dev: Path, output: Path, *, gpu_id: int) -> dict[str, Any]:
        calls.append((model, train.name, dev.name))
        shutil.copytree(model, output)
        return {"neighbours_help": False}

    monkeypatch.setattr("clinical_ner.research.compare.work.add_neighbours", add)
    rows = run("plain+neighbours", "plain")["rows"]
    trained = tmp_path / "out" / "plain-seed0"
    assert calls == [(str(trained / "model-best"), "train.spacy", "dev.spacy")]
    assert [row["name"] for row in rows] == ["plain+neighbours", "plain"]
    assert rows[0]["words_per_second"] == rows[1]["words_per_second"]
    run("plain+neighbours", "plain")
    assert len(calls) == 1


def test_parts_with_the_same_content_are_refused(run: Compare, data: Path, tmp_path: Path) -> None:
    same = tmp_path / "same"
    shutil.copytree(data, same)
    shutil.copy(same / "dev.spacy", same / "test.spacy")
    with pytest.raises(
        ClinicalNerError,
        match=r"dev\.spacy.*test\.spacy.*What is learned, what chooses the model and",
    ):
        run("plain", corpus=same)
    assert not (tmp_path / "out").exists()


def test_a_division_that_would_do_nothing_is_refused(run: Compare) -> None:
    with pytest.raises(ClinicalNerError, match="its documents are divided already, so"):
        run("plain", split_seed=0)


def test_a_corpus_that_is_neither_notes_nor_divided(
    run: Compare, data: Path, tmp_path: Path
) -> None:
    (tmp_path / "half").mkdir()
    shutil.copy(data / "train.spacy", tmp_path / "half")
    with pytest.raises(
        ClinicalNerError, match=r"dev\.spacy.*Name a folder with annotated notes, or one"
    ):
        run("plain", corpus=tmp_path / "half")


@pytest.mark.slow
def test_annotated_notes_are_divided_and_kept(run: Compare, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()
    for text in sorted(CORPUS.glob("*.txt"))[:6]:
        shutil.copy(text, notes)
        shutil.copy(text.with_suffix(".ann"), notes)
    comparison = run("plain", corpus=notes, dev=0.2, test=0.3)
    assert comparison["split"] == {"dev": 0.2, "test": 0.3, "seed": 0}
    assert comparison["documents"] == 2
    kept = {path: path.read_bytes() for path in (tmp_path / "out" / "corpus").iterdir()}
    assert {path.name for path in kept} == {
        *(f"{part}.spacy" for part in ("train", "dev", "test")),
        "split.json",
    }
    with pytest.raises(ClinicalNerError, match="train.*Name another output folder, or remove this"):
        run("plain", corpus=notes, dev=0.4, test=0.3)
    # The documents of the run that is there have not been replaced.
    assert {path: path.read_bytes() for path in kept} == kept


def test_a_missing_matplotlib_is_told_before_any_work(
    run: Compare, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ClinicalNerError, match="pip install 'clinical-ner"):
        run("plain")
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_the_command_prints_the_table_only(
    finished: Path, base: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(finished, tmp_path / "out")
    args = ["plain", "soft_dice", "--corpus", data, "--base", base, "--epochs", 2, "--seeds", "0,1"]
    args += ["--prior-strengths", "0", "--resamples", 20, "--output", tmp_path / "out"]
    assert command(*args) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "plain, s = 0" in out and "micro-F" in out and "E    #" not in out
    assert command(*args, "--json") == 0
    assert json.loads(capsys.readouterr().out) == read(finished / "comparison.json")


@pytest.mark.parametrize(
    "option",
    [
        ("--seeds", "0,0"),
        ("--seeds", "a"),
        ("--seeds", "-1"),
        ("--seeds", ""),
        ("--prior-strengths", "2"),
        ("--prior-strengths", "x"),
        ("--score-on", "train"),
    ],
)
def test_settings_out_of_range_are_a_usage_error(
    data: Path, base: Path, tmp_path: Path, option: tuple[str, str]
) -> None:
    args = ["plain", "--corpus", data, "--base", base, "--output", tmp_path / "out", *option]
    assert command(*args) == 2
    assert not (tmp_path / "out").exists()


#: Overlays of any base; the others change a transformer.
OWN = sorted({path.stem for path in RECIPES.glob("*.cfg")} - {"spacy_ner", "biobert", "paper"})


@pytest.mark.parametrize("name", OWN)
def test_every_overlay_initializes(name: str, base: Path, data: Path) -> None:
    settings = training_settings(data / "train.spacy", data / "dev.spacy", epochs=1)
    nlp = initialize(read_recipe(name, base), settings)
    assert nlp.get_pipe("ner").labels == ("Date", "Drug", "Sign")


@pytest.mark.slow
def test_every_overlay_trains(base: Path, run: Compare) -> None:
    rows = run(*OWN)["rows"]
    assert [row["name"] for row in rows] == OWN
    without = {row["name"] for row in rows if row["prior_strength"] is None}
    assert {"self_adjusting_dice", "soft_dice"} <= without and "plain" not in without


@pytest.mark.slow
def test_spacys_own_ner_trains(run: Compare, tmp_path: Path) -> None:
    encoder = write_encoder(tmp_path / "encoder", places=128)
    rows = run("spacy_ner", base=ROOT / "configs" / "minilm.cfg", encoder=str(encoder))["rows"]
    assert rows[0]["prior_strength"] is None
    recipe = read_recipe("spacy_ner", ROOT / "configs" / "minilm.cfg")
    assert recipe.config["components"]["ner"]["factory"] == "ner"
