from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc, Span
from spacy.training import Corpus
from spacy.vocab import Vocab

from clinical_ner.calibration.calibration import Calibration
from clinical_ner.calibration.token_step import TokenCalibration
from clinical_ner.cli import main
from clinical_ner.data.formats.docbin import DOCUMENT_ID, write_docbin
from clinical_ner.data.gold import get_gold, set_gold
from clinical_ner.data.mentions import Mention
from clinical_ner.errors import ClinicalNerError
from clinical_ner.evaluation.evaluate import evaluate
from clinical_ner.evaluation.plots import FIGURES
from clinical_ner.scoring.probabilities import DETAIL_SCORES

from ..pipeline.examples import make_examples, train

NOTES = [
    ["Man", "with", "fever", "and", "cough", "."],
    [],
    ["No", "fever", "."],
    ["Cough", ",", "rash", "."],
]
GOLD = [[(0, 1, "Sex"), (2, 3, "Sign"), (4, 5, "Sign")], [], [], [(2, 3, "Rare")]]


def make_docs(spaces: bool = True) -> list[Doc]:
    vocab = Vocab()
    docs = []
    for words, ents in zip(NOTES, GOLD, strict=True):
        known = [i + 1 < len(words) and words[i + 1] not in ".," for i in range(len(words))]
        doc = Doc(vocab, words=words, spaces=known if spaces else None)
        doc.set_ents([Span(doc, *ent) for ent in ents], default="outside")
        docs.append(doc)
    return docs


