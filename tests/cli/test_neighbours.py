from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc
from spacy.vocab import Vocab
from thinc.api import fix_random_seed

from clinical_ner.cli import main
from clinical_ner.data.formats.docbin import read_docbin, write_docbin
from clinical_ner.errors import ClinicalNerError, ClinicalNerWarning
from clinical_ner.fitting.add_neighbours import add_neighbours

from ..conftest import own

DRUGS = ["aspirin", "heparin", "insulin", "codeine"]
SIGNS = ["fever", "cough", "pain", "rash"]


def make_docs(seed: int, n: int, *, signs: list[str] = SIGNS, label: str = "Sign") -> list[Doc]:
    nlp = spacy.blank("en")
    rng = np.random.default_rng(seed)
    docs = []
    for number in range(n):
        sign, drug = rng.choice(signs), rng.choice(DRUGS)
        text = f"Patient {seed}{number} had {sign} on day {rng.integers(9)} and got {drug} at home"
        doc = nlp.make_doc(text)
        spans = [(text.index(sign), sign, label), (text.index(drug), drug, "Drug")]
        doc.set_ents(
            [doc.char_span(start, start + len(word), name) for start, word, name in spans],
            default="outside",
        )
        docs.append(doc)
    return docs


def train_model(folder: Path, *, steps: int = 3, **settings: Any) -> Path:
    """A pipeline that has learned little, with a recognizer of an unusual name."""
    nlp = spacy.blank("en")
    nlp.add_pipe("clinical_ner", name="finder", config=settings)
    fix_random_seed(0)
    examples = [spacy.training.Example(nlp.make_doc(doc.text), doc) for doc in make_docs(1, 20)]
    optimizer = nlp.initialize(lambda: examples)
    for _ in range(steps):
        nlp.update(examples, sgd=optimizer)
    nlp.meta["performance"] = {"ents_f": 0.123, "finder_loss": 4.5}
    nlp.to_disk(folder)
    return folder


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with model, train.spacy and dev.spacy, not to be changed."""
    folder = tmp_path_factory.mktemp("inputs")
    train_model(folder / "model")
    write_docbin(make_docs(1, 20), folder / "train.spacy")
    write_docbin(make_docs(2, 8), folder / "dev.spacy")
    return folder


@pytest.fixture(scope="module")
def done(inputs: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The pipeline written, and the report."""
    output = tmp_path_factory.mktemp("output") / "deep" / "model"
    report = add_neighbours(
        str(inputs / "model"), inputs / "train.spacy", inputs / "dev.spacy", output, max_k=16
    )
    return output, report


@pytest.fixture
def output(tmp_path: Path) -> Iterator[Path]:
    """An output that an error must not write, nor anything beside it."""
    before = set(tmp_path.iterdir())
    yield tmp_path / "out"
    assert set(tmp_path.iterdir()) >= before
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert not (tmp_path / "out").exists()


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(arg) for arg in args])
    return int(ended.value.code or 0)


def arguments(inputs: Path) -> list[object]:
    return ["neighbours", inputs / "model", inputs / "train.spacy", inputs / "dev.spacy"]


def test_the_datastore_holds_every_entity_token_and_as_many_of_o(
    done: tuple[Path, dict[str, Any]],
) -> None:
    output, report = done
    assert report["entity_vectors"] == report["outside_vectors"] == 40
    assert report["outside_tokens"] == sum(map(len, make_docs(1, 20))) - 40
    assert report["megabytes"] == pytest.approx(80 * (96 * 2 + 4) / 1e6)
    datastore = spacy.load(output).get_pipe("finder").neighbours.datastore
    assert len(datastore) == 80
    assert datastore.outside_votes == report["outside_tokens"] / 40


