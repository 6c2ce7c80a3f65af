from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
from spacy.tokens import Doc
from spacy.training import Example
from spacy.vocab import Vocab
from thinc.api import fix_random_seed

from clinical_ner.calibration.calibration import Calibration
from clinical_ner.calibration.entity_step import EntityCalibration
from clinical_ner.calibration.token_step import TokenCalibration
from clinical_ner.cli import main
from clinical_ner.data.formats.docbin import read_docbin, write_docbin
from clinical_ner.fitting.thresholds import Objective
from clinical_ner.fitting.tune import tune

#: Each is a Drug in half of its mentions and nothing in the others, so that some predictions err.
DRUGS = ["aspirin", "heparin", "insulin", "codeine"]
SIGNS = ["fever", "cough", "pain", "rash"]
LABELS = ("Drug", "Rare", "Sign")
STRENGTHS = (1.0, 0.5, 0.0)


def make_docs(seed: int, n: int) -> list[Doc]:
    nlp = spacy.blank("en")
    rng = np.random.default_rng(seed)
    docs = []
    for number in range(n):
        sign, drug, other = rng.choice(SIGNS), rng.choice(DRUGS), rng.choice(DRUGS)
        text = f"Patient {seed}{number} had {sign} and got {drug} but no {other} at home"
        doc = nlp.make_doc(text)
        entities = [(4, "Sign"), (7, "Drug")] + ([(10, "Drug")] if rng.random() < 0.4 else [])
        if number % 5 == 0:
            entities[0] = (4, "Rare")
        words = {"Sign": sign, "Rare": sign}
        doc.set_ents(
            [spacy.tokens.Span(doc, at - 1, at, label) for at, label in entities],
            default="outside",
        )
        assert all(ent.text in words.get(ent.label_, (drug, other)) for ent in doc.ents)
        docs.append(doc)
    return docs


def train_model(folder: Path, *, steps: int = 12, **settings: Any) -> Path:
    """A pipeline that has learned some, with a recognizer of an unusual name."""
    nlp = spacy.blank("en")
    nlp.add_pipe("clinical_ner", name="finder", config=settings)
    fix_random_seed(0)
    examples = [Example(nlp.make_doc(doc.text), doc) for doc in make_docs(1, 20)]
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(steps):
        nlp.update(examples, sgd=optimizer)
    nlp.meta["performance"] = {"ents_f": 0.123, "finder_loss": 4.5}
    nlp.to_disk(folder)
    return folder


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model and dev.spacy, not to be changed."""
    folder = tmp_path_factory.mktemp("inputs")
    model = train_model(folder / "model")
    nlp = spacy.load(model)
    component = nlp.get_pipe("finder")
    component.calibration = Calibration(
        TokenCalibration(1.5, (0.0,) * len(component.statistics.tags)), EntityCalibration(0.8, -0.3)
    )
    nlp.to_disk(folder / "calibrated")
    write_docbin(make_docs(2, 20), folder / "dev.spacy")
    return folder


@pytest.fixture(scope="module")
def done(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The pipeline tuned for F over three prior strengths, and the report."""
    output = tmp_path_factory.mktemp("output") / "deep" / "model"
    report = tune(
        str(inputs / "calibrated"),
        inputs / "dev.spacy",
        output,
        objective=Objective(),
        prior_strengths=STRENGTHS,
        min_support=5,
    )
    return output, report


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Path]:
    """An output that an error must not write, nor anything beside it."""
    yield tmp_path / "out"
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert not (tmp_path / "out").exists()


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(arg) for arg in args])
    return int(ended.value.code or 0)


def scores_of(model: Path, dev: Path, *further: dict[str, float]) -> list[dict[str, Any]]:
    """What spaCy says of a pipeline, and of it with other thresholds."""
    nlp = spacy.load(model)
    component = nlp.get_pipe("finder")
    gold = read_docbin(dev, nlp.vocab)
    found = []
    for thresholds in (dict(component.thresholds), *further):
        component.thresholds = thresholds
        found.append(nlp.evaluate([Example(nlp.make_doc(doc.text), doc) for doc in gold]))
    return found


def test_the_scores_of_the_report_are_those_of_the_pipelines(
    done: tuple[Path, dict[str, Any]], inputs: Path
) -> None:
    output, report = done
    for when, model in (("before", inputs / "calibrated"), ("after", output)):
        (scores,) = scores_of(model, inputs / "dev.spacy")
        for key in ("ents_p", "ents_r", "ents_f", "ents_macro_f"):
            assert report[when][key] == pytest.approx(scores[key]), (when, key)
        for label, of in scores["ents_per_type"].items():
            assert report["labels"][label][when] == pytest.approx(of), (when, label)