@pytest.fixture
def data(tmp_path: Path) -> Path:
    write_docbin(make_docs(), tmp_path / "gold.spacy")
    return tmp_path / "gold.spacy"


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Finds every fever as a Sign and "Man" as Sex; misses cough and rash."""
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns(
        [{"label": "Sign", "pattern": "fever"}, {"label": "Sex", "pattern": "Man"}]
    )
    nlp.to_disk(tmp_path / "model")
    return tmp_path / "model"


def run(*args: object) -> int:
    with pytest.raises(SystemExit) as ended:
        main([str(arg) for arg in args])
    return int(ended.value.code or 0)


def test_scores_are_the_ones_counted_by_hand(model: Path, data: Path) -> None:
    metrics = evaluate(str(model), data)
    # Found: Man, one fever; too much: the other fever; missed: cough, rash.
    assert metrics["ents_p"] == pytest.approx(2 / 3)
    assert metrics["ents_r"] == pytest.approx(2 / 4)
    assert metrics["ents_f"] == pytest.approx(4 / 7)
    assert metrics["ents_macro_types"] == 3
    assert metrics["ents_macro_f"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    # Gold has 9 O of which one is taken for a Sign, B-Sex, B-Sign twice, B-Rare.
    assert metrics["token_unweighted_accuracy_no_o"] == pytest.approx((1 + 1 / 2 + 0) / 3)
    assert metrics["token_unweighted_accuracy"] == pytest.approx((8 / 9 + 1 + 1 / 2 + 0) / 4)
    assert metrics["ents_per_type"]["Rare"] == {
        "p": 0.0,
        "r": 0.0,
        "f": 0.0,
        "support": 1,
        "predicted": 0,
        "ap": None,
    }


def test_scores_agree_with_spacy(model: Path, data: Path) -> None:
    nlp = spacy.load(model)
    expected = nlp.evaluate(list(Corpus(data)(nlp)))
    metrics = evaluate(str(model), data)
    for key in ("ents_p", "ents_r", "ents_f"):
        assert metrics[key] == pytest.approx(expected[key])


def test_empty_documents_are_counted(model: Path, data: Path) -> None:
    metrics = evaluate(str(model), data)
    assert (metrics["documents"], metrics["tokens"]) == (4, 13)
    assert metrics["words_per_second"] > 0


def test_gold_words_are_kept_where_spaces_are_unknown(model: Path, tmp_path: Path) -> None:
    docs = make_docs(spaces=False)
    # The tokenizer would cut this one into "can" and "not".
    doc = Doc(docs[0].vocab, words=["cannot", "fever"])
    doc.set_ents([Span(doc, 1, 2, "Sign")], default="outside")
    write_docbin([*docs, doc], tmp_path / "words.spacy")
    assert evaluate(str(model), tmp_path / "words.spacy")["tokens"] == 15


def test_intervals_enclose_the_scores(model: Path, data: Path) -> None:
    metrics = evaluate(str(model), data, resamples=200, seed=3)
    of_probabilities = {"ents_macro_f_rare", "token_ece", "mass_ratio_rarest_third", *DETAIL_SCORES}
    of_all_mentions = {"recall_ceiling", "recall_all_mentions"}
    unknown = of_probabilities | of_all_mentions
    assert {metrics["intervals"].pop(name) for name in unknown} == {None}
    assert set(metrics["intervals"]) == {
        "ents_p",
        "ents_r",
        "ents_f",
        "ents_macro_f",
        "token_unweighted_accuracy",
        "token_unweighted_accuracy_no_o",
    }
    for name, (low, high) in metrics["intervals"].items():
        assert 0 <= low <= metrics[name] <= high <= 1


def test_the_seed_decides_the_intervals(model: Path, data: Path) -> None:
    first, again, other = (
        evaluate(str(model), data, resamples=5, seed=seed)["intervals"] for seed in (3, 3, 4)
    )
    assert first == again
    assert first != other


def test_command_writes_sorted_json_and_prints_tables(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "metrics.json"
    assert run("evaluate", model, data, "--output", output, "--resamples", 50, "--seed", 1) == 0
    text = output.read_text()
    metrics = json.loads(text)
    assert text == json.dumps(metrics, indent=2, sort_keys=True) + "\n"
    settings = {key: metrics[key] for key in ("model", "data", "resamples", "seed")}
    assert settings == {"model": str(model), "data": str(data), "resamples": 50, "seed": 1}
    out, err = capsys.readouterr()
    assert err == ""
    rows = [line.replace("│", " ").split() for line in out.splitlines()]
    labels = [row[0] for row in rows if row and row[0] in ("Sign", "Sex", "Rare")]
    assert labels == ["Sign", "Rare", "Sex"]
    assert ["Sign", "0.500", "0.500", "0.500", "2", "2"] in rows
    assert "0.571" in out


def test_json_option_prints_the_json_only(
    model: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("evaluate", model, data, "--resamples", 10, "--json") == 0
    assert json.loads(capsys.readouterr().out)["documents"] == 4


def test_metrics_hold_no_note_text(model: Path, data: Path) -> None:
    text = json.dumps(evaluate(str(model), data, resamples=10))
    assert not any(word in text for word in ("fever", "cough", "rash"))


def test_a_component_that_declares_nothing_is_evaluated(data: Path, tmp_path: Path) -> None:
    nlp = spacy.blank("en")
    ruler = nlp.add_pipe("span_ruler", config={"annotate_ents": True})
    ruler.add_patterns([{"label": "Sign", "pattern": "fever"}])
    nlp.to_disk(tmp_path / "spans")
    assert evaluate(str(tmp_path / "spans"), data)["ents_p"] == 0.5


def blank(folder: Path) -> Language:
    nlp = spacy.blank("en")
    nlp.add_pipe("sentencizer")
    nlp.to_disk(folder)
    return nlp


def test_no_entity_recognizer_is_one_line_and_no_output(
    data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    blank(tmp_path / "blank")
    output = tmp_path / "metrics.json"
    assert run("evaluate", tmp_path / "blank", data, "--output", output) == 1
    err = capsys.readouterr().err
    assert ", and no entity was predicted" in err and "sentencizer" in err and err.count("\n") == 1
    assert not output.exists()


@pytest.mark.parametrize("name", ["no_such_model", "", "numpy", "typing-extensions"])
def test_neither_folder_nor_pipeline_package_is_an_error(name: str, data: Path) -> None:
    with pytest.raises(ClinicalNerError, match="Check the path, or install the pipeline's"):
        evaluate(name, data)


def test_a_broken_pipeline_is_one_line(
    model: Path, data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = model / "config.cfg"
    config.write_text(config.read_text().replace('"entity_ruler"', '"no_such_factory"'))
    assert run("evaluate", model, data) == 1
    err = capsys.readouterr().err
    assert (
        "cannot be loaded as a spaCy pipeline" in err
        and "no_such_factory" in err
        and err.count("\n") == 1
    )


def test_data_without_entities_are_an_error(model: Path, tmp_path: Path) -> None:
    write_docbin([Doc(Vocab(), words=["fever"])], tmp_path / "none.spacy")
    with pytest.raises(
        ClinicalNerError, match=r"none\.spacy.*ents, so there is nothing to learn or to"
    ):
        evaluate(str(model), tmp_path / "none.spacy")


def test_missing_data_are_an_error(model: Path, tmp_path: Path) -> None:
    with pytest.raises(ClinicalNerError, match=r"none\.spacy"):
        evaluate(str(model), tmp_path / "none.spacy")


def test_a_document_beyond_the_limit_is_named_without_its_text(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    docs = make_docs()
    docs[0].user_data[DOCUMENT_ID] = "case-7"
    write_docbin(docs, tmp_path / "gold.spacy")
    nlp = spacy.load(model)
    nlp.max_length = 20
    monkeypatch.setattr("clinical_ner.evaluation.evaluate.load_pipeline", lambda name: nlp)
    with pytest.raises(
        ClinicalNerError, match=r"\(case-7\) has 25 characters, more than the"
    ) as raised:
        evaluate(str(model), tmp_path / "gold.spacy")
    assert "fever" not in str(raised.value)


def test_a_gpu_that_is_missing_is_an_error(
    model: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(gpu_id: int) -> None:
        raise ValueError("no such device")

    monkeypatch.setattr(spacy, "require_gpu", refuse)
    with pytest.raises(
        ClinicalNerError, match="GPU 3.*no such device.*Use --gpu-id -1 for the CPU, or install"
    ):
        evaluate(str(model), data, gpu_id=3)


@pytest.mark.parametrize(
    "name", ["gold.spacy", "link.spacy", "model/meta.json", "model/vocab/key2row"]
)
def test_no_input_is_replaced_by_scores(  # H4
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    output = tmp_path / name
    if name == "link.spacy":
        output.hardlink_to(data)
    before = output.read_bytes()

    assert run("evaluate", model, data, "-o", output) == 1

    printed = capsys.readouterr()
    assert f"{output}: is " in printed.err and "which is read. Name another" in printed.err
    assert (printed.err.count("\n"), printed.out, output.read_bytes()) == (1, "", before)


def test_scores_may_lie_in_the_models_folder(model: Path, data: Path) -> None:
    for _ in range(2):
        assert run("evaluate", model, data, "-o", model / "metrics.json") == 0


def test_pictures_do_not_replace_the_data(model: Path, data: Path, tmp_path: Path) -> None:
    data = data.rename(tmp_path / "types.svg")

    with pytest.raises(ClinicalNerError, match=r"types\.svg: is .*, which is read"):
        evaluate(model, data, plots=tmp_path)


@pytest.mark.parametrize("option", [("--resamples", "0"), ("--gpu-id", "-2"), ("--seed", "-1")])
def test_settings_out_of_range_are_a_usage_error(
    model: Path, data: Path, option: tuple[str, str]
) -> None:
    assert run("evaluate", model, data, *option) == 2


def test_data_that_do_not_tell_all_mentions_have_no_ceiling(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    docs = make_docs()
    # One document with its mentions does not tell those of the others.
    set_gold(docs[0], get_gold(docs[0]))
    write_docbin(docs, tmp_path / "gold.spacy")
    assert run("evaluate", model, tmp_path / "gold.spacy", "--resamples", 5) == 0
    assert "mentions" not in capsys.readouterr().out
    metrics = evaluate(str(model), tmp_path / "gold.spacy", resamples=5)
    keys = ("gold_mentions", "recall_ceiling", "recall_all_mentions", "mentions_per_type")
    assert [metrics[key] for key in keys] == [None] * 4


@pytest.fixture
def nested(tmp_path: Path) -> Path:
    """The same documents with seven mentions, which differ from their four entities."""
    docs = make_docs()
    # "Man with fever and cough.", "No fever.", "Cough, rash."
    mentions = [
        [
            Mention("T1", "Sex", ((0, 3),)),
            Mention("T2", "Sign", ((9, 14),)),
            Mention("T3", "Sign", ((9, 15),)),  # the same but for whitespace
            Mention("T4", "Sign", ((19, 24),)),
            Mention("T5", "History", ((0, 24),)),  # overlaps the others
            Mention("T6", "Sign", ((0, 3), (19, 24))),  # in two pieces
        ],
        [],
        [Mention("T1", "Sign", ((3, 8),))],  # no entity in gold
        [Mention("T1", "Rare", ((7, 10),))],  # its entity is one letter longer
    ]
    for doc, of_doc in zip(docs, mentions, strict=True):
        set_gold(doc, of_doc)
    write_docbin(docs, tmp_path / "nested.spacy")
    return tmp_path / "nested.spacy"


def test_the_ceiling_is_the_one_counted_by_hand(model: Path, nested: Path) -> None:
    metrics = evaluate(str(model), nested, resamples=200)
    # Stated by entities: Man, fever, cough. Found: Man, and both fevers.
    assert metrics["gold_mentions"] == 7
    assert (metrics["stated_mentions"], metrics["found_mentions"]) == (3, 3)
    assert metrics["recall_ceiling"] == metrics["recall_all_mentions"] == 3 / 7
    assert metrics["mentions_per_type"]["Sign"] == {
        "gold_mentions": 4,
        "stated_mentions": 2,
        "found_mentions": 2,
        "recall_ceiling": 0.5,
        "recall_all_mentions": 0.5,
    }
    assert metrics["mentions_per_type"]["Rare"]["recall_ceiling"] == 0
    low, high = metrics["intervals"]["recall_ceiling"]
    assert 0 <= low < 3 / 7 < high <= 1


def test_the_ceiling_is_printed_below_the_scores(
    model: Path, nested: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("evaluate", model, nested, "--resamples", 5) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "Recall ceiling: 42.9 % (flat entities state 3 of 7 annotated mentions).",
        "Recall over all annotated mentions: 42.9 % (3 of 7).",
    ]


def test_fragments_that_only_whitespace_parts_are_one_mention(model: Path, tmp_path: Path) -> None:
    doc = Doc(Vocab(), words=["Man", "with", "\n", "fever"], spaces=[True, True, False, False])
    doc.set_ents([Span(doc, 0, 4, "Sign")], default="outside")
    set_gold(doc, [Mention("T1", "Sign", ((0, 8), (10, 15)))])
    write_docbin([doc], tmp_path / "wrapped.spacy")
    assert evaluate(str(model), tmp_path / "wrapped.spacy", resamples=5)["recall_ceiling"] == 1


needs_matplotlib = pytest.mark.skipif(
    importlib.util.find_spec("matplotlib") is None, reason="draws with matplotlib"
)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A pipeline with probabilities, the same calibrated, and gold."""
    folder = tmp_path_factory.mktemp("trained")
    nlp = spacy.blank("en")
    nlp.add_pipe("clinical_ner", name="ner")
    train(nlp, steps=6)
    nlp.to_disk(folder / "plain")
    component = nlp.get_pipe("ner")
    component.calibration = Calibration(TokenCalibration(2.0, (0.0,) * 7))
    nlp.to_disk(folder / "calibrated")
    write_docbin([example.reference for example in make_examples(nlp)], folder / "gold.spacy")
    return folder / "plain", folder / "calibrated", folder / "gold.spacy"