def test_labels_that_the_documents_lack_are_not_stored_as_outside(
    inputs: Path, tmp_path: Path
) -> None:
    model = train_model(tmp_path / "model", steps=80)
    train = tmp_path / "train.spacy"
    docs = make_docs(1, 20)
    for doc in docs:
        doc.set_ents([ent for ent in doc.ents if ent.label_ == "Drug"], default="outside")
    write_docbin(docs, train)
    with pytest.warns(ClinicalNerWarning, match="has no entity of Sign, which the model has"):
        report = add_neighbours(model, train, inputs / "dev.spacy", tmp_path / "out", max_k=8)
    component = spacy.load(model).get_pipe("finder")
    signs = component.statistics.tags.index("B-Sign")
    probabilities = [
        np.exp(of)
        for of in component.predict([Doc(doc.vocab, words=[t.text for t in doc]) for doc in docs])
    ]
    # As many in the mean; the model is nearly sure of each.
    expected = sum(float(of[:, signs].sum()) for of in probabilities)
    assert expected == pytest.approx(20, abs=2)
    assert report["entity_vectors"] == pytest.approx(20 + expected, abs=3)
    assert report["outside_tokens"] == sum(map(len, docs)) - report["entity_vectors"]


def test_neighbours_help_a_model_that_has_learned_little(
    done: tuple[Path, dict[str, Any]],
) -> None:
    report = done[1]
    assert report["neighbours_help"]
    assert report["mixing"] > 0
    assert report["after"]["nll"] < report["before"]["nll"]
    assert report["after"]["ents_f"] > report["before"]["ents_f"]
    assert report["dev_tokens"] == sum(map(len, make_docs(2, 8)))
    assert min(report[of]["tokens_per_second"] for of in ("before", "after")) > 0


def test_the_report_is_what_the_pipelines_say(
    done: tuple[Path, dict[str, Any]], inputs: Path
) -> None:
    output, report = done
    for path, of in ((inputs / "model", "before"), (output, "after")):
        nlp = spacy.load(path)
        gold = read_docbin(inputs / "dev.spacy", nlp.vocab)
        scores = nlp.evaluate([spacy.training.Example(nlp.make_doc(d.text), d) for d in gold])
        for key in ("ents_f", "ents_macro_f"):
            assert report[of][key] == pytest.approx(scores[key])
        ner = nlp.get_pipe("finder")
        tags = ner.statistics.tags
        total = 0.0
        for doc in gold:
            (log_probs,) = ner.predict([nlp.make_doc(doc.text)])
            for row, token in zip(log_probs, doc, strict=True):
                name = f"{token.ent_iob_}-{token.ent_type_}" if token.ent_type else "O"
                total -= float(row[tags.index(name)])
        assert report[of]["nll"] == pytest.approx(total / report["dev_tokens"], rel=1e-4)


def test_config_stays_and_meta_states_the_new_scores(
    done: tuple[Path, dict[str, Any]], inputs: Path
) -> None:
    output, report = done
    config = (output / "config.cfg").read_text()
    assert config == (inputs / "model" / "config.cfg").read_text()
    performance = json.loads((output / "meta.json").read_text())["performance"]
    assert performance == {"ents_f": report["after"]["ents_f"], "finder_loss": 4.5}


def test_nothing_of_the_notes_is_in_the_file_or_the_report(
    done: tuple[Path, dict[str, Any]],
) -> None:
    output, report = done
    stored = (output / "finder" / "neighbours.npz").read_bytes()
    for word in (*DRUGS, *SIGNS, "Patient"):
        assert word.encode() not in stored
        assert word not in json.dumps(report)