def test_the_decision_is_better_than_any_other_that_was_tried(
    done: tuple[Path, dict[str, Any]], inputs: Path
) -> None:
    output, report = done
    assert set(report["prior_strengths"]) == {"1", "0.5", "0"}
    best = report["after"]["ents_macro_f"]
    assert best == max(report["prior_strengths"].values())
    assert best > report["before"]["ents_macro_f"]
    chosen = report["thresholds"]
    assert chosen
    # Every label's own threshold against a grid of others.
    labels = [label for label, row in report["labels"].items() if row["source"] == "own"]
    assert labels
    grid = np.linspace(0.0, 1.0, 11).tolist()
    for label in labels:
        others = scores_of(output, inputs / "dev.spacy", *({**chosen, label: t} for t in grid))
        best = max(scores["ents_per_type"][label]["f"] for scores in others)
        assert report["labels"][label]["after"]["f"] == best


def test_the_decision_is_stored_in_the_component_and_told_in_meta(
    done: tuple[Path, dict[str, Any]], inputs: Path
) -> None:
    output, report = done
    component = spacy.load(output).get_pipe("finder")
    # The files of a pipeline keep ten digits.
    assert dict(component.thresholds) == pytest.approx(report["thresholds"], abs=1e-9)
    assert component.prior_strength == report["prior_strength"]
    meta = json.loads((output / "meta.json").read_text())
    assert meta["decision"].keys() == {"finder"}
    told = meta["decision"]["finder"]
    for key in ("thresholds", "before", "after"):
        assert told[key] == pytest.approx(report[key], abs=1e-9)
    assert told["prior_strength"] == report["prior_strength"]
    assert told["objective"] == "macro_f"
    assert told["documents"] == 20
    assert meta["performance"]["ents_f"] == pytest.approx(report["after"]["ents_f"])
    assert meta["performance"]["finder_loss"] == 4.5
    assert (output / "config.cfg").read_text() == (inputs / "calibrated/config.cfg").read_text()


def test_no_probability_changes(done: tuple[Path, dict[str, Any]], inputs: Path) -> None:
    output, report = done
    before, after = spacy.load(inputs / "calibrated"), spacy.load(output)
    before.get_pipe("finder").prior_strength = report["prior_strength"]
    compared = dropped = 0
    for gold in read_docbin(inputs / "dev.spacy", Vocab()):
        old, new = before(gold.text), after(gold.text)
        probabilities = {(e.start, e.end, e.label_): e._.probability for e in old.ents}
        kept = {(e.start, e.end, e.label_): e._.probability for e in new.ents}
        assert kept == {
            span: probability
            for span, probability in probabilities.items()
            if probability >= report["thresholds"].get(span[2], 0.0)
        }
        compared += len(kept)
        dropped += len(probabilities) - len(kept)
        for span in probabilities:
            first, second = (
                nlp.get_pipe("finder").span_probability(doc, *span)
                for nlp, doc in ((before, old), (after, new))
            )
            assert first == second
    assert compared and dropped


@pytest.mark.parametrize("precision", [0.6, 0.9])
def test_recall_at_a_precision(inputs: Path, tmp_path: Path, precision: float) -> None:
    report = tune(
        str(inputs / "calibrated"),
        inputs / "dev.spacy",
        tmp_path / "out",
        objective=Objective(precision),
        prior_strengths=[0.5],
        min_support=1,
    )
    sources = {label: row["source"] for label, row in report["labels"].items()}
    assert report["prior_strength"] == 0.5
    assert "own" in sources.values()
    for label, row in report["labels"].items():
        if row["source"] != "own":
            continue
        assert row["after"]["p"] >= precision
        # A lower threshold keeps more, and then too many are wrong, or there is no lower one.
        lower = np.linspace(0.0, row["threshold"], 9)[:-1].tolist()
        others = scores_of(tmp_path / "out", inputs / "dev.spacy", *({label: t} for t in lower))
        for scores in (of["ents_per_type"][label] for of in others[1:]):
            assert scores["p"] < precision or scores["predicted"] == row["after"]["predicted"]