def test_probabilities_that_are_not_calibrated_are_said_to_be(
    trained: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    plain, _, gold = trained
    assert run("evaluate", plain, gold, "--resamples", 20) == 0
    out = capsys.readouterr().out
    assert "Probabilities are not calibrated: run clinical-ner calibrate." in out
    assert "ECE of entities" in out and "Not calibrated" not in out
    assert " AP " in out


def test_figures_before_calibration_stand_beside_those_after(
    trained: tuple[Path, Path, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    _, calibrated, gold = trained
    assert run("evaluate", calibrated, gold, "--resamples", 20, "--json") == 0
    metrics = json.loads(capsys.readouterr().out)
    assert run("evaluate", calibrated, gold, "--resamples", 20) == 0
    out = capsys.readouterr().out
    assert "Not calibrated" in out and "run clinical-ner calibrate" not in out
    (line,) = [line for line in out.splitlines() if "-log p of gold tags" in line]
    cells = [cell.strip() for cell in line.strip("│").split("│")]
    before, after = metrics["before_calibration"]["token_nll"], metrics["token_nll"]
    assert (cells[1], cells[3]) == (f"{after:.3f}", f"{before:.3f}")
    assert cells[1] != cells[3]


def test_tags_without_training_tokens_are_said_to_be_left_out(
    trained: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    doc = Doc(Vocab(), words=["patient", "has", "fever"])
    doc.set_ents([Span(doc, 2, 3, "Sign"), Span(doc, 0, 1, "New")], default="outside")
    write_docbin([doc], tmp_path / "new.spacy")
    assert run("evaluate", trained[0], tmp_path / "new.spacy", "--resamples", 5) == 0
    assert "-log p leaves out 1 tokens" in capsys.readouterr().out


@needs_matplotlib
def test_pictures_are_written_as_png_and_svg(
    trained: tuple[Path, Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _, calibrated, gold = trained
    plots = tmp_path / "new" / "plots"
    assert run("evaluate", calibrated, gold, "--resamples", 20, "--plots", plots) == 0
    assert capsys.readouterr().err == ""
    expected = {f"{name}.{kind}" for name in FIGURES for kind in ("png", "svg")}
    assert {path.name for path in plots.iterdir()} == expected
    texts = [path.read_text(encoding="utf-8") for path in plots.glob("*.svg")]
    assert not any(word in text for text in texts for word in ("fever", "aspirin", str(tmp_path)))


@needs_matplotlib
def test_without_probabilities_the_rest_is_drawn_and_the_gap_named(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("evaluate", model, data, "--resamples", 5, "--plots", tmp_path / "plots") == 0
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {"types.png", "types.svg"}
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 4
    assert all(
        line.endswith("not drawn, since the pipeline has no probabilities.") for line in lines
    )


def test_without_matplotlib_nothing_is_run_or_written(
    model: Path,
    data: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    monkeypatch.setattr("clinical_ner.evaluation.evaluate.predict", lambda *args, **kwargs: 1 / 0)
    output, plots = tmp_path / "metrics.json", tmp_path / "plots"
    assert run("evaluate", model, data, "--output", output, "--plots", plots) == 1
    assert "pip install 'clinical-ner" in capsys.readouterr().err
    assert not output.exists() and not plots.exists()


@needs_matplotlib
def test_plots_at_the_place_of_a_file_are_an_error_before_any_work(
    model: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "metrics.json"
    assert run("evaluate", model, data, "--output", output, "--plots", data) == 1
    assert "Choose another output folder" in capsys.readouterr().err
    assert not output.exists()


@needs_matplotlib
def test_a_picture_that_fails_leaves_no_file(
    model: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(metrics: object, name: str, path: Path, *, kind: str) -> None:
        path.write_text("half")
        raise ClinicalNerError("E999")

    monkeypatch.setattr("clinical_ner.evaluation.evaluate.draw", refuse)
    output, plots = tmp_path / "metrics.json", tmp_path / "plots"
    assert run("evaluate", model, data, "--output", output, "--plots", plots) == 1
    assert not output.exists() and list(plots.iterdir()) == []