def test_the_table_names_sizes_settings_and_gains(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(*arguments(inputs), tmp_path / "out", "--max-k", 8) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "80 vectors, 40 of entity tokens and 40 of" in out
    for text in ("F1, micro", "F1, macro", "tokens per second", "k = ", "r = ", "temperature = "):
        assert text in out
    assert str(tmp_path / "out") in out


def test_a_pipeline_is_replaced_and_json_is_all_that_is_printed(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own(shutil.copytree(inputs / "model", tmp_path / "out"), "neighbours")
    (tmp_path / "out" / "stale").touch()
    assert run(*arguments(inputs), tmp_path / "out", "--max-k", 8, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert report["max_k"] == 8
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    assert not (tmp_path / "out" / "stale").exists()
    assert spacy.load(tmp_path / "out").get_pipe("finder").neighbours.k == report["k"]


def test_the_seed_and_the_ratio_choose_among_o(inputs: Path, tmp_path: Path) -> None:
    files = []
    for i, (ratio, seed) in enumerate([(0.5, 0), (0.5, 0), (0.5, 1)]):
        report = add_neighbours(
            str(inputs / "model"),
            inputs / "train.spacy",
            inputs / "dev.spacy",
            tmp_path / str(i),
            max_k=8,
            outside_ratio=ratio,
            seed=seed,
        )
        assert report["outside_vectors"] == 20
        files.append((tmp_path / str(i) / "finder" / "neighbours.npz").read_bytes())
    assert files[0] == files[1] != files[2]


def test_where_neighbours_do_not_help_the_pipeline_is_written_without(
    done: tuple[Path, dict[str, Any]],
    inputs: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    # TRAIN calls every drug a sign and the other way round; MODEL has neighbours, which must go.
    docs = make_docs(3, 10)
    for doc in docs:
        swapped = [(e.start, e.end, {"Sign": "Drug", "Drug": "Sign"}[e.label_]) for e in doc.ents]
        doc.set_ents([spacy.tokens.Span(doc, *ent) for ent in swapped], default="outside")
    write_docbin(docs, tmp_path / "swapped.spacy")
    model = train_model(tmp_path / "good", steps=25)
    nlp = spacy.load(model)
    nlp.get_pipe("finder").neighbours = spacy.load(done[0]).get_pipe("finder").neighbours
    nlp.to_disk(tmp_path / "good")
    args = [model, tmp_path / "swapped.spacy", inputs / "dev.spacy", tmp_path / "out"]
    assert run("neighbours", *args, "--max-k", 8) == 0
    assert "r = 0: neighbours do not help" in capsys.readouterr().out
    assert not (tmp_path / "out" / "finder" / "neighbours.npz").exists()
    assert spacy.load(tmp_path / "out").get_pipe("finder").neighbours is None


# Errors


def refused(code: str, *args: object, capsys: pytest.CaptureFixture[str], status: int = 1) -> str:
    assert run(*args) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert code in err
    assert err.count("\n") == 1
    return err


def test_train_and_dev_must_differ(
    inputs: Path, tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train = inputs / "train.spacy"
    link, copy = tmp_path / "link.spacy", tmp_path / "copy.spacy"
    link.symlink_to(train)
    # The same documents in another order are other bytes.
    write_docbin(read_docbin(train, Vocab())[::-1], copy)
    for dev in (train, link, copy):
        args = ["neighbours", inputs / "model", train, dev, output]
        assert "train.spacy" in refused(
            "Name documents that were not trained on", *args, capsys=capsys
        )


def test_documents_of_dev_in_train_are_counted(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mixed = [*make_docs(2, 4), *make_docs(1, 20)[:3]]
    write_docbin(mixed, tmp_path / "mixed.spacy")
    args = [inputs / "model", inputs / "train.spacy", tmp_path / "mixed.spacy", tmp_path / "out"]
    assert run("neighbours", *args, "--max-k", 8) == 0
    assert "Careful: 3 documents of DEV are in TRAIN" in capsys.readouterr().out


def test_k_larger_than_the_datastore(
    inputs: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    args = [*arguments(inputs), output, "--max-k", 81]
    assert "81 neighbours" in refused("neighbours were asked for, but the", *args, capsys=capsys)


@pytest.mark.parametrize("which", [1, 2, 3])
def test_a_missing_input(
    inputs: Path, output: Path, which: int, capsys: pytest.CaptureFixture[str]
) -> None:
    args = arguments(inputs)
    args[which] = inputs / "nothing"
    refused(
        "Check the path, or install the pipeline's"
        if which == 1
        else "Run clinical-ner convert and clinical-ner",
        *args,
        output,
        capsys=capsys,
    )


def test_a_label_that_the_model_lacks(
    inputs: Path, tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    docs = make_docs(4, 3, label="Finding")
    docs[0].user_data["clinical_ner.id"] = "case-4"
    write_docbin(docs, tmp_path / "other.spacy")
    for which in (2, 3):
        args = arguments(inputs)
        args[which] = tmp_path / "other.spacy"
        err = refused("Initialize the component with data, or a", *args, output, capsys=capsys)
        assert "Finding" in err and "case-4" in err and "other.spacy" in err


def test_a_file_without_entities(
    inputs: Path, tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_docbin([Doc(Vocab(), words=["fever"])], tmp_path / "none.spacy")
    args = arguments(inputs)
    args[2] = tmp_path / "none.spacy"
    assert "none.spacy" in refused(
        "ents, so there is nothing to learn or to", *args, output, capsys=capsys
    )


def test_a_document_beyond_the_limit(
    inputs: Path, output: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    nlp = spacy.load(inputs / "model")
    nlp.max_length = 20
    monkeypatch.setattr("clinical_ner.pipeline.loading.load_pipeline", lambda name: nlp)
    with pytest.raises(ClinicalNerError, match="train.spacy.*characters, more than the"):
        add_neighbours(str(inputs / "model"), inputs / "train.spacy", inputs / "dev.spacy", output)


def test_only_if_the_recipe_asks(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    train, dev = inputs / "train.spacy", inputs / "dev.spacy"
    for asked in (False, True):
        nlp = spacy.load(inputs / "model")
        nlp.config["neighbours"] = {"add": asked}
        model, out = save(nlp, tmp_path / f"{asked}"), tmp_path / f"out-{asked}"
        assert run("neighbours", model, train, dev, out, "--max-k", 16, "--if-asked") == 0
        written = spacy.load(out)
        assert (written.get_pipe("finder").neighbours is not None) == asked
        assert ("does not ask for neighbours" in capsys.readouterr().out) != asked
        if not asked:
            assert written.to_bytes(exclude=["meta", "vocab"]) == nlp.to_bytes(
                exclude=["meta", "vocab"]
            )


def save(nlp: Language, folder: Path) -> Path:
    nlp.to_disk(folder)
    return folder


def test_a_model_without_exactly_one_recognizer(
    inputs: Path, tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    without = spacy.blank("en")
    without.add_pipe("sentencizer")
    two = spacy.load(inputs / "model")
    two.add_pipe("clinical_ner", name="second")
    args = arguments(inputs)
    args[1] = save(without, tmp_path / "without")
    assert "no components" in refused(
        "Name a pipeline that clinical-ner train", *args, output, capsys=capsys
    )
    args[1] = save(two, tmp_path / "two")
    assert "finder, second" in refused(
        "Name a pipeline that clinical-ner train", *args, output, capsys=capsys
    )


def test_a_model_that_is_not_trained(
    inputs: Path, tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    nlp = spacy.blank("en")
    nlp.add_pipe("clinical_ner")
    args = arguments(inputs)
    args[1] = save(nlp, tmp_path / "untrained")
    refused(", or load a trained pipeline", *args, output, capsys=capsys)


def test_a_loss_without_posterior(
    inputs: Path, tmp_path: Path, output: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    loss = {
        "@losses": "clinical_ner.WeightedCrossEntropy.v1",
        "weights": "paper",
        "reduction": "classes",
    }
    args = arguments(inputs)
    args[1] = train_model(tmp_path / "classes", steps=1, loss=loss)
    assert "WeightedCrossEntropy" in refused(
        "' does not lead back to the empirical", *args, output, capsys=capsys
    )


def test_an_output_that_would_destroy_something(
    inputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "run" / "model"
    shutil.copytree(inputs / "model", model)
    args = arguments(inputs)
    args[1] = model
    for output in (model, model / "knn", model.parent, model.parent / "x" / ".." / "model"):
        refused(", holds it or lies in it, which writing", *args, output, capsys=capsys)
    other = tmp_path / "other"
    other.mkdir()
    (other / "notes.txt").write_text("keep", encoding="utf8")
    for output in (other, other / "notes.txt"):
        refused("exists and is not a pipeline's folder", *args, output, capsys=capsys)
    assert (other / "notes.txt").read_text(encoding="utf8") == "keep"
    spacy.load(model)


def test_a_failed_write_leaves_the_old_pipeline(
    inputs: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own(shutil.copytree(inputs / "model", tmp_path / "out"), "neighbours")

    def fail(self: Language, path: Path, **kwargs: object) -> None:
        (path / "half").touch()
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Language, "to_disk", fail)
    args = [*arguments(inputs), tmp_path / "out", "--max-k", 8]
    assert "No space left" in refused("Name another output folder", *args, capsys=capsys)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out"]
    assert spacy.load(tmp_path / "out").get_pipe("finder").neighbours is None


@pytest.mark.parametrize(
    "option",
    [("--max-k", 0), ("--outside-ratio", 0), ("--outside-ratio", "nan"), ("--seed", -1)],
)
def test_settings_out_of_range_are_a_usage_error(
    inputs: Path, output: Path, option: tuple[str, object]
) -> None:
    assert run(*arguments(inputs), output, *option) == 2