def test_what_never_reaches_the_precision_is_silenced(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    docs = make_docs(2, 20)
    for doc in docs:
        # Gold without a drug: whatever is predicted as one is wrong.
        doc.set_ents([e for e in doc.ents if e.label_ != "Drug"], default="outside")
    write_docbin(docs, tmp_path / "dev.spacy")
    args = ["tune", inputs / "calibrated", tmp_path / "dev.spacy", tmp_path / "out"]
    assert run(*args, "--objective", "recall@precision=1", "--min-support", 2, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    nlp = spacy.load(tmp_path / "out")
    assert "Drug" in report["silenced"]
    assert report["labels"]["Drug"]["before"]["predicted"] > 0
    assert report["thresholds"]["Drug"] == nlp.get_pipe("finder").thresholds["Drug"] == 1.0
    assert not [e for doc in docs for e in nlp(doc.text).ents if e.label_ == "Drug"]
    shutil.rmtree(tmp_path / "out")
    assert run(*args, "--objective", "recall@precision=1", "--min-support", 2) == 0
    assert "Silenced, since no threshold reaches the precision on DEV: " in capsys.readouterr().out


def test_a_promise_is_made_for_groups_and_refused_by_name(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_docbin(make_docs(3, 80), tmp_path / "dev.spacy")
    args = ["tune", inputs / "calibrated", tmp_path / "dev.spacy", tmp_path / "out"]
    args += ["--objective", "recall@precision=0.6", "--confidence", "0.9"]
    assert run(*args, "--json") == 0
    out, err = capsys.readouterr()
    report = json.loads(out)
    rare, common = report["promise"]["groups"]
    assert (rare["labels"], common["labels"]) == (["Rare"], ["Drug", "Sign"])
    assert rare["threshold"] is None and common["more_documents"] == 0
    assert err == "clinical-ner: No promise for Rare: nothing is predicted.\n"
    # The entities of the group's labels, as the pipeline makes them.
    (scores,) = scores_of(tmp_path / "out", tmp_path / "dev.spacy")
    of = [scores["ents_per_type"][label] for label in common["labels"]]
    found = sum(row["p"] * row["predicted"] for row in of)
    assert common["kept"] == sum(row["predicted"] for row in of)
    assert common["precision"] == pytest.approx(found / common["kept"])
    assert common["recall"] == pytest.approx(found / sum(row["support"] for row in of))
    assert 0.6 <= common["bound"] < common["precision"]
    for label in common["labels"]:
        assert report["labels"][label]["source"] == "promised"
        assert report["labels"][label]["threshold"] == common["threshold"]
    told = json.loads((tmp_path / "out" / "meta.json").read_text())["decision"]["finder"]["promise"]
    assert told["confidence"] == 0.9 and told["groups"][0] == rare
    shutil.rmtree(tmp_path / "out")
    assert run(*args) == 0
    out = capsys.readouterr().out
    assert "Promised with confidence 0.9, for all of these groups at once" in out
    assert "precision of at least 0.6 on documents like those of DEV." in out


def test_where_nothing_can_be_promised(
    inputs: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["tune", inputs / "calibrated", inputs / "dev.spacy", output, "--confidence", "0.99"]
    err = refused(
        "no promise of recall@precision=0.95 with confidence 0.99. Rare: nothing is predicted; ",
        *[*args, "--objective", "recall@precision=0.95"],
        capsys=capsys,
    )
    assert "Drug, Sign: " in err and "Ask for a lower precision or confidence" in err
    for further in (["--objective", "macro_f"], ["--objective", "recall@precision=1"]):
        assert run(*args, *further) == 2
        assert "needs an objective with a precision below 1" in capsys.readouterr().err
    assert run(*args[:-1], "1", "--objective", "recall@precision=0.9") == 2
    assert "--confidence" in capsys.readouterr().err


def test_labels_of_too_few_entities_share_a_threshold(inputs: Path, tmp_path: Path) -> None:
    report = tune(
        str(inputs / "calibrated"),
        inputs / "dev.spacy",
        tmp_path / "out",
        objective=Objective(),
        min_support=1000,
    )
    rows = report["labels"].values()
    assert {row["source"] for row in rows} == {"group"}
    assert len({row["threshold"] for row in rows}) == 1
    assert report["prior_strengths"].keys() == {"1"}


def test_the_table_tells_the_decision_and_that_it_flatters(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = ["tune", inputs / "calibrated", inputs / "dev.spacy", tmp_path / "out"]
    assert run(*args, "--prior-strengths", "1, 0.5,0", "--min-support", 5) == 0
    out, err = capsys.readouterr()
    assert err == ""
    for text in (*LABELS, "own", "F1, macro", "prior_strength = ", "0.5 (", "flatter", "20 doc"):
        assert text in out
    assert str(tmp_path / "out") in out
    for word in (*DRUGS, *SIGNS, "Patient"):
        assert word not in out


def test_a_model_that_is_not_calibrated_is_tuned_and_told(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("tune", inputs / "model", inputs / "dev.spacy", tmp_path / "out", "--json") == 0
    out, err = capsys.readouterr()
    assert json.loads(out)["calibrated"] is False
    assert err.count("\n") == 1
    assert "not calibrated" in err


def test_entities_of_others_stay_and_are_counted(inputs: Path, tmp_path: Path) -> None:
    nlp = spacy.load(inputs / "calibrated")
    ruler = nlp.add_pipe("entity_ruler", before="finder")
    ruler.add_patterns([{"label": "Drug", "pattern": drug} for drug in DRUGS[:2]])
    ruler.add_patterns([{"label": "Place", "pattern": "home"}])
    nlp.to_disk(tmp_path / "ruled")
    report = tune(
        str(tmp_path / "ruled"),
        inputs / "dev.spacy",
        tmp_path / "out",
        objective=Objective(0.95),
        min_support=5,
    )
    (scores,) = scores_of(tmp_path / "out", inputs / "dev.spacy")
    for label, of in scores["ents_per_type"].items():
        assert report["labels"][label]["after"] == pytest.approx(of), label
    assert report["labels"]["Place"]["source"] is None
    assert report["labels"]["Place"]["after"]["predicted"] == 20
    assert "Place" not in report["thresholds"]


# Errors


def refused(code: str, *args: object, capsys: pytest.CaptureFixture[str]) -> str:
    assert run(*args) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert code in err
    assert err.count("\n") == 1
    return err


def test_a_dev_set_without_entities(
    inputs: Path, tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_docbin([Doc(Vocab(), words=["fever"])], tmp_path / "none.spacy")
    args = ["tune", inputs / "model", tmp_path / "none.spacy", output]
    assert "none.spacy" in refused("ents, so there is nothing to learn or to", *args, capsys=capsys)


def test_missing_inputs(inputs: Path, output: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(
        "Check the path, or install the pipeline's",
        "tune",
        inputs / "nothing",
        inputs / "dev.spacy",
        output,
        capsys=capsys,
    )
    refused(
        "Run clinical-ner convert and clinical-ner",
        "tune",
        inputs / "model",
        inputs / "nothing",
        output,
        capsys=capsys,
    )


def test_a_loss_without_posterior(
    inputs: Path, tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loss = {
        "@losses": "clinical_ner.WeightedCrossEntropy.v1",
        "weights": "paper",
        "reduction": "classes",
    }
    model = train_model(tmp_path / "classes", steps=1, loss=loss)
    args = ["tune", model, inputs / "dev.spacy", output]
    assert "WeightedCrossEntropy" in refused(
        "' does not lead back to the empirical", *args, capsys=capsys
    )


def test_entities_that_are_set_later(
    inputs: Path, tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nlp = spacy.load(inputs / "model")
    nlp.add_pipe("entity_ruler", last=True)
    nlp.to_disk(tmp_path / "ruled")
    args = ["tune", tmp_path / "ruled", inputs / "dev.spacy", output]
    assert "entity_ruler" in refused(
        "', so what thresholds do to the entities of", *args, capsys=capsys
    )


def test_a_model_without_exactly_one_trained_recognizer(
    inputs: Path, tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nlp = spacy.blank("en")
    nlp.to_disk(tmp_path / "without")
    args = ["tune", tmp_path / "without", inputs / "dev.spacy", output]
    refused("Name a pipeline that clinical-ner train", *args, capsys=capsys)
    nlp.add_pipe("clinical_ner")
    nlp.to_disk(tmp_path / "untrained")
    args[1] = tmp_path / "untrained"
    refused(", or load a trained pipeline", *args, capsys=capsys)


def test_an_output_that_would_destroy_something(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "run" / "model"
    shutil.copytree(inputs / "model", model)
    for output in (model, model / "tuned", model.parent):
        refused(
            ", holds it or lies in it, which writing",
            "tune",
            model,
            inputs / "dev.spacy",
            output,
            capsys=capsys,
        )
    (tmp_path / "other").mkdir()
    args = ["tune", model, inputs / "dev.spacy", tmp_path / "other"]
    refused("exists and is not a pipeline's folder", *args, capsys=capsys)
    spacy.load(model)


@pytest.mark.parametrize(
    "option",
    [
        ("--objective", "f1"),
        ("--objective", "recall@precision=0"),
        ("--objective", "recall@precision=1.01"),
        ("--prior-strengths", "1,2"),
        ("--prior-strengths", "1,nan"),
        ("--min-support", 0),
    ],
)
def test_settings_out_of_range_are_a_usage_error(
    inputs: Path, output: Path, option: tuple[str, object], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("tune", inputs / "model", inputs / "dev.spacy", output, *option) == 2
    assert option[0] in capsys.readouterr().err
